/**
 * Replication: logs travel from node to node.
 *
 * Three ways, each covering for the one before. A change of this node's log is pushed at once to every link. A delta
 * that does not fit on what is held shows that a push was missed, and is answered with a digest. And each second one
 * random peer gets the hash of what is held here; where it differs both send digests, and then what the other lacks.
 * What was applied of a peer's own log is reported to it, so that a drain can be acknowledged instead of slept.
 *
 * Pure. store.ts decides what is applied, delta.ts what a peer lacks.
 */

import { pick, type Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";

import { missing } from "./delta.ts";
import type { Outbox } from "./effects.ts";
import { incarnationMax, outrankedBy } from "./greeting.ts";
import type { Membership, Peer } from "./membership.ts";
import type { Delta, Digest } from "./message.ts";
import { Store } from "./store.ts";

const COMPARE_EVERY_MS = 1000;

/** What replication works with. */
export interface ReplicationOptions {
  readonly self: NodeId;
  readonly incarnation: number;
  readonly membership: Membership;
  readonly outbox: Outbox;
  readonly random: Random;
  readonly nowMs: number;
}

/** Holds the logs and keeps them equal to those of the peers. */
export class Replication {
  readonly store: Store;
  readonly #options: ReplicationOptions;
  #incarnation: number;
  #pushedVersion = 0;
  #comparedAtMs: number;

  constructor(options: ReplicationOptions) {
    this.#options = options;
    this.#incarnation = options.incarnation;
    this.#comparedAtMs = options.nowMs;
    this.store = new Store(options.self, options.incarnation);
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  /** The version that this node's latest write got. */
  get version(): number {
    return this.store.logOf(this.#options.self)?.version ?? 0;
  }

  /** Writes this node's own log and pushes the change. @returns false when nothing changed */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): boolean {
    if (!this.store.write(changes, nowMs)) return false;
    this.#push();
    return true;
  }

  /** A peer that remembers more of this node than it knows itself: takes a higher incarnation. @returns true then */
  outrank(digest: Digest, nowMs: number): boolean {
    const own = { id: this.#options.self, incarnation: this.#incarnation, version: this.version };
    const incarnation = outrankedBy(digest, { ...own, incarnationMax: incarnationMax(nowMs) });
    if (incarnation === null) return false;
    this.#incarnation = incarnation;
    this.store.raise(incarnation);
    this.#pushedVersion = 0;
    this.#push();
    return true;
  }

  /** Applies what came over a link. @returns how many of the deltas brought news */
  apply(deltas: readonly Delta[], link: number, nowMs: number): number {
    let appliedCount = 0;
    let hasGap = false;
    for (const delta of deltas) {
      const applied = this.store.apply(delta, nowMs);
      if (applied === "gap") hasGap = true;
      if (applied === "refused") this.#options.outbox.wanted.refused.push("delta");
      if (applied !== "applied") continue;
      appliedCount += 1;
      const owner = this.#options.membership.peer(delta.owner);
      if (owner !== undefined) this.acknowledge(owner);
    }
    // Asking at once, not at the next repair: a gap means that a push was skipped on this very link.
    if (hasGap) this.sendDigest(link, { wanted: false });
    return appliedCount;
  }

  /** Tells an owner how far its log is applied here. */
  acknowledge(owner: Peer): void {
    const log = this.store.logOf(owner.id);
    if (owner.link === null || log === undefined) return;
    const { incarnation, version } = log;
    this.#options.outbox.send(owner.link, { kind: "applied", incarnation, version });
  }

  /** Sends what is held here; `wanted` asks for the other side's in turn. */
  sendDigest(link: number, { wanted }: { wanted: boolean }): void {
    this.#options.outbox.send(link, { kind: "digest", digest: this.store.digest(), wanted });
  }

  /** Sends what a holder of `digest` lacks. */
  sendMissing(link: number, digest: Digest, recipient: NodeId): void {
    for (const deltas of missing(this.store.logs, digest, recipient)) {
      this.#options.outbox.send(link, { kind: "delta", deltas });
    }
  }

  /** Compares with one random peer when a second has passed, or with all of them at once. */
  compare(which: "random" | "all", nowMs: number): void {
    if (which === "random" && nowMs - this.#comparedAtMs < COMPARE_EVERY_MS) return;
    this.#comparedAtMs = nowMs;
    const links = this.#links();
    const chosen =
      which === "all" ? links : links.length === 0 ? [] : [pick(this.#options.random, links) ?? 0];
    if (chosen.length > 0)
      this.#options.outbox.send(chosen, { kind: "compare", hash: this.store.digestHash() });
    this.store.collect(nowMs);
  }

  #push(): void {
    const { self, outbox } = this.#options;
    const log = this.store.logOf(self);
    if (log === undefined) return;
    const held = [{ owner: self, incarnation: log.incarnation, version: this.#pushedVersion }];
    this.#pushedVersion = log.version;
    for (const deltas of missing(new Map([[self, log]]), held, "")) {
      outbox.send(this.#links(), { kind: "delta", deltas });
    }
  }

  #links(): number[] {
    return Array.from(this.#options.membership.peers).flatMap(({ link }) => (link === null ? [] : [link]));
  }
}
