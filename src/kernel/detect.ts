/**
 * Detect: can this host's kernel forward for us, and if not, why?
 *
 * Looked at in the order in which a user would mend it: what the configuration rules out, the right, the programs, and
 * last what the kernel itself takes, by a transaction that is only checked. The reason is told at the start and in
 * the status, since "slow for no reason" is what a wrong guess looks like.
 *
 * Touches: /proc/self/status; the programs nft, ip and bridge.
 */

import { Failure, textOf } from "../base/failure.ts";
import type { Prefix } from "../base/ip.ts";
import { run, type Ran } from "../runtime/exec.ts";

import { hasNetAdmin } from "./rights.ts";

/**
 * Programs that change nothing answer in milliseconds. A host that just boots may take its time, and silence is no
 * answer: what is decided here holds for the daemon's whole life. So it is asked once more, for longer.
 */
const DEADLINES_MS: readonly number[] = [5000, 30_000];

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
  /** How long a program is waited for, each time it is asked; for tests. */
  readonly deadlinesMs?: readonly number[];
}

/** Everything of nftables that our rules are made of. Never applied: only checked. */
const SPECIMEN = `
table inet skein-check {
  map ports { typeof ip daddr . meta l4proto . th dport : verdict; }
  chain service {
    meta l4proto 6 dnat ip to numgen inc mod 2 map { 0 : 192.0.2.1 . 80, 1 : 192.0.2.2 . 80 }
    meta l4proto 6 dnat ip to jhash ip saddr mod 2 seed 1 map { 0 : 192.0.2.1 . 80, 1 : 192.0.2.2 . 80 }
  }
  chain before { type nat hook prerouting priority dstnat - 5; ip daddr . meta l4proto . th dport vmap @ports
  }
  chain marks { type filter hook prerouting priority mangle; ct mark set 0x53000001
  }
  chain local { fib daddr type local accept
    fib saddr . iif oif missing drop
  }
}
`;

/** Looks at this host. Never rejects. */
export async function detectKernel({
  pool,
  listensOnVips,
  deadlinesMs = DEADLINES_MS,
}: DetectOptions): Promise<Detection> {
  if (!listensOnVips) return not("vip.listen is off: another daemon serves this network stack");
  // First, for without it the automatic pool is of loopback.
  if (!(await hasNetAdmin())) return not("no NET_ADMIN");
  if (pool.text.startsWith("127.")) {
    return not(`VIPs are of loopback (${pool.text}), which the kernel forwards nowhere`);
  }
  try {
    for (const program of ["ip", "bridge"]) {
      const { status, stderr } = await ask(program, ["-V"], { deadlinesMs });
      if (status !== 0) return not(`the program "${program}" does not work (${firstLine(stderr)})`);
    }
    const nft = await ask("nft", ["-c", "-f", "-"], { deadlinesMs, stdin: SPECIMEN });
    if (nft.status !== 0) return not(`nftables does not take our rules (${firstLine(nft.stderr)})`);
  } catch (thrown) {
    return not(textOf(thrown));
  }
  return { isPossible: true, reason: "NET_ADMIN and nftables are there" };
}

/** Runs a program that changes nothing; again where it was silent. @throws Failure as `run` does */
async function ask(
  program: string,
  args: readonly string[],
  { deadlinesMs, stdin = "" }: { readonly deadlinesMs: readonly number[]; readonly stdin?: string },
): Promise<Ran> {
  for (const deadlineMs of deadlinesMs.slice(0, -1)) {
    try {
      return await run(program, args, { deadlineMs, stdin });
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.code === "timeout")) throw thrown;
    }
  }
  return await run(program, args, { deadlineMs: deadlinesMs.at(-1) ?? 0, stdin });
}

function not(reason: string): Detection {
  return { isPossible: false, reason };
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}
