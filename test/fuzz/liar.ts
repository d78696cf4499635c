// What a hostile member may say: well-formed, of nodes that are there, with numbers near the true ones or far off.

import { below, pick, type Random } from "../../src/base/random.ts";
import { incarnationMax } from "../../src/gossip/greeting.ts";
import { LIFE_KEY, REFUTATION_MAX, renderLife } from "../../src/gossip/life.ts";
import {
  DIGEST_PARTS,
  type AppliedReport,
  type Delta,
  type Digest,
  type Head,
  type DrainAsk,
  type Scope,
  type SignedRumor,
  type Write,
} from "../../src/gossip/message.ts";
import { drainText, reportText, rumorText } from "../../src/gossip/words.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import { CERTIFICATE_KEY } from "../../src/model/seal.ts";
import { cheapSeals } from "../support/cheap-seals.ts";

import { numberedId } from "./holdings.ts";

/** What a liar knows of those he lies to. */
export interface Scene {
  /** Whom he speaks of. */
  readonly nodes: readonly NodeId[];
  readonly logOf: (owner: NodeId) => OwnerLog | undefined;
  readonly nowMs: () => number;
  /** True where owners themselves lie, each about itself: then their seals fit. Else each alone has his key. */
  readonly ownersLie: boolean;
}

/** Makes up what peers say. */
export class Liar {
  readonly #random: Random;
  readonly #scene: Scene;
  /** A member like any other, with a key of its own. */
  readonly #ownId = numberedId(999_999);

  constructor(random: Random, scene: Scene) {
    this.#random = random;
    this.#scene = scene;
  }

  /** One of the nodes there are. */
  node(): NodeId {
    return pick(this.#random, this.#scene.nodes) ?? "";
  }

  /** A few nodes, perhaps one more than once. */
  nodes(): readonly NodeId[] {
    return Array.from({ length: below(this.#random, 5) }, () => this.node());
  }

  /** A version or incarnation: small, close to one that is held, or at the end of numbers. */
  number(): number {
    const choice = this.#random();
    if (choice < 0.4) return below(this.#random, 12);
    const { version = 0, incarnation = 0, floor = 0 } = this.#scene.logOf(this.node()) ?? {};
    const most = incarnationMax(this.#scene.nowMs());
    const near = pick(this.#random, [version, version, incarnation, floor, most]) ?? 0;
    if (choice < 0.9)
      return Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, near + below(this.#random, 3) - 1));
    return Number.MAX_SAFE_INTEGER - (choice < 0.95 ? 0 : below(this.#random, 2 ** 40));
  }

  /** A refutation that may be taken for one. */
  refutation(): number {
    return this.#random() < 0.9 ? below(this.#random, 4) : REFUTATION_MAX - below(this.#random, 3);
  }

  /** At which refutation a node is dead, or that it is not. */
  deadAt(): number | null {
    return this.#random() < 0.5 ? null : Math.min(this.refutation(), REFUTATION_MAX - 1);
  }

  /** Changes of a few keys. */
  changes(): ReadonlyMap<string, string | null> {
    const count = 1 + below(this.#random, 4);
    return new Map(Array.from({ length: count }, () => this.#keyAndBody()));
  }

  /** A part of some log. */
  delta(): Delta {
    const owner = this.node();
    const numbers = [this.number(), this.number()].toSorted((one, other) => one - other);
    const from = this.#random() < 0.4 ? 0 : (numbers[0] ?? 0);
    const to = numbers[1] ?? 0;
    const writes: Write[] = [];
    for (let version = from; writes.length < 6;) {
      version += 1 + below(this.#random, 3);
      if (version > to) break;
      const [key, body] = this.#keyAndBody();
      writes.push({ key, version, body });
    }
    const incarnation = this.#incarnationOf(owner);
    if (from === 0 && to > 0 && this.#random() < 0.9) withCertificate(owner, writes);
    const floor = this.#random() < 0.6 ? below(this.#random, 1 + Math.min(to, 20)) : this.number();
    const delta = { owner, incarnation, floor, from, to, writes, seal: null };
    return { ...delta, seal: this.#sealOf(delta) };
  }

  /** A seal that fits, or one that does not, or none. */
  #sealOf(delta: Delta): Uint8Array | null {
    const choice = this.#random();
    if (choice < 0.15) return null;
    const { owner, incarnation, from, to: version, writes } = delta;
    const seals = cheapSeals(this.#scene.ownersLie && choice < 0.9 ? owner : this.#ownId);
    const sum = seals.emptySum();
    const last = new Map<string, Write>();
    const before = from === 0 ? [] : (this.#scene.logOf(owner)?.entryByKey ?? []);
    for (const [key, entry] of before) last.set(key, { key, ...entry });
    for (const write of writes) last.set(write.key, write);
    for (const { key, version, body } of last.values()) if (body !== null) sum.add(key, version, body);
    return seals.seal({ owner, incarnation, version }, sum);
  }

  /** A digest, in which an owner may come twice. */
  digest(): Digest {
    return Array.from({ length: below(this.#random, 8) }, (): Head => {
      const owner = this.node();
      return {
        owner,
        incarnation: this.#incarnationOf(owner),
        version: this.number(),
        deadAt: this.deadAt(),
      };
    });
  }

  /** Which owners a digest speaks of. */
  scope(): Scope {
    const parts = Array.from({ length: DIGEST_PARTS }, (_, part) => part).filter(() => this.#random() < 0.3);
    const scopes: readonly Scope[] = [{ kind: "all" }, { kind: "listed" }, { kind: "parts", parts }];
    return pick(this.#random, scopes) ?? { kind: "all" };
  }

  /** A rumor about somebody. */
  rumor(): SignedRumor {
    const subject = this.node();
    const kind = pick(this.#random, ["suspect", "refused", "dead"] as const) ?? "dead";
    const incarnation = this.#incarnationOf(subject);
    const rumor = { kind, subject, incarnation, refutation: this.refutation(), by: this.node() };
    return { ...rumor, signature: this.#signed(rumor.by, rumorText(rumor)) };
  }

  /** An ask to drain something. */
  ask(): DrainAsk {
    const owner = this.node();
    const head = { owner, incarnation: this.#incarnationOf(owner), version: this.number() };
    const words = { ...head, replica: "replica", draining: this.#random() < 0.5, asker: this.node() };
    const isSigned = this.#random() < 0.8;
    return { ...words, signature: isSigned ? this.#signed(words.asker, drainText(words)) : null };
  }

  /** The signature of a node, or of the liar. */
  #signed(by: NodeId, text: string): Uint8Array {
    return cheapSeals(this.#scene.ownersLie && this.#random() < 0.7 ? by : this.#ownId).sign(text);
  }

  /** A report of what was applied. */
  report(): AppliedReport {
    const owner = this.node();
    const log = { owner, incarnation: this.#incarnationOf(owner), version: this.number() };
    const by = this.nodes().map((id) => {
      return { id, signature: this.#random() < 0.2 ? null : this.#signed(id, reportText(log, id)) };
    });
    return { ...log, by };
  }

  #incarnationOf(owner: NodeId): number {
    const { incarnation = 1 } = this.#scene.logOf(owner) ?? {};
    return this.#random() < 0.7 ? incarnation : this.number();
  }

  #keyAndBody(): readonly [string, string | null] {
    if (this.#random() < 0.1) {
      const said = pick(this.#random, ["alive", "away", "left"] as const) ?? "left";
      return [
        LIFE_KEY,
        renderLife({ refutation: this.refutation(), said, forMs: below(this.#random, 100_000) }),
      ];
    }
    return [`k${below(this.#random, 6)}`, this.#body()];
  }

  #body(): string | null {
    const choice = this.#random();
    if (choice < 0.3) return null;
    return choice < 0.32 ? "€".repeat(LIMITS.recordBytes) : `body ${below(this.#random, 5)}`;
  }
}

/** Puts an owner's certificate at the begin of its log. */
function withCertificate(owner: NodeId, writes: Write[]): void {
  if (writes[0]?.version === 1) writes.shift();
  writes.unshift({ key: CERTIFICATE_KEY, version: 1, body: cheapSeals(owner).certificate });
}
