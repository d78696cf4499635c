/**
 * Rounds: what is due as time passes.
 *
 * One tick for everything, some twenty times a second: deadlines stand in the state, and no part has a timer.
 *
 * Pure.
 */

import { happeningOf } from "./effects.ts";
import type { Favour } from "./favours.ts";
import { closeOverdue, dropAddress } from "./hellos.ts";
import { LIFE_KEY, renderLife } from "./life.ts";
import { markDead } from "./messages.ts";
import { closeLink, HOLD_MS, type Parts } from "./parts.ts";
import { isPresent, type Peer } from "./peer.ts";
import { signedRumor } from "./words.ts";

/** How often the shell ticks; later than that and this node is slow. */
const TICK_EVERY_MS = 50;
/** Members that have not said what they applied are asked again. */
const ASK_APPLIED_MS = 500;
/** A source that sends nothing for so long is asked for the rest, or replaced. */
const SYNC_QUIET_MS = 150;

/** To be called first at each entry: notices that this node slept. */
export function noticePause(parts: Parts, nowMs: number): void {
  if (!parts.awareness.entered(nowMs)) return;
  parts.watch.forgive(nowMs);
  parts.membership.hold(nowMs + HOLD_MS, nowMs);
  parts.replication.exchange();
}

/** Judges, pings, repairs, dials. */
export function runRound(parts: Parts, nowMs: number): void {
  const { awareness, membership, replication, reports, topology, favours, disputes } = parts;
  awareness.ticked(nowMs, TICK_EVERY_MS);
  membership.doubt(awareness.doubtsItself);
  membership.tick(nowMs, awareness.score);
  if (topology.takeChanged()) seekWanted(parts, nowMs);
  watchMembers(parts, nowMs);
  for (const favour of favours.overdue(nowMs)) answerFavour(parts, favour, false);
  warnAccused(parts, nowMs);
  closeOverdue(parts, nowMs);
  if (!topology.isMesh) {
    for (const link of parts.links.all) {
      if (!topology.isSpare(link, nowMs)) continue;
      parts.outbox.send(link.id, { kind: "part" });
      closeLink(parts, link.id, "the link is not needed");
    }
  }
  disputes.tick(nowMs);
  askWhoLags(parts, nowMs);
  replication.tick(membership.presentCount, nowMs);
  reports.tick();
  checkComplete(parts, nowMs);
  dial(parts, nowMs);
}

/** Writes the answer to accusations that is due. */
export function answerAccusers({ voice, replication, changes, self }: Parts, nowMs: number): void {
  // Not as the first thing of a life: it would take the place of all that members hold of the last one.
  if (replication.version === 0) return;
  const life = voice.answer(nowMs);
  if (life === null) return;
  replication.write(new Map([[LIFE_KEY, renderLife(life)]]), nowMs, false);
  changes.note(self.id);
}

/** Tells who asked whether a member is reached from here. */
export function answerFavour({ outbox }: Parts, { link, sequence }: Favour, reached: boolean): void {
  outbox.send(link, { kind: "probed", sequence, reached });
}

/** Acts on what was judged since it was last looked at. */
export function settleVerdicts(parts: Parts, nowMs: number): void {
  const { membership, changes, topology, outbox, carrier, replication } = parts;
  const { moves, rumors, forgotten, touched } = membership.take();
  for (const peer of touched) {
    if (membership.peer(peer.id) !== peer) continue;
    changes.note(peer.id);
    topology.note(peer);
  }
  for (const moved of moves) {
    const { peer } = moved;
    changes.note(peer.id);
    outbox.wanted.happenings.push(happeningOf(moved, nowMs));
    markDead(parts, peer);
    if (!isPresent(peer)) letGo(parts, peer);
    topology.note(peer);
  }
  if (moves.length > 0) forgetSlowWrite(parts);
  if (rumors.length > 0) {
    const signed = rumors.map((rumor) => signedRumor(rumor, parts.seals));
    carrier.broadcast((until) => ({ kind: "rumor", rumors: signed, until }));
  }
  for (const peer of forgotten) {
    replication.store.forget(peer.id);
    changes.note(peer.id);
    topology.note(peer);
    // Not the address of one that died: it may be the other half of a partition, and nobody else knows it.
    if (peer.state === "left") dropAddress(parts, peer);
  }
}

/** Looks whether the picture is complete by now. */
export function checkComplete(parts: Parts, nowMs: number): void {
  const { completeness, replication, dialer, outbox, changes, carrier } = parts;
  if (completeness.reached) return;
  const { store } = replication;
  const exchange = { covers: store.covers.bind(store), triedAll: dialer.triedAll };
  if (!completeness.check(exchange, nowMs)) {
    seekSource(parts, nowMs);
    return;
  }
  changes.noteWhole();
  outbox.wanted.happenings.push({
    kind: "view.complete",
    level: "info",
    subject: "view",
    text: "complete",
    atMs: nowMs,
  });
  // Other peers have held back so far.
  for (const { link } of carrier.seats) outbox.send(link, { kind: "compare", sum: store.sums.whole });
}

/** As long as the picture is not complete: asks the source for the rest, or another peer when it is gone. */
function seekSource({ sync, links, carrier, replication }: Parts, nowMs: number): void {
  if (nowMs - sync.movedAtMs < SYNC_QUIET_MS) return;
  const isThere = (links.get(sync.source)?.peer ?? null) !== null;
  const source = isThere ? sync.source : (carrier.seats[0]?.link ?? null);
  Object.assign(sync, { source, movedAtMs: nowMs });
  // A large log is on its way: from there it is asked to go on by itself.
  if (source !== null && replication.store.staging.isBusy(source)) return;
  if (source !== null) replication.sendDigest(source, { kind: "all" }, { wanted: true });
}

function watchMembers(parts: Parts, nowMs: number): void {
  const { watch, topology, outbox, membership } = parts;
  const { pings, asks, unreached } = watch.tick(topology.isMesh, nowMs);
  for (const { link, pulse, state, refutation } of pings) {
    if (link === null || pulse === null) continue;
    const suspected = state === "suspect" || pulse.warns ? refutation : null;
    pulse.warns = false;
    outbox.send(link, { kind: "ping", sequence: pulse.sequence, suspected });
  }
  for (const { relay, subject, sequence } of asks) {
    if (relay.link !== null) outbox.send(relay.link, { kind: "probe", sequence, subject: subject.id });
  }
  for (const peer of unreached) {
    membership.reachedVia(peer, null);
    membership.accuse(peer, "suspect", nowMs);
  }
}

/** Tells members that somebody holds them for dead: they may not know. */
function warnAccused(parts: Parts, nowMs: number): void {
  const { hearsay, membership, watch, carrier } = parts;
  for (const rumor of hearsay.toWarn(nowMs)) {
    const peer = membership.peer(rumor.subject);
    const isOver = peer === undefined || !isPresent(peer) || peer.refutation > rumor.refutation;
    if (isOver) hearsay.over(rumor.subject);
    else if (peer.link !== null) watch.pingNow(peer, { warns: true });
    else {
      const seat = carrier.linkTowards(peer.id);
      // In this node's name: whose digest it was read in has not signed it.
      const signed = signedRumor({ ...rumor, by: parts.self.id }, parts.seals);
      if (seat !== null) carrier.send(seat.link, { kind: "rumor", rumors: [signed], until: null });
    }
  }
}

function askWhoLags({ spreading, membership, replication }: Parts, nowMs: number): void {
  if (spreading.askedAtMs === null || nowMs - spreading.askedAtMs < ASK_APPLIED_MS) return;
  const lagging = membership.lagging(replication.incarnation, replication.version);
  spreading.askedAtMs = lagging.length === 0 ? null : nowMs;
  if (lagging.length > 0) replication.push(true);
}

/** A write that only members lacked who are given up by now: how long it took says nothing. */
function forgetSlowWrite({ spreading, membership, replication }: Parts): void {
  const { oldest } = spreading;
  if (oldest === null || membership.lagging(replication.incarnation, oldest.version).length > 0) return;
  spreading.oldest = null;
}

/** A peer that is dead or has left: nothing is expected of it any more. */
export function letGo(parts: Parts, peer: Peer, why?: string): void {
  const { links, watch, favours, hearsay } = parts;
  watch.drop(peer);
  hearsay.over(peer.id);
  for (const favour of favours.settled(peer.id)) answerFavour(parts, favour, false);
  const reason = why ?? (peer.state === "left" ? "the member left" : "the member is dead");
  for (const { id } of links.of(peer)) closeLink(parts, id, reason);
}

/** Members that should be linked and are not are missed from now on; others need not be found any more. */
function seekWanted({ topology, membership, watch }: Parts, nowMs: number): void {
  watch.dropUnlinked((peer) => topology.wanted.has(peer.id));
  for (const id of topology.wanted) {
    const peer = membership.peer(id);
    if (peer !== undefined && peer.link === null && peer.pulse === null && isPresent(peer))
      watch.lost(peer, false, nowMs);
  }
}

function dial(parts: Parts, nowMs: number): void {
  const { dialer, links, membership, watch, outbox } = parts;
  const plan = {
    wants: watch.redials,
    isPresent: (id: string) => {
      const peer = membership.peer(id);
      // One that is away may come back without a memory of anybody.
      if (peer === undefined || !isPresent(peer) || peer.state === "away") return false;
      return peer.link !== null || links.count > 0;
    },
    isLinked: (address: string) => links.addresses.has(address),
    presentCount: membership.presentCount,
    isAlone: links.count === 0,
  };
  outbox.wanted.dial.push(...dialer.due(plan, nowMs));
}
