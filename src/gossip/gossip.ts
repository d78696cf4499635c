/**
 * Gossip: everyone learns what each node publishes.
 *
 * A change of this node's log goes at once to every link. What a push missed (a full buffer, a link that was down)
 * the repair finds: each second one random peer gets the hash of what is held here; where it differs both send their
 * digests and then what the other lacks. A new link starts with a full exchange. Each peer reports the version it has
 * applied of this node's log, so that a drain can be acknowledged instead of slept.
 *
 * One object holds store, membership and dialer, since a frame may touch all three; each decision is in its own file.
 * Bodies are never read here.
 *
 * Pure: the outside world enters by the methods and leaves by `take()`.
 */

import type { HostPort } from "../base/ip.ts";
import { pick, type Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { OwnerLog } from "../model/log.ts";
import type { Acquaintance, Standing } from "../model/member.ts";

import { Completeness } from "./completeness.ts";
import { missing } from "./delta.ts";
import { Dialer } from "./dialer.ts";
import { happeningOf, noEffects, type GossipEffects } from "./effects.ts";
import { greeterOf, keepsNewLink, outrankedBy } from "./greeting.ts";
import { Links, type OpenLink } from "./links.ts";
import { Membership, type Move, type Peer } from "./membership.ts";
import { decode, encode, WIRE_VERSION } from "./message.ts";
import type { Delta, Digest, Hello, Message } from "./message.ts";
import { Store } from "./store.ts";

const COMPARE_EVERY_MS = 1000;
/** Who this node is, and where others may find it. */
export interface GossipOptions {
  readonly self: Acquaintance;
  readonly incarnation: number;
  readonly seeds: readonly HostPort[];
  readonly random: Random;
  readonly nowMs: number;
}

/** The gossip of one node. */
export class Gossip {
  readonly #options: GossipOptions;
  readonly #nonce: number;
  readonly #store: Store;
  readonly #membership = new Membership();
  readonly #dialer: Dialer;
  readonly #links = new Links();
  readonly #completeness: Completeness;
  #effects = noEffects();
  #incarnation: number;
  #pushedVersion = 0;
  #comparedAtMs: number;
  #revision = 0;
  #hasLeft = false;

  constructor(options: GossipOptions) {
    this.#options = options;
    this.#incarnation = options.incarnation;
    this.#nonce = Math.floor(options.random() * 2 ** 48);
    this.#completeness = new Completeness(options.nowMs);
    this.#store = new Store(options.self.id, options.incarnation);
    this.#dialer = new Dialer(options.seeds, options.random);
    this.#dialer.own({ host: options.self.host, port: options.self.port });
    this.#comparedAtMs = options.nowMs;
  }

  get logs(): ReadonlyMap<NodeId, OwnerLog> {
    return this.#store.logs;
  }

  /** Every node but this one: peers, and owners of logs that others passed on, of whom nothing else is known yet. */
  get standings(): Standing[] {
    const { standings } = this.#membership;
    for (const id of this.#store.logs.keys()) {
      if (id === this.#options.self.id || this.#membership.peer(id) !== undefined) continue;
      standings.push({ id, state: "suspect", sinceMs: this.#options.nowMs, rttMs: null });
    }
    return standings;
  }

  /** True once the picture may be believed: removals count from now on. */
  get complete(): boolean {
    return this.#completeness.reached;
  }

  /** Rises whenever a log, a member's state or completeness changed: then a new view is due. */
  get revision(): number {
    return this.#revision;
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  /** Addresses of members and seeds, to be kept on disk. */
  get addresses(): readonly HostPort[] {
    return this.#dialer.addresses;
  }

  /** The version that this node's latest write got. */
  get version(): number {
    return this.#store.logOf(this.#options.self.id)?.version ?? 0;
  }

  /** The names of alive members that have not applied this node's log up to `version`. */
  lagging(version: number): string[] {
    return this.#membership.lagging(this.#incarnation, version);
  }

  /** Everything wanted since the last call; the caller does it. */
  take(): GossipEffects {
    const effects = this.#effects;
    this.#effects = noEffects();
    return effects;
  }

  /** Writes this node's own log and pushes the change to every link. */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): void {
    if (!this.#store.write(changes, nowMs)) return;
    this.#revision += 1;
    this.#pushOwn();
  }

  /** Learns an address that may lead to a member: one known from an earlier run. */
  acquaint(address: HostPort): void {
    this.#dialer.add(address);
  }

  /** Learns where members say they are, from their records. */
  meet(members: readonly Acquaintance[], nowMs: number): void {
    for (const member of members) {
      if (member.id === this.#options.self.id) continue;
      const known = this.#membership.peer(member.id);
      if (known === undefined && this.#membership.count >= LIMITS.ownersMax) continue;
      // A linked peer's own hello outranks a record, which may be of its earlier life.
      if (known !== undefined && (known.link !== null || isAt(known, member))) continue;
      if (known !== undefined) this.#dropAddress(known);
      this.#membership.meet(member, nowMs);
      this.#dialer.add({ host: member.host, port: member.port });
    }
  }

  /** A link is up; hello goes first. */
  linkUp(link: { id: number; dialled: HostPort | null; remote: string }, nowMs: number): void {
    this.#links.add({ ...link, openedAtMs: nowMs });
    if (this.#hasLeft) this.#close(link.id, "this node has left");
    else this.#sendTo(link.id, this.#hello());
  }

  /** A link is gone. */
  linkDown(linkId: number, reason: string, nowMs: number): void {
    const link = this.#links.remove(linkId);
    if (link === undefined) return;
    if (link.dialled !== null)
      this.#dialer.settled(link.dialled, link.peer === null ? "failed" : "linked", nowMs);
    const { peer } = link;
    if (peer === null || peer.link !== linkId) return;
    this.#moved(this.#membership.unlinked(peer, reason, nowMs), nowMs);
    if (peer.state === "suspect") this.#dialer.hurry(peer, nowMs);
  }

  /** A dial ended without a link. */
  dialFailed(address: HostPort, outcome: { refused: boolean }, nowMs: number): void {
    this.#dialer.settled(address, "failed", nowMs);
    if (!outcome.refused) return;
    for (const peer of this.#membership.peers) {
      if (isAt(peer, address)) this.#moved(this.#membership.refused(peer, nowMs), nowMs);
    }
  }

  /** A frame came over a link. */
  frame(linkId: number, frame: Uint8Array, nowMs: number): void {
    const link = this.#links.get(linkId);
    if (link === undefined || link.closing) return;
    const decoded = decode(frame);
    if (!decoded.ok) {
      this.#refuse(link, decoded.failure.message, nowMs);
      return;
    }
    const message = decoded.value;
    this.#effects.received.push({ kind: message.kind, bytes: frame.byteLength });
    if ((message.kind === "hello") !== (link.peer === null)) {
      // Not only the first: a peer that says hello again and again would be a new member each time.
      const when = link.peer === null ? "before hello" : "a second time";
      this.#refuse(link, `"${message.kind}" came ${when}`, nowMs);
    } else if (message.kind === "hello") {
      this.#greeted(link, message, nowMs);
    } else if (link.peer !== null) {
      this.#moved(this.#membership.heard(link.peer, nowMs), nowMs);
      this.#handle(link.peer, link, message, nowMs);
    }
  }

  /** Asks the owner of a replica, over its link. @returns false when there is no link to it */
  askDrain(owner: NodeId, replica: string, draining: boolean): boolean {
    const link = this.#membership.peer(owner)?.link ?? null;
    if (link === null) return false;
    this.#sendTo(link, { kind: "drain", replica, draining });
    return true;
  }

  /** Says goodbye on every link; nothing is sent after it. */
  goodbye(): void {
    for (const peer of this.#membership.peers) {
      if (peer.link !== null) this.#sendTo(peer.link, { kind: "goodbye", incarnation: this.#incarnation });
    }
    this.#hasLeft = true;
  }

  /** Judges, pings, repairs, dials; to be called about ten times a second. */
  tick(nowMs: number): void {
    if (this.#hasLeft) return;
    const { moves, ping, close, forget, slept } = this.#membership.tick(nowMs);
    for (const moved of moves) this.#moved(moved, nowMs);
    for (const { link, pingSequence } of ping) {
      if (link !== null) this.#sendTo(link, { kind: "ping", sequence: pingSequence });
    }
    for (const { link } of close) this.#close(link, "the member is dead");
    for (const peer of forget) {
      this.#store.forget(peer.id);
      // Not the address of one that died: it may be the other half of a partition, and nobody else knows it.
      if (peer.state === "left") this.#dropAddress(peer);
    }
    this.#revision += forget.length;
    for (const link of this.#links.silent(nowMs)) this.#refuse(link, "no hello", nowMs);
    this.#compare(slept, nowMs);
    this.#effects.dial.push(...this.#dialer.due(this.#links.linked(this.#membership.peers), nowMs));
    this.#checkComplete(nowMs);
  }

  #handle(peer: Peer, link: OpenLink, message: Exclude<Message, Hello>, nowMs: number): void {
    switch (message.kind) {
      case "delta":
        this.#apply(message.deltas, link, nowMs);
        break;
      case "compare":
        if (message.hash !== this.#store.digestHash()) {
          this.#sendTo(link.id, { kind: "digest", digest: this.#store.digest(), wanted: true });
        }
        break;
      case "digest":
        this.#outrank(message.digest);
        this.#sendMissing(link.id, message.digest, peer.id);
        if (message.wanted)
          this.#sendTo(link.id, { kind: "digest", digest: this.#store.digest(), wanted: false });
        break;
      case "ping":
        this.#sendTo(link.id, { kind: "pong", sequence: message.sequence });
        break;
      case "pong":
        this.#membership.ponged(peer, message.sequence, nowMs);
        break;
      case "applied":
        peer.appliedIncarnation = message.incarnation;
        peer.appliedVersion = message.version;
        break;
      case "drain":
        this.#effects.drains.push({ replica: message.replica, draining: message.draining, by: peer.name });
        break;
      case "goodbye":
        this.#moved(this.#membership.left(peer, nowMs), nowMs);
        this.#close(link.id, "the member left");
        break;
    }
  }

  #greeted(link: OpenLink, hello: Hello, nowMs: number): void {
    const greeter = greeterOf(hello, { id: this.#options.self.id, nonce: this.#nonce }, link.remote);
    if (greeter.kind !== "peer") {
      // An address that leads to this node's id is not worth another dial, whoever answers there.
      const leadsHere = greeter.kind === "myself" || greeter.sharesId;
      if (leadsHere && link.dialled !== null) this.#dialer.own(link.dialled);
      if (greeter.kind === "myself") this.#close(link.id, "a link to myself");
      else this.#refuse(link, greeter.reason, nowMs);
      return;
    }
    const known = this.#membership.peer(hello.id);
    if (known === undefined && this.#membership.count >= LIMITS.ownersMax) {
      this.#refuse(
        link,
        `${hello.name} is one too many; expected ${LIMITS.ownersMax} members at most`,
        nowMs,
      );
      return;
    }
    if (known !== undefined && !isAt(known, hello)) this.#dropAddress(known);
    const peer = this.#membership.meet(hello, nowMs);
    if (link.dialled !== null) this.#dialer.leadsTo(link.dialled, peer.id);
    if (!this.#keeps(link, { peer, incarnation: hello.incarnation, nowMs })) return;
    Object.assign(peer, { name: hello.name, host: hello.host, port: hello.port });
    link.peer = peer;
    if (link.dialled !== null) this.#dialer.settled(link.dialled, "linked", nowMs);
    this.#dialer.add({ host: hello.host, port: hello.port });
    this.#store.welcome(peer.id);
    // What it has applied of this node it says here; what an earlier life of it had applied counts no more.
    const applied = hello.digest.find(({ owner }) => owner === this.#options.self.id);
    peer.appliedIncarnation = applied?.incarnation ?? 0;
    peer.appliedVersion = applied?.version ?? 0;
    this.#moved(this.#membership.linked(peer, link.id, hello.incarnation, nowMs), nowMs);
    this.#outrank(hello.digest);
    this.#completeness.greeted(hello.digest);
    this.#sendMissing(link.id, hello.digest, peer.id);
    this.#acknowledge(peer);
    this.#checkComplete(nowMs);
  }

  /** Closes one of two links to one peer. @returns true when this one stays */
  #keeps(link: OpenLink, greeted: { peer: Peer; incarnation: number; nowMs: number }): boolean {
    const { peer, incarnation, nowMs } = greeted;
    const other = this.#links.get(peer.link);
    if (other === undefined || other.closing) return true;
    const keepsNew = keepsNewLink({
      selfId: this.#options.self.id,
      peerId: peer.id,
      oldDialledHere: other.dialled !== null,
      newDialledHere: link.dialled !== null,
      peerRestarted: incarnation > peer.incarnation,
      oldAgeMs: nowMs - other.openedAtMs,
    });
    const loser = keepsNew ? other : link;
    if (loser.dialled !== null) this.#dialer.settled(loser.dialled, "linked", nowMs);
    loser.peer = null;
    this.#close(loser.id, "a second link to the same member");
    return keepsNew;
  }

  #outrank(digest: Digest): void {
    const own = { id: this.#options.self.id, incarnation: this.#incarnation, version: this.version };
    const incarnation = outrankedBy(digest, own);
    if (incarnation === null) return;
    this.#incarnation = incarnation;
    this.#store.raise(incarnation);
    this.#pushedVersion = 0;
    this.#revision += 1;
    this.#pushOwn();
  }

  #apply(deltas: readonly Delta[], link: OpenLink, nowMs: number): void {
    let hasGap = false;
    for (const delta of deltas) {
      const applied = this.#store.apply(delta, nowMs);
      if (applied === "gap") hasGap = true;
      if (applied === "refused") this.#effects.refused.push("delta");
      const owner = this.#membership.peer(delta.owner);
      if (applied === "applied") this.#revision += 1;
      if (applied === "applied" && owner !== undefined) this.#acknowledge(owner);
    }
    // Asking at once, not at the next repair: a gap means that a push was skipped on this very link.
    if (hasGap) this.#sendTo(link.id, { kind: "digest", digest: this.#store.digest(), wanted: false });
    this.#checkComplete(nowMs);
  }

  #acknowledge(owner: Peer): void {
    const log = this.#store.logOf(owner.id);
    if (owner.link === null || log === undefined) return;
    this.#sendTo(owner.link, { kind: "applied", incarnation: log.incarnation, version: log.version });
  }

  #pushOwn(): void {
    const { id } = this.#options.self;
    const log = this.#store.logOf(id);
    if (log === undefined || this.#hasLeft) return;
    const held = [{ owner: id, incarnation: log.incarnation, version: this.#pushedVersion }];
    this.#pushedVersion = log.version;
    const frames = missing(new Map([[id, log]]), held, "").map((deltas) => encode({ kind: "delta", deltas }));
    for (const peer of this.#membership.peers) {
      const { link } = peer;
      if (link === null) continue;
      for (const frame of frames) this.#effects.send.push({ link, frame, kind: "delta" });
    }
  }

  #sendMissing(link: number, digest: Digest, recipient: NodeId): void {
    for (const deltas of missing(this.#store.logs, digest, recipient))
      this.#sendTo(link, { kind: "delta", deltas });
  }

  #compare(withAll: boolean, nowMs: number): void {
    if (!withAll && nowMs - this.#comparedAtMs < COMPARE_EVERY_MS) return;
    this.#comparedAtMs = nowMs;
    const linked = Array.from(this.#membership.peers).filter(({ link }) => link !== null);
    const chosen = withAll ? linked : [pick(this.#options.random, linked)];
    for (const peer of chosen) {
      const link = peer?.link ?? null;
      if (link !== null) this.#sendTo(link, { kind: "compare", hash: this.#store.digestHash() });
    }
    this.#store.collect(nowMs);
  }

  #checkComplete(nowMs: number): void {
    const alone = this.#dialer.triedAll && this.#links.count === 0;
    const exchange = { alone, covers: (digest: Digest) => this.#store.covers(digest) };
    if (!this.#completeness.check(exchange, nowMs)) return;
    this.#revision += 1;
    const what = { kind: "view.complete", level: "info", subject: "view", text: "complete" } as const;
    this.#effects.happenings.push({ ...what, atMs: nowMs });
  }

  #hello(): Hello {
    const { id, name, host, port } = this.#options.self;
    const head = { kind: "hello", wire: WIRE_VERSION, id, name, host, port } as const;
    return { ...head, incarnation: this.#incarnation, nonce: this.#nonce, digest: this.#store.digest() };
  }

  #moved(moved: Move | null, nowMs: number): void {
    if (moved === null) return;
    this.#revision += 1;
    this.#effects.happenings.push(happeningOf(moved, nowMs));
  }

  #refuse(link: OpenLink, reason: string, atMs: number): void {
    const subject = link.peer?.name ?? link.remote;
    this.#effects.refused.push("frame");
    this.#effects.happenings.push({ kind: "member.refused", level: "warn", subject, text: reason, atMs });
    this.#close(link.id, reason);
  }

  /** Drops the address of a peer that is not there any more, unless another is there by now. */
  #dropAddress(peer: Peer): void {
    const others = Array.from(this.#membership.peers).filter((other) => other.id !== peer.id);
    if (!others.some((other) => isAt(other, peer))) this.#dialer.drop(peer);
  }

  #close(linkId: number | null, reason: string): void {
    const link = this.#links.get(linkId);
    if (link === undefined || link.closing) return;
    link.closing = true;
    this.#effects.close.push({ link: link.id, reason });
  }

  #sendTo(link: number, message: Message): void {
    if (!this.#hasLeft) this.#effects.send.push({ link, frame: encode(message), kind: message.kind });
  }
}

function isAt(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port;
}
