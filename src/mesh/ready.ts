/**
 * Ready: connections to members kept open for streams to come.
 *
 * A stream to another host needs a TLS handshake before its first byte, two round trips more than a bare connection. So
 * a member to which a stream went lately has a few connections waiting, handshake done; each serves one stream, and
 * another is opened in its place behind the client's back. They are few, die of themselves when unused, and one that
 * the other end has closed is noticed and dropped.
 *
 * Touches: sockets, timers.
 */

import type { TLSSocket } from "node:tls";

import { renderHostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import { LIMITS } from "../model/limits.ts";

import type { Dialled, DialMember } from "./dial.ts";
import { STREAM_ALPN } from "./secure.ts";
import type { StreamPeer } from "./stream.ts";
import type { Objection } from "./trust.ts";

/** How long one lies unused before it is closed; the other end waits longer. */
const IDLE_MS = 60_000;
/** For opening one: nobody waits for it. */
const DIAL_MS = 2000;

interface Entry {
  readonly peer: StreamPeer;
  readonly socket: TLSSocket;
  readonly credential: Credential;
  /** Stops watching it. */
  readonly release: () => void;
}

/** The connections that one daemon keeps ready. */
export class Ready {
  readonly #dialMember: DialMember;
  /** Oldest first. */
  readonly #entries = new Set<Entry>();
  readonly #dialling = new Map<string, number>();
  #isClosed = false;

  constructor(dialMember: DialMember) {
    this.#dialMember = dialMember;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The newest that is open to this member, paused, and the caller's from now on; null when there is none. */
  take(peer: StreamPeer): Dialled | null {
    const newest = this.#of(peer).at(-1);
    if (newest === undefined) return null;
    this.#entries.delete(newest);
    newest.release();
    return newest;
  }

  /** A stream went to this member: sees to it that the next finds a connection. Never throws. */
  refill(peer: StreamPeer): void {
    const key = keyOf(peer);
    let dialling = this.#dialling.get(key) ?? 0;
    for (let count = this.#of(peer).length + dialling; count < LIMITS.readyPerMember; count += 1) {
      dialling += 1;
      void this.#open(peer);
    }
    if (dialling > 0) this.#dialling.set(key, dialling);
  }

  /** Drops those to whom there is an objection. */
  cut(objection: Objection): void {
    for (const entry of this.#entries) if (objection(entry.credential) !== null) this.#drop(entry);
  }

  /** Drops all and opens no more. */
  close(): void {
    this.#isClosed = true;
    for (const entry of this.#entries) this.#drop(entry);
  }

  async #open(peer: StreamPeer): Promise<void> {
    const { address, id } = peer;
    try {
      const options = { alpn: STREAM_ALPN, deadlineMs: DIAL_MS, expect: id } as const;
      const dialled = await this.#dialMember(address, options);
      if (this.#isClosed) dialled.socket.destroy();
      else this.#keep(peer, dialled);
    } catch {
      // Whoever opens the next stream dials himself, and learns what is wrong.
    } finally {
      const key = keyOf(peer);
      const left = (this.#dialling.get(key) ?? 1) - 1;
      if (left === 0) this.#dialling.delete(key);
      else this.#dialling.set(key, left);
    }
  }

  #keep(peer: StreamPeer, { socket, credential }: Dialled): void {
    const drop = (): void => this.#drop(entry);
    const timer = setTimeout(drop, IDLE_MS);
    timer.unref();
    const release = (): void => {
      clearTimeout(timer);
      for (const event of ["data", "end", "close"]) socket.off(event, drop);
      socket.pause();
    };
    const entry: Entry = { peer, socket, credential, release };
    // Nobody has asked for anything: what comes is a refusal.
    for (const event of ["data", "end", "close"]) socket.on(event, drop);
    this.#entries.add(entry);
    const [oldest] = this.#entries;
    if (this.#entries.size > LIMITS.readyMax && oldest !== undefined) this.#drop(oldest);
  }

  #drop(entry: Entry): void {
    if (!this.#entries.delete(entry)) return;
    entry.release();
    entry.socket.destroy();
  }

  #of(peer: StreamPeer): readonly Entry[] {
    const key = keyOf(peer);
    return Array.from(this.#entries).filter((entry) => keyOf(entry.peer) === key);
  }
}

function keyOf({ id, address }: StreamPeer): string {
  return `${id} ${renderHostPort(address)}`;
}
