/**
 * Keeping: does what a node must remember differ from what it remembered last?
 *
 * Asked with each tick, so it compares its parts by identity and renders nothing: each part is the same object for as
 * long as nothing in it changed.
 *
 * Pure.
 */

import type { KeptState } from "../model/kept.ts";

import { NO_DRAINS, type Drains } from "./drain.ts";

/** What the state is made of. */
export interface Keepable {
  readonly incarnation: number;
  /** Rises when the addresses change. */
  readonly addressesRevision: number;
  readonly claims: Pick<KeptState, "claims" | "slices" | "releases">;
  readonly drains: Pick<Drains, "startedAtMsById" | "host">;
}

/** Remembers what was kept last. */
export class Keeping {
  #last: Keepable | null = null;

  /** The incarnation that was kept last; null before the first time. */
  get incarnation(): number | null {
    return this.#last?.incarnation ?? null;
  }

  /** The state to be on disk soon; null when it is there already. */
  due(now: Keepable, addresses: () => KeptState["addresses"]): KeptState | null {
    const { incarnation, addressesRevision, claims, drains } = now;
    const isSame =
      this.#last?.incarnation === incarnation &&
      this.#last.addressesRevision === addressesRevision &&
      this.#last.claims === claims &&
      this.#last.drains.startedAtMsById === drains.startedAtMsById &&
      this.#last.drains.host === drains.host;
    if (isSame) return null;
    this.#last = now;
    const runs = Array.from(drains.startedAtMsById, ([id, startedAtMs]) => ({ id, startedAtMs }));
    return { incarnation, ...claims, addresses: addresses(), drains: runs, isDrained: drains.host };
  }
}

/** The drains that a state remembers: those by command, for a daemon that stops is another one when it starts. */
export function drainsKept({ drains, isDrained }: Pick<KeptState, "drains" | "isDrained">): Drains {
  const startedAtMsById = new Map(drains.map(({ id, startedAtMs }) => [id, startedAtMs] as const));
  return { ...NO_DRAINS, startedAtMsById, host: isDrained };
}
