/**
 * Messages: what each message of a linked peer does.
 *
 * Pure. Each part decides for itself; here it is handed what concerns it.
 */

import { unreachable } from "../base/assert.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { incarnationMax } from "./greeting.ts";
import { LIFE_KEY, parseLife, REFUTATION_MAX } from "./life.ts";
import type { OpenLink } from "./links.ts";
import { FORGOTTEN_AT, type Digest, type Hello, type Message, type Rumor } from "./message.ts";
import { closeLink, type Parts } from "./parts.ts";
import { isPresent, type Peer } from "./peer.ts";

type Of<K extends Message["kind"]> = Extract<Message, { kind: K }>;

/** Takes one message of a peer. */
export function takeMessage(
  parts: Parts,
  link: OpenLink,
  { peer, message, nowMs }: { peer: Peer; message: Exclude<Message, Hello>; nowMs: number },
): void {
  const { outbox, replication, watch } = parts;
  switch (message.kind) {
    case "delta":
      return takeDeltas(parts, link, message, nowMs);
    case "announce":
      return replication.announced(message.digest, link.id);
    case "compare":
      return replication.compared(message.sum, link.id);
    case "parts":
      return replication.partsCompared(message.sums, link.id);
    case "digest":
      return takeDigest(parts, link, { peer, message, nowMs });
    case "rumor":
      return takeRumors(parts, link, message, nowMs);
    case "ping":
      if (message.suspected !== null) accusedHere(parts, message.suspected, nowMs);
      outbox.send(link.id, { kind: "pong", sequence: message.sequence });
      return;
    case "pong":
      if (watch.ponged(peer, message.sequence, nowMs)) parts.changes.note(peer.id);
      return;
    case "probe":
      return takeProbe(parts, link, message, nowMs);
    case "probed":
      return takeProbed(parts, peer, message, nowMs);
    case "applied":
      return takeReports(parts, message, nowMs);
    case "drain":
      return takeDrain(parts, message);
    case "part":
      link.parted = true;
      return closeLink(parts, link.id, "the peer needs the link no more");
    default:
      return unreachable(message);
  }
}

/** What a peer's digest tells beside what it lacks: that it knows more of this node, and whom it holds for dead. */
export function readDigest(parts: Parts, peer: Peer, digest: Digest, nowMs: number): void {
  const { self, replication, voice, membership, hearsay, completeness, changes } = parts;
  const { store } = replication;
  if (replication.outrank(digest, nowMs)) changes.note(self.id);
  for (const { owner, incarnation, deadAt } of digest) {
    if (deadAt === null || incarnation > incarnationMax(nowMs)) continue;
    const isForgotten = deadAt === FORGOTTEN_AT;
    if (owner === self.id) {
      // Who is forgotten has to say something, or what it said before is not taken again.
      const refutation = isForgotten ? voice.life.refutation : deadAt;
      if (incarnation === replication.incarnation) accusedHere(parts, refutation, nowMs);
    }
    if (owner === self.id || isForgotten) continue;
    const rumor: Rumor = { kind: "dead", subject: owner, incarnation, refutation: deadAt, by: peer.id };
    const known = membership.peer(owner);
    if (known === undefined) {
      // It is a member once its log is here; then it is one that is dead.
      if (!store.isForgotten(owner)) hearsay.bury(rumor);
      continue;
    }
    if (!isPresent(known)) continue;
    // To a node that is new the cluster's dead are dead; one that knows the member better looks first.
    const isNew = !completeness.reached;
    if (parts.watch.sees(known)) parts.watch.pingNow(known, { warns: known.refutation <= deadAt });
    else if (isNew || hearsay.read(rumor, nowMs)) membership.believe(rumor, nowMs);
  }
}

function takeDeltas(parts: Parts, link: OpenLink, message: Of<"delta">, nowMs: number): void {
  const { replication, membership, reports, hearsay, changes, sync } = parts;
  if (sync.source === link.id) sync.movedAtMs = nowMs;
  const { news, held, refused } = replication.receive(message, link, nowMs);
  if (refused !== null) complain(parts, link, refused, nowMs);
  for (const owner of news) {
    const isNew = membership.peer(owner) === undefined;
    const peer = membership.know(owner, nowMs);
    const death = isNew ? hearsay.buried(owner) : undefined;
    if (death !== undefined) membership.believe(death, nowMs);
    readLife(parts, peer, nowMs);
    changes.note(owner);
  }
  if (!message.acknowledge) {
    for (const owner of news) reportIfLinked(parts, owner);
    return;
  }
  for (const owner of held) {
    const log = replication.store.logOf(owner);
    if (log !== undefined) reports.report(log);
  }
}

/** Somebody holds this life of the node for lost. Where counting ends, only another life can answer. */
function accusedHere({ voice, replication, changes, self }: Parts, refutation: number, nowMs: number): void {
  const { incarnation } = replication;
  if (refutation < REFUTATION_MAX - 1) voice.accused(refutation);
  // Not past what peers believe: who says so faster than that bound moves on would make this node unbelievable.
  else if (incarnation <= incarnationMax(nowMs) && replication.raise(incarnation + 1, nowMs))
    changes.note(self.id);
}

/** Tells, once a link, of logs that are not taken: from a forger, or of a cluster that has outgrown its bounds. */
function complain({ self, outbox }: Parts, link: OpenLink, owner: NodeId, atMs: number): void {
  if (link.complained) return;
  link.complained = true;
  const whose = owner === self.id ? "this node's own log, which only it writes" : `the log of ${owner}`;
  const text = `sent a part of ${whose}; expected logs within the bounds of incarnation and size`;
  const subject = link.peer?.name ?? link.remote;
  outbox.wanted.happenings.push({ kind: "member.refused", level: "warn", subject, text, atMs });
}

/** Who is linked hears of each step: it may have asked while this node did not hold it yet. */
function reportIfLinked({ membership, replication, reports }: Parts, owner: NodeId): void {
  const log = replication.store.logOf(owner);
  if (log !== undefined && (membership.peer(owner)?.link ?? null) !== null) reports.report(log);
}

/** An owner's log has news: what it says of its own life, and whether the verdict on it is of this life. */
function readLife(parts: Parts, peer: Peer, nowMs: number): void {
  const { replication, membership, hearsay } = parts;
  const log = replication.store.logOf(peer.id);
  if (log === undefined) return;
  const life = parseLife(log.entryByKey.get(LIFE_KEY)?.body);
  const before = peer.refutation;
  membership.lifeTold(peer, log.incarnation, life, nowMs);
  if (peer.refutation !== before) hearsay.over(peer.id);
  markDead(parts, peer);
}

/**
 * Notes in a member's head whether it counts as dead, so that digests tell. A verdict may be of a later life than the
 * one whose log is held: then it is told as one of that log's.
 */
export function markDead({ replication: { store } }: Parts, peer: Peer): void {
  const log = store.logOf(peer.id);
  if (log === undefined) return;
  const isOfLog = peer.incarnation === log.incarnation;
  const refutation = isOfLog ? peer.refutation : parseLife(log.entryByKey.get(LIFE_KEY)?.body).refutation;
  store.setDead(peer.id, log.incarnation, peer.state === "dead" ? refutation : null);
}

function takeDigest(
  parts: Parts,
  link: OpenLink,
  { peer, message, nowMs }: { peer: Peer; message: Of<"digest">; nowMs: number },
): void {
  const { replication, membership, sync } = parts;
  if (sync.source === link.id) sync.movedAtMs = nowMs;
  if (message.scope.kind !== "listed") {
    readDigest(parts, peer, message.digest, nowMs);
    if (!message.wanted) membership.release();
  }
  replication.answer(message, link, peer.id, nowMs);
}

function takeRumors(parts: Parts, link: OpenLink, message: Of<"rumor">, nowMs: number): void {
  const { self, replication, membership, watch, carrier, changes } = parts;
  const { rumors, until } = message;
  const passed: Rumor[] = [];
  for (const rumor of rumors) {
    const { subject, incarnation, refutation } = rumor;
    if (incarnation > incarnationMax(nowMs)) continue;
    if (subject === self.id) {
      if (incarnation === replication.incarnation) accusedHere(parts, refutation, nowMs);
      // Somebody remembers a later life of this node than it knows itself.
      if (incarnation > replication.incarnation && replication.raise(incarnation + 1, nowMs))
        changes.note(self.id);
      continue;
    }
    passed.push(rumor);
    const peer = membership.peer(subject);
    // Without a part of the ring to serve it is on its way to its subject, and news for nobody else.
    if (peer === undefined || until === null) continue;
    const told = membership.told(rumor, watch.sees(peer), nowMs);
    if (told === "doubted") watch.pingNow(peer, { warns: true });
  }
  if (passed.length === 0) return;
  if (until !== null) {
    carrier.forward((end) => ({ kind: "rumor", rumors: passed, until: end }), until, link.id);
    return;
  }
  for (const rumor of passed) {
    const seat = carrier.linkTowards(rumor.subject);
    if (seat === null || seat.link === link.id) continue;
    carrier.send(seat.link, { kind: "rumor", rumors: [rumor], until: null });
  }
}

function takeProbe(parts: Parts, link: OpenLink, { sequence, subject }: Of<"probe">, nowMs: number): void {
  const { membership, favours, watch, dialer } = parts;
  const peer = membership.peer(subject);
  const favour = { subject, link: link.id, sequence };
  const isTaken = peer !== undefined && peer.host !== "" && favours.asked(favour, nowMs);
  if (!isTaken) {
    parts.outbox.send(link.id, { kind: "probed", sequence, reached: false });
    return;
  }
  if (peer.link !== null) watch.pingNow(peer, { warns: false });
  else {
    dialer.add(peer);
    parts.outbox.wanted.dial.push(...dialer.now(peer));
  }
}

function takeProbed(parts: Parts, relay: Peer, { sequence, reached }: Of<"probed">, nowMs: number): void {
  const { watch, membership } = parts;
  const subject = watch.subjectOf(sequence);
  if (subject === undefined || !watch.probed(relay, subject, reached, nowMs)) return;
  membership.heard(subject, nowMs);
  if (subject.state === "alive") membership.reachedVia(subject, relay.id);
}

function takeReports(parts: Parts, message: Of<"applied">, nowMs: number): void {
  const { membership, reports, replication, spreading, outbox } = parts;
  let isNews = false;
  for (const { incarnation, version, by } of reports.received(message)) {
    // Nobody can have applied what was not written.
    if (incarnation !== replication.incarnation || version > replication.version) continue;
    for (const id of by) {
      const peer = membership.peer(id);
      if (peer !== undefined && membership.applied(peer, { incarnation, version })) isNews = true;
    }
  }
  const { oldest } = spreading;
  if (!isNews || oldest === null) return;
  if (membership.lagging(replication.incarnation, oldest.version).length > 0) return;
  outbox.wanted.spreadMs.push(nowMs - oldest.writtenAtMs);
  spreading.oldest = null;
}

function takeDrain({ self, outbox, carrier }: Parts, message: Of<"drain">): void {
  const { owner, replica, draining, by, hops } = message;
  if (owner === self.id) outbox.wanted.drains.push({ replica, draining, by });
  else if (hops < LIMITS.hopsMax) {
    const seat = carrier.linkTowards(owner);
    if (seat !== null) carrier.send(seat.link, { ...message, hops: hops + 1 });
  }
}
