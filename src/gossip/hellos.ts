/**
 * Hellos: links become members' links.
 *
 * Who says hello on a link, whether that is to be believed, which of two links to one member stays, and what the two
 * sides owe each other first: what each lacks, and what it has applied. A node that is still learning the cluster takes
 * it from one peer; all others hold back until it asks.
 *
 * Pure. greeting.ts and disputes.ts answer the questions; here is done what follows.
 */

import type { HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";

import { closesAtOnce, greeterOf, incarnationMax, keepsNewLink } from "./greeting.ts";
import type { Lacking } from "./delta.ts";
import type { OpenLink } from "./links.ts";
import { WIRE_VERSION, type Hello } from "./message.ts";
import { readDigest } from "./messages.ts";
import { closeLink, HOLD_MS, refuseLink, type Parts } from "./parts.ts";
import { isAt, type Peer } from "./peer.ts";

const SECOND_LINK = "a second link to the same member";

/** What this node says first on a link. */
export function helloFor(parts: Parts, link: number, nowMs: number): Hello {
  const { self, nonce, replication, completeness, sync } = parts;
  const complete = completeness.reached;
  const isSource = !complete && sync.source === null;
  if (isSource) Object.assign(sync, { source: link, movedAtMs: nowMs });
  const { id, name, host, port } = self;
  const head = { kind: "hello", wire: WIRE_VERSION, id, name, host, port } as const;
  const { incarnation } = replication;
  const digest = replication.store.digest();
  return { ...head, incarnation, nonce, complete, wanted: complete || isSource, digest };
}

/** A hello came, the first frame of its link. */
export function takeHello(parts: Parts, link: OpenLink, hello: Hello, nowMs: number): void {
  const { self, nonce, dialer, membership, disputes } = parts;
  if (hello.id !== link.identity) {
    const reason = `${hello.name} says it is ${hello.id}, but has the certificate of ${link.identity}`;
    reject(parts, link, `${reason}; expected its own`, nowMs);
    return;
  }
  const greeter = greeterOf(hello, { id: self.id, nonce }, link.remote);
  if (greeter.kind !== "peer") {
    // An address that leads to this node's id is not worth another dial, whoever answers there.
    const leadsHere = greeter.kind === "myself" || greeter.sharesId;
    if (leadsHere && link.dialled !== null) dialer.own(link.dialled);
    if (greeter.kind === "myself") closeLink(parts, link.id, "a link to myself");
    else reject(parts, link, greeter.reason, nowMs);
    return;
  }
  if (hello.incarnation > incarnationMax(nowMs)) {
    const reason = `${hello.name} has incarnation ${hello.incarnation}; expected at most a day's lead`;
    reject(parts, link, reason, nowMs);
    return;
  }
  const known = membership.peer(hello.id);
  if (known === undefined && membership.count >= LIMITS.ownersMax) {
    const reason = `${hello.name} is one too many; expected ${LIMITS.ownersMax} members at most`;
    reject(parts, link, reason, nowMs);
    return;
  }
  if (known !== undefined) {
    const refusal = disputes.refusal(known, { nonce: hello.nonce, remote: link.remote }, nowMs);
    if (refusal !== null) {
      const { text, isNew } = refusal;
      // Dialled again soon: who is left of the two is to be noticed.
      if (isNew) refuseLink(parts, link, text, nowMs);
      else closeQuietly(parts, link, text);
      for (const { id } of parts.links.of(known)) closeLink(parts, id, text);
      return;
    }
    if (!isAt(known, hello)) dropAddress(parts, known);
  }
  const peer = membership.meet(hello, nowMs);
  if (link.dialled !== null) dialer.leadsTo(link.dialled, peer.id);
  if (keeps(parts, link, { peer, hello, nowMs })) welcome(parts, link, { peer, hello, nowMs });
}

/** Drops the address of a peer that is not there any more, unless another is there by now. */
export function dropAddress({ membership, dialer }: Parts, peer: Peer): void {
  for (const other of membership.peers) if (other !== peer && isAt(other, peer)) return;
  dialer.drop(peer);
}

interface Greeted {
  readonly peer: Peer;
  readonly hello: Hello;
  readonly nowMs: number;
}

function reject(parts: Parts, link: OpenLink, reason: string, nowMs: number): void {
  if (link.dialled !== null) parts.dialer.settled(link.dialled, "rejected", nowMs);
  refuseLink(parts, link, reason, nowMs);
}

/** As `refuseLink`, for what was told before: who is refused comes again and again. */
function closeQuietly(parts: Parts, link: OpenLink, reason: string): void {
  parts.outbox.wanted.refused.push("frame");
  closeLink(parts, link.id, reason);
}

/** A peer is at this link: what it said counts, and the exchange begins. */
function welcome(parts: Parts, link: OpenLink, { peer, hello, nowMs }: Greeted): void {
  const { links, dialer, disputes, membership, watch, replication, completeness } = parts;
  const wasCutOff = !links.seats.some(({ peer: other }) => watch.sees(other));
  const where: HostPort = { host: hello.host, port: hello.port };
  if (disputes.taken(peer, hello.nonce)) {
    // What an earlier run of it had applied counts no more. By the nonce: an incarnation may rise in mid-life.
    Object.assign(peer, { appliedIncarnation: 0, appliedVersion: 0 });
  }
  link.peer = peer;
  peer.link = link.id;
  links.changed();
  if (link.dialled !== null) dialer.settled(link.dialled, "linked", nowMs);
  dialer.add(where);
  dialer.leadsTo(where, peer.id);
  dialer.reached(where);
  membership.greeted(peer, hello.incarnation, nowMs);
  membership.reachedVia(peer, null);
  watch.linked(peer, nowMs);
  readDigest(parts, link, { peer, digest: hello.digest, nowMs });
  completeness.greeted(hello.digest, hello.complete);
  membership.release();
  if (wasCutOff) membership.reconsider(nowMs + HOLD_MS, nowMs);
  replication.sendMissing(link.id, lackOf(parts, hello));
  const log = replication.store.logOf(peer.id);
  if (log !== undefined) parts.reports.report(log);
}

/** What a peer lacks from here: everything, or of this node alone when it takes the rest from another. */
function lackOf({ self }: Parts, { id, digest, wanted }: Hello): Lacking {
  if (wanted) return { digest, scope: { kind: "all" }, recipient: id };
  const known = digest.find(({ owner }) => owner === self.id);
  const head = known ?? { owner: self.id, incarnation: 0, version: 0, deadAt: null };
  return { digest: [head], scope: { kind: "listed" }, recipient: id };
}

/** Chooses between two links to one peer. @returns true when this one stays */
function keeps(parts: Parts, link: OpenLink, { peer, hello, nowMs }: Greeted): boolean {
  const other = parts.links.get(peer.link);
  if (other === undefined || other.closing) return true;
  const two = {
    selfId: parts.self.id,
    peerId: peer.id,
    oldDialledHere: other.dialled !== null,
    newDialledHere: link.dialled !== null,
    peerRestarted: hello.nonce !== peer.nonce,
    oldAgeMs: nowMs - other.openedAtMs,
  };
  const keepsNew = keepsNewLink(two);
  const loser = keepsNew ? other : link;
  loser.peer = peer;
  loser.spareSinceMs = nowMs;
  parts.links.changed();
  if (loser.dialled !== null) parts.dialer.settled(loser.dialled, "linked", nowMs);
  if (closesAtOnce(two)) closeLink(parts, loser.id, SECOND_LINK);
  return keepsNew;
}

/** Closes spares that are not needed any more, and links that never said hello. */
export function closeOverdue(parts: Parts, nowMs: number): void {
  const { silent, surplus } = parts.links.overdue(nowMs);
  for (const link of silent) refuseLink(parts, link, "no hello", nowMs);
  for (const { id } of surplus) closeLink(parts, id, SECOND_LINK);
}
