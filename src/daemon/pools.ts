/**
 * Pools: the ranges of VIPs of one daemon, and how long this host answers for them.
 *
 * Where the proxy carries all, a range is of use only as long as the daemon runs, and goes with it. Where the kernel
 * does, connections go on without the daemon, and so must their addresses: then only a purge takes them away.
 *
 * Touches: the routing table and addresses of loopback, through kernel/.
 */

import type { Prefix } from "../base/ip.ts";
import { openVipPool } from "../kernel/pool.ts";
import { openVipPool6, type VipPool6 } from "../kernel/pool6.ts";

import type { Base } from "./base.ts";

/** Both ranges. */
export interface Pools {
  readonly pool: Prefix;
  readonly pool6: VipPool6;
  /** From now on they stay when the daemon ends. */
  keep(): void;
  /** Takes them away. @returns what is left, in words */
  remove(): Promise<readonly string[]>;
}

/** Chooses both, and makes the host answer for them. @param clusterId  whose IPv6 range it is */
export async function openPools(base: Base, clusterId: string): Promise<Pools> {
  const { vip } = base.options.config;
  const { listen: listens } = vip;
  const opened = await openVipPool(vip.pool === "auto" ? null : vip.pool, listens);
  const pool6 = await openVipPool6({ setting: vip.pool6, clusterId, listens });
  let isKept = false;
  const remove = async (): Promise<readonly string[]> => [
    ...(await opened.remove()),
    ...(await pool6.remove()),
  ];
  const close = async (): Promise<void> => {
    if (isKept) return;
    const left = await remove();
    if (left.length > 0) base.options.log.warn(`left behind: ${left.join("; ")}`);
  };
  // What was added stays: the successor has found it there, and takes it away in its turn.
  base.lifecycle.opened({ name: "vip pool", close, handover: "passes" });
  if (vip.pool === "auto") base.report.choose("vip.pool", opened.pool.text, opened.reason);
  if (vip.pool6 === "auto") base.report.choose("vip.pool6", pool6.rule?.pool.text ?? "off", pool6.reason);
  tell(base, "vip.pool", opened.problem);
  tell(base, "vip.pool6", pool6.problem);
  const keep = (): void => void (isKept = true);
  return { pool: opened.pool, pool6, keep, remove };
}

function tell({ options, report }: Base, subject: string, problem: string | null): void {
  if (problem === null) return;
  options.log.warn(problem);
  report.problem({ area: "bind", subject, text: problem });
}
