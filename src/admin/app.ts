/**
 * App: the admin API as one function from request to answer.
 *
 * Every route of routes.ts has a handler here or in changes.ts, and the compiler misses one that is forgotten. The same
 * app stands behind both doors; at the TCP one it is asked first whether the caller may be answered, and may have what
 * it wants. All errors leave as problems (RFC 9457): a Failure in its own words, anything else as a 500 that tells
 * nothing but goes to the log, for it is our bug. Whatever an answer waits for has a deadline.
 *
 * Touches: requests and responses; the clock.
 */

import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono, type Context } from "hono";

import { Failure, textOf } from "../base/failure.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";

import { HEADERS, json, problem, text, valueOf, within } from "./answers.ts";
import { Bearer } from "./bearer.ts";
import { changesOf, checkName, TooLarge, type ChangeId, type Commands } from "./changes.ts";
import { INTERNAL, problemOf, type ResolveReport } from "./contract.ts";
import { diagnose, type DoctorFacts } from "./doctor.ts";
import type { Followers } from "./follow.ts";
import { strangerOf, TRESPASS, type Refusal } from "./guard.ts";
import { eventsAfter, explain, memberOf, membersOf, serviceOf, servicesOf, statusOf } from "./handlers.ts";
import { networkOf, networksOf } from "./networks.ts";
import { nearestRoute, ROUTES, routesAt, type RouteId } from "./routes.ts";

/** What the daemon gives the admin API to tell and to do. */
export interface AdminParts extends Commands {
  /** What DNS would answer; `as` is a container's name or address, null for this host. May throw Failure. */
  readonly resolve: (name: string, type: string, as: string | null) => ResolveReport | Promise<ResolveReport>;
  /** What `doctor` looks at beside the snapshot. */
  readonly doctorFacts: () => Promise<DoctorFacts>;
  readonly metricsText: () => Promise<string>;
  /** Told of every caller of the TCP listener that is refused. */
  readonly onRefused: (refusal: Refusal) => void;
  readonly log: Log;
}

/** Which door a caller came through: the unix socket may do all; over TCP it depends on who asks, and with what. */
export type Door = { readonly kind: "socket" } | { readonly kind: "tcp"; readonly token: string | null };

const METRICS_DEADLINE_MS = 5000;
const RESOLVE_DEADLINE_MS = 5000;
const DOCTOR_DEADLINE_MS = 5000;

interface Env {
  readonly Bindings: HttpBindings;
  /** What the caller may do. */
  readonly Variables: { rights: "full" | "read" };
}
type Call = Context<Env>;
type Handler = (call: Call) => Response | Promise<Response>;

/** Makes the app for one door. */
export function buildApp(parts: AdminParts, followers: Followers, door: Door): Hono<Env> {
  const app = new Hono<Env>();
  const refuse = (refusal: Refusal): Response => {
    parts.onRefused(refusal);
    const { status, detail } = refusal;
    return problem(problemOf("not-allowed", detail, status), MORE_BY_STATUS[status]);
  };
  const bearer = new Bearer(door.kind === "tcp" ? door.token : null);
  app.use(async (call, next) => {
    const judged = door.kind === "socket" ? "full" : judge(call, bearer);
    if (typeof judged !== "string") return refuse(judged);
    call.set("rights", judged);
    return next();
  });
  const handlers = handlersOf(parts, followers);
  for (const { id, method, path, access } of ROUTES) {
    const handler: Handler = (call) => {
      return access === "full" && call.get("rights") !== "full" ? refuse(TRESPASS) : handlers[id](call);
    };
    app.on(method, path.replace(/\{(\w+)\}/g, ":$1"), handler);
  }
  app.notFound(missing);
  app.onError((error, call) => {
    if (error instanceof TooLarge) return error.answer();
    if (error instanceof Failure) return problem(problemOf(error.code, error.message));
    parts.log.error("admin request failed", { path: call.req.path, error: textOf(error) });
    return problem(INTERNAL);
  });
  return app;
}

/** What a client needs to do better (RFC 9110 11.6.1, 10.2.3). */
const MORE_BY_STATUS: Readonly<Record<Refusal["status"], Readonly<Record<string, string>>>> = {
  401: { "www-authenticate": 'Bearer realm="skein"' },
  403: {},
  429: { "retry-after": "1" },
};

/** The problem for a request that could not even be read as one (a bad Host or target). */
export function unreadable(thrown: unknown): Response {
  return problem(problemOf("usage", `request is malformed: ${textOf(thrown)}`));
}

function handlersOf(parts: AdminParts, followers: Followers): Readonly<Record<RouteId, Handler>> {
  const service: Handler = (call) => {
    const { name, network } = serviceAsked(call);
    return json(valueOf(serviceOf(parts.snapshot(), name, network)));
  };
  const reading: Readonly<Record<Exclude<RouteId, ChangeId>, Handler>> = {
    status: () => json(statusOf(parts.snapshot())),
    async doctor() {
      const facts = await within(parts.doctorFacts(), DOCTOR_DEADLINE_MS, "looking at containers");
      return json(diagnose(parts.snapshot(), facts));
    },
    members: () => json(membersOf(parts.snapshot())),
    member(call) {
      const name = call.req.param("name") ?? "";
      checkName(name);
      return json(valueOf(memberOf(parts.snapshot(), name)));
    },
    services: (call) => json(servicesOf(parts.snapshot(), call.req.query("network") ?? null)),
    service,
    serviceInNetwork: service,
    networks: () => json(networksOf(parts.snapshot().view)),
    network(call) {
      const name = call.req.param("name") ?? "";
      checkName(name);
      return json(valueOf(networkOf(parts.snapshot().view, name)));
    },
    explain(call) {
      const { name, network } = serviceAsked(call);
      return json(valueOf(explain(parts.snapshot(), name, network)));
    },
    resolve: (call) => resolve(call, parts),
    events: (call) => events(call, parts, followers),
    live: () => text("ok\n", "text/plain; charset=utf-8"),
    ready() {
      if (parts.snapshot().view.complete) return text("ok\n", "text/plain; charset=utf-8");
      const detail = "view is not complete; expected the first full exchange with a member";
      return problem(problemOf("unreachable", detail));
    },
    async metrics() {
      const body = await within(parts.metricsText(), METRICS_DEADLINE_MS, "metrics");
      return text(body, "text/plain; version=0.0.4; charset=utf-8");
    },
  };
  return { ...reading, ...changesOf(parts) };
}

/** What a caller over TCP may do, or why it is not answered. */
function judge(call: Call, bearer: Bearer): "full" | "read" | Refusal {
  const { headers, method = "" } = call.env.incoming;
  const stranger = strangerOf({
    method,
    host: headers.host ?? null,
    origin: headers.origin ?? null,
    fetchSite: textHeader(headers["sec-fetch-site"]),
    fetchMode: textHeader(headers["sec-fetch-mode"]),
  });
  return stranger ?? bearer.judge(headers.authorization ?? null, nowMs());
}

/** A header that came twice is no value we know; it is kept, so that it is refused and not overlooked. */
function textHeader(value: string | readonly string[] | undefined): string | null {
  return value === undefined ? null : String(value);
}

function serviceAsked(call: Call): { readonly name: string; readonly network: string | null } {
  const name = call.req.param("name") ?? "";
  checkName(name);
  return { name, network: call.req.param("network") ?? call.req.query("network") ?? null };
}

async function resolve(call: Call, parts: AdminParts): Promise<Response> {
  const name = call.req.query("name") ?? "";
  const type = (call.req.query("type") ?? "A").toUpperCase();
  checkName(name);
  if (!/^[A-Z0-9]{1,10}$/.test(type)) {
    throw new Failure("usage", `type is "${type}"; expected a query type such as A, AAAA, SRV or PTR`);
  }
  const as = call.req.query("as") ?? null;
  const report = Promise.resolve(parts.resolve(name, type, as));
  return json(await within(report, RESOLVE_DEADLINE_MS, `resolving "${name}"`));
}

function events(call: Call, parts: AdminParts, followers: Followers): Response {
  const afterText = call.req.query("after") ?? "0";
  if (!/^\d{1,15}$/.test(afterText)) {
    throw new Failure("usage", `after is "${afterText}"; expected the number of an event`);
  }
  const afterId = Number(afterText);
  // Not for HEAD: it has no body, so its stream would be a connection that nobody reads.
  if (!wantsStream(call) || call.req.method === "HEAD") {
    return json(eventsAfter(parts.snapshot().events, afterId));
  }
  const lastEventId = call.req.header("last-event-id") ?? null;
  followers.follow({ lastEventId, afterId, headers: HEADERS }, call.env.outgoing);
  return RESPONSE_ALREADY_SENT;
}

function wantsStream(call: Call): boolean {
  const follow = call.req.query("follow");
  if (follow !== undefined) return follow !== "false" && follow !== "0";
  return (call.req.header("accept") ?? "").toLowerCase().includes("text/event-stream");
}

function missing(call: Call): Response {
  const { path, method } = call.req;
  const methods = routesAt(path).flatMap((route) =>
    route.method === "GET" ? ["GET", "HEAD"] : [route.method],
  );
  if (methods.length === 0) {
    const near = nearestRoute(path);
    const expected = near === null ? "expected a path such as /api/v1/status" : `did you mean ${near}?`;
    return problem(problemOf("not-found", `no route "${path}"; ${expected}`));
  }
  const allow = [...new Set([...methods, "OPTIONS"])].join(", ");
  if (method === "OPTIONS") return new Response(null, { status: 204, headers: { ...HEADERS, allow } });
  return problem(problemOf("usage", `method is ${method} for "${path}"; expected ${allow}`, 405), { allow });
}
