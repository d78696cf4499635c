/**
 * Messages: what each message of a linked peer does.
 *
 * Pure. Each part decides for itself; here it is handed what concerns it.
 */

import { unreachable } from "../base/assert.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { incarnationMax } from "./greeting.ts";
import { LIFE_KEY, parseLife } from "./life.ts";
import type { OpenLink } from "./links.ts";
import {
  FORGOTTEN_AT,
  type Digest,
  type Hello,
  type Message,
  type Rumor,
  type SignedRumor,
} from "./message.ts";
import { closeLink, type Parts } from "./parts.ts";
import { isBefore, isPresent, type Peer } from "./peer.ts";
import { suspicionRange } from "./suspicion.ts";
import { drainText, rumorText } from "./words.ts";

type Of<K extends Message["kind"]> = Extract<Message, { kind: K }>;

interface Taking<K extends Message["kind"]> {
  readonly peer: Peer;
  readonly message: Of<K>;
  readonly nowMs: number;
}

/** Takes one message of a peer. */
export function takeMessage(
  parts: Parts,
  link: OpenLink,
  { peer, message, nowMs }: { peer: Peer; message: Exclude<Message, Hello>; nowMs: number },
): void {
  const { outbox, replication, watch } = parts;
  switch (message.kind) {
    case "delta":
      return takeDeltas(parts, link, { peer, message, nowMs });
    case "announce":
      return replication.announced(message.digest, link.id);
    case "compare":
      return replication.compared(message.sum, link.id);
    case "parts":
      return replication.partsCompared(message.sums, link.id);
    case "digest":
      return takeDigest(parts, link, { peer, message, nowMs });
    case "more":
      return replication.answerMore(message, link, nowMs);
    case "rumor":
      return takeRumors(parts, link, { peer, message, nowMs });
    case "ping":
      if (message.suspected !== null) accusedHere(parts, message.suspected);
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
      return takeReports(parts, peer, message, nowMs);
    case "drain":
      return takeDrain(parts, peer, message, nowMs);
    case "part":
      link.parted = true;
      return closeLink(parts, link.id, "the peer needs the link no more");
    default:
      return unreachable(message);
  }
}

/** What a peer's digest tells beside what it lacks: that it knows more of this node, and whom it holds for dead. */
export function readDigest(
  parts: Parts,
  link: OpenLink,
  { peer, digest, nowMs }: { peer: Peer; digest: Digest; nowMs: number },
): void {
  const { self, replication, voice, membership, hearsay, completeness } = parts;
  const { store } = replication;
  replication.outranked(digest, link, nowMs);
  for (const { owner, incarnation, deadAt } of digest) {
    if (deadAt === null || incarnation > incarnationMax(nowMs)) continue;
    const isForgotten = deadAt === FORGOTTEN_AT;
    if (owner === self.id) {
      // Who is forgotten has to say something, or what it said before is not taken again.
      const refutation = isForgotten ? voice.life.refutation : deadAt;
      if (incarnation === replication.incarnation) accusedHere(parts, refutation);
    }
    if (owner === self.id || isForgotten || store.isExpelled(owner)) continue;
    const rumor: Rumor = { kind: "dead", subject: owner, incarnation, refutation: deadAt, by: peer.id };
    const known = membership.peer(owner);
    if (known === undefined) {
      // It is a member once its log is here; then it is one that is dead.
      if (!store.isForgotten(owner)) hearsay.bury(rumor);
      continue;
    }
    // Of a life that its log does not tell of yet: once it does, this will be told again.
    if (!isPresent(known) || isBefore(known, rumor)) continue;
    // To a node that is new the cluster's dead are dead; one that knows the member better looks first.
    const isNew = !completeness.reached;
    if (parts.watch.sees(known)) parts.watch.pingNow(known, { warns: known.refutation <= deadAt });
    else if (isNew || hearsay.read(rumor, nowMs)) membership.believe(rumor, nowMs);
  }
}

function takeDeltas(parts: Parts, link: OpenLink, { peer, message, nowMs }: Taking<"delta">): void {
  const { self, replication, membership, reports, hearsay, changes, sync } = parts;
  if (sync.source === link.id) sync.movedAtMs = nowMs;
  const { news, held, complaints, raised } = replication.receive(message, link, nowMs);
  for (const { owner, why } of complaints) {
    const text = `sent a part of ${whoseLog(parts, owner)} that ${why}`;
    parts.complaints.of(peer, { sort: "log", text }, nowMs);
  }
  if (raised) changes.note(self.id);
  for (const owner of news) {
    const isNew = membership.peer(owner) === undefined;
    const member = membership.know(owner, nowMs);
    const death = isNew ? hearsay.buried(owner) : undefined;
    // Only of a life that the log itself tells of: else it could not be refuted.
    if (death !== undefined && !isBefore(lifeOf(parts, owner), death)) membership.believe(death, nowMs);
    readLife(parts, member, nowMs);
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

/** A log's name for people. */
function whoseLog({ self, membership }: Parts, owner: NodeId): string {
  return owner === self.id ? "this node's own log" : `the log of ${membership.peer(owner)?.name ?? owner}`;
}

/** How far a member's own log says that it has lived. */
function lifeOf({ replication: { store } }: Parts, id: NodeId): { incarnation: number; refutation: number } {
  const log = store.logOf(id);
  const { refutation } = parseLife(log?.entryByKey.get(LIFE_KEY)?.body);
  return { incarnation: log?.incarnation ?? 0, refutation };
}

/**
 * Somebody holds this life of the node for lost. Nobody honest can do so at a refutation that it has not made yet, so a
 * higher one counts as its last: else a liar could drive it to where counting ends.
 */
function accusedHere({ voice }: Parts, refutation: number): void {
  voice.accused(Math.min(refutation, voice.life.refutation));
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

function takeDigest(parts: Parts, link: OpenLink, { peer, message, nowMs }: Taking<"digest">): void {
  const { replication, membership, sync } = parts;
  if (sync.source === link.id) sync.movedAtMs = nowMs;
  if (message.scope.kind !== "listed") {
    readDigest(parts, link, { peer, digest: message.digest, nowMs });
    if (!message.wanted) membership.release();
  }
  replication.answer(message, link, peer.id, nowMs);
}

function takeRumors(parts: Parts, link: OpenLink, { peer: teller, message, nowMs }: Taking<"rumor">): void {
  const { self, replication, membership, watch, carrier } = parts;
  const { rumors, until } = message;
  const passed: SignedRumor[] = [];
  for (const rumor of rumors) {
    const { subject, incarnation, refutation } = rumor;
    if (incarnation > incarnationMax(nowMs)) continue;
    if (subject === self.id) {
      // Whether it is signed or not: an answer costs little. Of a later life the peer is to show more than a word.
      if (incarnation >= replication.incarnation) accusedHere(parts, refutation);
      if (incarnation > replication.incarnation) replication.askWhole(link, self.id, nowMs);
      continue;
    }
    if (!isTrue(parts, teller, rumor, nowMs)) continue;
    passed.push(rumor);
    const peer = membership.peer(subject);
    // Without a part of the ring to serve it is on its way to its subject, and news for nobody else.
    if (peer === undefined || until === null) continue;
    const told = answerable(parts, peer, rumor, nowMs);
    if (membership.told(told, watch.sees(peer), nowMs) === "doubted") watch.pingNow(peer, { warns: true });
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

/**
 * What of a rumor its subject can answer. At most of the life that it has told of itself: what is beyond it could not
 * refute. And no death before there was time to: else one liar makes an accusation and a verdict in one breath.
 */
function answerable({ membership }: Parts, peer: Peer, rumor: Rumor, nowMs: number): Rumor {
  const { incarnation, refutation, suspicion } = peer;
  const { leastMs } = suspicionRange(membership.presentCount);
  const isHasty = rumor.kind === "dead" && suspicion !== null && nowMs - suspicion.sinceMs < leastMs / 2;
  const kind = isHasty ? "suspect" : rumor.kind;
  return isBefore(peer, rumor) ? { ...rumor, kind, incarnation, refutation } : { ...rumor, kind };
}

/** Whether a rumor is of whom it says. One of this node's own that comes round is no news. */
function isTrue(parts: Parts, teller: Peer, rumor: SignedRumor, nowMs: number): boolean {
  const { self, seals, replication, membership, outbox } = parts;
  if (rumor.by === self.id) return false;
  const credential = replication.store.credentialOf(rumor.by);
  // Who that is will be known once its log is here; the rumor is told again.
  if (credential === undefined) return false;
  if (seals.isSigned(credential, rumorText(rumor), rumor.signature)) return true;
  outbox.wanted.refused.push("rumor");
  const text = `sent a rumor in the name of ${membership.peer(rumor.by)?.name ?? rumor.by}`;
  parts.complaints.of(teller, { sort: "rumor", text: `${text}; expected its signature` }, nowMs);
  return false;
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

function takeReports(parts: Parts, teller: Peer, message: Of<"applied">, nowMs: number): void {
  const { membership, reports, replication, spreading, outbox } = parts;
  const { own, forgedCount } = reports.received(message, teller.id);
  if (forgedCount > 0) {
    outbox.wanted.refused.push("report");
    const text = `sent ${forgedCount} reports in others' names; expected their signatures`;
    parts.complaints.of(teller, { sort: "report", text }, nowMs);
  }
  let isNews = false;
  for (const { incarnation, version, by } of own) {
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

function takeDrain(parts: Parts, teller: Peer, { ask, hops }: Of<"drain">, nowMs: number): void {
  const { self, seals, asks, replication, membership, outbox, carrier } = parts;
  const { asker, owner, replica, draining, signature } = ask;
  const refuse = (text: string): void => {
    outbox.wanted.refused.push("drain");
    parts.complaints.of(teller, { sort: "drain", text }, nowMs);
  };
  const credential = replication.store.credentialOf(asker);
  const isSigned =
    signature !== null && credential !== undefined && seals.isSigned(credential, drainText(ask), signature);
  const isTold = signature === null && asker === teller.id && owner === self.id;
  if (credential === undefined || !(isSigned || isTold))
    return refuse(`asks to drain ${replica} in the name of ${asker}; expected its signature`);
  if (owner === self.id) {
    const { incarnation, version } = replication;
    const refusal = asks.taken(ask, credential, { incarnation, version });
    const by = membership.peer(asker)?.name ?? asker;
    if (refusal === null) outbox.wanted.drains.push({ replica, draining, by });
    else refuse(asker === teller.id ? refusal : `passes on that ${by} ${refusal}`);
  } else if (hops < LIMITS.hopsMax) {
    const seat = carrier.linkTowards(owner);
    if (seat !== null) carrier.send(seat.link, { kind: "drain", ask, hops: hops + 1 });
  }
}
