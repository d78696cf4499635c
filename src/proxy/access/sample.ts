/**
 * Sample: which entries are logged?
 *
 * Of a healthy service one request in a hundred shows what its traffic is like, and the others cost. A failure, or a
 * request that had to be tried more than once, is what somebody will look for: those are logged always. What a client
 * ended itself is no failure, or every closed browser tab would be one. Nor is how flows of datagrams end by
 * themselves: what only comes in (logs, counts) is never answered, and who opens too many could fill the log. The
 * others are drawn, not counted off: each hundredth of a client that asks in hundreds would always be the same request.
 *
 * Pure.
 */

import { below, type Random } from "../../base/random.ts";

import type { AccessEntry } from "./entry.ts";

/** How much is logged. */
export type AccessMode = "off" | "sampled" | "full";

/** True for an entry that is to be logged; in mode `sampled` one in `oneIn` of those that went well. */
export function isLogged(
  entry: AccessEntry,
  { mode, oneIn }: { readonly mode: AccessMode; readonly oneIn: number },
  random: Random,
): boolean {
  if (mode === "off") return false;
  return mode === "full" || hasFailed(entry) || below(random, oneIn) === 0;
}

/** How flows of datagrams end that went well enough. */
const USUAL_ENDS: ReadonlySet<string> = new Set(["no answer", "too many flows"]);

/** True when a service did not do what was asked, or only after another try. */
function hasFailed({ kind, http, result, retries }: AccessEntry): boolean {
  if (retries.length > 0) return true;
  if (http !== null && http.status >= 500) return true;
  // A request's status says it; but an answer may be cut after its head.
  if (result === "ok" || result.startsWith("client ")) return false;
  if (kind === "udp" && USUAL_ENDS.has(result)) return false;
  return http === null || http.status < 400;
}
