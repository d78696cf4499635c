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

/** One route. `response` names a type of this file, `[]` behind it a list; `text` is plain text. */
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

/** Every route, in the order in which a reader meets them. */
export const ROUTES = [
  {
    id: "status",
    method: "GET",
    access: "read",
    path: "/api/v1/status",
    summary: "this daemon",
    response: "StatusReport",
    parameters: [],
  },
  {
    id: "doctor",
    method: "GET",
    access: "read",
    path: "/api/v1/doctor",
    summary: "what works on this host and what does not, with the remedy",
    response: "DoctorReport",
    parameters: [],
  },
  {
    id: "members",
    method: "GET",
    access: "read",
    path: "/api/v1/members",
    summary: "members of the cluster",
    response: "MemberLine[]",
    parameters: [],
  },
  {
    id: "member",
    method: "GET",
    access: "read",
    path: "/api/v1/members/{name}",
    summary: "one member, with what runs there",
    response: "MemberDetail",
    parameters: [MEMBER],
  },
  {
    id: "services",
    method: "GET",
    access: "read",
    path: "/api/v1/services",
    summary: "services",
    response: "ServiceLine[]",
    parameters: [inQuery("network", "only the services of this network")],
  },
  {
    id: "service",
    method: "GET",
    access: "read",
    path: "/api/v1/services/{name}",
    summary: "one service",
    response: "ServiceDetail",
    parameters: [NAME, NETWORK],
  },
  {
    id: "serviceInNetwork",
    method: "GET",
    access: "read",
    path: "/api/v1/services/{network}/{name}",
    summary: "one service of a network",
    response: "ServiceDetail",
    parameters: [NETWORK_IN_PATH, NAME],
  },
  {
    id: "networks",
    method: "GET",
    access: "read",
    path: "/api/v1/networks",
    summary: "overlay networks, and networks that services name",
    response: "NetworkLine[]",
    parameters: [],
  },
  {
    id: "network",
    method: "GET",
    access: "read",
    path: "/api/v1/networks/{name}",
    summary: "one network, with each host's slice of it",
    response: "NetworkDetail",
    parameters: [NETWORK_NAME],
  },
  {
    id: "createNetwork",
    method: "POST",
    access: "full",
    path: "/api/v1/networks",
    summary: "make an overlay network; harmless when it is there just so",
    response: "NetworkResult",
    request: "NetworkRequest",
    parameters: [],
  },
  {
    id: "removeNetwork",
    method: "DELETE",
    access: "full",
    path: "/api/v1/networks/{name}",
    summary: "remove an overlay network; refused while somebody is on it",
    response: "NetworkRemoval",
    parameters: [NETWORK_NAME, inQuery("force", "true to remove it though somebody is on it")],
  },
  {
    id: "explain",
    method: "GET",
    access: "read",
    path: "/api/v1/explain/{name}",
    summary: "each replica of a service: in or out, why, since when, who says so",
    response: "Explanation",
    parameters: [NAME, NETWORK],
  },
  {
    id: "resolve",
    method: "GET",
    access: "read",
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
    method: "GET",
    access: "read",
    path: "/api/v1/events",
    summary: "what happened; a stream for Accept: text/event-stream or ?follow",
    response: "EventLine[]",
    parameters: [
      inQuery("after", "only events with a greater id"),
      inQuery("follow", "stream from here on (server-sent events, resumed by Last-Event-ID)"),
    ],
  },
  {
    id: "drain",
    method: "POST",
    access: "full",
    path: "/api/v1/drains",
    summary: "take a replica out of traffic",
    response: "DrainResult",
    request: "DrainRequest",
    parameters: [],
  },
  {
    id: "leave",
    method: "POST",
    access: "full",
    path: "/api/v1/leave",
    summary: "leave the cluster for good: drain all that runs here, say so, and end the daemon",
    response: "LeaveResult",
    request: "LeaveRequest",
    parameters: [],
  },
  {
    id: "handover",
    method: "POST",
    access: "full",
    path: "/api/v1/handover",
    summary:
      "hand over to another daemon of this host; over the unix socket, as an upgrade to skein-handover",
    response: "text",
    parameters: [],
  },
  {
    id: "join",
    method: "POST",
    access: "full",
    path: "/api/v1/join",
    summary: "join a cluster with a token; the daemon opens itself anew as its member",
    response: "JoinResult",
    request: "JoinRequest",
    parameters: [],
  },
  {
    id: "token",
    method: "GET",
    access: "full",
    path: "/api/v1/tokens/{role}",
    summary: "the token with which workers or managers join",
    response: "TokenReport",
    parameters: [ROLE],
  },
  {
    id: "rotateToken",
    method: "POST",
    access: "full",
    path: "/api/v1/tokens/{role}",
    summary: "a new token in place of the old one; members stay members",
    response: "TokenReport",
    parameters: [ROLE],
  },
  {
    id: "remove",
    method: "DELETE",
    access: "full",
    path: "/api/v1/members/{name}",
    summary: "remove a member for good: its certificate is refused from now on",
    response: "RemoveResult",
    parameters: [MEMBER],
  },
  {
    id: "backup",
    method: "POST",
    access: "full",
    path: "/api/v1/authority/backup",
    summary: "the keys of the cluster's authority, encrypted with a passphrase",
    response: "BackupReport",
    request: "BackupRequest",
    parameters: [],
  },
  {
    id: "restore",
    method: "POST",
    access: "full",
    path: "/api/v1/authority/restore",
    summary: "make this node a manager with a backup of the authority",
    response: "AuthorityReport",
    request: "RestoreRequest",
    parameters: [],
  },
  {
    id: "rotateAuthority",
    method: "POST",
    access: "full",
    path: "/api/v1/authority/rotate",
    summary: "a new authority in place of the old one; members get new certificates by themselves",
    response: "AuthorityReport",
    parameters: [],
  },
  {
    id: "live",
    method: "GET",
    access: "read",
    path: "/healthz",
    summary: "the daemon runs",
    response: "text",
    parameters: [],
  },
  {
    id: "ready",
    method: "GET",
    access: "read",
    path: "/readyz",
    summary: "its view is complete; 503 until then",
    response: "text",
    parameters: [],
  },
  {
    id: "metrics",
    method: "GET",
    access: "read",
    path: "/metrics",
    summary: "metrics in Prometheus' text format",
    response: "text",
    parameters: [],
  },
] as const satisfies readonly Route[];

/** Id of a route; the server must have a handler for each. */
export type RouteId = (typeof ROUTES)[number]["id"];

/** Routes whose path fits, whatever their method. */
export function routesAt(path: string): readonly Route[] {
  const parts = path.split("/");
  return ROUTES.filter((route) => {
    const wanted = route.path.split("/");
    return wanted.length === parts.length && wanted.every((part, at) => fits(part, parts[at] ?? ""));
  });
}

/** The path of the route that a caller probably meant, a forgotten `/api/v1` included; null when none is near. */
export function nearestRoute(path: string): string | null {
  const paths = ROUTES.map((route) => route.path);
  return nearest(path, paths) ?? nearest(`/api/v1${path}`, paths);
}

function fits(wanted: string, part: string): boolean {
  return wanted.startsWith("{") ? part !== "" : wanted === part;
}
