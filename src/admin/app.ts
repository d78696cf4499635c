/**
 * App: the admin API as one function from request to answer.
 *
 * Every route of routes.ts has a handler here, and the compiler misses one that is forgotten. The same app stands
 * behind both doors; `rights` says which door it is, and only the TCP one needs the guard. All errors leave as problems
 * (RFC 9457): a Failure in its own words, anything else as a 500 that tells nothing but goes to the log, for it is our
 * bug. Whatever an answer waits for has a deadline.
 *
 * Touches: requests and responses; timers of the deadlines.
 */

import type { IncomingMessage } from "node:http";

import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono, type Context } from "hono";

import { Failure, textOf, type Result } from "../base/failure.ts";
import type { ReplicaId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Log } from "../runtime/log.ts";

import {
  INTERNAL,
  problemOf,
  type DrainRequest,
  type DrainResult,
  type LeaveResult,
  type Problem,
  type ResolveReport,
} from "./contract.ts";
import type { Followers } from "./follow.ts";
import { refusalOf } from "./guard.ts";
import {
  eventsAfter,
  explain,
  memberOf,
  membersOf,
  networksOf,
  serviceOf,
  servicesOf,
  statusOf,
  type Snapshot,
} from "./handlers.ts";
import { findReplica } from "./lookup.ts";
import { nearestRoute, ROUTES, routesAt, type RouteId } from "./routes.ts";

/** What the daemon gives the admin API to tell and to do. */
export interface AdminParts {
  readonly snapshot: () => Snapshot;
  /** What DNS would answer; `as` is a container's name or address, null for this host. May throw Failure. */
  readonly resolve: (name: string, type: string, as: string | null) => ResolveReport | Promise<ResolveReport>;
  /** Begins a drain; with `wait` settles when all live members applied it or its own cap (10 s) passed. */
  readonly drain: (replica: ReplicaId, wait: boolean) => Promise<DrainResult>;
  /** Takes a drain back; settles when it is. */
  readonly undrain: (replica: ReplicaId) => Promise<DrainResult>;
  /** Leaves the cluster for good; settles when farewell is said, and then the daemon ends. */
  readonly leave: () => Promise<LeaveResult>;
  readonly metricsText: () => Promise<string>;
  readonly log: Log;
}

/** Which door a caller came through: the unix socket may do all, TCP may read. */
export type Rights = "full" | "read";

const METRICS_DEADLINE_MS = 5000;
const RESOLVE_DEADLINE_MS = 5000;
/** Above the 10 s after which a waiting drain tells who is missing. */
const DRAIN_DEADLINE_MS = 12_000;
/** Above the 6 s within which a daemon has drained and said farewell. */
const LEAVE_DEADLINE_MS = 10_000;

/** No answer may be framed, kept, guessed at or read by another site. */
const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

interface Env {
  readonly Bindings: HttpBindings;
}
type Call = Context<Env>;
type Handler = (call: Call) => Response | Promise<Response>;

/** Makes the app for one door. */
export function buildApp(parts: AdminParts, followers: Followers, rights: Rights): Hono<Env> {
  const app = new Hono<Env>();
  if (rights === "read") {
    app.use(async (call, next) => {
      const refusal = guardCall(call);
      return refusal === null ? next() : problem(problemOf("not-allowed", refusal));
    });
  }
  const handlers = handlersOf(parts, followers);
  for (const route of ROUTES) {
    app.on(route.method, route.path.replace(/\{(\w+)\}/g, ":$1"), handlers[route.id]);
  }
  app.notFound(missing);
  app.onError((error, call) => {
    if (error instanceof Failure) return problem(problemOf(error.code, error.message));
    parts.log.error("admin request failed", { path: call.req.path, error: textOf(error) });
    return problem(INTERNAL);
  });
  return app;
}

/** The problem for a request that could not even be read as one (a bad Host or target). */
export function unreadable(thrown: unknown): Response {
  return problem(problemOf("usage", `request is malformed: ${textOf(thrown)}`));
}

function handlersOf(parts: AdminParts, followers: Followers): Readonly<Record<RouteId, Handler>> {
  const service: Handler = (call) => {
    const { name, network } = serviceAsked(call);
    return json(valueOf(serviceOf(parts.snapshot(), name, network)));
  };
  return {
    status: () => json(statusOf(parts.snapshot())),
    members: () => json(membersOf(parts.snapshot())),
    member(call) {
      const name = call.req.param("name") ?? "";
      checkName(name);
      return json(valueOf(memberOf(parts.snapshot(), name)));
    },
    services: (call) => json(servicesOf(parts.snapshot(), call.req.query("network") ?? null)),
    service,
    serviceInNetwork: service,
    networks: () => json(networksOf(parts.snapshot())),
    explain(call) {
      const { name, network } = serviceAsked(call);
      return json(valueOf(explain(parts.snapshot(), name, network)));
    },
    resolve: (call) => resolve(call, parts),
    events: (call) => events(call, parts, followers),
    drain: (call) => drain(call, parts),
    leave: async () => json(await within(parts.leave(), LEAVE_DEADLINE_MS, "leaving")),
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
}

function guardCall(call: Call): string | null {
  const { headers, method } = call.env.incoming;
  return refusalOf({
    method: method ?? "",
    host: headers.host ?? null,
    origin: headers.origin ?? null,
    fetchSite: textHeader(headers["sec-fetch-site"]),
    fetchMode: textHeader(headers["sec-fetch-mode"]),
  });
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

async function drain(call: Call, parts: AdminParts): Promise<Response> {
  const body = await readBody(call.env.incoming);
  if (body === null) {
    const detail = `body is larger than ${LIMITS.adminBodyBytes} bytes; expected a drain request`;
    // Not `connection: close`: a socket that is closed while the caller still writes loses it the answer. The adapter
    // reads on for half a second and throws away what comes, then closes.
    return problem(problemOf("usage", detail, 413));
  }
  const request = drainRequestFrom(body);
  const replica = valueOf(findReplica(parts.snapshot().view, request.replica));
  const begun = request.undo === true ? parts.undrain(replica.id) : parts.drain(replica.id, request.wait);
  const result = await within(begun, DRAIN_DEADLINE_MS, `draining "${replica.id}"`);
  return json(result, result.applied ? 200 : 202);
}

function drainRequestFrom(body: string): DrainRequest {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    throw new Failure("usage", 'body is not JSON; expected {"replica": "web-1"}', { cause });
  }
  const fields: { readonly replica?: unknown; readonly wait?: unknown; readonly undo?: unknown } =
    typeof value === "object" && value !== null ? value : {};
  const { replica, wait = false, undo = false } = fields;
  if (typeof replica !== "string" || typeof wait !== "boolean" || typeof undo !== "boolean") {
    throw new Failure("usage", 'body does not fit; expected {"replica": "web-1", "wait": true or false}');
  }
  checkName(replica);
  return { replica, wait, undo };
}

/** The body as text; null as soon as it is too large, with the rest left unread. */
async function readBody(incoming: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    // Not a plain `for await`: leaving it would destroy the socket before the answer is out.
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      const bytes = Buffer.from(chunk as Uint8Array);
      sizeBytes += bytes.length;
      if (sizeBytes > LIMITS.adminBodyBytes) return null;
      chunks.push(bytes);
    }
  } catch (cause) {
    // The caller went away or was too slow: its doing, not a bug of ours for the log.
    throw new Failure("usage", "body broke off; expected all of it", { cause });
  }
  return Buffer.concat(chunks).toString("utf8");
}

function checkName(name: string): void {
  if (name !== "" && name.length <= LIMITS.nameBytes + 1) return;
  throw new Failure("usage", `name has ${name.length} characters; expected 1 to ${LIMITS.nameBytes}`);
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

function json(value: unknown, status = 200): Response {
  const headers = { ...HEADERS, "content-type": "application/json" };
  return new Response(`${JSON.stringify(value)}\n`, { status, headers });
}

function text(body: string, type: string): Response {
  return new Response(body, { headers: { ...HEADERS, "content-type": type } });
}

function problem(told: Problem, more: Readonly<Record<string, string>> = {}): Response {
  const headers = { ...HEADERS, ...more, "content-type": "application/problem+json" };
  return new Response(`${JSON.stringify(told)}\n`, { status: told.status, headers });
}

function valueOf<T>(result: Result<T>): T {
  if (!result.ok) throw result.failure;
  return result.value;
}

/** What `promise` brings, or Failure `timeout` when `deadlineMs` pass first; its late end is then ignored. */
async function within<T>(promise: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  const { promise: deadline, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new Failure("timeout", `${what} took more than ${deadlineMs} ms; expected an answer by then`));
  }, deadlineMs);
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
