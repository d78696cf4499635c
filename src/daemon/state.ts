/**
 * State: what a node remembers between two runs, and what becomes of it when the disk does not.
 *
 * A damaged file is set aside and told of, and the one before it is used; a write that fails is a problem in `skein
 * status` until one succeeds.
 *
 * Touches: the state file in the data dir.
 */

import { join } from "node:path";

import { KEPT_SCHEMA, NOTHING_KEPT, parseKept, type KeptState } from "../model/kept.ts";
import { nowMs } from "../runtime/clock.ts";
import { loadState, saveState } from "../runtime/files.ts";

import type { Base } from "./base.ts";
import { STATE_FILE } from "./membership.ts";

/** What this node remembers, and how it is kept. */
export async function openState(
  base: Base,
): Promise<{ readonly kept: KeptState; readonly save: (kept: KeptState) => Promise<void> }> {
  const path = join(base.options.config.node.dataDir, STATE_FILE);
  const kept = await loadKept(base, path);
  return { kept, save: (state) => saveState(path, KEPT_SCHEMA, state) };
}

async function loadKept({ options, report, journal }: Base, path: string): Promise<KeptState> {
  const loaded = await loadState(path, { schema: KEPT_SCHEMA, parse: parseKept }, nowMs());
  if (loaded.reason !== null) {
    const used = loaded.from === "none" ? "nothing is remembered" : `the ${loaded.from} one is used`;
    const aside = loaded.setAside === null ? "" : `set aside as ${loaded.setAside}; `;
    const text = `${loaded.reason}; ${aside}${used}`;
    options.log.warn(`state file: ${text}`);
    report.problem({ area: "state", subject: path, text });
    journal.append([{ kind: "state.corrupt", level: "warn", subject: path, text, atMs: nowMs() }]);
  }
  return loaded.value ?? NOTHING_KEPT;
}

/** Notes how a write of the state ended; `problem` is null when it went well. */
export function tellSaved({ options, report }: Base, problem: string | null): void {
  if (problem !== null && report.saveProblem !== problem)
    options.log.error(`state cannot be kept: ${problem}`);
  if (problem === null && report.saveProblem !== null) options.log.info("state is kept again");
  report.saveProblem = problem;
}
