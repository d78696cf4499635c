/**
 * Keeping: does what a node must remember differ from what it remembered last?
 *
 * Asked with each tick, so it compares its parts by identity and renders nothing: each part is the same object for as
 * long as nothing in it changed.
 *
 * Pure.
 */

import type { ReplicaId } from "../model/ids.ts";
import type { KeptState } from "../model/kept.ts";

/** What the state is made of. */
export interface Keepable {
  readonly incarnation: number;
  /** Rises when the addresses change. */
  readonly addressesRevision: number;
  readonly claims: Pick<KeptState, "claims" | "slices" | "releases">;
  /** Replicas drained by command, with the start of the run that is meant. */
  readonly drained: ReadonlyMap<ReplicaId, number>;
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
    const { incarnation, addressesRevision, claims, drained } = now;
    const isSame =
      this.#last?.incarnation === incarnation &&
      this.#last.addressesRevision === addressesRevision &&
      this.#last.claims === claims &&
      this.#last.drained === drained;
    if (isSame) return null;
    this.#last = now;
    const drains = Array.from(drained, ([id, startedAtMs]) => ({ id, startedAtMs }));
    return { incarnation, ...claims, addresses: addresses(), drains };
  }
}
