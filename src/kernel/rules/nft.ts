/**
 * Nft: the program nft, as far as it is used: read our table or its counters, run a script.
 *
 * Scripts go to its standard input, never through a shell. What it says of a script that it refuses is the caller's to
 * judge; that it is not there, or that we may not, is a Failure.
 *
 * Touches: the kernel's nftables, through the program nft.
 */

import { Failure } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";

import { TABLE } from "../names.ts";
import type { TableState } from "./changes.ts";
import { parseCounters, parseListing } from "./listing.ts";

/** Ten thousand services at once take a quarter of that. */
const DEADLINE_MS = 60_000;
/** Of what nft says only the beginning is told: it repeats the line that it refuses, which may be long. */
const SAID_MAX = 300;

/** What the rules are put into: the kernel, or something that stands for it. */
export interface RulesKernel {
  /**
   * What our table holds; null when there is none.
   *
   * @throws Failure when it cannot be read
   */
  list(): Promise<TableState | null>;
  /**
   * Runs a script, whole or not at all.
   *
   * @returns null when it was taken, else what was said against it
   * @throws Failure when there is no nft, or it may not
   */
  apply(script: string): Promise<string | null>;
}

/** The nftables of this network namespace. @param command  nft, or what runs it in another one */
export function openNft(command: readonly string[] = ["nft"]): RulesKernel {
  const [program = "nft", ...before] = command;
  return {
    async list() {
      // Protocols by number, whether this host knows their names or not.
      const args = [...before, "--numeric-protocol", "list", "table", "inet", TABLE];
      const { status, stdout, stderr } = await run(program, args, { deadlineMs: DEADLINE_MS });
      if (status === 0) return parseListing(stdout);
      if (/No such file or directory/.test(stderr)) return null;
      throw refusal("the table cannot be read", stderr);
    },
    async apply(script) {
      const { status, stderr } = await run(program, [...before, "-f", "-"], {
        deadlineMs: DEADLINE_MS,
        stdin: script,
      });
      if (status === 0) return null;
      if (/Operation not permitted|must be root/.test(stderr)) throw refusal("rules cannot be set", stderr);
      return said(stderr);
    },
  };
}

/** More is not waited for: who wants to know asks again. */
const COUNTS_DEADLINE_MS = 1000;

/**
 * What our counters have counted, by name; none where there is no table. One call of nft, which reads no rules for it.
 *
 * @param command  as for openNft
 * @throws Failure when it cannot be read
 */
export async function readCounters(
  command: readonly string[] = ["nft"],
): Promise<ReadonlyMap<string, number>> {
  const [program = "nft", ...before] = command;
  const args = [...before, "list", "counters", "table", "inet", TABLE];
  const { status, stdout, stderr } = await run(program, args, { deadlineMs: COUNTS_DEADLINE_MS });
  if (status === 0) return parseCounters(stdout);
  if (/No such file or directory/.test(stderr)) return new Map();
  throw refusal("counters cannot be read", stderr);
}

function refusal(what: string, stderr: string): Failure {
  const isRight = /Operation not permitted|must be root/.test(stderr);
  return new Failure(isRight ? "not-allowed" : "refused", `${what}: nft says: ${said(stderr)}`);
}

function said(stderr: string): string {
  return stderr.trim().replaceAll(/\s+/g, " ").slice(0, SAID_MAX);
}
