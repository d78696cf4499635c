/**
 * Guard: may this caller of the TCP listener be answered?
 *
 * Loopback keeps other hosts out, not web pages: a page in a browser on this host can call 127.0.0.1, and a page whose
 * name was made to point here (DNS rebinding) can even read the answer. Both betray themselves: the first by Origin or
 * Sec-Fetch-Site, the second by the name in Host. Programs send neither header and a loopback Host. What changes
 * something needs the unix socket, whose file mode says who may.
 *
 * Pure.
 */

import { isLoopback } from "../base/ip.ts";

/** What the guard looks at; header values as received, null where there is none. */
export interface Caller {
  readonly method: string;
  readonly host: string | null;
  readonly origin: string | null;
  /** Sec-Fetch-Site and Sec-Fetch-Mode (W3C Fetch Metadata): browsers set them, pages cannot. */
  readonly fetchSite: string | null;
  readonly fetchMode: string | null;
}

/** Why the caller is refused, as the detail of a 403; null when it may be answered. */
export function refusalOf(caller: Caller): string | null {
  if (!isLoopbackHost(caller.host)) {
    return `host is "${caller.host ?? ""}"; expected localhost or a loopback address`;
  }
  if (caller.origin !== null && caller.origin.toLowerCase() !== `http://${caller.host ?? ""}`.toLowerCase()) {
    return `origin is "${caller.origin}"; expected a call from no other site`;
  }
  if (isForeignFetch(caller)) return "call comes from another site; expected one from no other site";
  if (!["GET", "HEAD", "OPTIONS"].includes(caller.method)) {
    return `${caller.method} over TCP; expected the unix socket, since TCP callers may only read`;
  }
  return null;
}

/** Links from other pages to us are harmless and useful; calls of their scripts and images are neither. */
function isForeignFetch(caller: Caller): boolean {
  if (caller.fetchSite === null || ["same-origin", "none"].includes(caller.fetchSite)) return false;
  return !(caller.fetchMode === "navigate" && caller.method === "GET");
}

/** Not a check of the port: rebinding cannot change it, and a forwarded port may differ from ours. */
function isLoopbackHost(host: string | null): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(host ?? "");
  const name = (match?.[1] ?? match?.[2] ?? "").toLowerCase();
  return name === "localhost" || isLoopback(name);
}
