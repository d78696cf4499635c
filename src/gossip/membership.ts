/**
 * Membership: which nodes live, judged from this node's own links.
 *
 * Every link carries a ping each half second. Two misses in a row make a member suspect, a second more makes it dead.
 * A connection that closes without goodbye makes it suspect at once, and a refused redial makes it dead at once: a
 * host that answers "nobody listens here" is reachable, and its daemon is gone. Any frame from a member is a sign of
 * life. After a pause of this node (suspend, SIGSTOP) the silence was ours: all outstanding pings are forgiven.
 *
 * Not gossiped verdicts: with a link to every member each node sees for itself, and a verdict cannot be forged.
 *
 * Pure. gossip.ts sends the pings; dialer.ts decides about redials.
 */

import type { Acquaintance, MemberState, Standing } from "../model/member.ts";
import type { NodeId } from "../model/ids.ts";

export const PING_EVERY_MS = 500;
/** Not the 150 ms that a LAN would allow: on a busy host a daemon's own event loop may be late by more. */
const PING_TIMEOUT_MS = 500;
const MISSES_TO_SUSPECT = 2;
const SUSPICION_MS = 1000;
/** A gap between two ticks from which on this node knows that it was the one that slept. */
const PAUSE_MS = 900;
/** How long a dead or left node is remembered. */
const FORGOTTEN_AFTER_MS = 24 * 3600 * 1000;

/** One run of a node: `nonce` is drawn at its start. */
export interface Life {
  readonly incarnation: number;
  readonly nonce: number;
}

/** A node other than this one. */
export interface Peer {
  readonly id: NodeId;
  name: string;
  host: string;
  port: number;
  incarnation: number;
  nonce: number;
  state: MemberState;
  sinceMs: number;
  link: number | null;
  rttMs: number | null;
  /** Version of this node's own log that the peer has applied, of incarnation `appliedIncarnation`. */
  appliedVersion: number;
  appliedIncarnation: number;
  pingSequence: number;
  pingSentAtMs: number;
  awaitingPong: boolean;
  misses: number;
}

/** A change of a member's state, with the reason in words. */
export interface Move {
  readonly peer: Peer;
  readonly from: MemberState;
  readonly to: MemberState;
  readonly reason: string;
}

/** What a tick asks for. */
export interface Verdicts {
  readonly moves: readonly Move[];
  readonly ping: readonly Peer[];
  /** Peers whose link is to be closed: they are dead, and a half-open link must not linger. */
  readonly close: readonly Peer[];
  readonly forget: readonly Peer[];
  /** This node itself was paused: what it holds may be old. */
  readonly slept: boolean;
}

/** Holds every peer ever heard of, and judges them. */
export class Membership {
  readonly #peerById = new Map<NodeId, Peer>();
  #lastTickMs: number | null = null;

  get count(): number {
    return this.#peerById.size;
  }

  get peers(): IterableIterator<Peer> {
    return this.#peerById.values();
  }

  peer(id: NodeId): Peer | undefined {
    return this.#peerById.get(id);
  }

  get standings(): Standing[] {
    return Array.from(this.#peerById.values(), ({ id, state, sinceMs, rttMs }) => ({
      id,
      state,
      sinceMs,
      rttMs,
    }));
  }

  /** The names of alive peers that have not applied this node's log of `incarnation` up to `version`. */
  lagging(incarnation: number, version: number): string[] {
    return Array.from(this.#peerById.values())
      .filter((peer) => peer.state === "alive")
      .filter((peer) => peer.appliedIncarnation !== incarnation || peer.appliedVersion < version)
      .map((peer) => peer.name);
  }

  /** Learns of a peer from its record or hello. One never linked starts suspect: it must prove itself. */
  meet(who: Acquaintance, nowMs: number): Peer {
    const known = this.#peerById.get(who.id);
    if (known !== undefined) {
      // A linked peer's own hello outranks a record that may be old.
      if (known.link === null) Object.assign(known, { name: who.name, host: who.host, port: who.port });
      return known;
    }
    const peer: Peer = {
      ...who,
      incarnation: 0,
      nonce: 0,
      state: "suspect",
      sinceMs: nowMs,
      link: null,
      rttMs: null,
      appliedVersion: 0,
      appliedIncarnation: 0,
      pingSequence: 0,
      pingSentAtMs: nowMs,
      awaitingPong: false,
      misses: 0,
    };
    this.#peerById.set(who.id, peer);
    return peer;
  }

  /** A hello came over this link: the peer is alive, in this life. */
  linked(peer: Peer, link: number, life: Life, nowMs: number): Move | null {
    // What an earlier life of it had applied counts no more. By the nonce: an incarnation may rise in mid-life.
    if (life.nonce !== peer.nonce) Object.assign(peer, { appliedIncarnation: 0, appliedVersion: 0 });
    const { incarnation, nonce } = life;
    Object.assign(peer, { link, incarnation, nonce, awaitingPong: false, misses: 0, pingSentAtMs: nowMs });
    return move(peer, "alive", "linked", nowMs);
  }

  /** A frame came from the peer. */
  heard(peer: Peer, nowMs: number): Move | null {
    peer.misses = 0;
    // Not out of `left`: frames still under way behind a goodbye prove nothing.
    return peer.state === "left" ? null : move(peer, "alive", "answers again", nowMs);
  }

  /** A pong came. */
  ponged(peer: Peer, sequence: number, nowMs: number): void {
    if (!peer.awaitingPong || sequence !== peer.pingSequence) return;
    peer.awaitingPong = false;
    peer.rttMs = nowMs - peer.pingSentAtMs;
  }

  /** The peer has applied this node's log up to here. Of two reports the higher counts: crossed links reorder them. */
  applied(peer: Peer, log: { readonly incarnation: number; readonly version: number }): void {
    const isLate =
      log.incarnation < peer.appliedIncarnation ||
      (log.incarnation === peer.appliedIncarnation && log.version < peer.appliedVersion);
    if (isLate) return;
    peer.appliedIncarnation = log.incarnation;
    peer.appliedVersion = log.version;
  }

  /** The peer's link is gone, without a goodbye. */
  unlinked(peer: Peer, reason: string, nowMs: number): Move | null {
    peer.link = null;
    peer.awaitingPong = false;
    return peer.state === "alive" ? move(peer, "suspect", `link lost: ${reason}`, nowMs) : null;
  }

  /** The peer said goodbye. */
  left(peer: Peer, nowMs: number): Move | null {
    return move(peer, "left", "said goodbye", nowMs);
  }

  /** A dial to the peer's address ended in "connection refused": the host is up, the daemon is not. */
  refused(peer: Peer, nowMs: number): Move | null {
    if (peer.link !== null || peer.state === "left") return null;
    return move(peer, "dead", "connection refused", nowMs);
  }

  /** Judges every peer; to be called a few times a second. */
  tick(nowMs: number): Verdicts {
    const slept = this.#lastTickMs !== null && nowMs - this.#lastTickMs > PAUSE_MS;
    this.#lastTickMs = nowMs;
    const verdicts = {
      moves: [] as Move[],
      ping: [] as Peer[],
      close: [] as Peer[],
      forget: [] as Peer[],
      slept,
    };
    for (const peer of this.#peerById.values()) {
      if (slept) forgive(peer, nowMs);
      this.#judge(peer, verdicts, nowMs);
    }
    for (const { id } of verdicts.forget) this.#peerById.delete(id);
    return verdicts;
  }

  #judge(
    peer: Peer,
    verdicts: { moves: Move[]; ping: Peer[]; close: Peer[]; forget: Peer[] },
    nowMs: number,
  ): void {
    if (peer.link !== null) this.#pingOrMiss(peer, verdicts, nowMs);
    if (peer.state === "suspect" && nowMs - peer.sinceMs >= SUSPICION_MS) {
      const silence = peer.link === null ? "not reachable" : `no answer to ${peer.misses} pings`;
      const died = move(peer, "dead", silence, nowMs);
      if (died !== null) verdicts.moves.push(died);
      if (peer.link !== null) verdicts.close.push(peer);
    }
    const gone = peer.state === "dead" || peer.state === "left";
    if (gone && peer.link === null && nowMs - peer.sinceMs > FORGOTTEN_AFTER_MS) verdicts.forget.push(peer);
  }

  #pingOrMiss(peer: Peer, verdicts: { moves: Move[]; ping: Peer[] }, nowMs: number): void {
    const ageMs = nowMs - peer.pingSentAtMs;
    if (peer.awaitingPong && ageMs >= PING_TIMEOUT_MS) {
      peer.awaitingPong = false;
      peer.misses += 1;
      if (peer.misses >= MISSES_TO_SUSPECT && peer.state === "alive") {
        const suspected = move(peer, "suspect", `no answer to ${peer.misses} pings`, nowMs);
        if (suspected !== null) verdicts.moves.push(suspected);
      }
    }
    if (peer.awaitingPong || ageMs < PING_EVERY_MS) return;
    peer.pingSequence += 1;
    peer.pingSentAtMs = nowMs;
    peer.awaitingPong = true;
    verdicts.ping.push(peer);
  }
}

function move(peer: Peer, to: MemberState, reason: string, nowMs: number): Move | null {
  if (peer.state === to) return null;
  const from = peer.state;
  peer.state = to;
  peer.sinceMs = nowMs;
  return { peer, from, to, reason };
}

function forgive(peer: Peer, nowMs: number): void {
  peer.misses = 0;
  peer.awaitingPong = false;
  peer.pingSentAtMs = nowMs - PING_EVERY_MS;
  if (peer.state === "suspect") peer.sinceMs = nowMs;
}
