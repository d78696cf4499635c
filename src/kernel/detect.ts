/**
 * Detect: can this host's kernel forward for us, and if not, why?
 *
 * Looked at in the order in which a user would mend it: what the configuration rules out, the right, the programs, and
 * last what the kernel itself takes, by a transaction that is only checked. The reason is told at the start and in
 * the status, since "slow for no reason" is what a wrong guess looks like.
 *
 * Touches: /proc/self/status; the programs nft and ip.
 */

import { textOf } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import { run } from "../runtime/exec.ts";

import { hasNetAdmin } from "./rights.ts";

/** Programs that change nothing answer in milliseconds; a host under load may take its time. */
const DEADLINE_MS = 5000;

/** Whether the kernel can be used, and why (not), in words. */
export interface Detection {
  readonly isPossible: boolean;
  readonly reason: string;
}

/** What the answer depends on beside the host. */
export interface DetectOptions {
  readonly pool: Prefix;
  /** False where another daemon of this network stack serves the VIPs. */
  readonly listensOnVips: boolean;
}

/** Everything of nftables that our rules are made of. Never applied: only checked. */
const SPECIMEN = `
table inet skein-check {
  map ports { typeof ip daddr . meta l4proto . th dport : verdict; }
  chain service {
    meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 192.0.2.1 . 80, 1 : 192.0.2.2 . 80 }
    meta l4proto tcp dnat ip to jhash ip saddr mod 2 seed 1 map { 0 : 192.0.2.1 . 80, 1 : 192.0.2.2 . 80 }
  }
  chain before { type nat hook prerouting priority dstnat - 5; ip daddr . meta l4proto . th dport vmap @ports
  }
  chain marks { type filter hook prerouting priority mangle; ct mark set 0x53000001
  }
  chain local { fib daddr type local accept
  }
}
`;

/** Looks at this host. Never rejects. */
export async function detectKernel({ pool, listensOnVips }: DetectOptions): Promise<Detection> {
  if (!listensOnVips) return not("vip.listen is off: another daemon serves this network stack");
  // First, for without it the automatic pool is of loopback.
  if (!(await hasNetAdmin())) return not("no NET_ADMIN");
  if (pool.text.startsWith("127.")) {
    return not(`VIPs are of loopback (${pool.text}), which the kernel forwards nowhere`);
  }
  try {
    const ip = await run("ip", ["-V"], { deadlineMs: DEADLINE_MS });
    if (ip.status !== 0) return not(`the program "ip" does not work (${firstLine(ip.stderr)})`);
    const nft = await run("nft", ["-c", "-f", "-"], { deadlineMs: DEADLINE_MS, stdin: SPECIMEN });
    if (nft.status !== 0) return not(`nftables does not take our rules (${firstLine(nft.stderr)})`);
  } catch (thrown) {
    return not(textOf(thrown));
  }
  return { isPossible: true, reason: "NET_ADMIN and nftables are there" };
}

function not(reason: string): Detection {
  return { isPossible: false, reason };
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}
