// Throws deltas and digests at a store, among honest ones: forged, late, repeated, with gaps, with impossible numbers.

import { isDeepStrictEqual } from "node:util";

import { below, pick, shuffled, type Random } from "../../src/base/random.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { missing, type Lacking } from "../../src/gossip/delta.ts";
import type { Delta } from "../../src/gossip/message.ts";
import type { Store } from "../../src/gossip/store.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import { storeOf } from "../support/sealed.ts";

import { Finding, type Fuzzer } from "./fuzzer.ts";
import { applyChecked, check, checkStore, numberedId } from "./holdings.ts";
import { Liar } from "./liar.ts";

const SELF = numberedId(0);
const OWNERS = Array.from({ length: 5 }, (_, index) => numberedId(index + 1));
const STRANGERS = [numberedId(100), numberedId(200)];
const STEPS = 40;
/** Over which nobody has lied. */
const RECOVERY_LINK = 9;
const HOUR_MS = 3_600_000;

/** Makes the fuzzer of the store: each case is one store and its peers, over some steps. */
export function storeFuzzer(): Fuzzer {
  return {
    name: "store",
    round(random) {
      const world = new World(random);
      for (let step = 0; step < STEPS; step += 1) world.step();
      world.checkRecovery();
      return world.appliedCount > 0 ? "applied some" : "applied none";
    },
  };
}

class World {
  appliedCount = 0;
  readonly #random: Random;
  readonly #store = storeOf(SELF, 1);
  /** What the owners hold themselves. */
  readonly #honest = new Map(OWNERS.map((owner) => [owner, storeOf(owner, 1)]));
  /** Whether owners lie about themselves, as well as others about them. */
  readonly #ownersLie: boolean;
  /** What was alive in each state of each owner's own log that anybody was told of, as text. */
  readonly #sealedStates = new Map<string, string>();
  readonly #liar: Liar;
  #nowMs = 1_700_000_000_000;

  constructor(random: Random) {
    this.#random = random;
    this.#ownersLie = random() < 0.6;
    this.#liar = new Liar(random, {
      ownersLie: this.#ownersLie,
      nodes: [SELF, ...OWNERS, ...OWNERS, ...STRANGERS],
      logOf: (owner) => this.#store.logOf(owner),
      nowMs: () => this.#nowMs,
    });
  }

  step(): void {
    const steps: readonly (readonly [number, () => void])[] = [
      [10, () => this.#receive(this.#liar.delta())],
      [6, () => this.#hearHonest()],
      [4, () => this.#answer()],
      [1, () => this.#writeOwn()],
      [1, () => this.#store.forget(this.#liar.node())],
      [1, () => this.#store.setDead(this.#liar.node(), this.#liar.number(), this.#liar.deadAt())],
      [1, () => this.#letTimePass()],
    ];
    const total = steps.reduce((sum, [weight]) => sum + weight, 0);
    let chosen = below(this.#random, total);
    const [, act] = steps.find(([weight]) => (chosen -= weight) < 0) ?? [];
    act?.();
    checkStore(this.#store);
    if (!this.#ownersLie) this.#checkWritten();
  }

  /** Where owners are honest, what is held of them is what they had, all of it, whatever others say in their names. */
  #checkWritten(): void {
    for (const [owner, log] of this.#store.logs) {
      if (owner === SELF || this.#store.isForgotten(owner)) continue;
      check(
        this.#sealedStates.get(stateNameOf(log)) === liveTextOf(log),
        `the log of ${owner} is not what it was at ${log.version}`,
      );
    }
  }

  /** An owner that starts anew is held as it is, whatever was said in its name. */
  checkRecovery(): void {
    // Forged incarnations are believed up to a bound that moves on with time.
    this.#nowMs += 10_000;
    for (const [owner, own] of this.#honest) {
      const heldIncarnation = this.#store.logOf(owner)?.incarnation ?? 0;
      own.raise(Math.max(heldIncarnation, own.logOf(owner)?.incarnation ?? 0) + 1);
      own.write(new Map([["k0", "anew"]]), this.#nowMs);
      own.write(new Map([["k0", "once more"]]), this.#nowMs);
      this.#remember(own.logOf(owner));
      for (const deltas of missing(own, this.#lackedOf(this.#store)))
        for (const delta of deltas) this.#receive(delta, RECOVERY_LINK);
      const [ours, theirs] = [this.#store.logOf(owner), own.logOf(owner)];
      check(
        isDeepStrictEqual(ours?.entryByKey, theirs?.entryByKey) && ours?.version === theirs?.version,
        `the log of ${owner} does not recover`,
      );
    }
  }

  /** Takes a delta as it comes over the wire. */
  #receive(delta: Delta, link = 1 + below(this.#random, 3)): void {
    const frame = encode({ kind: "delta", deltas: [delta], until: null, acknowledge: false });
    try {
      const decoded = decode(frame);
      check(decoded.ok && decoded.value.kind === "delta", "a delta is refused by the decoder");
      for (const one of decoded.value.deltas) {
        const applied = applyChecked(this.#store, one, { link, nowMs: this.#nowMs });
        check(one.owner !== SELF || applied.kind !== "applied", "somebody else writes this node's log");
        if (applied.kind === "applied") this.appliedCount += 1;
      }
    } catch (thrown) {
      throw new Finding("a delta does harm", frame, thrown);
    }
  }

  #hearHonest(): void {
    const owner = pick(this.#random, OWNERS) ?? SELF;
    const own = this.#honest.get(owner);
    if (own === undefined) return;
    own.write(this.#liar.changes(), this.#nowMs);
    if (this.#random() < 0.1) own.raise((own.logOf(owner)?.incarnation ?? 0) + 1);
    if (this.#random() < 0.1) own.collect(this.#nowMs);
    const held = this.#random() < 0.7 ? this.#lackedOf(this.#store) : this.#hostileLacking();
    this.#remember(own.logOf(owner));
    const deltas = [...missing(own, held)].flat();
    const link = 1 + below(this.#random, 3);
    const isInOrder = this.#random() < 0.5;
    // Late, lost and repeated: links are in order, but a delta may come over several.
    const sent = isInOrder ? deltas : shuffled(this.#random, [...deltas, ...deltas]);
    for (const delta of sent)
      if (this.#random() < 0.8)
        this.#receive(this.#random() < 0.2 ? this.#touched(delta) : delta, isInOrder ? link : undefined);
  }

  /** An owner's delta and seal, after somebody on the way had his hands on it. */
  #touched(delta: Delta): Delta {
    const { writes } = delta;
    const at = below(this.#random, Math.max(1, writes.length));
    const ways: readonly Partial<Delta>[] = [
      { writes: writes.filter((_, index) => index !== at) },
      { writes: writes.map((write, index) => (index === at ? { ...write, body: "forged" } : write)) },
      { writes: writes.map((write, index) => (index === at ? { ...write, body: null } : write)) },
      { writes: writes.map((write, index) => (index === at ? { ...write, key: "forged" } : write)) },
      { floor: below(this.#random, delta.to + 2) },
      { to: delta.to + 1 },
      { incarnation: delta.incarnation + 1 },
      { from: 0 },
      { seal: null },
      { owner: this.#liar.node() },
    ];
    return { ...delta, ...pick(this.#random, ways) };
  }

  #remember(own: OwnerLog | undefined): void {
    if (own !== undefined) this.#sealedStates.set(stateNameOf(own), liveTextOf(own));
  }

  #lackedOf(store: Store): Lacking {
    const digest = store.digest().map(({ owner, incarnation, version, deadAt }) => {
      return { owner, incarnation, version, deadAt };
    });
    return { digest, scope: { kind: "all" }, recipient: SELF };
  }

  /** Answers a digest: what is sent must be what is held, in frames that a peer takes. */
  #answer(): void {
    const lacking = this.#hostileLacking();
    this.#store.covers(lacking.digest);
    this.#store.headsOf(lacking.digest.map(({ owner }) => owner));
    for (const deltas of missing(this.#store, lacking)) {
      const frame = encode({ kind: "delta", deltas, until: null, acknowledge: false });
      check(frame.length <= LIMITS.deltaBytes + 16, `an answer of ${frame.length} bytes`);
      const decoded = decode(frame);
      check(decoded.ok && decoded.value.kind === "delta", "an answer is refused by the decoder");
      check(isDeepStrictEqual(decoded.value.deltas, deltas), "an answer comes through as another");
      // Of itself it is told when it asks for that by name.
      const recipient = lacking.scope.kind === "listed" ? null : lacking.recipient;
      for (const delta of deltas) this.#checkHeld(delta, recipient);
    }
  }

  #checkHeld({ owner, incarnation, to, writes }: Delta, recipient: NodeId | null): void {
    const log = this.#store.logOf(owner);
    check(log !== undefined && owner !== recipient, "an answer about the recipient, or nobody");
    check(log.incarnation === incarnation && to <= log.version, "an answer past what is held");
    for (const { key, version, body } of writes) {
      const entry = log.entryByKey.get(key);
      check(entry?.version === version && entry.body === body, `an answer with ${key}, which is not held`);
    }
  }

  #writeOwn(): void {
    this.#store.write(this.#liar.changes(), this.#nowMs);
    const { incarnation = 0 } = this.#store.logOf(SELF) ?? {};
    if (this.#random() < 0.3) this.#store.raise(incarnation + 1 + below(this.#random, 3));
  }

  #letTimePass(): void {
    this.#nowMs += below(this.#random, 3 * HOUR_MS);
    this.#store.collect(this.#nowMs);
  }

  #hostileLacking(): Lacking {
    const recipient = this.#random() < 0.5 ? null : this.#liar.node();
    return { digest: this.#liar.digest(), scope: this.#liar.scope(), recipient };
  }
}

function stateNameOf({ owner, incarnation, version }: OwnerLog): string {
  return `${owner} ${incarnation} ${version}`;
}

function liveTextOf({ entryByKey }: OwnerLog): string {
  return JSON.stringify([...entryByKey].filter(([, { body }]) => body !== null));
}
