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
import type { Seals } from "../model/seal.ts";

import type { Carrier } from "./carrier.ts";
import { missing, restOf, since, type Lacking } from "./delta.ts";
import type { Outbox } from "./effects.ts";
import { claimsMore, incarnationMax } from "./greeting.ts";
import type { OpenLink } from "./links.ts";
import { DIGEST_PARTS, type Delta, type Digest, type Message, type Scope, type Until } from "./message.ts";
import { MESH_MAX } from "./ring.ts";
import { Store, type Applied, type Written } from "./store.ts";
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

/** Between two requests for the whole of a log over one link. */
const ASK_WHOLE_EVERY_MS = 1000;

const ALL: Scope = { kind: "all" };
const LISTED: Scope = { kind: "listed" };

type Of<K extends Message["kind"]> = Extract<Message, { kind: K }>;

/** What replication works with. */
export interface ReplicationOptions {
  readonly self: NodeId;
  readonly incarnation: number;
  readonly carrier: Carrier;
  readonly outbox: Outbox;
  readonly random: Random;
  readonly seals: Seals;
  readonly nowMs: number;
}

/** What came of a message with deltas. */
export interface Received {
  /** Owners whose logs brought news. */
  readonly news: NodeId[];
  /** Owners whose logs are held here as far as the deltas went. */
  readonly held: NodeId[];
  /** Logs that were not taken, and why; the text begins with a verb. */
  readonly complaints: { readonly owner: NodeId; readonly why: string }[];
  /** This node goes on under a higher incarnation: it was shown a later life of its own. */
  raised: boolean;
}

/** A broadcast that could not be checked yet, for something before it was missed. */
interface Awaited {
  readonly until: Until;
  readonly link: number;
  readonly acknowledge: boolean;
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
  /** Broadcasts to be passed on once what was missed is here, by owner. */
  readonly #awaited = new Map<NodeId, Awaited>();

  constructor(options: ReplicationOptions) {
    this.#options = options;
    this.#incarnation = options.incarnation;
    this.#comparedAtMs = options.nowMs;
    this.#collectedAtMs = options.nowMs;
    this.store = new Store(options.self, options.incarnation, options.seals);
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  /** The version that this node's latest write got. */
  get version(): number {
    return this.store.logOf(this.#options.self)?.version ?? 0;
  }

  /** Writes this node's own log and pushes the change. */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number, acknowledge: boolean): Written {
    const written = this.store.write(changes, nowMs);
    if (written.changed) this.push(acknowledge);
    return written;
  }

  /** Pushes what was written since the last push; with nothing new, asks all again whether they hold what there is. */
  push(acknowledge: boolean): void {
    const { self, carrier } = this.#options;
    const log = this.store.logOf(self);
    if (log === undefined) return;
    const held = { owner: self, incarnation: log.incarnation, version: this.#pushedVersion, deadAt: null };
    const lacking: Lacking = { digest: [held], scope: LISTED, recipient: null };
    let pushed = 0;
    for (const deltas of missing(this.store, lacking)) {
      pushed += 1;
      carrier.broadcast((until) => ({ kind: "delta", deltas, until, acknowledge }));
    }
    this.#pushedVersion = log.version;
    if (pushed > 0 || !acknowledge) return;
    const { incarnation, floor, version } = log;
    const head = { owner: self, incarnation, floor, from: version, to: version };
    const delta: Delta = { ...head, writes: [], seal: this.store.sealOf(self) };
    carrier.broadcast((until) => ({ kind: "delta", deltas: [delta], until, acknowledge }));
  }

  /** A peer says that it remembers more of this node than it knows itself: it is asked to show it. */
  outranked(digest: Digest, link: OpenLink, nowMs: number): void {
    const own = { id: this.#options.self, incarnation: this.#incarnation, version: this.version };
    if (claimsMore(digest, { ...own, incarnationMax: incarnationMax(nowMs) }))
      this.askWhole(link, this.#options.self, nowMs);
  }

  /** Asks a peer for all of one log, this node's own among them; not again within a second. */
  askWhole(link: OpenLink, owner: NodeId, nowMs: number): void {
    if (nowMs - link.askedWholeAtMs < ASK_WHOLE_EVERY_MS && nowMs >= link.askedWholeAtMs) return;
    link.askedWholeAtMs = nowMs;
    const nothing = { owner, incarnation: 0, version: 0, deadAt: null };
    this.#options.outbox.send(link.id, { kind: "digest", digest: [nothing], scope: LISTED, wanted: false });
  }

  /** Applies what came over a link, passes it on, and asks for what must have been missed. */
  receive(message: Of<"delta">, link: OpenLink, nowMs: number): Received {
    const received: Received = { news: [], held: [], complaints: [], raised: false };
    const gaps: NodeId[] = [];
    for (const delta of message.deltas) {
      // An own write that went all the way round, or an old one from a peer that is behind.
      if (delta.owner === this.#options.self && this.#isOwn(delta)) continue;
      const applied = this.store.apply(delta, link.id, nowMs);
      this.#note(received, delta, applied);
      this.#passOn(message, delta, applied, link);
      if (applied.kind === "known" && message.until !== null) this.#passOnKnown(message, delta, link, nowMs);
      if (applied.kind === "gap" && delta.owner !== this.#options.self) gaps.push(delta.owner);
      // Whoever is honest heals by this, whatever it was that spoiled his log.
      else if (applied.kind === "gap" || applied.kind === "forged") this.askWhole(link, delta.owner, nowMs);
      if (applied.kind === "outranked") received.raised = this.#raise(applied.incarnation + 1, nowMs);
    }
    if (message.until !== null) this.#announceLater(received.news, nowMs);
    // Asking at once, not at the next repair: the peer that sent this has what is missing.
    if (gaps.length > 0) this.#ask(link.id, gaps);
    return received;
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
  answer(message: Of<"digest">, link: OpenLink, recipient: NodeId, nowMs: number): void {
    const { digest, scope, wanted } = message;
    const budgetBytes = budgetOf(link, nowMs);
    if (budgetBytes <= 0) return;
    link.answerBytes -= this.sendMissing(link.id, { digest, scope, recipient }, budgetBytes);
    if (wanted) link.answerBytes -= this.sendDigest(link.id, scope, { wanted: false });
  }

  /** A peer has a part of a log, and goes on from there. */
  answerMore(message: Of<"more">, link: OpenLink, nowMs: number): void {
    const budgetBytes = budgetOf(link, nowMs);
    if (budgetBytes <= 0) return;
    let sentBytes = 0;
    for (const delta of restOf(this.store, message)) {
      sentBytes += this.#sendDelta(link.id, delta, { until: null, acknowledge: false });
      if (sentBytes >= budgetBytes) break;
    }
    link.answerBytes -= sentBytes;
  }

  /** Asks for the next part of each log of which parts wait and no more have come for a while. */
  askMore(nowMs: number): void {
    for (const { link, owner, incarnation, floor, to } of this.store.staging.overdue(nowMs))
      this.#options.outbox.send(link, { kind: "more", owner, incarnation, floor, version: to });
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
    for (const deltas of missing(this.store, lacking)) {
      sentBytes += outbox.send(link, { kind: "delta", deltas, until: null, acknowledge: false });
      if (sentBytes >= mostBytes) break;
    }
    return sentBytes;
  }

  /** Compares with one random peer when a second has passed; announces what is due. */
  tick(presentCount: number, nowMs: number): void {
    const { carrier, random, outbox } = this.#options;
    this.askMore(nowMs);
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

  /** A link is gone: what waited on it will come by another. */
  linkDown(link: number): void {
    this.store.staging.drop(link);
  }

  /** A member is no more: nothing of it is held or taken from now on. */
  expel(owner: NodeId): void {
    this.store.expel(owner);
    this.#fresh.delete(owner);
    this.#awaited.delete(owner);
  }

  #note(received: Received, { owner }: Delta, applied: Applied): void {
    const { refused } = this.#options.outbox.wanted;
    if (applied.kind === "applied") received.news.push(owner);
    if (applied.kind === "applied" || applied.kind === "known") received.held.push(owner);
    if (applied.kind === "refused") refused.push("delta");
    if (applied.kind === "forged") refused.push("seal");
    if (applied.kind === "expelled") refused.push("revoked");
    if (applied.kind === "refused" || applied.kind === "forged")
      received.complaints.push({ owner, why: applied.why });
  }

  /** Passes a broadcast on, but nothing that was not found good here: who does is taken for its maker. */
  #passOn({ until, acknowledge }: Of<"delta">, delta: Delta, applied: Applied, { id }: OpenLink): void {
    const awaited = this.#awaited.get(delta.owner);
    if (applied.kind === "applied") {
      this.#awaited.delete(delta.owner);
      if (until !== null) this.#forward(applied.parts, { until, acknowledge, link: id });
      if (awaited !== undefined) this.#forward(applied.parts, awaited);
    }
    if (until === null || delta.seal === null) return;
    const isMissed = applied.kind === "gap" || applied.kind === "staged";
    if (isMissed && this.#awaited.size < LIMITS.ownersMax)
      this.#awaited.set(delta.owner, { until, acknowledge, link: id });
  }

  /**
   * Passes on what is held here in the place of what came, which may be no more like it than its number. In one frame,
   * and as much as the link's questions are answered with: a few bytes must not make this node shout its whole store.
   */
  #passOnKnown({ until, acknowledge }: Of<"delta">, delta: Delta, link: OpenLink, nowMs: number): void {
    if (delta.seal === null || budgetOf(link, nowMs) <= 0) return;
    const [held] = since(this.store, delta);
    if (held === undefined || held.seal === null) return;
    const message = { kind: "delta", deltas: [held], acknowledge } as const;
    const { outbox, carrier } = this.#options;
    const before = outbox.wanted.send.length;
    carrier.forward((end) => ({ ...message, until: end }), until, link.id);
    for (const { frame } of outbox.wanted.send.slice(before)) link.answerBytes -= frame.byteLength;
  }

  #forward(parts: readonly Delta[], { until, acknowledge, link }: Awaited): void {
    for (const delta of parts)
      this.#options.carrier.forward(
        (end) => ({ kind: "delta", deltas: [delta], until: end, acknowledge }),
        until,
        link,
      );
  }

  #sendDelta(link: number, delta: Delta, to: { until: Until; acknowledge: boolean }): number {
    return this.#options.outbox.send(link, { kind: "delta", deltas: [delta], ...to });
  }

  /**
   * Starts this node's log anew under a higher incarnation: it was shown a later life of its own. The whole log goes to
   * everybody then, so two nodes with one id must not make each other do so all the time.
   *
   * @returns false when it has just done so: it will be shown again
   */
  #raise(incarnation: number, nowMs: number): boolean {
    if (nowMs - this.#raisedAtMs < RAISE_EVERY_MS && nowMs >= this.#raisedAtMs) return false;
    this.#raisedAtMs = nowMs;
    this.#incarnation = incarnation;
    this.store.raise(incarnation);
    this.#pushedVersion = 0;
    this.push(false);
    return true;
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

/** What a link may be sent at once in answer to a question, in bytes; it grows again as time passes. */
function budgetOf(link: OpenLink, nowMs: number): number {
  const sinceMs = Math.max(0, nowMs - link.answeredAtMs);
  link.answeredAtMs = nowMs;
  link.answerBytes = Math.min(LIMITS.answerBytes, link.answerBytes + sinceMs * ANSWER_BYTES_PER_MS);
  return link.answerBytes;
}
