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
  type Rumor,
  type Scope,
  type Write,
} from "../../src/gossip/message.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { OwnerLog } from "../../src/model/log.ts";

/** What a liar knows of those he lies to. */
export interface Scene {
  /** Whom he speaks of. */
  readonly nodes: readonly NodeId[];
  readonly logOf: (owner: NodeId) => OwnerLog | undefined;
  readonly nowMs: () => number;
}

/** Makes up what peers say. */
export class Liar {
  readonly #random: Random;
  readonly #scene: Scene;

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
    return { owner, incarnation: this.#incarnationOf(owner), floor: this.number(), from, to, writes };
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
  rumor(): Rumor {
    const subject = this.node();
    const kind = pick(this.#random, ["suspect", "refused", "dead"] as const) ?? "dead";
    const incarnation = this.#incarnationOf(subject);
    return { kind, subject, incarnation, refutation: this.refutation(), by: this.node() };
  }

  /** A report of what was applied. */
  report(): AppliedReport {
    const owner = this.node();
    return { owner, incarnation: this.#incarnationOf(owner), version: this.number(), by: this.nodes() };
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
