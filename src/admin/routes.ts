/**
 * Routes: where the admin API says what, as data.
 *
 * The server registers its handlers from this list (a route without one does not compile), the answer to an unknown
 * path names the nearest of these, the one to a wrong method says which there are, and an OpenAPI document can be made
 * from it. Paths with braces take parameters, as OpenAPI writes them.
 *
 * Pure.
 */

import { nearest } from "../base/nearest.ts";

/** One parameter of a route's path or query. */
export interface RouteParameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly required: boolean;
  readonly summary: string;
}

/**
 * One route. `response` names a type of the contract, `[]` behind it a list. `text` is plain text, `stream` a stream of
 * server-sent events, `file` a file of the dashboard, `document` an OpenAPI document.
 */
export interface Route {
  readonly id: string;
  readonly method: "GET" | "POST" | "DELETE";
  /** Parameters of the path in braces. */
  readonly path: string;
  readonly summary: string;
  readonly response: string;
  readonly request?: string;
  readonly parameters: readonly RouteParameter[];
  /** `read`: whoever may ask at all; `full`: who came through the unix socket, or has the admin token. */
  readonly access: "read" | "full";
}

const NAME = {
  name: "name",
  in: "path",
  required: true,
  summary: "service: name, name.network, network%2Fname, an alias",
} as const;
const MEMBER = {
  name: "name",
  in: "path",
  required: true,
  summary: "member: name, id, start of an id",
} as const;
const NETWORK_NAME = { name: "name", in: "path", required: true, summary: "network" } as const;
const ROLE = { name: "role", in: "path", required: true, summary: "worker or manager" } as const;
const NETWORK = {
  name: "network",
  in: "query",
  required: false,
  summary: "network of the service, where its name alone is ambiguous",
} as const;
const NETWORK_IN_PATH = { name: "network", in: "path", required: true, summary: "network" } as const;

function inQuery<N extends string>(name: N, summary: string) {
  return { name, in: "query", required: false, summary } as const;
}

/** Of lists that grow: as much at a time as is asked for, with a Link header to the next page. */
const PAGE = [
  inQuery("limit", "lines at most, 1 to 1000; all when left out"),
  inQuery("after", "cursor of the page, as the link to it has it"),
] as const;

/** What a row of the table may leave out: then it is a GET, which reads; anything else needs full rights. */
type Row = Omit<Route, "method" | "access" | "parameters"> &
  Partial<Pick<Route, "method" | "access" | "parameters">>;

const ROWS = [
  {
    id: "status",
    path: "/api/v1/status",
    summary: "this daemon",
    response: "StatusReport",
  },
  {
    id: "doctor",
    path: "/api/v1/doctor",
    summary: "what works on this host and what does not, with the remedy",
    response: "DoctorReport",
  },
  {
    id: "members",
    path: "/api/v1/members",
    summary: "members of the cluster",
    response: "MemberLine[]",
    parameters: PAGE,
  },
  {
    id: "member",
    path: "/api/v1/members/{name}",
    summary: "one member, with what runs there",
    response: "MemberDetail",
    parameters: [MEMBER],
  },
  {
    id: "services",
    path: "/api/v1/services",
    summary: "services",
    response: "ServiceLine[]",
    parameters: [inQuery("network", "only the services of this network"), ...PAGE],
  },
  {
    id: "service",
    path: "/api/v1/services/{name}",
    summary: "one service",
    response: "ServiceDetail",
    parameters: [NAME, NETWORK],
  },
  {
    id: "serviceInNetwork",
    path: "/api/v1/services/{network}/{name}",
    summary: "one service of a network",
    response: "ServiceDetail",
    parameters: [NETWORK_IN_PATH, NAME],
  },
  {
    id: "networks",
    path: "/api/v1/networks",
    summary: "overlay networks, and networks that services name",
    response: "NetworkLine[]",
    parameters: PAGE,
  },
  {
    id: "network",
    path: "/api/v1/networks/{name}",
    summary: "one network, with each host's slice of it",
    response: "NetworkDetail",
    parameters: [NETWORK_NAME],
  },
  {
    id: "createNetwork",
    method: "POST",
    path: "/api/v1/networks",
    summary: "make an overlay network; harmless when it is there just so",
    response: "NetworkResult",
    request: "NetworkRequest",
  },
  {
    id: "removeNetwork",
    method: "DELETE",
    path: "/api/v1/networks/{name}",
    summary: "remove an overlay network; refused while somebody is on it",
    response: "NetworkRemoval",
    parameters: [NETWORK_NAME, inQuery("force", "true to remove it though somebody is on it")],
  },
  {
    id: "explain",
    path: "/api/v1/explain/{name}",
    summary: "each replica of a service: in or out, why, since when, who says so",
    response: "Explanation",
    parameters: [NAME, NETWORK],
  },
  {
    id: "resolve",
    path: "/api/v1/resolve",
    summary: "what DNS would answer, and to whom",
    response: "ResolveReport",
    parameters: [
      { name: "name", in: "query", required: true, summary: "DNS name" },
      inQuery("type", "query type, A by default"),
      inQuery("as", "container (name or address) that asks; this host by default"),
    ],
  },
  {
    id: "events",
    path: "/api/v1/events",
    summary: "what happened; a stream for Accept: text/event-stream or ?follow",
    response: "EventLine[]",
    parameters: [
      inQuery("limit", "events at most, 1 to 1000; all that are kept when left out; not for a stream"),
      inQuery("after", "only events with a greater id"),
      inQuery("follow", "stream from here on (server-sent events, resumed by Last-Event-ID)"),
    ],
  },
  {
    id: "watch",
    path: "/api/v1/watch",
    summary:
      "the whole picture and then each change of it, as a stream of messages: picture, change, traffic",
    response: "stream",
  },
  {
    id: "traffic",
    path: "/api/v1/traffic",
    summary: "what passes: rates over the last second or so",
    response: "TrafficReport",
    parameters: [inQuery("scope", "host, this one alone (default), or cluster, all that answer in time")],
  },
  {
    id: "drains",
    path: "/api/v1/drains",
    summary: "replicas that are being taken out of traffic, and who has not applied it",
    response: "DrainLine[]",
    parameters: PAGE,
  },
  {
    id: "drain",
    method: "POST",
    path: "/api/v1/drains",
    summary: "take a replica out of traffic",
    response: "DrainResult",
    request: "DrainRequest",
  },
  {
    id: "drainMember",
    method: "POST",
    path: "/api/v1/members/{name}/drain",
    summary: "take all that a member runs out of traffic, now and later; or take that back",
    response: "NodeDrainResult",
    request: "NodeDrainRequest",
    parameters: [MEMBER],
  },
  {
    id: "leave",
    method: "POST",
    path: "/api/v1/leave",
    summary: "leave the cluster for good: drain all that runs here, say so, and end the daemon",
    response: "LeaveResult",
    request: "LeaveRequest",
  },
  {
    id: "handover",
    method: "POST",
    path: "/api/v1/handover",
    summary:
      "hand over to another daemon of this host; over the unix socket, as an upgrade to skein-handover",
    response: "text",
  },
  {
    id: "join",
    method: "POST",
    path: "/api/v1/join",
    summary: "join a cluster with a token; the daemon opens itself anew as its member",
    response: "JoinResult",
    request: "JoinRequest",
  },
  {
    id: "token",
    access: "full",
    path: "/api/v1/tokens/{role}",
    summary: "the token with which workers or managers join",
    response: "TokenReport",
    parameters: [ROLE],
  },
  {
    id: "rotateToken",
    method: "POST",
    path: "/api/v1/tokens/{role}",
    summary: "a new token in place of the old one; members stay members",
    response: "TokenReport",
    parameters: [ROLE],
  },
  {
    id: "remove",
    method: "DELETE",
    path: "/api/v1/members/{name}",
    summary: "remove a member for good: its certificate is refused from now on",
    response: "RemoveResult",
    parameters: [MEMBER],
  },
  {
    id: "backup",
    method: "POST",
    path: "/api/v1/authority/backup",
    summary: "the keys of the cluster's authority, encrypted with a passphrase",
    response: "BackupReport",
    request: "BackupRequest",
  },
  {
    id: "restore",
    method: "POST",
    path: "/api/v1/authority/restore",
    summary: "make this node a manager with a backup of the authority",
    response: "AuthorityReport",
    request: "RestoreRequest",
  },
  {
    id: "rotateAuthority",
    method: "POST",
    path: "/api/v1/authority/rotate",
    summary: "a new authority in place of the old one; members get new certificates by themselves",
    response: "AuthorityReport",
  },
  {
    id: "live",
    path: "/healthz",
    summary: "the daemon runs",
    response: "text",
  },
  {
    id: "ready",
    path: "/readyz",
    summary: "its view is complete; 503 until then",
    response: "text",
  },
  {
    id: "metrics",
    path: "/metrics",
    summary: "metrics in Prometheus' text format",
    response: "text",
  },
  {
    id: "openapi",
    path: "/api/v1/openapi.json",
    summary: "this API as an OpenAPI document",
    response: "document",
  },
  {
    id: "page",
    path: "/",
    summary: "the dashboard",
    response: "file",
  },
  {
    id: "asset",
    path: "/dashboard/{file}",
    summary: "a script, style or picture of the dashboard",
    response: "file",
    parameters: [{ name: "file", in: "path", required: true, summary: "as the page names it" }],
  },
] as const satisfies readonly Row[];

/** Id of a route; the server must have a handler for each. */
export type RouteId = (typeof ROWS)[number]["id"];

/** Every route, in the order in which a reader meets them. */
export const ROUTES: readonly (Route & { readonly id: RouteId })[] = ROWS.map(
  (row: Row & { id: RouteId }) => {
    const { method = "GET", access = method === "GET" ? "read" : "full", parameters = [] } = row;
    return { ...row, method, access, parameters };
  },
);

/** A route whose path fits, and what stands there for its parameters. */
export interface Match {
  readonly route: (typeof ROUTES)[number];
  readonly params: Readonly<Record<string, string>>;
}

/** Routes whose path fits, whatever their method. `path` as in a URL: its parts are decoded one by one. */
export function matchesAt(path: string): readonly Match[] {
  const parts = path.split("/").map(decoded);
  return ROUTES.flatMap((route) => {
    const wanted = route.path.split("/");
    if (wanted.length !== parts.length) return [];
    if (!wanted.every((part, at) => fits(part, parts[at] ?? ""))) return [];
    const named = wanted.flatMap((part, at) =>
      isParameter(part) ? [[part.slice(1, -1), parts[at] ?? ""]] : [],
    );
    return [{ route, params: Object.fromEntries(named) as Readonly<Record<string, string>> }];
  });
}

/** The same without their parameters. */
export function routesAt(path: string): readonly Route[] {
  return matchesAt(path).map(({ route }) => route);
}

/** The path of the route that a caller probably meant, a forgotten `/api/v1` included; null when none is near. */
export function nearestRoute(path: string): string | null {
  const paths = ROUTES.map((route) => route.path);
  return nearest(path, paths) ?? nearest(`/api/v1${path}`, paths);
}

function fits(wanted: string, part: string): boolean {
  return isParameter(wanted) ? part !== "" : wanted === part;
}

function isParameter(part: string): boolean {
  return part.startsWith("{");
}

/** What is no encoding of anything stands for itself. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
