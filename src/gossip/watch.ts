/**
 * Watch: does this node reach the members it is linked to, or should be?
 *
 * Whoever has not been heard for a while is pinged; one who does not answer in time is pinged again at once, and
 * dialled anew beside the open link, since a connection may be stuck while its host is well. After two misses, or a
 * lost link that a redial does not bring back, three other members are asked whether they reach it (SWIM's indirect
 * probe). One who does makes it a broken link: the member lives, is reached by way of the other, and is asked for
 * again each second. When nobody does, it is accused.
 *
 * Only one side of a quiet link pings: what comes from a peer is a sign of life, its ping too. All times stretch with
 * this node's own troubles (awareness.ts). Several that are missed at once are such a trouble: it is likelier that this
 * node was cut off or starved than that they all failed, so it waits for an answer of anybody before it accuses.
 *
 * Pure. membership.ts judges; gossip.ts sends what is wanted here.
 */

import { shuffled, type Random } from "../base/random.ts";

import type { Awareness } from "./awareness.ts";
import type { Inquiry, Peer, Pulse } from "./peer.ts";

const PING_EVERY_MS = { mesh: 500, ring: 1000 };
/** Between three round trips' least and most: a LAN answers sooner, a busy host not. */
const TIMEOUT_MS = { least: 150, most: 500 };
const MISSES_TO_ASK = 2;
const RELAYS_ASKED = 3;
/** For those asked to hear for themselves, and for the ways there and back. */
const INQUIRY_MS = 800;
const ASK_AGAIN_MS = { doubted: 500, reached: 1000 };
/** For a redial to bring a lost link back before anybody is asked. */
const LOST_GRACE_MS = 200;
/** For the first link to a member just heard of. */
const FIRST_LINK_MS = 1500;
/** So many are missed at once, and half of all that are watched: then it may be this node. */
const MANY = 2;
/** The share of the newest round trip in the smoothed one, as in TCP (RFC 6298). */
const SMOOTHING = 1 / 8;

/** What a tick wants done. */
export interface Wanted {
  readonly pings: Peer[];
  readonly asks: { readonly relay: Peer; readonly subject: Peer; readonly sequence: number }[];
  /** Reached by nobody who could be asked. */
  readonly unreached: Peer[];
}

/** Watches the peers it is handed. */
export class Watch {
  readonly #awareness: Awareness;
  readonly #random: Random;
  readonly #watched = new Set<Peer>();
  /** Those that did not answer, or whose link is lost, and since when. */
  readonly #missedAtMs = new Map<Peer, number>();
  #sequence = 0;

  constructor(awareness: Awareness, random: Random) {
    this.#awareness = awareness;
    this.#random = random;
  }

  /** A link to the peer is up: from now on it is pinged. */
  linked(peer: Peer, nowMs: number): void {
    const pulse = peer.pulse ?? pulseFrom(nowMs);
    Object.assign(pulse, { awaiting: false, misses: 0, heardAtMs: nowMs, sentAtMs: nowMs });
    Object.assign(pulse, { lostAtMs: null, inquiry: null });
    this.#missedAtMs.delete(peer);
    peer.pulse = pulse;
    this.#watched.add(peer);
  }

  /** There should be a link and is none. One that was there is missed sooner than one that never was. */
  lost(peer: Peer, wasLinked: boolean, nowMs: number): void {
    peer.pulse ??= pulseFrom(nowMs);
    peer.pulse.awaiting = false;
    peer.pulse.lostAtMs ??= nowMs + (wasLinked ? LOST_GRACE_MS : FIRST_LINK_MS);
    this.#watched.add(peer);
  }

  /** The peer need not be reached from here any more. */
  drop(peer: Peer): void {
    peer.pulse = null;
    this.#watched.delete(peer);
    this.#missedAtMs.delete(peer);
  }

  /** Stops looking for peers that were never linked, but for those still wanted. */
  dropUnlinked(isWanted: (peer: Peer) => boolean): void {
    for (const peer of this.#watched) {
      const isFound = peer.link !== null || peer.pulse?.roundTripMs !== null || peer.state !== "alive";
      if (!isFound && !isWanted(peer)) this.drop(peer);
    }
  }

  /** Peers to be dialled: without a link, or with one that is stuck. One that is away is waited for. */
  get redials(): readonly Peer[] {
    const redials: Peer[] = [];
    for (const peer of this.#watched) {
      const isStuck = peer.link === null || (peer.pulse?.misses ?? 0) >= MISSES_TO_ASK;
      if (isStuck && peer.host !== "" && peer.state !== "away") redials.push(peer);
    }
    return redials;
  }

  /** A frame came over the peer's link. */
  heard(peer: Peer, nowMs: number): void {
    const { pulse } = peer;
    if (pulse === null) return;
    pulse.heardAtMs = nowMs;
    pulse.misses = 0;
    pulse.inquiry = null;
    this.#missedAtMs.delete(peer);
    this.#awareness.succeeded();
  }

  /** A pong came. @returns true when the round trip had not been known before */
  ponged({ pulse }: Peer, sequence: number, nowMs: number): boolean {
    if (pulse === null || !pulse.awaiting || sequence !== pulse.sequence) return false;
    pulse.awaiting = false;
    this.#awareness.answered(pulse.sentAtMs);
    const tripMs = nowMs - pulse.sentAtMs;
    const before = pulse.roundTripMs;
    pulse.roundTripMs = before === null ? tripMs : before + SMOOTHING * (tripMs - before);
    return before === null;
  }

  /** True while this node hears the peer itself. */
  sees({ link, pulse }: Peer): boolean {
    return link !== null && pulse !== null && pulse.misses === 0;
  }

  /** Pings the peer with the next tick, whatever was heard of it; `warns` it as well that it is suspected. */
  pingNow({ pulse }: Peer, { warns }: { warns: boolean }): void {
    if (pulse === null) return;
    pulse.pingsNow = true;
    pulse.warns ||= warns;
  }

  /** A relay has answered. @returns true when it reaches the subject, and that was wanted to know */
  probed(relay: Peer, subject: Peer, reached: boolean, nowMs: number): boolean {
    const { pulse } = subject;
    if (pulse?.inquiry?.open.delete(relay.id) !== true) return false;
    if (!reached) return false;
    pulse.inquiry = null;
    pulse.askAgainAtMs = nowMs + ASK_AGAIN_MS.reached;
    return true;
  }

  /** The peer that an open inquiry is about; undefined when it is over. */
  subjectOf(sequence: number): Peer | undefined {
    for (const peer of this.#watched) if (peer.pulse?.inquiry?.sequence === sequence) return peer;
    return undefined;
  }

  /** This node slept: the silence was its own. */
  forgive(nowMs: number): void {
    this.#missedAtMs.clear();
    for (const { pulse } of this.#watched) {
      if (pulse === null) continue;
      Object.assign(pulse, { awaiting: false, misses: 0, heardAtMs: nowMs, inquiry: null });
      // Due at once, to learn soon who is still there.
      pulse.sentAtMs = Number.NEGATIVE_INFINITY;
      if (pulse.lostAtMs !== null) pulse.lostAtMs = nowMs + LOST_GRACE_MS;
    }
  }

  /** Looks at every watched peer. @param isMesh  everybody is linked to everybody */
  tick(isMesh: boolean, nowMs: number): Wanted {
    const wanted: Wanted = { pings: [], asks: [], unreached: [] };
    const everyMs = isMesh ? PING_EVERY_MS.mesh : PING_EVERY_MS.ring;
    if (this.#awareness.takeAlarm()) this.#pingAll();
    for (const peer of this.#watched) {
      const { pulse } = peer;
      if (pulse === null) continue;
      if (peer.link !== null) this.#pingOrMiss(peer, pulse, { wanted, everyMs, nowMs });
      const isStuck = peer.link !== null && pulse.misses >= MISSES_TO_ASK;
      const isLost = peer.link === null && pulse.lostAtMs !== null && nowMs >= pulse.lostAtMs;
      // One that never answered is not missed: it was not there before.
      if ((pulse.misses > 0 || (isLost && pulse.roundTripMs !== null)) && peer.state !== "away")
        this.#missed(peer, everyMs + TIMEOUT_MS.most, nowMs);
      // One that is away said so: nobody need be asked.
      if ((isStuck || isLost) && peer.state !== "away") this.#inquire(peer, pulse, wanted, nowMs);
    }
    return wanted;
  }

  #pingOrMiss(
    peer: Peer,
    pulse: Pulse,
    { wanted, everyMs, nowMs }: { wanted: Wanted; everyMs: number; nowMs: number },
  ): void {
    if (pulse.awaiting && nowMs - pulse.sentAtMs >= this.#timeoutMs(pulse)) {
      pulse.awaiting = false;
      // A frame since the ping was sent is as good as its pong.
      if (pulse.heardAtMs < pulse.sentAtMs) pulse.misses += 1;
    }
    if (pulse.awaiting) return;
    const quietMs = nowMs - Math.max(pulse.sentAtMs, pulse.heardAtMs);
    // The round trip is measured now and then also over a link whose other side does the pinging.
    const isDue = quietMs >= everyMs || nowMs - pulse.sentAtMs >= 10 * everyMs;
    if (!isDue && pulse.misses === 0 && !pulse.pingsNow) return;
    this.#sequence += 1;
    Object.assign(pulse, { sequence: this.#sequence, sentAtMs: nowMs, awaiting: true, pingsNow: false });
    wanted.pings.push(peer);
  }

  /** Notes that a peer is missed from now on, and whether it is one of many. */
  #missed(peer: Peer, withinMs: number, nowMs: number): void {
    if (this.#missedAtMs.has(peer)) return;
    this.#missedAtMs.set(peer, nowMs);
    let atOnce = 0;
    for (const atMs of this.#missedAtMs.values()) if (nowMs - atMs <= withinMs) atOnce += 1;
    if (atOnce >= MANY && 2 * atOnce >= this.#watched.size) this.#awareness.missedMany();
  }

  #pingAll(): void {
    for (const peer of this.#watched) this.pingNow(peer, { warns: false });
  }

  #timeoutMs({ roundTripMs }: Pulse): number {
    const tripsMs = roundTripMs === null ? TIMEOUT_MS.most : 3 * roundTripMs;
    return this.#awareness.stretch(Math.min(Math.max(tripsMs, TIMEOUT_MS.least), TIMEOUT_MS.most));
  }

  #inquire(peer: Peer, pulse: Pulse, wanted: Wanted, nowMs: number): void {
    if (pulse.inquiry !== null) {
      const { open, deadlineMs } = pulse.inquiry;
      if ((open.size > 0 && nowMs < deadlineMs) || this.#awareness.waits) return;
      // Who is heard and did not even say no: perhaps it is this node that does not hear.
      const missed = new Set(Array.from(this.#missedAtMs.keys(), ({ id }) => id));
      for (const relay of open) if (!missed.has(relay)) this.#awareness.missedNack();
      pulse.inquiry = null;
      pulse.askAgainAtMs = nowMs + ASK_AGAIN_MS.doubted;
      wanted.unreached.push(peer);
      return;
    }
    if (nowMs < pulse.askAgainAtMs) return;
    const relays = this.#relaysFor(peer);
    if (relays.length === 0 && this.#awareness.waits) return;
    if (relays.length === 0) {
      pulse.askAgainAtMs = nowMs + ASK_AGAIN_MS.doubted;
      wanted.unreached.push(peer);
      return;
    }
    this.#sequence += 1;
    const inquiry: Inquiry = {
      sequence: this.#sequence,
      deadlineMs: nowMs + this.#awareness.stretch(INQUIRY_MS),
      open: new Set(relays.map(({ id }) => id)),
    };
    pulse.inquiry = inquiry;
    for (const relay of relays) {
      wanted.asks.push({ relay, subject: peer, sequence: inquiry.sequence });
      // If it does not answer either, it is to be known by then that it is not there itself.
      this.pingNow(relay, { warns: false });
    }
  }

  #relaysFor(subject: Peer): Peer[] {
    const candidates = [...this.#watched].filter((peer) => peer !== subject && this.sees(peer));
    return shuffled(this.#random, candidates).slice(0, RELAYS_ASKED);
  }
}

function pulseFrom(nowMs: number): Pulse {
  const never = { sequence: 0, sentAtMs: Number.NEGATIVE_INFINITY, awaiting: false, misses: 0 };
  const quiet = { heardAtMs: nowMs, roundTripMs: null, lostAtMs: null, inquiry: null };
  return { ...never, ...quiet, askAgainAtMs: 0, pingsNow: false, warns: false };
}
