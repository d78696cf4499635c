/**
 * Pool: the range VIPs come from, and the one route that makes this host accept all of it.
 *
 * With NET_ADMIN one local route lets the daemon listen on any VIP, and containers reach it through their bridge's
 * gateway. Without, VIPs come from 127/8, which Linux answers on loopback as it is: enough for processes of the host.
 * A route that was there before is left as it was found; one that was added is taken away on a clean stop. Whether the
 * range is in use for something else, here or on another host, is for the view to tell (view/overlap.ts).
 *
 * Touches: the routing table, through `ip`.
 */

import { textOf } from "../base/failure.ts";
import { parsePrefix, type Prefix } from "../base/ip.ts";
import { run } from "../runtime/exec.ts";

import { removePools6 } from "./pool6.ts";
import { hasNetAdmin } from "./rights.ts";

const DEADLINE_MS = 2000;
const WITH_NET_ADMIN = "10.96.0.0/12";
const WITHOUT = "127.96.0.0/12";

/** The range in use. */
export interface VipPool {
  readonly pool: Prefix;
  /** Why this one, in words. */
  readonly reason: string;
  /** What is wrong with it: a route that could not be set; null for nothing. */
  readonly problem: string | null;
  /** Takes away what was added, or found as if it had been. Never rejects. @returns what is left, in words */
  remove(): Promise<readonly string[]>;
}

/**
 * Chooses the pool and makes the host accept it.
 *
 * @param setting  the configured pool; null for the automatic choice
 * @param listens  false where another daemon of this network stack holds the VIPs: then nothing is changed
 */
export async function openVipPool(setting: Prefix | null, listens: boolean): Promise<VipPool> {
  const isAdmin = await hasNetAdmin();
  const pool = setting ?? prefixOf(isAdmin ? WITH_NET_ADMIN : WITHOUT);
  const reason =
    setting !== null
      ? "configured"
      : isAdmin
        ? "NET_ADMIN is there"
        : "no NET_ADMIN: VIPs serve this host's own processes";
  const isLoopbackPool = pool.text.startsWith("127.");
  if (!listens || isLoopbackPool) return { pool, reason, problem: null, remove: async () => [] };
  const added = await addRoute(pool);
  return {
    pool,
    reason,
    problem: added.problem,
    remove: async () => (added.isOurs ? removeRoute(pool.text) : []),
  };
}

/**
 * Takes away the routes of these pools, and every IPv6 pool of ours: for when no daemon runs here that has them open.
 *
 * @param pools  IPv4 prefixes
 * @returns what is left, in words
 */
export async function removePoolRoutes(pools: readonly string[]): Promise<readonly string[]> {
  const left = await Promise.all(pools.filter((text) => parsePrefix(text).ok).map(removeRoute));
  return [...left.flat(), ...(await removePools6())];
}

/** Gone already is as it should be. @returns what is left, in words */
async function removeRoute(text: string): Promise<readonly string[]> {
  try {
    const args = ["route", "del", "local", text, "dev", "lo"];
    const { status, stderr } = await run("ip", args, { deadlineMs: DEADLINE_MS });
    return status === 0 || stderr.includes("No such process") ? [] : [`route ${text}: ${stderr.trim()}`];
  } catch (thrown) {
    return [`route ${text}: ${textOf(thrown)}`];
  }
}

async function addRoute(
  pool: Prefix,
): Promise<{ readonly isOurs: boolean; readonly problem: string | null }> {
  const wanted = `give the daemon NET_ADMIN and the program "ip", or set vip.pool to ${WITHOUT}`;
  const remedy = `VIPs cannot be listened on; ${wanted}`;
  try {
    const { status, stderr } = await run("ip", ["route", "add", "local", pool.text, "dev", "lo"], {
      deadlineMs: DEADLINE_MS,
    });
    if (status === 0) return { isOurs: true, problem: null };
    // The daemon that added it ended without a word, and its route is as good as ours; so it goes with us.
    if (stderr.includes("File exists")) return { isOurs: true, problem: null };
    return { isOurs: false, problem: `no local route for ${pool.text} (${stderr.trim()}): ${remedy}` };
  } catch (thrown) {
    return { isOurs: false, problem: `no local route for ${pool.text} (${textOf(thrown)}): ${remedy}` };
  }
}

function prefixOf(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}
