/**
 * Guard: may this caller of the TCP listener be answered?
 *
 * Loopback keeps other hosts out, not web pages: a page in a browser on this host can call 127.0.0.1, and a page whose
 * name was made to point here (DNS rebinding) can even read the answer. Both betray themselves: the first by Origin or
 * Sec-Fetch-Site, the second by the name in Host. Programs send neither header and a loopback Host. That holds also
 * for who has the admin token, for a browser may have been told it. What changes something, or tells a secret, needs
 * that token or the unix socket, whose file mode says who may.
 *
 * Pure. bearer.ts judges the token.
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

/** Why a caller is refused. `reason` is one of a closed set, as it labels a metric. */
export interface Refusal {
  readonly reason: "host" | "origin" | "site" | "rights" | "token" | "attempts";
  /** HTTP status. */
  readonly status: 401 | 403 | 429;
  readonly detail: string;
}

/** What makes a caller a stranger here, whatever it asks; null when nothing does. */
export function strangerOf(caller: Caller): Refusal | null {
  if (!isLoopbackHost(caller.host)) {
    return refusal("host", `host is "${caller.host ?? ""}"; expected localhost or a loopback address`);
  }
  if (caller.origin !== null && caller.origin.toLowerCase() !== `http://${caller.host ?? ""}`.toLowerCase()) {
    return refusal("origin", `origin is "${caller.origin}"; expected a call from no other site`);
  }
  if (isForeignFetch(caller)) {
    return refusal("site", "call comes from another site; expected one from no other site");
  }
  return null;
}

/** For a route that needs full rights, asked by a caller that has not. */
export const TRESPASS: Refusal = {
  reason: "rights",
  status: 403,
  detail: "over TCP this needs the admin token (admin.token); expected it, or a call over the unix socket",
};

function refusal(reason: Refusal["reason"], detail: string): Refusal {
  return { reason, status: 403, detail };
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
