/**
 * Selection: which certificate does a client get?
 *
 * The names in certificates decide: an exact name before a wildcard, and a wildcard stands for one label (RFC 9525
 * 6.3). Where two name the same host the one that is valid now and longest is taken: so a renewed certificate under a
 * new file name wins over the one it replaces. Whoever names no host, or one that no certificate has, gets the default:
 * files called `default`, otherwise the first by name; a client that minds will say so, one that does not is served.
 *
 * Pure. certificates.ts fills it.
 */

import type { Pair } from "./pair.ts";

/** What can be chosen: a pair under the name of its file or folder. */
export interface Candidate {
  readonly name: string;
  readonly pair: Pick<Pair, "hosts" | "addresses" | "fromMs" | "untilMs">;
}

/** Candidates indexed by the hosts they are for. */
export interface Selection<C extends Candidate> {
  readonly byHost: ReadonlyMap<string, C>;
  /** Null when there is none at all. */
  readonly fallback: C | null;
}

/** The name of files that hold the default. */
const DEFAULT = "default";

/** Indexes candidates. */
export function indexCandidates<C extends Candidate>(candidates: readonly C[], nowMs: number): Selection<C> {
  const byHost = new Map<string, C>();
  const best = candidates.toSorted((one, other) => compare(one, other, nowMs));
  for (const candidate of best) {
    for (const host of candidate.pair.hosts) {
      if (!byHost.has(host)) byHost.set(host, candidate);
    }
  }
  const [first] = candidates.toSorted((one, other) => rankOf(one) - rankOf(other) || byName(one, other));
  return { byHost, fallback: first ?? null };
}

/** Valid ones first, of them those that last; then by name, so that equal folders are served alike. */
function compare(one: Candidate, other: Candidate, nowMs: number): number {
  const early = Number(one.pair.fromMs > nowMs) - Number(other.pair.fromMs > nowMs);
  return early || other.pair.untilMs - one.pair.untilMs || byName(one, other);
}

function byName(one: Candidate, other: Candidate): number {
  return one.name < other.name ? -1 : Number(one.name > other.name);
}

function rankOf({ name }: Candidate): number {
  return name === DEFAULT || name.startsWith(`${DEFAULT}.`) ? 0 : 1;
}

/**
 * The candidate for a host.
 *
 * @param host  lower case, without a closing dot; null when the client named none
 */
export function select<C extends Candidate>(selection: Selection<C>, host: string | null): C | null {
  if (host === null) return selection.fallback;
  const exact = selection.byHost.get(host);
  if (exact !== undefined) return exact;
  return selection.byHost.get(`*${host.slice(host.indexOf("."))}`) ?? selection.fallback;
}

/** True when the candidate names the host, itself or by a wildcard; `host` may be an address. */
export function covers({ pair }: Candidate, host: string): boolean {
  const dot = host.indexOf(".");
  const isBelow = dot > 0 && pair.hosts.includes(`*${host.slice(dot)}`);
  return isBelow || pair.hosts.includes(host) || pair.addresses.includes(host);
}
