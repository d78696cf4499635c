/**
 * Pool6: the IPv6 addresses of services that this host answers for.
 *
 * Unlike IPv4, Linux lets nobody listen on an IPv6 address for a mere local route of its range: the address itself has
 * to be there. So each that is listened on is put on loopback, deprecated, so that nothing of the host ever speaks from
 * it unasked, and without duplicate detection, which loopback knows nothing of. The local route of the whole range
 * stands beside: what is no service's is refused here instead of leaving for the default route. Both are made with the
 * first address that is wanted: a host without such networks stays as it is.
 *
 * Touches: addresses of loopback and the local routing table, through `ip`; /proc/sys, /proc/self/status.
 */

import { readFile } from "node:fs/promises";

import { Failure, textOf } from "../base/failure.ts";
import { contains6, parsePrefix6, ulaPrefix, type Prefix6 } from "../base/ip6.ts";
import { LIMITS } from "../model/limits.ts";
import { isVip6, type Vip6Rule } from "../model/vip6.ts";
import { run } from "../runtime/exec.ts";

import { ROUTE_PROTOCOL } from "./names.ts";
import { hasNetAdmin } from "./rights.ts";

const DEADLINE_MS = 5000;
/** "1" where IPv6 is switched off for loopback; absent where the kernel has none. */
const IS_OFF = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";
/** The subnet of a cluster's private range that VIPs are in. */
const SUBNET = 0;

/** What decides about the pool. */
export interface Pool6Given {
  readonly setting: Prefix6 | "auto" | "off";
  readonly clusterId: string;
  /** False where another daemon of this network stack holds the VIPs: then nothing is changed. */
  readonly listens: boolean;
}

/** The pool in use, and its addresses on this host. */
export interface VipPool6 {
  /** Which services have an address of it; null for none. */
  readonly rule: Vip6Rule | null;
  /** Why, in words. */
  readonly reason: string;
  /** What is wrong: a configured pool that cannot be served here; null for nothing. */
  readonly problem: string | null;
  /**
   * Makes these addresses be there; others than those of the pool are none of its business. Some that are wanted no
   * more stay for a while, since established connections need them.
   *
   * @param options.mayRelease  false while the picture is incomplete: none is taken away then
   * @throws Failure when an address could not be added; the rest were
   */
  hold(addresses: readonly string[], options: { readonly mayRelease: boolean }): Promise<void>;
  /** Takes away all that is ours, whoever of us added it. @returns what is left, in words */
  remove(): Promise<readonly string[]>;
}

/** Chooses the pool; changes nothing yet. */
export async function openVipPool6(given: Pool6Given): Promise<VipPool6> {
  const { setting, listens } = given;
  if (setting === "off") return new Pool6(null, "configured", null);
  const isAuto = setting === "auto";
  const lack = listens ? await lackOf() : isAuto ? "vip.listen is off" : null;
  if (lack !== null) {
    const problem = isAuto
      ? null
      : `vip.pool6 is ${setting.text}, but there is ${lack}; services have no IPv6`;
    return new Pool6(null, lack, problem);
  }
  const pool = isAuto ? clusterPool(given.clusterId) : setting;
  const rule = { pool, isEvery: !isAuto };
  return new Pool6(rule, isAuto ? "services of networks with IPv6" : "configured", null, listens);
}

/** The pool that a cluster makes for itself. */
export function clusterPool(clusterId: string): Prefix6 {
  const parsed = parsePrefix6(ulaPrefix(clusterId, SUBNET));
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}

/** Takes away every pool of ours that this host still has, known or not. @returns what is left, in words */
export async function removePools6(): Promise<readonly string[]> {
  const left: string[] = [];
  try {
    for (const pool of await poolsHere()) left.push(...(await removePool(pool)));
  } catch (thrown) {
    left.push(`addresses of loopback: ${textOf(thrown)}`);
  }
  return left;
}

/** What this host lacks, in words; null for nothing. */
async function lackOf(): Promise<string | null> {
  if (!(await hasNetAdmin())) return "no NET_ADMIN";
  try {
    const isOff = (await readFile(IS_OFF, "utf8")).trim() !== "0";
    return isOff ? "no IPv6 (net.ipv6.conf.lo.disable_ipv6 is set)" : null;
  } catch {
    // The kernel was started without IPv6, or /proc is hidden: then nothing tells that it would work.
    return "no IPv6 in this kernel";
  }
}

class Pool6 implements VipPool6 {
  readonly rule: Vip6Rule | null;
  readonly reason: string;
  readonly problem: string | null;
  readonly #isHere: boolean;
  /** Null until it was read what an earlier life left. */
  #held: ReadonlySet<string> | null = null;
  /** Of these, those that nobody wants any more, as they became so: connections to them may still be there. */
  readonly #spare = new Set<string>();
  /** Changes are made one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(rule: Vip6Rule | null, reason: string, problem: string | null, isHere = false) {
    this.rule = rule;
    this.reason = reason;
    this.problem = problem;
    this.#isHere = isHere;
  }

  hold(addresses: readonly string[], { mayRelease }: { readonly mayRelease: boolean }): Promise<void> {
    const { rule } = this;
    if (rule === null || !this.#isHere) return Promise.resolve();
    const wanted = new Set(addresses.filter((address) => contains6(rule.pool, address)));
    const change = this.#last.then(() => this.#change(rule.pool, wanted, mayRelease));
    this.#last = Promise.allSettled([change]);
    return change;
  }

  async remove(): Promise<readonly string[]> {
    await this.#last;
    this.#held = null;
    this.#spare.clear();
    return this.rule === null || !this.#isHere ? [] : removePool(this.rule.pool);
  }

  async #change(pool: Prefix6, wanted: ReadonlySet<string>, mayRelease: boolean): Promise<void> {
    // What an earlier life left does no harm: a host without such services is left alone.
    if (this.#held === null && wanted.size === 0) return;
    const held = (this.#held ??= await heldOf(pool));
    const missing = [...wanted].filter((address) => !held.has(address));
    for (const address of held) if (!wanted.has(address)) this.#spare.add(address);
    for (const address of wanted) this.#spare.delete(address);
    const surplus = mayRelease ? [...this.#spare].slice(0, -LIMITS.vip6Spare) : [];
    if (missing.length + surplus.length === 0) return;
    if (missing.length > 0) await route("add", pool);
    const told = await batch([
      ...surplus.map((address) => lineOf("del", address)),
      ...missing.map((address) => lineOf("add", address)),
    ]);
    for (const address of surplus) this.#spare.delete(address);
    const gone = new Set(surplus);
    // What was refused is seen by reading: one line of many may be the wrong one.
    const now =
      told === null ? new Set([...held, ...missing].filter((one) => !gone.has(one))) : await heldOf(pool);
    this.#held = now;
    const refused = missing.filter((address) => !now.has(address));
    if (refused.length === 0) return;
    throw new Failure("not-allowed", `${refused.length} IPv6 VIPs of ${pool.text} are not added: ${told}`);
  }
}

function lineOf(verb: "add" | "del", address: string): string {
  const how = verb === "add" ? " nodad noprefixroute preferred_lft 0" : "";
  return `address ${verb} ${address}/128 dev lo${how}`;
}

/** Runs lines of ip(8), all of them whatever becomes of one. @returns what it said of one that failed; null for none */
async function batch(lines: readonly string[]): Promise<string | null> {
  const ran = await run("ip", ["-6", "-force", "-batch", "-"], {
    deadlineMs: DEADLINE_MS,
    stdin: `${lines.join("\n")}\n`,
  });
  return ran.status === 0 ? null : firstLine(ran.stderr);
}

async function route(verb: "add" | "del", { text }: Prefix6): Promise<void> {
  const args = ["-6", "route", verb, "local", text, "dev", "lo", "proto", String(ROUTE_PROTOCOL)];
  // There already, or gone already: as it should be. What else is wrong the addresses will tell.
  await run("ip", args, { deadlineMs: DEADLINE_MS });
}

/** The addresses of the pool that loopback has and that a service may have got. */
async function heldOf(pool: Prefix6): Promise<Set<string>> {
  const { stdout } = await run("ip", ["-6", "-json", "address", "show", "dev", "lo"], {
    deadlineMs: DEADLINE_MS,
  });
  const addresses = stdout.matchAll(/"local":"([0-9a-f:]+)","prefixlen":128\b/g);
  return new Set(Array.from(addresses, ([, address = ""]) => address).filter((one) => isVip6(pool, one)));
}

/** The pools whose route is ours. */
async function poolsHere(): Promise<readonly Prefix6[]> {
  const args = ["-6", "route", "show", "table", "local", "proto", String(ROUTE_PROTOCOL)];
  const { stdout } = await run("ip", args, { deadlineMs: DEADLINE_MS });
  return Array.from(stdout.matchAll(/^local ([0-9a-f:]+\/\d+) dev lo\b/gm), ([, text = ""]) => {
    const parsed = parsePrefix6(text);
    return parsed.ok ? [parsed.value] : [];
  }).flat();
}

async function removePool(pool: Prefix6): Promise<readonly string[]> {
  try {
    const held = [...(await heldOf(pool))];
    if (held.length > 0) await batch(held.map((address) => lineOf("del", address)));
    await route("del", pool);
    const left = [...(await heldOf(pool))];
    return left.map((address) => `address ${address} of loopback`);
  } catch (thrown) {
    return [`addresses of ${pool.text} on loopback: ${textOf(thrown)}`];
  }
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}
