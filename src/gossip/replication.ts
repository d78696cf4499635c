/**
 * Replication: logs travel from node to node.
 *
 * Four ways, each covering for the one before. A change of this node's log is pushed at once, and passed on by those
 * who get it, so that each member gets one copy (ring.ts). On a large ring a node then announces to two others what
 * reached it, and who missed it asks. A delta that does not fit on what is held shows that one was missed, and is
 * answered with a request. And each second one random peer gets the sum of what is held here; where it differs both
 * narrow down where, and each sends what the other lacks.
 *
 * Pure. store.ts decides what is applied, delta.ts what a peer lacks.
 */

import { shuffled, pick, type Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Carrier } from "./carrier.ts";
import { missing, type Lacking } from "./delta.ts";
import type { Outbox } from "./effects.ts";
import { incarnationMax, outrankedBy } from "./greeting.ts";
import type { OpenLink } from "./links.ts";
import { DIGEST_PARTS, type Delta, type Digest, type Message, type Scope } from "./message.ts";
import { MESH_MAX } from "./ring.ts";
import { Store } from "./store.ts";
import { partOf } from "./sums.ts";

const COMPARE_EVERY_MS = 1000;
const COLLECT_EVERY_MS = 60_000;
/** Between two incarnations taken in one run. */
const RAISE_EVERY_MS = 500;
/** What reached this node is announced to so many others, so long after the first of it. */
const ANNOUNCED_TO = 2;
const ANNOUNCE_AFTER_MS = 50;
/** Up to so many owners a digest is sent whole: it is hardly larger than sums of its parts. */
const FEW_OWNERS = DIGEST_PARTS;
/** What a link's questions are answered with in the long run: an answer may be a thousand times as large as they. */
const ANSWER_BYTES_PER_MS = 8 * 1024;

const ALL: Scope = { kind: "all" };
const LISTED: Scope = { kind: "listed" };

/** What replication works with. */
export interface ReplicationOptions {
  readonly self: NodeId;
  readonly incarnation: number;
  readonly carrier: Carrier;
  readonly outbox: Outbox;
  readonly random: Random;
  readonly nowMs: number;
}

/** What came of a message with deltas. */
export interface Applied {
  /** Owners whose logs brought news. */
  readonly news: readonly NodeId[];
  /** Owners whose logs are held here as far as the deltas went. */
  readonly held: readonly NodeId[];
  /** The owner of a log that was not taken; null when all were. */
  readonly refused: NodeId | null;
}

/** Holds the logs and keeps them equal to those of the peers. */
export class Replication {
  readonly store: Store;
  readonly #options: ReplicationOptions;
  #incarnation: number;
  #pushedVersion = 0;
  #raisedAtMs = Number.NEGATIVE_INFINITY;
  #comparedAtMs: number;
  #collectedAtMs: number;
  /** Owners of whom something came by broadcast, to be announced. */
  readonly #fresh = new Set<NodeId>();
  #freshSinceMs = 0;

  constructor(options: ReplicationOptions) {
    this.#options = options;
    this.#incarnation = options.incarnation;
    this.#comparedAtMs = options.nowMs;
    this.#collectedAtMs = options.nowMs;
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
  write(changes: ReadonlyMap<string, string | null>, nowMs: number, acknowledge: boolean): boolean {
    if (!this.store.write(changes, nowMs)) return false;
    this.push(acknowledge);
    return true;
  }

  /** Pushes what was written since the last push; with nothing new, asks all again whether they hold what there is. */
  push(acknowledge: boolean): void {
    const { self, carrier } = this.#options;
    const log = this.store.logOf(self);
    if (log === undefined) return;
    const held = { owner: self, incarnation: log.incarnation, version: this.#pushedVersion, deadAt: null };
    const lacking: Lacking = { digest: [held], scope: LISTED, recipient: null };
    let pushed = 0;
    for (const deltas of missing(new Map([[self, log]]), lacking)) {
      pushed += 1;
      carrier.broadcast((until) => ({ kind: "delta", deltas, until, acknowledge }));
    }
    this.#pushedVersion = log.version;
    if (pushed > 0 || !acknowledge) return;
    const { incarnation, floor, version } = log;
    const delta: Delta = { owner: self, incarnation, floor, from: version, to: version, writes: [] };
    carrier.broadcast((until) => ({ kind: "delta", deltas: [delta], until, acknowledge }));
  }

  /** A peer that remembers more of this node than it knows itself: takes a higher incarnation. @returns true then */
  outrank(digest: Digest, nowMs: number): boolean {
    const own = { id: this.#options.self, incarnation: this.#incarnation, version: this.version };
    const incarnation = outrankedBy(digest, { ...own, incarnationMax: incarnationMax(nowMs) });
    return incarnation !== null && this.raise(incarnation, nowMs);
  }

  /**
   * Starts this node's log anew under a higher incarnation: somebody remembers a later life of it. The whole log goes
   * to everybody then, so who claims to remember more and more must not make this node do so all the time.
   *
   * @returns false when it has just done so: it will be told again
   */
  raise(incarnation: number, nowMs: number): boolean {
    if (nowMs - this.#raisedAtMs < RAISE_EVERY_MS && nowMs >= this.#raisedAtMs) return false;
    this.#raisedAtMs = nowMs;
    this.#incarnation = incarnation;
    this.store.raise(incarnation);
    this.#pushedVersion = 0;
    this.push(false);
    return true;
  }

  /** Applies what came over a link, passes it on, and asks for what must have been missed. */
  receive(message: Extract<Message, { kind: "delta" }>, link: OpenLink, nowMs: number): Applied {
    const { outbox, self, carrier } = this.#options;
    const news: NodeId[] = [];
    const held: NodeId[] = [];
    const gaps: NodeId[] = [];
    const passed: Delta[] = [];
    let refused: NodeId | null = null;
    for (const delta of message.deltas) {
      // An own write that went all the way round, or an old one from a peer that is behind.
      if (delta.owner === self && this.#isOwn(delta)) continue;
      const applied = this.store.apply(delta, nowMs);
      if (applied === "refused") {
        outbox.wanted.refused.push("delta");
        refused = delta.owner;
      } else passed.push(delta);
      if (applied === "gap") gaps.push(delta.owner);
      if (applied === "applied") news.push(delta.owner);
      if (applied === "applied" || applied === "known") held.push(delta.owner);
    }
    const { until, acknowledge } = message;
    if (until !== null && passed.length > 0) {
      carrier.forward((end) => ({ kind: "delta", deltas: passed, until: end, acknowledge }), until, link.id);
      this.#announceLater(news, nowMs);
    }
    // Asking at once, not at the next repair: the peer that sent this has what is missing.
    if (gaps.length > 0) this.#ask(link.id, gaps);
    return { news, held, refused };
  }

  /** A peer holds these: asks for what is lacking here. */
  announced(digest: Digest, link: number): void {
    const lacking = digest.filter(({ owner, incarnation, version }) => {
      if (owner === this.#options.self) return false;
      const log = this.store.logOf(owner);
      if (log === undefined || log.incarnation < incarnation) return true;
      return log.incarnation === incarnation && log.version < version;
    });
    if (lacking.length > 0)
      this.#ask(
        link,
        lacking.map(({ owner }) => owner),
      );
  }

  /** A peer's sum of all it holds. */
  compared(sum: number, link: number): void {
    const { store } = this;
    if (sum === store.sums.whole) return;
    if (store.logs.size <= FEW_OWNERS) this.sendDigest(link, ALL, { wanted: true });
    else this.#options.outbox.send(link, { kind: "parts", sums: [...store.sums.parts] });
  }

  /** A peer's sums of the parts of what it holds. */
  partsCompared(sums: readonly number[], link: number): void {
    const own = this.store.sums.parts;
    const parts = own.flatMap((sum, part) => (sum === sums[part] ? [] : [part]));
    if (parts.length === 0) return;
    const scope: Scope = parts.length === DIGEST_PARTS ? ALL : { kind: "parts", parts };
    this.sendDigest(link, scope, { wanted: true });
  }

  /** What a peer holds: sends what it lacks, and what is held here when that is wanted. */
  answer(
    message: Extract<Message, { kind: "digest" }>,
    link: OpenLink,
    recipient: NodeId,
    nowMs: number,
  ): void {
    const { digest, scope, wanted } = message;
    const sinceMs = Math.max(0, nowMs - link.answeredAtMs);
    const budgetBytes = Math.min(LIMITS.answerBytes, link.answerBytes + sinceMs * ANSWER_BYTES_PER_MS);
    Object.assign(link, { answeredAtMs: nowMs, answerBytes: budgetBytes });
    if (budgetBytes <= 0) return;
    link.answerBytes -= this.sendMissing(link.id, { digest, scope, recipient }, budgetBytes);
    if (wanted) link.answerBytes -= this.sendDigest(link.id, scope, { wanted: false });
  }

  /** Sends what is held here; `wanted` asks for the other side's in turn. @returns the bytes sent */
  sendDigest(link: number, scope: Scope, { wanted }: { wanted: boolean }): number {
    const digest = this.#digest(scope);
    return this.#options.outbox.send(link, { kind: "digest", digest, scope, wanted });
  }

  /**
   * Sends what a peer lacks, as much of it as goes out at once; it asks again for the rest.
   *
   * @returns the bytes sent
   */
  sendMissing(link: number, lacking: Lacking, mostBytes: number = LIMITS.answerBytes): number {
    const { outbox } = this.#options;
    let sentBytes = 0;
    for (const deltas of missing(this.store.logs, lacking)) {
      sentBytes += outbox.send(link, { kind: "delta", deltas, until: null, acknowledge: false });
      if (sentBytes >= mostBytes) break;
    }
    return sentBytes;
  }

  /** Compares with one random peer when a second has passed; announces what is due. */
  tick(presentCount: number, nowMs: number): void {
    const { carrier, random, outbox } = this.#options;
    if (this.#fresh.size > 0 && nowMs - this.#freshSinceMs >= ANNOUNCE_AFTER_MS) this.#announce(presentCount);
    if (nowMs - this.#collectedAtMs >= COLLECT_EVERY_MS) {
      this.#collectedAtMs = nowMs;
      this.store.collect(nowMs);
    }
    if (nowMs - this.#comparedAtMs < COMPARE_EVERY_MS) return;
    this.#comparedAtMs = nowMs;
    const chosen = pick(random, carrier.seats);
    if (chosen !== undefined) outbox.send(chosen.link, { kind: "compare", sum: this.store.sums.whole });
  }

  /** Exchanges everything with every peer at once: what is held here may be old. */
  exchange(): void {
    for (const { link } of this.#options.carrier.seats) this.sendDigest(link, ALL, { wanted: true });
  }

  #digest(scope: Scope): Digest {
    if (scope.kind === "all") return this.store.digest();
    if (scope.kind === "listed") return [];
    const parts = new Set(scope.parts);
    return this.store.digest().filter(({ owner }) => parts.has(partOf(owner)));
  }

  #ask(link: number, owners: readonly NodeId[]): void {
    const digest = this.store.headsOf(new Set(owners));
    this.#options.outbox.send(link, { kind: "digest", digest, scope: LISTED, wanted: false });
  }

  #isOwn({ incarnation, to }: Delta): boolean {
    return incarnation < this.#incarnation || (incarnation === this.#incarnation && to <= this.version);
  }

  #announceLater(owners: readonly NodeId[], nowMs: number): void {
    if (owners.length === 0) return;
    if (this.#fresh.size === 0) this.#freshSinceMs = nowMs;
    for (const owner of owners) this.#fresh.add(owner);
  }

  #announce(presentCount: number): void {
    const digest = this.store.headsOf(this.#fresh);
    this.#fresh.clear();
    // In a mesh every owner has sent to everybody itself.
    if (presentCount <= MESH_MAX) return;
    const { carrier, random, outbox } = this.#options;
    for (const { link } of shuffled(random, carrier.seats).slice(0, ANNOUNCED_TO)) {
      outbox.send(link, { kind: "announce", digest });
    }
  }
}
