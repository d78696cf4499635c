/**
 * App: the admin API as one function that answers a request.
 *
 * Every route of routes.ts has a handler here or in changes.ts, and the compiler misses one that is forgotten. The same
 * app stands behind both doors; at the TCP one it is asked first whether the caller may be answered, and may have what
 * it wants. All errors leave as problems (RFC 9457): a Failure in its own words, anything else as a 500 that tells
 * nothing but goes to the log, for it is our bug. Whatever an answer waits for has a deadline.
 *
 * Touches: requests and responses; the clock.
 */

import type { IncomingMessage, ServerResponse } from "node:http";

import { Failure, textOf } from "../base/failure.ts";
import { serviceKey } from "../model/ids.ts";
import { nowMs } from "../runtime/clock.ts";
import { outcomeWithin } from "../runtime/deadline.ts";
import type { Log } from "../runtime/log.ts";

import { Full, HEADERS, json, problem, text, valueOf, within, type Answer } from "./answers.ts";
import { asset } from "./assets.ts";
import { Bearer } from "./bearer.ts";
import { callOf, headerOf, paramOf, queryOf, send, type Call } from "./call.ts";
import { changesOf, checkName, TooLarge, type ChangeId, type Commands } from "./changes.ts";
import { INTERNAL, problemOf, type Explanation, type ResolveReport } from "./contract.ts";
import type { DrainLine, TrafficReport } from "./contract-live.ts";
import { diagnose, type DoctorFacts } from "./doctor.ts";
import { drainsOf } from "./drains.ts";
import type { Followers } from "./follow.ts";
import { strangerOf, TRESPASS, type Refusal } from "./guard.ts";
import { eventsAfter, explain, memberOf, membersOf, serviceOf, servicesOf, statusOf } from "./handlers.ts";
import { networkOf, networksOf } from "./networks.ts";
import { pageOf, sizeOf } from "./pages.ts";
import { matchesAt, nearestRoute, type Match, type RouteId } from "./routes.ts";
import type { Watchers } from "./watch.ts";

/** What the daemon gives the admin API to tell and to do. */
export interface AdminParts extends Commands {
  /** What DNS would answer; `as` is a container's name or address, null for this host. May throw Failure. */
  readonly resolve: (name: string, type: string, as: string | null) => ResolveReport | Promise<ResolveReport>;
  /** Settles when this host listens at these addresses of services, or cannot; at once where it does not mean to. */
  readonly listening: (addresses: readonly string[]) => Promise<void>;
  /** What `doctor` looks at beside the snapshot. */
  readonly doctorFacts: () => Promise<DoctorFacts>;
  readonly metricsText: () => Promise<string>;
  /** Rates over the last second or so, of this host or of all that answer in time. May throw Failure. */
  readonly traffic: (scope: TrafficReport["scope"]) => Promise<TrafficReport>;
  /** The OpenAPI document of all this. */
  readonly openapi: () => Promise<unknown>;
  /** Folder of the built dashboard; null where there is none. */
  readonly dashboardDir: string | null;
  /** Told of every caller of the TCP listener that is refused. */
  readonly onRefused: (refusal: Refusal) => void;
  readonly log: Log;
}

/** Which door a caller came through: the unix socket may do all; over TCP it depends on who asks, and with what. */
export type Door = { readonly kind: "socket" } | { readonly kind: "tcp"; readonly token: string | null };

/** What is known is told then all the same. */
const LISTENING_DEADLINE_MS = 1800;
const METRICS_DEADLINE_MS = 5000;
const RESOLVE_DEADLINE_MS = 5000;
const DOCTOR_DEADLINE_MS = 5000;
/** Above the window of a first answer and the deadline that other hosts have. */
const TRAFFIC_DEADLINE_MS = 5000;

/** Those who keep a connection open. */
export interface Streams {
  readonly followers: Followers;
  readonly watchers: Watchers;
}

type Handler = (call: Call) => Answer | Promise<Answer>;

/** Answers a request; never rejects. */
export type App = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

/** Makes the app for one door. */
export function buildApp(parts: AdminParts, streams: Streams, door: Door): App {
  const refuse = (refusal: Refusal): Answer => {
    parts.onRefused(refusal);
    const { status, detail } = refusal;
    return problem(problemOf("not-allowed", detail, status), MORE_BY_STATUS[status]);
  };
  const bearer = new Bearer(door.kind === "tcp" ? door.token : null);
  const handlers = handlersOf(parts, { ...streams, isAtPort: door.kind === "tcp" });
  const answerTo: Handler = (call) => {
    const rights = door.kind === "socket" ? "full" : judge(call, bearer);
    if (typeof rights !== "string") return refuse(rights);
    const matches = matchesAt(call.url.pathname);
    const method = call.method === "HEAD" ? "GET" : call.method;
    const match = matches.find(({ route }) => route.method === method);
    if (match === undefined) return missing(call, matches);
    if (match.route.access === "full" && rights !== "full") return refuse(TRESPASS);
    return handlers[match.route.id]({ ...call, params: match.params });
  };
  const failed = (thrown: unknown, { url }: IncomingMessage): Answer => {
    if (thrown instanceof TooLarge || thrown instanceof Full) return thrown.answer();
    if (thrown instanceof Failure) return problem(problemOf(thrown.code, thrown.message));
    parts.log.error("admin request failed", { path: (url ?? "").replace(/\?.*/, ""), error: textOf(thrown) });
    return problem(INTERNAL);
  };
  return async (incoming, outgoing) => {
    const asked = { incoming, outgoing };
    try {
      send(await answerTo(callOf(incoming, outgoing)), asked);
    } catch (thrown) {
      send(failed(thrown, incoming), asked);
    }
  };
}

/** What a client needs to do better (RFC 9110 11.6.1, 10.2.3). */
const MORE_BY_STATUS: Readonly<Record<Refusal["status"], Readonly<Record<string, string>>>> = {
  401: { "www-authenticate": 'Bearer realm="skein"' },
  403: {},
  429: { "retry-after": "1" },
};

interface StreamsHere extends Streams {
  readonly isAtPort: boolean;
}

function handlersOf(parts: AdminParts, streams: StreamsHere): Readonly<Record<RouteId, Handler>> {
  const onceServed = async (look: () => Explanation): Promise<Answer> => {
    const { vip, vip6 } = look();
    await untilServed(parts, [vip, vip6]);
    // Anew: meanwhile replicas may have come and gone.
    return json(look());
  };
  const service: Handler = async (call) => {
    const { name, network } = serviceAsked(call);
    return await onceServed(() => valueOf(serviceOf(parts.snapshot(), name, network)));
  };
  const reading: Readonly<Record<Exclude<RouteId, ChangeId>, Handler>> = {
    status: () => json(statusOf(parts.snapshot())),
    async doctor() {
      const facts = await within(parts.doctorFacts(), DOCTOR_DEADLINE_MS, "looking at this host");
      return json(diagnose(parts.snapshot(), facts));
    },
    members: (call) => paged(call, membersOf(parts.snapshot()), ({ name, id }) => `${name}\0${id}`),
    member(call) {
      const name = paramOf(call, "name");
      checkName(name);
      return json(valueOf(memberOf(parts.snapshot(), name)));
    },
    services(call) {
      const lines = servicesOf(parts.snapshot(), queryOf(call, "network"));
      return paged(call, lines, ({ network, name }) => serviceKey(network, name));
    },
    service,
    serviceInNetwork: service,
    networks: (call) => paged(call, networksOf(parts.snapshot().view), ({ name }) => name),
    network(call) {
      const name = paramOf(call, "name");
      checkName(name);
      return json(valueOf(networkOf(parts.snapshot().view, name)));
    },
    async explain(call) {
      const { name, network } = serviceAsked(call);
      return await onceServed(() => valueOf(explain(parts.snapshot(), name, network)));
    },
    resolve: (call) => resolve(call, parts),
    events: (call) => events(call, parts, streams),
    watch: (call) => watch(call, streams),
    traffic: (call) => traffic(call, parts),
    drains(call) {
      const keyOf = ({ service, replica, node }: DrainLine): string => [service, replica, node].join("\0");
      return paged(call, drainsOf(parts.snapshot().view), keyOf);
    },
    openapi: async () => json(await parts.openapi()),
    page: (call) => assetAsked(call, parts, "index.html"),
    asset: (call) => assetAsked(call, parts, paramOf(call, "file")),
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
  const { headers } = call.incoming;
  const stranger = strangerOf({
    method: call.method,
    host: headers.host ?? null,
    origin: headers.origin ?? null,
    fetchSite: headerOf(call, "sec-fetch-site"),
    fetchMode: headerOf(call, "sec-fetch-mode"),
  });
  return stranger ?? bearer.judge(headers.authorization ?? null, nowMs());
}

function serviceAsked(call: Call): { readonly name: string; readonly network: string | null } {
  const name = paramOf(call, "name");
  checkName(name);
  return { name, network: call.params["network"] ?? queryOf(call, "network") };
}

async function resolve(call: Call, parts: AdminParts): Promise<Answer> {
  const name = queryOf(call, "name") ?? "";
  const type = (queryOf(call, "type") ?? "A").toUpperCase();
  checkName(name);
  if (!/^[A-Z0-9]{1,10}$/.test(type)) {
    throw new Failure("usage", `type is "${type}"; expected a query type such as A, AAAA, SRV or PTR`);
  }
  const as = queryOf(call, "as");
  const asked = Promise.resolve(parts.resolve(name, type, as));
  const report = await within(asked, RESOLVE_DEADLINE_MS, `resolving "${name}"`);
  const told = report.answers.map(({ data }) => data);
  await untilServed(parts, told);
  return json(report);
}

/** Who is told of a service that is ready may use it in the next moment; DNS waits likewise. */
async function untilServed(
  { listening }: Pick<AdminParts, "listening">,
  told: readonly (string | null | undefined)[],
): Promise<void> {
  const addresses = told.filter((address) => typeof address === "string");
  await outcomeWithin(listening(addresses), LISTENING_DEADLINE_MS);
}

/** A list, or the page of it that is asked for. `keyOf` as in pageOf. */
function paged<T>(call: Call, lines: readonly T[], keyOf: (line: T) => string): Answer {
  const asked = { limit: queryOf(call, "limit"), after: queryOf(call, "after") };
  const page = valueOf(pageOf(lines, keyOf, asked));
  return linked(call, page.lines, page.next);
}

/** Lines with a link to those behind them (RFC 8288), which is this question with another cursor. */
function linked(call: Call, lines: readonly unknown[], after: string | null): Answer {
  const answer = json(lines);
  if (after === null) return answer;
  const { pathname, searchParams } = new URL(call.url);
  searchParams.set("after", after);
  const link = `<${pathname}?${searchParams.toString()}>; rel="next"`;
  return { ...answer, headers: { ...answer.headers, link } };
}

function events(call: Call, parts: AdminParts, { followers, isAtPort }: StreamsHere): Answer {
  const afterText = queryOf(call, "after") ?? "0";
  if (!/^\d{1,15}$/.test(afterText)) {
    throw new Failure("usage", `after is "${afterText}"; expected the number of an event`);
  }
  const afterId = Number(afterText);
  // No stream for HEAD: it has no body, so it would be a connection that nobody reads.
  if (wantsStream(call) && call.method === "HEAD") {
    followers.admit({ isAtPort });
    return text("", "text/event-stream");
  }
  if (!wantsStream(call)) {
    const lines = eventsAfter(parts.snapshot().events, afterId);
    const page = lines.slice(0, valueOf(sizeOf(queryOf(call, "limit"))));
    return linked(call, page, page.length < lines.length ? String(page.at(-1)?.id) : null);
  }
  const lastEventId = headerOf(call, "last-event-id");
  followers.follow({ lastEventId, afterId, headers: HEADERS, isAtPort }, call.outgoing);
  return { kind: "stream" };
}

function watch(call: Call, { watchers, isAtPort }: StreamsHere): Answer {
  if (call.method === "HEAD") {
    watchers.admit({ isAtPort });
    return text("", "text/event-stream");
  }
  watchers.watch({ headers: HEADERS, isAtPort }, call.outgoing);
  return { kind: "stream" };
}

async function traffic(call: Call, parts: AdminParts): Promise<Answer> {
  const scope = queryOf(call, "scope") ?? "host";
  if (scope !== "host" && scope !== "cluster")
    throw new Failure("usage", `scope is "${scope}"; expected host or cluster`);
  return json(await within(parts.traffic(scope), TRAFFIC_DEADLINE_MS, "measuring traffic"));
}

function assetAsked(call: Call, { dashboardDir }: AdminParts, name: string): Promise<Answer> {
  const known = headerOf(call, "if-none-match");
  return asset({ folder: dashboardDir, name, known, encodings: headerOf(call, "accept-encoding") });
}

function wantsStream(call: Call): boolean {
  const follow = queryOf(call, "follow");
  if (follow !== null) return follow !== "false" && follow !== "0";
  return (headerOf(call, "accept") ?? "").toLowerCase().includes("text/event-stream");
}

function missing({ method, url }: Call, matches: readonly Match[]): Answer {
  const path = url.pathname;
  const methods = matches.flatMap(({ route }) => (route.method === "GET" ? ["GET", "HEAD"] : [route.method]));
  if (methods.length === 0) {
    const near = nearestRoute(path);
    const expected = near === null ? "expected a path such as /api/v1/status" : `did you mean ${near}?`;
    return problem(problemOf("not-found", `no route "${path}"; ${expected}`));
  }
  const allow = [...new Set([...methods, "OPTIONS"])].join(", ");
  if (method === "OPTIONS") return { kind: "whole", status: 204, headers: { ...HEADERS, allow }, body: "" };
  return problem(problemOf("usage", `method is ${method} for "${path}"; expected ${allow}`, 405), { allow });
}
