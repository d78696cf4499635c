// Sees every log that anybody holds, and fails when one holds what its owner never wrote, or goes back.

import assert from "node:assert/strict";

import type { Gossip } from "../../src/gossip/gossip.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { OwnerLog } from "../../src/model/log.ts";

interface Seen {
  readonly incarnation: number;
  readonly version: number;
}

/** Remembers what was written, and how far each holder was. */
export class LogWitness {
  readonly #what: string;
  /** Every write any owner ever made, as `owner incarnation key version`. */
  readonly #written = new Map<string, string | null>();
  readonly #recordedByGossip = new Map<Gossip, Seen>();
  readonly #seenByGossip = new Map<Gossip, Map<NodeId, Seen>>();

  /** @param what  for the failure: `seed 7` */
  constructor(what: string) {
    this.#what = what;
  }

  /** Looks at one holder: its own log is what it has written, all others must be somebody's. */
  look(name: string, id: NodeId, gossip: Gossip): void {
    this.#record(id, gossip);
    const seenByOwner = this.#seenByGossip.get(gossip) ?? new Map<NodeId, Seen>();
    this.#seenByGossip.set(gossip, seenByOwner);
    for (const [owner, log] of gossip.logs) {
      const seen = seenByOwner.get(owner);
      if (seen?.version === log.version && seen.incarnation === log.incarnation) continue;
      const isBack =
        seen !== undefined &&
        (log.incarnation < seen.incarnation ||
          (log.incarnation === seen.incarnation && log.version < seen.version));
      assert.ok(!isBack, `${this.#what}: ${name} went back on ${owner}`);
      seenByOwner.set(owner, { incarnation: log.incarnation, version: log.version });
      this.#checkWrites(name, log);
    }
  }

  #record(id: NodeId, gossip: Gossip): void {
    const own = gossip.logs.get(id);
    const before = this.#recordedByGossip.get(gossip);
    if (own === undefined) return;
    if (before?.version === own.version && before.incarnation === own.incarnation) return;
    this.#recordedByGossip.set(gossip, { incarnation: own.incarnation, version: own.version });
    for (const [key, { version, body }] of own.entryByKey) {
      const write = `${id} ${own.incarnation} ${key} ${version}`;
      const known = this.#written.get(write);
      assert.ok(known === undefined || known === body, `${this.#what}: ${write} was written twice`);
      this.#written.set(write, body);
    }
  }

  #checkWrites(name: string, { owner, incarnation, entryByKey }: OwnerLog): void {
    for (const [key, { version, body }] of entryByKey) {
      const write = `${owner} ${incarnation} ${key} ${version}`;
      assert.ok(
        this.#written.get(write) === body,
        `${this.#what}: ${name} holds ${write}, which nobody wrote`,
      );
    }
  }
}

/** True when both hold the same live entries and tombstones of every owner. */
export function sameLogs(one: ReadonlyMap<NodeId, OwnerLog>, other: ReadonlyMap<NodeId, OwnerLog>): boolean {
  if (one === other) return true;
  if (one.size !== other.size) return false;
  // Without copies: it is asked at each step of whole clusters.
  for (const [owner, log] of one) {
    const theirs = other.get(owner);
    if (theirs === undefined || !isSameLog(log, theirs)) return false;
  }
  return true;
}

function isSameLog(one: OwnerLog, other: OwnerLog): boolean {
  if (one.incarnation !== other.incarnation || one.version !== other.version) return false;
  if (one.entryByKey.size !== other.entryByKey.size) return false;
  for (const [key, { version, body }] of one.entryByKey) {
    const entry = other.entryByKey.get(key);
    if (entry?.version !== version || entry.body !== body) return false;
  }
  return true;
}
