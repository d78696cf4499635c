// Nodes that claim, without gossip: each has a log, and knows of the others' what was brought to it.
//
// What is brought is a node's whole log and what it has applied of everybody, both of one moment, as links that keep
// their order bring them. Nothing is brought by itself: the test says when, and so what overtakes what.

import assert from "node:assert/strict";

import type { NodeId, ServiceKey } from "../../src/model/ids.ts";
import { NOTHING_KEPT } from "../../src/model/kept.ts";
import type { NetworkRange } from "../../src/model/network.ts";
import { parseRecord, type SubnetRecord, type VipRecord } from "../../src/model/record.ts";
import { Aliases } from "../../src/view/alias.ts";
import { Claims, type KeptClaims } from "../../src/view/claims.ts";
import { assignSlices, type SliceAssignment, type SliceClaim } from "../../src/view/subnet.ts";
import { assign, type Assignment, type PublishedClaim } from "../../src/view/vip.ts";

import { POOL } from "./cluster.ts";

interface Known {
  readonly version: number;
  readonly records: readonly (VipRecord | SubnetRecord)[];
  /** Versions of each node's log that this one had applied. */
  readonly appliedById: ReadonlyMap<NodeId, number>;
}

/** One node: its services, its log and what it knows of the others. */
export class Claimant {
  readonly id: NodeId;
  keys: ReadonlySet<ServiceKey>;
  networks: readonly NetworkRange[] = [];
  readonly aliases = new Aliases();
  readonly #claims: Claims;
  readonly #bodyByKey = new Map<string, string>();
  readonly #knownById = new Map<NodeId, Known>();
  #version = 0;
  #last: { readonly text: string; readonly assignment: Assignment } | null = null;
  #slices: ReadonlyMap<string, SliceAssignment> = new Map();

  constructor(id: NodeId, keys: Iterable<ServiceKey>, life: { kept?: KeptClaims; nowMs?: number } = {}) {
    const { kept = NOTHING_KEPT, nowMs = 0 } = life;
    this.id = id;
    this.keys = new Set(keys);
    this.#claims = new Claims({ self: id, pool: POOL, kept, nowMs });
  }

  /** The claims in its log. */
  get records(): (VipRecord | SubnetRecord)[] {
    return Array.from(this.#bodyByKey, ([key, body]) => {
      const parsed = parseRecord(key, body);
      assert.ok(
        parsed.ok && (parsed.value?.kind === "vip" || parsed.value?.kind === "subnet"),
        `${key} ${body}`,
      );
      return parsed.value;
    });
  }

  get kept(): KeptClaims {
    return this.#claims.kept;
  }

  get isTentative(): boolean {
    return this.#claims.isTentative;
  }

  /** What all the claims it knows come to. The same object while they are the same. */
  get assignment(): Assignment {
    const claims = this.#all().flatMap(([, record]): PublishedClaim[] => {
      if (record.kind !== "vip") return [];
      const { network, service, address, order, settled } = record;
      return [{ key: `${network}/${service}`, address, order, settled }];
    });
    const text = JSON.stringify(claims);
    if (text !== this.#last?.text) this.#last = { text, assignment: assign(claims, POOL) };
    return this.#last?.assignment ?? assert.fail();
  }

  /** The slices of each network, by what it knows. */
  get slices(): ReadonlyMap<string, SliceAssignment> {
    return this.#slices;
  }

  /** Brings its claims in line with what it knows. @returns true when it wrote something */
  step(nowMs: number): boolean {
    const { assignment } = this;
    this.aliases.update(assignment, nowMs);
    this.#slices = this.#assignSlices();
    const isAlone = this.#knownById.size === 0;
    const writes = this.#claims.update(
      { keys: this.keys, isAlone },
      { assignment, slices: this.#slices },
      nowMs,
    );
    let hasWritten = false;
    for (const [key, body] of writes) {
      if ((this.#bodyByKey.get(key) ?? null) === body) continue;
      if (body === null) this.#bodyByKey.delete(key);
      else this.#bodyByKey.set(key, body);
      hasWritten = true;
    }
    if (hasWritten) this.#version += 1;
    this.#claims.written(this.#version);
    return hasWritten;
  }

  /** Looks whether its tentative claims are settled, and writes what is. @returns true when it wrote something */
  settle(nowMs: number): boolean {
    // Never from a picture that does not hold all that was brought.
    const hasWritten = this.step(nowMs);
    const lagging = (version: number): string[] => {
      return Array.from(this.#knownById).flatMap(([id, known]) => {
        return (known.appliedById.get(this.id) ?? 0) < version ? [id] : [];
      });
    };
    return (this.#claims.settle(lagging, nowMs) && this.step(nowMs)) || hasWritten;
  }

  /** Learns what another has published and applied by now. @returns true when it is news */
  learn(from: Claimant): boolean {
    const before = this.#knownById.get(from.id);
    const appliedById = new Map(Array.from(from.#knownById, ([id, { version }]) => [id, version]));
    this.#knownById.set(from.id, { version: from.#version, records: from.records, appliedById });
    return before?.version !== from.#version || !isSame(before.appliedById, appliedById);
  }

  #all(): (readonly [NodeId, VipRecord | SubnetRecord])[] {
    const all = [[this.id, this.records] as const];
    for (const [id, { records }] of this.#knownById) all.push([id, [...records]]);
    all.sort(([one], [other]) => (one < other ? -1 : 1));
    return all.flatMap(([id, records]) => records.map((record) => [id, record] as const));
  }

  #assignSlices(): ReadonlyMap<string, SliceAssignment> {
    if (this.networks.length === 0) return new Map();
    const claims = this.#all().flatMap(([node, record]): SliceClaim[] => {
      return record.kind === "subnet" ? [{ ...record, node }] : [];
    });
    return new Map(
      this.networks.map((range) => {
        return [
          range.name,
          assignSlices(
            claims.filter(({ network }) => network === range.name),
            range,
          ),
        ];
      }),
    );
  }
}

/** Brings everything to everybody until nothing is news. @returns how often that took */
export function quiesce(claimants: readonly Claimant[], nowMs: number): number {
  for (let round = 1; round <= 30; round += 1) {
    let isNews = false;
    for (const one of claimants) if (one.step(nowMs)) isNews = true;
    const pairs = claimants.flatMap((one) => claimants.map((other) => [one, other] as const));
    for (const [one, other] of pairs) if (one !== other && one.learn(other)) isNews = true;
    for (const one of claimants) if (one.settle(nowMs)) isNews = true;
    if (!isNews) return round;
  }
  return assert.fail("claims never come to rest");
}

function isSame(one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): boolean {
  return one.size === other.size && [...one].every(([id, version]) => other.get(id) === version);
}
