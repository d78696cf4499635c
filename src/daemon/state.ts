/**
 * State: what a node remembers between two runs, and what becomes of it when the disk does not.
 *
 * A damaged file is set aside and told of, and the one before it is used; a write that fails is a problem in `skein
 * status` until one succeeds.
 *
 * Touches: the state file in the data dir.
 */

import { rm } from "node:fs/promises";
import { join } from "node:path";

import { renderHostPort, type HostPort } from "../base/ip.ts";
import { KEPT_SCHEMA, NOTHING_KEPT, parseKept, type KeptState } from "../model/kept.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import { loadState, saveState } from "../runtime/files.ts";

import type { Base } from "./base.ts";

const STATE_FILE = "state.json";

/** What a node remembers, and how it is kept. */
export interface State {
  readonly kept: KeptState;
  readonly save: (kept: KeptState) => Promise<void>;
}

/** What this node remembers; a file that is damaged is told of. */
export async function openState(base: Base): Promise<State> {
  const path = pathIn(base.options.config.node.dataDir);
  return stateOf(path, await loadKept(base, path));
}

/** The same where no daemon runs, and so nobody is there to be told. */
export async function openStateOffline(dataDir: string): Promise<State> {
  const path = pathIn(dataDir);
  const { value } = await loadState(path, FORMAT, nowMs());
  return stateOf(path, value ?? NOTHING_KEPT);
}

/**
 * Keeps where others of the cluster are, before those that were known already. To be done before this host becomes a
 * member: one that is a member and knows nobody would stay alone, and be told that it has joined already.
 */
export async function keepAddresses({ kept, save }: State, members: readonly HostPort[]): Promise<void> {
  const byText = new Map([...members, ...kept.addresses].map((each) => [renderHostPort(each), each]));
  await save({ ...kept, addresses: Array.from(byText.values()).slice(0, LIMITS.ownersMax) });
}

/** Forgets all that the node of a data dir remembered. */
export async function forgetState(dataDir: string): Promise<void> {
  for (const suffix of ["", ".previous"]) await rm(`${pathIn(dataDir)}${suffix}`, { force: true });
}

const FORMAT = { schema: KEPT_SCHEMA, parse: parseKept };

function pathIn(dataDir: string): string {
  return join(dataDir, STATE_FILE);
}

function stateOf(path: string, kept: KeptState): State {
  return { kept, save: (state) => saveState(path, KEPT_SCHEMA, state) };
}

async function loadKept({ options, report, journal }: Base, path: string): Promise<KeptState> {
  const loaded = await loadState(path, FORMAT, nowMs());
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
