/**
 * Mtu: how large a packet really gets through to another host.
 *
 * Where the way to a peer takes less than both ends believe, and nobody tells the sender, small packets arrive and
 * large ones vanish: connections open and then hang. So packets that must not be fragmented are sent until the largest
 * that is answered is known: first the one that should arrive, then, if it does not, several sizes at once, over and
 * over in the gap that is left. A router that says its limit ends the search early.
 *
 * Touches: the program ping; a timer. doctor asks.
 */

import { Failure, textOf } from "../base/failure.ts";
import { run } from "../runtime/exec.ts";

/** A peer to be looked at, and the bytes of the largest IPv4 packet that should reach it. */
export interface MtuTarget {
  readonly address: string;
  readonly expected: number;
}

/**
 * What came of it. `whole`: as expected. `smaller`: at most `mtu` bytes arrive. `silent`: small ones are not answered
 * either. `unknown`: it could not be tried, or not in time.
 */
export type MtuFinding =
  | { readonly kind: "whole" }
  | { readonly kind: "smaller"; readonly mtu: number }
  | { readonly kind: "silent" }
  | { readonly kind: "unknown"; readonly reason: string };

/** What a packet of some size met. `limit`: the most, as this host or a router said; null where nobody did. */
export interface Echo {
  readonly answered: boolean;
  readonly limit: number | null;
}

/** Sends a packet of so many bytes that must not be fragmented, a few times if need be. */
export type SendEcho = (address: string, sizeBytes: number, times: number) => Promise<Echo>;

/** What the search may cost. */
export interface MtuOptions {
  readonly deadlineMs: number;
  /** For tests; ping from `from`, the address of this host, otherwise. */
  readonly send?: SendEcho;
  readonly from?: string;
}

/** Every IPv4 link takes packets of this size (RFC 791 3.1 asks hosts to); one that does not answer them is silent. */
const SMALLEST = 576;
/** Peers at once, and sizes at once for each: so many processes at most are their product. */
const PEERS_AT_ONCE = 8;
const SIZES_AT_ONCE = 8;
/** A packet may be lost for other reasons. */
const TIMES = 2;

const PING_DEADLINE_MS = 1500;
/** IPv4's and ICMP's headers (RFC 791 3.1, RFC 792). */
const HEADER_BYTES = 28;

/**
 * Looks at all peers. Never rejects.
 *
 * @returns a finding for each, in their order; past the deadline `unknown` for those that were not come to
 */
export async function probeMtus(
  targets: readonly MtuTarget[],
  options: MtuOptions,
): Promise<readonly MtuFinding[]> {
  const endsAtMs = performance.now() + options.deadlineMs;
  const isOver = (): boolean => performance.now() > endsAtMs;
  const send = options.send ?? pingFrom(options.from);
  const findings: MtuFinding[] = targets.map(() => ({ kind: "unknown", reason: "there was no time to try" }));
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < targets.length && !isOver()) {
      const at = next;
      next += 1;
      const target = targets[at];
      if (target !== undefined) findings[at] = await findMtu(target, send, isOver);
    }
  };
  await Promise.all(Array.from({ length: PEERS_AT_ONCE }, work));
  return findings;
}

async function findMtu(
  { address, expected }: MtuTarget,
  send: SendEcho,
  isOver: () => boolean,
): Promise<MtuFinding> {
  try {
    const first = await send(address, expected, 1);
    if (first.answered) return { kind: "whole" };
    const [again, least] = await Promise.all([
      send(address, expected, TIMES),
      send(address, Math.min(SMALLEST, expected), TIMES),
    ]);
    if (again.answered) return { kind: "whole" };
    if (!least.answered) return { kind: "silent" };
    return await narrow(
      { low: SMALLEST, high: expected, limit: first.limit ?? again.limit },
      { address, send, isOver },
    );
  } catch (thrown) {
    return { kind: "unknown", reason: textOf(thrown) };
  }
}

/** What is known: packets of `low` bytes arrive, those of `high` do not. */
interface Gap {
  readonly low: number;
  readonly high: number;
  readonly limit: number | null;
}

async function narrow(
  gap: Gap,
  search: { readonly address: string; readonly send: SendEcho; readonly isOver: () => boolean },
): Promise<MtuFinding> {
  let { low, high, limit } = gap;
  while (high - low > 1) {
    if (search.isOver()) {
      const reason = `packets of ${low} bytes arrive, those of ${high} do not; there was no time for more`;
      return { kind: "unknown", reason };
    }
    const sizes = sizesWithin({ low, high, limit });
    const echoes = await Promise.all(sizes.map((size) => search.send(search.address, size, TIMES)));
    const passed = sizes.filter((_, at) => echoes[at]?.answered === true);
    low = Math.max(low, ...passed);
    // A small one that was lost among larger ones that were not says nothing.
    high = Math.min(high, ...sizes.filter((size) => size > low));
    limit = echoes.find((echo) => echo.limit !== null)?.limit ?? null;
  }
  return { kind: "smaller", mtu: low };
}

/** The next sizes to try, rising, each within the gap: about what was said is the limit, else evenly spread. */
function sizesWithin({ low, high, limit }: Gap): readonly number[] {
  const said = limit === null ? [] : [limit, limit + 1].filter((size) => size > low && size < high);
  if (said.length > 0) return said;
  const step = (high - low) / (SIZES_AT_ONCE + 1);
  const spread = Array.from({ length: SIZES_AT_ONCE }, (_, at) => Math.round(low + step * (at + 1)));
  return [...new Set(spread)].filter((size) => size > low && size < high);
}

/** @throws Failure when there is no ping, or it may not be used */
function pingFrom(from: string | undefined): SendEcho {
  const source = from === undefined ? [] : ["-I", from];
  return async (address, sizeBytes, times) => {
    const pace = ["-c", String(times), "-i", "0.2", "-W", "0.5"];
    const size = ["-s", String(sizeBytes - HEADER_BYTES)];
    const args = ["-n", "-M", "do", ...pace, ...size, ...source, address];
    const { status, stdout, stderr } = await run("ping", args, { deadlineMs: PING_DEADLINE_MS });
    // 2 is for whatever else went wrong (ping(8)): no route, no right.
    if (status > 1)
      throw new Failure("invalid", stderr.trim().split("\n", 1)[0] || `ping ended with ${status}`);
    return { answered: status === 0, limit: limitFrom(`${stdout}${stderr}`) };
  };
}

/** `Frag needed and DF set (mtu = 1400)` of a router, `message too long, mtu=1500` of this host. */
function limitFrom(text: string): number | null {
  const said = /\bmtu ?= ?(\d{3,5})\b/.exec(text)?.[1];
  return said === undefined ? null : Number(said);
}
