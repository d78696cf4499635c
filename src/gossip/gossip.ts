/**
 * Gossip: everyone learns what each node publishes.
 *
 * The one door of this folder. It joins links to members: who says hello on a link, which of two links to one member
 * stays, what is to be done when one goes down. What a frame says is handed to where it is decided: logs to
 * replication.ts, signs of life to membership.ts, addresses to dialer.ts. A new link starts with a full exchange.
 *
 * Bodies are never read here.
 *
 * Pure: the outside world enters by the methods and leaves by `take()`.
 */

import type { HostPort } from "../base/ip.ts";
import type { Random } from "../base/random.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { OwnerLog } from "../model/log.ts";
import type { Acquaintance, Standing } from "../model/member.ts";

import { Completeness } from "./completeness.ts";
import { Dialer } from "./dialer.ts";
import { happeningOf, Outbox, type GossipEffects } from "./effects.ts";
import { closesAtOnce, greeterOf, keepsNewLink } from "./greeting.ts";
import { Links, type OpenLink } from "./links.ts";
import { Membership, type Move, type Peer } from "./membership.ts";
import { decode, WIRE_VERSION, type Digest, type Hello, type Message } from "./message.ts";
import { Replication } from "./replication.ts";

const SECOND_LINK = "a second link to the same member";

/** From this age on the loss of a link is news of its peer. */
const LASTING_MS = 1000;

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
  readonly #outbox = new Outbox();
  readonly #membership = new Membership();
  readonly #replication: Replication;
  readonly #dialer: Dialer;
  readonly #links = new Links();
  readonly #completeness: Completeness;
  /** The oldest own write that not every alive member has applied. */
  #spreading: { readonly version: number; readonly writtenAtMs: number } | null = null;
  #revision = 0;

  constructor(options: GossipOptions) {
    const { self, incarnation, seeds, random, nowMs } = options;
    this.#options = options;
    this.#nonce = Math.floor(random() * 2 ** 48);
    this.#completeness = new Completeness(nowMs);
    const parts = { membership: this.#membership, outbox: this.#outbox };
    this.#replication = new Replication({ self: self.id, incarnation, random, nowMs, ...parts });
    this.#dialer = new Dialer(seeds, random);
    this.#dialer.own({ host: self.host, port: self.port });
  }

  get logs(): ReadonlyMap<NodeId, OwnerLog> {
    return this.#replication.store.logs;
  }

  /** Every node but this one: peers, and owners of logs that others passed on, of whom nothing else is known yet. */
  get standings(): Standing[] {
    const { standings } = this.#membership;
    for (const id of this.logs.keys()) {
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
    return this.#replication.incarnation;
  }

  /** Addresses of members and seeds, to be kept on disk. */
  get addresses(): readonly HostPort[] {
    return this.#dialer.addresses;
  }

  /** The version that this node's latest write got. */
  get version(): number {
    return this.#replication.version;
  }

  /** The names of alive members that have not applied this node's log up to `version`. */
  lagging(version: number): string[] {
    return this.#membership.lagging(this.incarnation, version);
  }

  /** Everything wanted since the last call; the caller does it. */
  take(): GossipEffects {
    return this.#outbox.take();
  }

  /** Writes this node's own log and pushes the change to every link. */
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): void {
    if (!this.#replication.write(changes, nowMs)) return;
    this.#revision += 1;
    this.#spreading ??= { version: this.version, writtenAtMs: nowMs };
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
    if (this.#outbox.isShut) this.#close(link.id, "this node has left");
    else this.#outbox.send(link.id, this.#hello());
  }

  /** A link is gone. */
  linkDown(linkId: number, reason: string, nowMs: number): void {
    const link = this.#links.remove(linkId);
    if (link === undefined) return;
    const { dialled, peer } = link;
    // A link that ends as soon as it begins is as good as none: dialled again at once, it would end again.
    const isLasting = peer !== null && nowMs - link.openedAtMs >= LASTING_MS;
    if (dialled !== null) this.#dialer.settled(dialled, isLasting ? "linked" : "failed", nowMs);
    if (peer === null || peer.link !== linkId) return;
    const [spare] = this.#links.of(peer);
    if (spare !== undefined) {
      spare.spareSinceMs = null;
      this.#moved(this.#membership.linked(peer, spare.id, peer, nowMs), nowMs);
      // The link that ended may have been silent for a while: what was reported over it may be lost.
      this.#replication.acknowledge(peer);
      return;
    }
    this.#moved(this.#membership.unlinked(peer, reason, nowMs), nowMs);
    if (peer.state === "suspect" && isLasting) this.#dialer.hurry(peer, nowMs);
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
    this.#outbox.wanted.received.push({ kind: message.kind, bytes: frame.byteLength });
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
    this.#outbox.send(link, { kind: "drain", replica, draining });
    return true;
  }

  /** Says goodbye on every link; nothing is sent after it. */
  goodbye(): void {
    for (const { link } of this.#membership.peers) {
      if (link !== null) this.#outbox.send(link, { kind: "goodbye", incarnation: this.incarnation });
    }
    this.#outbox.shut();
  }

  /** Judges, pings, repairs, dials; to be called some ten or twenty times a second. */
  tick(nowMs: number): void {
    if (this.#outbox.isShut) return;
    const { moves, ping, close, forget, slept } = this.#membership.tick(nowMs);
    for (const moved of moves) this.#moved(moved, nowMs);
    for (const { link, pingSequence } of ping) {
      if (link !== null) this.#outbox.send(link, { kind: "ping", sequence: pingSequence });
    }
    for (const peer of close) {
      for (const { id } of this.#links.of(peer)) this.#close(id, "the member is dead");
    }
    for (const peer of forget) {
      this.#replication.store.forget(peer.id);
      // Not the address of one that died: it may be the other half of a partition, and nobody else knows it.
      if (peer.state === "left") this.#dropAddress(peer);
    }
    this.#revision += forget.length;
    for (const link of this.#links.silent(nowMs)) this.#refuse(link, "no hello", nowMs);
    for (const { id } of this.#links.surplus(nowMs)) this.#close(id, SECOND_LINK);
    this.#replication.compare(slept ? "all" : "random", nowMs);
    const due = this.#dialer.due(this.#links.linked(this.#membership.peers), nowMs);
    this.#outbox.wanted.dial.push(...due);
    this.#checkComplete(nowMs);
  }

  #handle(peer: Peer, link: OpenLink, message: Exclude<Message, Hello>, nowMs: number): void {
    switch (message.kind) {
      case "delta":
        this.#revision += this.#replication.apply(message.deltas, link.id, nowMs);
        this.#checkComplete(nowMs);
        break;
      case "compare":
        if (message.hash !== this.#replication.store.digestHash())
          this.#replication.sendDigest(link.id, { wanted: true });
        break;
      case "digest":
        if (this.#replication.outrank(message.digest, nowMs)) this.#revision += 1;
        this.#replication.sendMissing(link.id, message.digest, peer.id);
        if (message.wanted) this.#replication.sendDigest(link.id, { wanted: false });
        break;
      case "ping":
        this.#outbox.send(link.id, { kind: "pong", sequence: message.sequence });
        break;
      case "pong":
        this.#membership.ponged(peer, message.sequence, nowMs);
        break;
      case "applied":
        this.#membership.applied(peer, message);
        this.#measure(nowMs);
        break;
      case "drain": {
        const { replica, draining } = message;
        this.#outbox.wanted.drains.push({ replica, draining, by: peer.name });
        break;
      }
      case "goodbye":
        this.#moved(this.#membership.left(peer, nowMs), nowMs);
        for (const { id } of this.#links.of(peer)) this.#close(id, "the member left");
        break;
    }
  }

  /** How long the oldest write that not everybody had took to reach all alive members. */
  #measure(nowMs: number): void {
    if (this.#spreading === null || this.lagging(this.#spreading.version).length > 0) return;
    this.#outbox.wanted.spreadMs.push(nowMs - this.#spreading.writtenAtMs);
    this.#spreading = null;
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
      const reason = `${hello.name} is one too many; expected ${LIMITS.ownersMax} members at most`;
      this.#refuse(link, reason, nowMs);
      return;
    }
    if (known !== undefined && !isAt(known, hello)) this.#dropAddress(known);
    const peer = this.#membership.meet(hello, nowMs);
    if (link.dialled !== null) this.#dialer.leadsTo(link.dialled, peer.id);
    if (this.#keeps(link, { peer, incarnation: hello.incarnation, nowMs }))
      this.#welcome(link, { peer, hello, nowMs });
  }

  /** A peer is at this link: what it said counts, and the exchange begins. */
  #welcome(link: OpenLink, greeted: { peer: Peer; hello: Hello; nowMs: number }): void {
    const { peer, hello, nowMs } = greeted;
    const { name, host, port, digest } = hello;
    Object.assign(peer, { name, host, port });
    link.peer = peer;
    if (link.dialled !== null) this.#dialer.settled(link.dialled, "linked", nowMs);
    this.#dialer.add({ host, port });
    this.#replication.store.welcome(peer.id);
    this.#moved(this.#membership.linked(peer, link.id, hello, nowMs), nowMs);
    if (this.#replication.outrank(digest, nowMs)) this.#revision += 1;
    this.#completeness.greeted(digest);
    this.#replication.sendMissing(link.id, digest, peer.id);
    this.#replication.acknowledge(peer);
    this.#checkComplete(nowMs);
  }

  /** Chooses between two links to one peer. @returns true when this one stays */
  #keeps(link: OpenLink, greeted: { peer: Peer; incarnation: number; nowMs: number }): boolean {
    const { peer, incarnation, nowMs } = greeted;
    const other = this.#links.get(peer.link);
    if (other === undefined || other.closing) return true;
    const two = {
      selfId: this.#options.self.id,
      peerId: peer.id,
      oldDialledHere: other.dialled !== null,
      newDialledHere: link.dialled !== null,
      peerRestarted: incarnation > peer.incarnation,
      oldAgeMs: nowMs - other.openedAtMs,
    };
    const keepsNew = keepsNewLink(two);
    const loser = keepsNew ? other : link;
    loser.peer = peer;
    loser.spareSinceMs = nowMs;
    if (loser.dialled !== null) this.#dialer.settled(loser.dialled, "linked", nowMs);
    if (closesAtOnce(two)) this.#close(loser.id, SECOND_LINK);
    return keepsNew;
  }

  #checkComplete(nowMs: number): void {
    const alone = this.#dialer.triedAll && this.#links.count === 0;
    const covers = (digest: Digest): boolean => this.#replication.store.covers(digest);
    if (!this.#completeness.check({ alone, covers }, nowMs)) return;
    this.#revision += 1;
    const what = { kind: "view.complete", level: "info", subject: "view", text: "complete" } as const;
    this.#outbox.wanted.happenings.push({ ...what, atMs: nowMs });
  }

  #hello(): Hello {
    const { id, name, host, port } = this.#options.self;
    const head = { kind: "hello", wire: WIRE_VERSION, id, name, host, port } as const;
    const digest = this.#replication.store.digest();
    return { ...head, incarnation: this.incarnation, nonce: this.#nonce, digest };
  }

  #moved(moved: Move | null, nowMs: number): void {
    if (moved === null) return;
    this.#revision += 1;
    this.#outbox.wanted.happenings.push(happeningOf(moved, nowMs));
  }

  #refuse(link: OpenLink, reason: string, atMs: number): void {
    const subject = link.peer?.name ?? link.remote;
    const { refused, happenings } = this.#outbox.wanted;
    refused.push("frame");
    happenings.push({ kind: "member.refused", level: "warn", subject, text: reason, atMs });
    this.#close(link.id, reason);
  }

  /** Drops the address of a peer that is not there any more, unless another is there by now. */
  #dropAddress(peer: Peer): void {
    const others = Array.from(this.#membership.peers).filter((other) => other.id !== peer.id);
    if (!others.some((other) => isAt(other, peer))) this.#dialer.drop(peer);
  }

  #close(linkId: number, reason: string): void {
    const link = this.#links.get(linkId);
    if (link === undefined || link.closing) return;
    link.closing = true;
    this.#outbox.wanted.close.push({ link: link.id, reason });
  }
}

function isAt(one: HostPort, other: HostPort): boolean {
  return one.host === other.host && one.port === other.port;
}
