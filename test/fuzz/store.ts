// Throws deltas and digests at a store, among honest ones: forged, late, repeated, with gaps, with impossible numbers.

import { isDeepStrictEqual } from "node:util";

import { below, pick, shuffled, type Random } from "../../src/base/random.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { missing, type Lacking } from "../../src/gossip/delta.ts";
import { incarnationMax } from "../../src/gossip/greeting.ts";
import { REFUTATION_MAX } from "../../src/gossip/life.ts";
import { DIGEST_PARTS, type Delta, type Digest, type Scope, type Write } from "../../src/gossip/message.ts";
import { Store } from "../../src/gossip/store.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";

import { Finding, type Fuzzer } from "./fuzzer.ts";
import { applyChecked, check, checkStore, numberedId } from "./holdings.ts";

const SELF = numberedId(0);
const OWNERS = Array.from({ length: 5 }, (_, index) => numberedId(index + 1));
const STRANGERS = [numberedId(100), numberedId(200)];
const STEPS = 40;
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
  readonly #store = new Store(SELF, 1);
  /** What the owners hold themselves. */
  readonly #honest = new Map(OWNERS.map((owner) => [owner, new Store(owner, 1)]));
  #nowMs = 1_700_000_000_000;

  constructor(random: Random) {
    this.#random = random;
  }

  step(): void {
    const steps: readonly (readonly [number, () => void])[] = [
      [10, () => this.#receive(this.#forgedDelta())],
      [6, () => this.#hearHonest()],
      [4, () => this.#answer()],
      [1, () => this.#writeOwn()],
      [1, () => this.#store.forget(this.#anyone())],
      [1, () => this.#store.setDead(this.#anyone(), this.#number(), this.#deadAt())],
      [1, () => this.#letTimePass()],
    ];
    const total = steps.reduce((sum, [weight]) => sum + weight, 0);
    let chosen = below(this.#random, total);
    const [, act] = steps.find(([weight]) => (chosen -= weight) < 0) ?? [];
    act?.();
    checkStore(this.#store);
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
      for (const deltas of missing(own.logs, this.#lackedOf(this.#store)))
        for (const delta of deltas) this.#receive(delta);
      const [ours, theirs] = [this.#store.logOf(owner), own.logOf(owner)];
      check(
        isDeepStrictEqual(ours?.entryByKey, theirs?.entryByKey) && ours?.version === theirs?.version,
        `the log of ${owner} does not recover`,
      );
    }
  }

  /** Takes a delta as it comes over the wire. */
  #receive(delta: Delta): void {
    const frame = encode({ kind: "delta", deltas: [delta], until: null, acknowledge: false });
    try {
      const decoded = decode(frame);
      check(decoded.ok && decoded.value.kind === "delta", "a delta is refused by the decoder");
      for (const one of decoded.value.deltas) {
        const applied = applyChecked(this.#store, one, this.#nowMs);
        check(one.owner !== SELF || applied === "refused", "somebody else writes this node's log");
        if (applied === "applied") this.appliedCount += 1;
      }
    } catch (thrown) {
      throw new Finding("a delta does harm", frame, thrown);
    }
  }

  #hearHonest(): void {
    const owner = pick(this.#random, OWNERS) ?? SELF;
    const own = this.#honest.get(owner);
    if (own === undefined) return;
    own.write(this.#changes(), this.#nowMs);
    if (this.#random() < 0.1) own.raise((own.logOf(owner)?.incarnation ?? 0) + 1);
    if (this.#random() < 0.1) own.collect(this.#nowMs);
    const held = this.#random() < 0.7 ? this.#lackedOf(this.#store) : this.#hostileLacking();
    const deltas = [...missing(own.logs, held)].flat();
    // Late, lost and repeated: links are in order, but a delta may come over several.
    for (const delta of shuffled(this.#random, [...deltas, ...deltas]))
      if (this.#random() < 0.8) this.#receive(delta);
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
    for (const deltas of missing(this.#store.logs, lacking)) {
      const frame = encode({ kind: "delta", deltas, until: null, acknowledge: false });
      check(frame.length <= LIMITS.deltaBytes + 16, `an answer of ${frame.length} bytes`);
      const decoded = decode(frame);
      check(decoded.ok && decoded.value.kind === "delta", "an answer is refused by the decoder");
      check(isDeepStrictEqual(decoded.value.deltas, deltas), "an answer comes through as another");
      for (const delta of deltas) this.#checkHeld(delta, lacking.recipient);
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
    this.#store.write(this.#changes(), this.#nowMs);
    const { incarnation = 0 } = this.#store.logOf(SELF) ?? {};
    if (this.#random() < 0.3) this.#store.raise(incarnation + 1 + below(this.#random, 3));
  }

  #letTimePass(): void {
    this.#nowMs += below(this.#random, 3 * HOUR_MS);
    this.#store.collect(this.#nowMs);
  }

  #changes(): ReadonlyMap<string, string | null> {
    const count = 1 + below(this.#random, 4);
    return new Map(Array.from({ length: count }, () => [this.#key(), this.#body()] as const));
  }

  #key(): string {
    return `k${below(this.#random, 6)}`;
  }

  #body(): string | null {
    const choice = this.#random();
    if (choice < 0.3) return null;
    return choice < 0.32 ? "€".repeat(LIMITS.recordBytes) : `body ${below(this.#random, 5)}`;
  }

  #anyone(): NodeId {
    return pick(this.#random, [SELF, ...OWNERS, ...OWNERS, ...STRANGERS]) ?? SELF;
  }

  #deadAt(): number | null {
    return this.#random() < 0.5 ? null : below(this.#random, this.#random() < 0.9 ? 4 : REFUTATION_MAX);
  }

  /** A version or incarnation: small, close to one that is held, or at the end of numbers. */
  #number(): number {
    const choice = this.#random();
    if (choice < 0.4) return below(this.#random, 12);
    const { version = 0, incarnation = 0, floor = 0 } = this.#store.logOf(this.#anyone()) ?? {};
    const most = incarnationMax(this.#nowMs);
    const near = pick(this.#random, [version, version, incarnation, floor, most]) ?? 0;
    if (choice < 0.9)
      return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, near + below(this.#random, 3) - 1));
    return Number.MAX_SAFE_INTEGER - (choice < 0.95 ? 0 : below(this.#random, 2 ** 40));
  }

  #incarnationOf(owner: NodeId): number {
    const { incarnation = 1 } = this.#store.logOf(owner) ?? {};
    return this.#random() < 0.7 ? incarnation : this.#number();
  }

  #forgedDelta(): Delta {
    const owner = this.#anyone();
    const numbers = [this.#number(), this.#number()].toSorted((one, other) => one - other);
    const from = this.#random() < 0.4 ? 0 : (numbers[0] ?? 0);
    const to = numbers[1] ?? 0;
    const writes: Write[] = [];
    for (let version = from; writes.length < 6;) {
      version += 1 + below(this.#random, 3);
      if (version > to) break;
      writes.push({ key: this.#key(), version, body: this.#body() });
    }
    return { owner, incarnation: this.#incarnationOf(owner), floor: this.#number(), from, to, writes };
  }

  #hostileLacking(): Lacking {
    const digest: Digest = Array.from({ length: below(this.#random, 8) }, () => {
      const owner = this.#anyone();
      return {
        owner,
        incarnation: this.#incarnationOf(owner),
        version: this.#number(),
        deadAt: this.#deadAt(),
      };
    });
    const recipient = this.#random() < 0.5 ? null : this.#anyone();
    return { digest, scope: this.#scope(), recipient };
  }

  #scope(): Scope {
    const parts = Array.from({ length: DIGEST_PARTS }, (_, part) => part).filter(() => this.#random() < 0.3);
    return (
      pick<Scope>(this.#random, [{ kind: "all" }, { kind: "listed" }, { kind: "parts", parts }]) ?? {
        kind: "all",
      }
    );
  }
}
