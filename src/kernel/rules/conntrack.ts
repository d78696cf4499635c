/**
 * Conntrack: makes the kernel forget connections, by the program conntrack.
 *
 * One short call for each upstream that went, and few go at a time. Without the program everything works but what it is
 * for, so that is a problem told, and no failure.
 *
 * Touches: the kernel's table of connections, through the program conntrack.
 */

import { textOf } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";

import { forgetArguments, goneEndpoints, listArguments, staleEndpoints } from "./flows.ts";
import type { Endpoint } from "./ruleset.ts";

const DEADLINE_MS = 20_000;
const SAID_MAX = 300;
const REMEDY = 'install the program "conntrack", else UDP clients keep to upstreams that are gone';

/** What forgets flows. Both return what went wrong, in words; null for nothing. */
export interface Flows {
  /** Forgets the flows of upstreams that were there and are no more. */
  forget(before: ReadonlyMap<string, Endpoint>, after: ReadonlyMap<string, Endpoint>): Promise<string | null>;
  /** Forgets the UDP flows that an earlier life of the daemon led to upstreams that are gone. */
  sweep(kept: ReadonlyMap<string, Endpoint>): Promise<string | null>;
}

/** The connections of this network namespace. @param command  conntrack, or what runs it in another one */
export function openConntrack(command: readonly string[] = ["conntrack"]): Flows {
  const [program = "conntrack", ...before] = command;
  const drop = async (gone: readonly Endpoint[]): Promise<string | null> => {
    // One call each: it reads many from a file only, and may have nowhere to write one.
    for (const endpoint of gone) {
      const args = [...before, ...forgetArguments(endpoint)];
      const { status, stderr } = await run(program, args, { deadlineMs: DEADLINE_MS });
      // It fails for finding none, too.
      if (status === 0 || /\b0 flow entries have been deleted/.test(stderr)) continue;
      return `flows of upstreams that are gone stay: conntrack says: ${stderr.trim().slice(0, SAID_MAX)}`;
    }
    return null;
  };
  const told = (work: () => Promise<string | null>): Promise<string | null> =>
    work().catch((thrown: unknown) => `flows of upstreams that are gone stay: ${textOf(thrown)}: ${REMEDY}`);
  return {
    forget: (before, after) => told(() => drop(goneEndpoints(before, after))),
    sweep: (kept) =>
      told(async () => {
        const stale: Endpoint[] = [];
        for (const family of ["ipv4", "ipv6"] as const) {
          const args = [...before, ...listArguments(family)];
          const { status, stdout } = await run(program, args, { deadlineMs: DEADLINE_MS });
          if (status === 0) stale.push(...staleEndpoints(stdout, kept));
        }
        return drop(stale);
      }),
  };
}
