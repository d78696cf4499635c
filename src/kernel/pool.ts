/**
 * Pool: the range VIPs come from, and the one route that makes this host accept all of it.
 *
 * With NET_ADMIN one local route lets the daemon listen on any VIP, and containers reach it through their bridge's
 * gateway. Without, VIPs come from 127/8, which Linux answers on loopback as it is: enough for processes of the host.
 * The route carries our protocol number, so that one of an earlier life, of another range than now, is found and taken
 * away. One of this very range without it, of an older release or made by hand, serves as well and goes with ours.
 * Whether the range is in use for something else, here or on another host, is for the view to tell (view/overlap.ts).
 *
 * Touches: the routing table, through `ip`.
 */

import { textOf } from "../base/failure.ts";
import { parsePrefix, type Prefix } from "../base/ip.ts";
import { run } from "../runtime/exec.ts";

import { ROUTE_PROTOCOL } from "./names.ts";
import { removePools6 } from "./pool6.ts";
import { hasNetAdmin } from "./rights.ts";

const DEADLINE_MS = 2000;
const WITH_NET_ADMIN = "10.96.0.0/12";
const WITHOUT = "127.96.0.0/12";
/** By which our routes are known. */
const OURS = ["proto", String(ROUTE_PROTOCOL)];

/** The range in use. */
export interface VipPool {
  readonly pool: Prefix;
  /** Why this one, in words. */
  readonly reason: string;
  /** What is wrong with it: a route that could not be set; null for nothing. */
  readonly problem: string | null;
  /** Takes away every route of ours. Never rejects. @returns what is left, in words */
  remove(): Promise<readonly string[]>;
}

/** Chooses the pool, and changes nothing. @param setting  the configured one; null for the automatic choice */
export async function chooseVipPool(
  setting: Prefix | null,
): Promise<Pick<VipPool, "pool" | "reason"> & { readonly isAdmin: boolean }> {
  const isAdmin = await hasNetAdmin();
  if (setting !== null) return { pool: setting, reason: "configured", isAdmin };
  const pool = prefixOf(isAdmin ? WITH_NET_ADMIN : WITHOUT);
  const reason = isAdmin ? "NET_ADMIN is there" : "no NET_ADMIN: VIPs serve this host's own processes";
  return { pool, reason, isAdmin };
}

/**
 * Chooses the pool and makes the host accept it.
 *
 * @param setting  the configured pool; null for the automatic choice
 * @param listens  false where another daemon of this network stack holds the VIPs: then nothing is changed
 */
export async function openVipPool(setting: Prefix | null, listens: boolean): Promise<VipPool> {
  const { pool, reason, isAdmin } = await chooseVipPool(setting);
  const isLoopbackPool = pool.text.startsWith("127.");
  if (!listens || !isAdmin) {
    const problem = listens && !isLoopbackPool ? await addRoute(pool) : null;
    return { pool, reason, problem, remove: async () => [] };
  }
  const remove = async (): Promise<readonly string[]> => [
    ...(isLoopbackPool ? [] : await removeRoute(pool.text, [])),
    ...(await removeRoutesBut(null)),
  ];
  const stale = await removeRoutesBut(pool.text);
  if (isLoopbackPool) return { pool, reason, problem: stale[0] ?? null, remove };
  const lack = await addRoute(pool);
  return { pool, reason, problem: lack ?? stale[0] ?? null, remove };
}

/**
 * Takes away the routes of every pool of ours, of both families: for when no daemon runs here that has them open.
 *
 * @param pools  IPv4 prefixes whose routes an older release may have made, without our number
 * @returns what is left, in words
 */
export async function removePoolRoutes(pools: readonly string[]): Promise<readonly string[]> {
  const known = pools.filter((text) => parsePrefix(text).ok);
  const left = await Promise.all(known.map((text) => removeRoute(text, [])));
  return [...left.flat(), ...(await removeRoutesBut(null)), ...(await removePools6())];
}

/** Takes away our routes to ranges of VIPs but this one. @returns what is left, in words */
async function removeRoutesBut(wanted: string | null): Promise<readonly string[]> {
  try {
    const args = ["-4", "route", "show", "table", "local", ...OURS];
    const { stdout } = await run("ip", args, { deadlineMs: DEADLINE_MS });
    const found = Array.from(stdout.matchAll(/^local (\d+\.\d+\.\d+\.\d+(?:\/\d+)?) dev lo\b/gm));
    const stale = found.map(([, text = ""]) => text).filter((text) => text !== wanted);
    return (await Promise.all(stale.map((text) => removeRoute(text, OURS)))).flat();
  } catch (thrown) {
    return [`routes to ranges of VIPs: ${textOf(thrown)}`];
  }
}

/** Gone already is as it should be. @returns what is left, in words */
async function removeRoute(text: string, how: readonly string[]): Promise<readonly string[]> {
  try {
    const args = ["route", "del", "local", text, "dev", "lo", ...how];
    const { status, stderr } = await run("ip", args, { deadlineMs: DEADLINE_MS });
    return status === 0 || stderr.includes("No such process") ? [] : [`route ${text}: ${stderr.trim()}`];
  } catch (thrown) {
    return [`route ${text}: ${textOf(thrown)}`];
  }
}

/** @returns why VIPs of the pool cannot be listened on; null when they can */
async function addRoute(pool: Prefix): Promise<string | null> {
  const wanted = `give the daemon NET_ADMIN and the program "ip", or set vip.pool to ${WITHOUT}`;
  const remedy = `VIPs cannot be listened on; ${wanted}`;
  try {
    const args = ["route", "add", "local", pool.text, "dev", "lo", ...OURS];
    const { status, stderr } = await run("ip", args, { deadlineMs: DEADLINE_MS });
    // There already: of an earlier life, or somebody made it for us.
    if (status === 0 || stderr.includes("File exists")) return null;
    return `no local route for ${pool.text} (${stderr.trim()}): ${remedy}`;
  } catch (thrown) {
    return `no local route for ${pool.text} (${textOf(thrown)}): ${remedy}`;
  }
}

function prefixOf(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}
