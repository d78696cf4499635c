/**
 * Claims: the VIPs this node holds for the services it has replicas of.
 *
 * What is claimed is remembered past the last replica, up to a bound, so that a service which returns, or a daemon that
 * restarts, gets the address it had. This is the one loop of the picture: claims follow from the view, and the view
 * from claims.
 *
 * Pure.
 */

import type { Prefix } from "../base/ip.ts";
import type { ServiceKey } from "../model/ids.ts";
import type { Claim } from "../model/kept.ts";
import { LIMITS } from "../model/limits.ts";
import { recordKey, renderRecord, type VipRecord } from "../model/record.ts";

import { claimsFor, type Assignment } from "./vip.ts";

/** One node's claims. */
export class Claims {
  readonly #pool: Prefix;
  readonly #rememberedByKey: Map<ServiceKey, Claim>;
  #heldKeys: readonly ServiceKey[] = [];

  /** @param kept  claims of an earlier run, the least recent first */
  constructor(pool: Prefix, kept: readonly Claim[]) {
    this.#pool = pool;
    this.#rememberedByKey = new Map(kept.map((claim) => [claim.key, claim]));
  }

  /** Every claim worth keeping on disk, the least recent first. */
  get remembered(): readonly Claim[] {
    return [...this.#rememberedByKey.values()];
  }

  /**
   * Claims an address for each of these services, and lets go of all others.
   *
   * @returns the writes to this node's log: a record's key and body, null for a claim let go
   */
  update(keys: ReadonlySet<ServiceKey>, assignment: Assignment): Map<string, string | null> {
    const claimByKey = claimsFor(keys, this.#pool, assignment, this.#rememberedByKey);
    const writes = new Map<string, string | null>();
    for (const key of this.#heldKeys) if (!claimByKey.has(key)) writes.set(`vip/${key}`, null);
    for (const [key, claim] of claimByKey) {
      const record = vipRecord(claim);
      writes.set(recordKey(record), renderRecord(record));
      // Taken out first: a key that is set again would keep its place among the old ones.
      this.#rememberedByKey.delete(key);
      this.#rememberedByKey.set(key, claim);
    }
    this.#heldKeys = [...claimByKey.keys()];
    this.#forgetOldest();
    return writes;
  }

  #forgetOldest(): void {
    let excess = this.#rememberedByKey.size - LIMITS.claimsRemembered;
    for (const key of this.#rememberedByKey.keys()) {
      if (excess <= 0) return;
      this.#rememberedByKey.delete(key);
      excess -= 1;
    }
  }
}

function vipRecord({ key, address, order }: Claim): VipRecord {
  const [network = "", service = ""] = key.split("/");
  return { kind: "vip", network, service, address, order };
}
