/**
 * Gossip: everyone learns what each node publishes, and who lives.
 *
 * The one door of this folder: inputs of the outside world enter here, and leave as effects by `take()`. What a node's
 * gossip is made of stands in parts.ts; what follows from a hello, a message and the passing of time in hellos.ts,
 * messages.ts and rounds.ts.
 *
 * Bodies of records are never read here, but for a node's word on its own life and its certificate.
 *
 * Pure.
 */

import { type HostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import type { OwnerLog } from "../model/log.ts";
import type { Acquaintance, Standing } from "../model/member.ts";

import { decode } from "./codec.ts";
import type { GossipEffects } from "./effects.ts";
import { dropAddress, helloFor, takeHello } from "./hellos.ts";
import { LIFE_KEY, renderLife } from "./life.ts";
import { takeMessage } from "./messages.ts";
import { closeLink, openParts, refuseLink, type GossipOptions, type Parts } from "./parts.ts";
import { isAt, isPresent } from "./peer.ts";
import {
  answerAccusers,
  answerFavour,
  checkComplete,
  letGo,
  noticePause,
  runRound,
  settleVerdicts,
} from "./rounds.ts";
import { drainText } from "./words.ts";

/** Why links of a node that was removed are closed. */
const EXPELLED = "removed from the cluster";

/** From this age on the loss of a link is news of its peer. */
const LASTING_MS = 1000;

/** The gossip of one node. */
export class Gossip {
  readonly #parts: Parts;

  constructor(options: GossipOptions) {
    this.#parts = openParts(options);
  }

  get logs(): ReadonlyMap<NodeId, OwnerLog> {
    return this.#parts.replication.store.logs;
  }

  /** Every node but this one. */
  get standings(): Standing[] {
    return this.#parts.membership.standings;
  }

  /** What gossip tells of one node; undefined for one that is not known. */
  standing(id: NodeId): Standing | undefined {
    return this.#parts.membership.standing(id);
  }

  /** True once the picture may be believed: removals count from now on. */
  get complete(): boolean {
    return this.#parts.completeness.reached;
  }

  /** Rises whenever a log, a member's state or completeness changed: then a new view is due. */
  get revision(): number {
    return this.#parts.changes.revision;
  }

  /**
   * The nodes whose log or standing changed since the last call, this one included, with their standing now; null for
   * one that is forgotten, and for oneself.
   */
  takeChanged(): ReadonlyMap<NodeId, Standing | null> {
    const { changes, membership } = this.#parts;
    return new Map(Array.from(changes.take(), (id) => [id, membership.standing(id) ?? null]));
  }

  get incarnation(): number {
    return this.#parts.replication.incarnation;
  }

  /** Addresses of members and seeds, to be kept on disk. */
  get addresses(): readonly HostPort[] {
    return this.#parts.dialer.addresses;
  }

  /** Rises when `addresses` change. */
  get addressesRevision(): number {
    return this.#parts.dialer.revision;
  }

  /** The version that this node's latest write got. */
  get version(): number {
    return this.#parts.replication.version;
  }

  /** What is wrong with the cluster as it is seen from here, for people. */
  get problems(): readonly string[] {
    return this.#parts.disputes.texts;
  }

  /** This node's health in its own eyes: 0, well, to 7. */
  get healthScore(): number {
    return this.#parts.awareness.score;
  }

  /** The names of members that have not applied this node's log up to `version`, though they may send traffic here. */
  lagging(version: number): string[] {
    return this.#parts.membership.lagging(this.incarnation, version).map(({ name }) => name);
  }

  /** Everything wanted since the last call; the caller does it. */
  take(): GossipEffects {
    return this.#parts.outbox.take();
  }

  /**
   * Writes this node's own log and pushes the change to everybody.
   *
   * @param acknowledge  whether `lagging` is to tell who has applied it; in a small cluster it always does
   */
  write(
    changes: ReadonlyMap<string, string | null>,
    nowMs: number,
    { acknowledge }: { acknowledge: boolean } = { acknowledge: false },
  ): void {
    const { replication, topology, spreading, changes: noted, self } = this.#parts;
    const asks = acknowledge || topology.isMesh;
    const { changed, leftOut } = replication.write(changes, nowMs, asks);
    if (leftOut.length > 0) this.#parts.complaints.ofOwnLog(self, leftOut, nowMs);
    if (!changed) return;
    noted.note(self.id);
    if (!asks) return;
    spreading.oldest ??= { version: this.version, writtenAtMs: nowMs };
    if (acknowledge) spreading.askedAtMs = nowMs;
  }

  /** Learns an address that may lead to a member: one known from an earlier run. */
  acquaint(address: HostPort): void {
    this.#parts.dialer.add(address);
  }

  /** Learns where members say they are, from their records. */
  meet(members: Iterable<Acquaintance>, nowMs: number): void {
    const { self, membership, dialer } = this.#parts;
    for (const member of members) {
      if (member.id === self.id || this.#parts.replication.store.isExpelled(member.id)) continue;
      const known = membership.peer(member.id);
      // A linked peer's own hello outranks a record, which may be of its earlier life.
      if (known === undefined || known.link !== null || isAt(known, member)) continue;
      if (known.host !== "") dropAddress(this.#parts, known);
      membership.meet(member, nowMs);
      dialer.add(member);
      dialer.leadsTo(member, member.id);
    }
    this.#settle(nowMs);
  }

  /** A link is up; hello goes first. @param link.peer  who is at its other end, as TLS says */
  linkUp(link: { id: number; dialled: HostPort | null; remote: string; peer: NodeId }, nowMs: number): void {
    const parts = this.#parts;
    noticePause(parts, nowMs);
    const { peer: identity, ...rest } = link;
    parts.links.add({ ...rest, identity, openedAtMs: nowMs });
    if (parts.outbox.isShut) closeLink(parts, link.id, "this node has left");
    else if (parts.replication.store.isExpelled(identity)) closeLink(parts, link.id, EXPELLED);
    else parts.outbox.send(link.id, helloFor(parts, link.id, nowMs));
  }

  /** A link is gone. */
  linkDown(linkId: number, reason: string, nowMs: number): void {
    const parts = this.#parts;
    noticePause(parts, nowMs);
    const { links, dialer, watch, reports, replication } = parts;
    replication.linkDown(linkId);
    const link = links.remove(linkId);
    if (link === undefined) return;
    const { dialled, peer } = link;
    // A link that ends as soon as it begins is as good as none: dialled again at once, it would end again.
    const isLasting = peer !== null && nowMs - link.openedAtMs >= LASTING_MS;
    if (dialled !== null) dialer.settled(dialled, isLasting ? "linked" : "failed", nowMs);
    if (peer === null || peer.link !== linkId) return;
    const [spare] = links.of(peer);
    peer.link = spare?.id ?? null;
    links.changed();
    if (spare !== undefined) {
      spare.spareSinceMs = null;
      watch.linked(peer, nowMs);
      // The link that ended may have been silent for a while: what was reported over it may be lost.
      const log = replication.store.logOf(peer.id);
      if (log !== undefined) reports.report(log);
    } else if (link.parted || link.closing || !isPresent(peer) || peer.state === "away") {
      this.#partedFrom(peer.id, nowMs);
    } else {
      watch.lost(peer, true, nowMs);
      // At once: a host that refuses is known to be without its daemon a round trip from now.
      if (isLasting && peer.host !== "") parts.outbox.wanted.dial.push(...dialer.now(peer));
      this.#tellLost(peer.name, reason, nowMs);
    }
    this.#settle(nowMs);
  }

  /** A dial ended without a link. */
  dialFailed(address: HostPort, outcome: { refused: boolean }, nowMs: number): void {
    const parts = this.#parts;
    noticePause(parts, nowMs);
    const { dialer, membership, favours } = parts;
    dialer.settled(address, "failed", nowMs);
    if (!outcome.refused) return;
    for (const peer of membership.peers) {
      if (!isAt(peer, address) || peer.link !== null) continue;
      for (const favour of favours.settled(peer.id)) answerFavour(parts, favour, false);
      membership.accuse(peer, "refused", nowMs);
    }
    this.#settle(nowMs);
  }

  /** A frame came over a link. */
  frame(linkId: number, frame: Uint8Array, nowMs: number): void {
    const parts = this.#parts;
    noticePause(parts, nowMs);
    const link = parts.links.get(linkId);
    if (link === undefined || link.closing) return;
    const decoded = decode(frame);
    if (!decoded.ok) {
      refuseLink(parts, link, decoded.failure.message, nowMs);
      return;
    }
    const message = decoded.value;
    parts.outbox.wanted.received.push({ kind: message.kind, bytes: frame.byteLength });
    const { peer } = link;
    if (message.kind === "hello") {
      // Not only the first: a peer that says hello again and again would be a new member each time.
      if (peer === null) takeHello(parts, link, message, nowMs);
      else refuseLink(parts, link, `"hello" came a second time`, nowMs);
      checkComplete(parts, nowMs);
    } else if (peer === null) {
      refuseLink(parts, link, `"${message.kind}" came before hello`, nowMs);
    } else {
      parts.watch.heard(peer, nowMs);
      parts.membership.heard(peer, nowMs);
      if (peer.via !== null) parts.membership.reachedVia(peer, null);
      for (const favour of parts.favours.settled(peer.id)) answerFavour(parts, favour, true);
      takeMessage(parts, link, { peer, message, nowMs });
      if (message.kind === "delta") checkComplete(parts, nowMs);
    }
    this.#settle(nowMs);
  }

  /** Asks the owner of a replica to take it out, or back in. @returns false when no link leads to it */
  askDrain(owner: NodeId, replica: string, draining: boolean): boolean {
    const { carrier, replication, seals, self } = this.#parts;
    const seat = carrier.linkTowards(owner);
    const log = replication.store.logOf(owner);
    if (seat === null || log === undefined) return false;
    const { incarnation, version } = log;
    const words = { owner, incarnation, version, replica, draining, asker: self.id };
    const signature = seat.peer.id === owner ? null : seals.sign(drainText(words));
    carrier.send(seat.link, { kind: "drain", ask: { ...words, signature }, hops: 0 });
    return true;
  }

  /** Who the owner of a log has proved to be; undefined while nothing of its log is held. */
  credentialOf(owner: NodeId): Credential | undefined {
    return this.#parts.replication.store.credentialOf(owner);
  }

  /**
   * A node was removed from the cluster: it is dropped at once, and nothing of it is taken any more. Of oneself there
   * is nothing to drop.
   *
   * @param reason  for people, here and at the other end of its links
   */
  expel(id: NodeId, reason: string, nowMs: number): void {
    const parts = this.#parts;
    const { self, replication, membership, links, hearsay, changes, outbox } = parts;
    if (id === self.id || replication.store.isExpelled(id)) return;
    const peer = membership.peer(id);
    replication.expel(id);
    hearsay.buried(id);
    for (const link of links.all) if (link.identity === id) closeLink(parts, link.id, reason);
    if (peer !== undefined) {
      letGo(parts, peer, reason);
      membership.expel(peer);
      // Of whom nothing was known here there is nothing to tell: at a start that is everybody who was ever removed.
      const told = { kind: "member.revoked", level: "warn", subject: peer.name, text: reason } as const;
      outbox.wanted.happenings.push({ ...told, atMs: nowMs });
    }
    changes.note(id);
    this.#settle(nowMs);
  }

  /** Says farewell, for good or for a while, to everybody; nothing is sent after it. */
  farewell(said: "left" | "away", forMs: number, nowMs: number): void {
    const { voice, replication, outbox } = this.#parts;
    replication.write(new Map([[LIFE_KEY, renderLife(voice.farewell(said, forMs))]]), nowMs, false);
    outbox.shut();
  }

  /** Told now and then by the shell: the event loop's delay, 99th percentile over the last seconds. */
  delayed(p99Ms: number): void {
    this.#parts.awareness.delayed(p99Ms);
  }

  /** Judges, pings, repairs, dials; to be called some ten or twenty times a second. */
  tick(nowMs: number): void {
    if (this.#parts.outbox.isShut) return;
    noticePause(this.#parts, nowMs);
    runRound(this.#parts, nowMs);
    this.#settle(nowMs);
  }

  /** A link that was given up in agreement, or by a verdict: only who is still wanted is missed. */
  #partedFrom(id: NodeId, nowMs: number): void {
    const { membership, topology, watch } = this.#parts;
    const peer = membership.peer(id);
    if (peer === undefined) return;
    watch.drop(peer);
    if (isPresent(peer) && topology.wanted.has(id)) watch.lost(peer, false, nowMs);
  }

  #tellLost(subject: string, reason: string, atMs: number): void {
    const text = `link lost: ${reason}`;
    this.#parts.outbox.wanted.happenings.push({ kind: "link.lost", level: "info", subject, text, atMs });
  }

  #settle(nowMs: number): void {
    answerAccusers(this.#parts, nowMs);
    settleVerdicts(this.#parts, nowMs);
  }
}
