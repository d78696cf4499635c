/**
 * Match: which HTTP route does a request belong to?
 *
 * An exact host outranks a wildcard, a longer wildcard suffix a shorter one, and within a host the longest path prefix
 * wins; a prefix ends at a segment boundary (`/api` takes `/api` and `/api/x`, not `/apiary`). A host whose paths do
 * not fit falls through to the next wildcard, so a request is refused only when no route covers it.
 *
 * Lookups cost the labels of the host and the segments of the deepest route, not the number of routes: a host may
 * hold thousands, and a client may send a path of thousands of slashes. Paths are compared byte for byte: what an
 * upstream makes of `%2e` or `..` is its own affair.
 *
 * Pure.
 */

import type { IngressRoute } from "../routes.ts";

/** Routes indexed for lookup; made by `indexRoutes`. */
export interface RouteIndex {
  readonly exact: ReadonlyMap<string, HostRoutes>;
  /** By suffix, without the leading `*.`. */
  readonly wildcard: ReadonlyMap<string, HostRoutes>;
}

interface HostRoutes {
  readonly routeByPath: Map<string, IngressRoute>;
  /** Segments of the deepest path: longer prefixes of a request's path need no look. */
  depth: number;
}

/** Indexes routes; of two with one host and path the first stays. */
export function indexRoutes(routes: readonly IngressRoute[]): RouteIndex {
  const exact = new Map<string, HostRoutes>();
  const wildcard = new Map<string, HostRoutes>();
  for (const route of routes) {
    const isWildcard = route.host.startsWith("*.");
    const byHost = isWildcard ? wildcard : exact;
    const host = isWildcard ? route.host.slice(2) : route.host;
    const known = byHost.get(host) ?? { routeByPath: new Map<string, IngressRoute>(), depth: 0 };
    byHost.set(host, known);
    if (!known.routeByPath.has(route.path)) known.routeByPath.set(route.path, route);
    known.depth = Math.max(known.depth, depthOf(route.path));
  }
  return { exact, wildcard };
}

/**
 * The route for a request.
 *
 * @param host    the Host header's value (RFC 9110 7.2), with or without a port
 * @param target  the request target in origin form (RFC 9112 3.2.1), query included; `*` counts as `/`
 * @returns null when no route covers the request
 */
export function matchRoute(index: RouteIndex, host: string, target: string): IngressRoute | null {
  const name = normalHost(host);
  const path = pathOf(target);
  const exact = index.exact.get(name);
  const found = exact === undefined ? null : longestPrefix(exact, path);
  if (found !== null) return found;
  for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1)) {
    const wildcard = dot === 0 ? undefined : index.wildcard.get(name.slice(dot + 1));
    const route = wildcard === undefined ? null : longestPrefix(wildcard, path);
    if (route !== null) return route;
  }
  return null;
}

/** A Host header's value as routes write hosts: lower case, without port and closing dot. */
export function normalHost(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
}

function pathOf(target: string): string {
  const end = target.indexOf("?");
  const path = end === -1 ? target : target.slice(0, end);
  return path.startsWith("/") ? path : "/";
}

function longestPrefix(routes: HostRoutes, path: string): IngressRoute | null {
  let prefix = firstSegments(path, routes.depth);
  while (prefix !== "") {
    const route = routes.routeByPath.get(prefix);
    if (route !== undefined) return route;
    prefix = prefix.slice(0, prefix.lastIndexOf("/"));
  }
  return routes.routeByPath.get("/") ?? null;
}

/** `/a/b/c` cut to its first `count` segments. */
function firstSegments(path: string, count: number): string {
  let end = 0;
  for (let segments = 0; segments < count; segments += 1) {
    const next = path.indexOf("/", end + 1);
    if (next === -1) return path;
    end = next;
  }
  return path.slice(0, end);
}

function depthOf(path: string): number {
  return path === "/" ? 0 : path.split("/").length - 1;
}
