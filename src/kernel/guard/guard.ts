/**
 * Guard: a table of nftables beside the rules, that keeps strangers and clear text out of overlay networks.
 *
 * It is there before the first device of a network and goes after the last one; rules that are given up or fail leave
 * it alone. It is put in whole, in one transaction: packets meet the old table or the new one. While not all is known
 * it only grows: an earlier life of the daemon knew networks, and members, that we do not know yet.
 *
 * Touches: the kernel's nftables, through the program nft.
 */

import { isDeepStrictEqual } from "node:util";

import { Failure } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";
import { GUARD_TABLE } from "../names.ts";
import type { Applied, KernelPart } from "../part.ts";

import { isAsPlanned, mergeGuards, NO_GUARD, parseGuard, renderGuard, type GuardPlan } from "./plan.ts";

/** Where the table is: the kernel, or what stands for it in tests. */
export interface GuardKernel {
  /** What nft lists of our table; null when there is none. @throws Failure when it cannot be read */
  list(): Promise<string | null>;
  /** Runs a script, whole or not at all. @throws Failure when it is refused */
  apply(script: string): Promise<void>;
}

const DEADLINE_MS = 10_000;
/** Of what nft says only the beginning is told: it repeats the line that it refuses. */
const SAID_MAX = 300;

const NOTHING: Applied = { changes: 0, problems: [] };

/** The guard of this network namespace, or of a kernel that is handed in. Nothing is touched yet. */
export function openGuard(kernel: GuardKernel = openNftGuard()): KernelPart<GuardPlan> {
  let last: { readonly plan: GuardPlan; readonly mayRemove: boolean } | null = null;

  const make = async (plan: GuardPlan, mayRemove: boolean): Promise<Applied> => {
    // Forgotten first: what fails must not pass for done.
    last = null;
    const listing = await kernel.list();
    const observed = listing === null ? null : parseGuard(listing);
    const wanted = mayRemove || observed === null ? plan : mergeGuards(plan, observed);
    const isThere = isAsPlanned(observed, wanted);
    if (!isThere) await kernel.apply(renderGuard(wanted));
    last = { plan, mayRemove };
    return { changes: isThere ? 0 : 1, problems: [] };
  };

  return {
    async apply(plan, { mayRemove }) {
      return isDeepStrictEqual(last, { plan, mayRemove }) ? NOTHING : await make(plan, mayRemove);
    },
    async repair() {
      return last === null ? NOTHING : await make(last.plan, last.mayRemove);
    },
    async remove() {
      const removed = await make(NO_GUARD, true);
      last = null;
      return removed;
    },
  };
}

function openNftGuard(): GuardKernel {
  return {
    async list() {
      const { status, stdout, stderr } = await nft(["list", "table", "inet", GUARD_TABLE]);
      if (status === 0) return stdout;
      if (/No such file or directory/.test(stderr)) return null;
      throw refusal("cannot be read", stderr);
    },
    async apply(script) {
      const { status, stderr } = await nft(["-f", "-"], script);
      if (status !== 0) throw refusal("cannot be set", stderr);
    },
  };
}

function nft(args: readonly string[], stdin = ""): ReturnType<typeof run> {
  return run("nft", args, { deadlineMs: DEADLINE_MS, stdin });
}

function refusal(what: string, stderr: string): Failure {
  const isRight = /Operation not permitted|must be root/.test(stderr);
  const said = stderr.trim().replaceAll(/\s+/g, " ").slice(0, SAID_MAX);
  return new Failure(isRight ? "not-allowed" : "refused", `table ${GUARD_TABLE} ${what}: nft says: ${said}`);
}
