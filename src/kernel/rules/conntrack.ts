/**
 * Conntrack: makes the kernel forget connections, by the program conntrack.
 *
 * One call for all of a change. Without the program everything works but what it is for, so that is a problem told, and
 * no failure.
 *
 * Touches: the kernel's table of connections, through the program conntrack.
 */

import { textOf } from "../../base/failure.ts";
import { run } from "../../runtime/exec.ts";

import { MARK_OURS } from "../names.ts";
import { forgetLines, goneEndpoints, staleEndpoints } from "./flows.ts";
import type { Endpoint } from "./ruleset.ts";

const DEADLINE_MS = 20_000;
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
    if (gone.length === 0) return null;
    const stdin = `${forgetLines(gone).join("\n")}\n`;
    const { status, stderr } = await run(program, [...before, "-R", "-"], { deadlineMs: DEADLINE_MS, stdin });
    // It says how many it found, and fails for none.
    const isDone = status === 0 || /0 flow entries have been deleted/.test(stderr);
    return isDone
      ? null
      : `flows of upstreams that are gone stay: conntrack says: ${stderr.trim().slice(0, 300)}`;
  };
  const told = (work: () => Promise<string | null>): Promise<string | null> =>
    work().catch((thrown: unknown) => `flows of upstreams that are gone stay: ${textOf(thrown)}: ${REMEDY}`);
  return {
    forget: (before, after) => told(() => drop(goneEndpoints(before, after))),
    sweep: (kept) =>
      told(async () => {
        const stale: Endpoint[] = [];
        for (const family of ["ipv4", "ipv6"]) {
          const args = [...before, "-L", "-f", family, "-p", "udp", "-m", String(MARK_OURS)];
          const { status, stdout } = await run(program, args, { deadlineMs: DEADLINE_MS });
          if (status === 0) stale.push(...staleEndpoints(stdout, kept));
        }
        return drop(stale);
      }),
  };
}
