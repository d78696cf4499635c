/**
 * Guests: the connections of the mesh port that are no strangers any more, by what became of them and whose they are.
 *
 * A member's links, streams and kept-ready connections end with its credential, so each is kept with its own. What one
 * member may have of each is bounded, whatever address it comes from: a worker that turned hostile must not take the
 * places of all others. Of its links and kept-ready connections its own oldest gives way, for that is the one that is
 * nearest to its end anyway. So does the oldest of those who ask to join: whoever means it is done in milliseconds.
 *
 * Touches: the sockets it is given.
 */

import type { TLSSocket } from "node:tls";

import { networkOf } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { reset } from "../runtime/pump.ts";

import type { Link } from "./link.ts";
import type { Objection } from "./trust.ts";

/** How long a kept-ready connection may lie here unused: longer than the other end keeps it. */
const READY_IDLE_MS = 90_000;
/** How long links get to say goodbye when the listener closes. */
const GOODBYE_MS = 1500;

/** How many times as many streams as are left free one member may have: three quarters of all while it is alone. */
const STREAMS_PER_FREE = 3;

/** The guests of one listener; a socket is in one of the sets at most. */
export class Guests {
  readonly links = new Map<TLSSocket, Link>();
  readonly #streams = new Map<TLSSocket, Credential>();
  readonly #streamsByMember = new Map<NodeId, number>();
  /** Oldest first. */
  readonly #ready = new Map<TLSSocket, Credential>();
  /** Whoever asks to join, and from which network; oldest first. */
  readonly #joins = new Map<TLSSocket, string>();

  get streamCount(): number {
    return this.#streams.size;
  }

  get readyCount(): number {
    return this.#ready.size;
  }

  /** How many ask to join from an address now. */
  joinsOf(address: string): number {
    const network = networkOf(address);
    return Array.from(this.#joins.values()).filter((one) => one === network).length;
  }

  /** @returns whether an older link of this member gave way */
  addLink(socket: TLSSocket, link: Link): boolean {
    const own = Array.from(this.links).filter(([, { peer }]) => peer.id === link.peer.id);
    const oldest = own.length < LIMITS.linksPerMember ? undefined : own[0]?.[0];
    oldest?.destroy();
    if (oldest !== undefined) this.links.delete(oldest);
    this.links.set(socket, link);
    socket.once("close", () => this.links.delete(socket));
    return oldest !== undefined;
  }

  /** Whether this connection has asked to join before. */
  isJoining(socket: TLSSocket): boolean {
    return this.#joins.has(socket);
  }

  /** @returns whoever gave way to it */
  addJoin(socket: TLSSocket, address: string): TLSSocket | null {
    const oldest = this.#joins.size < LIMITS.joinersMax ? undefined : this.#joins.keys().next().value;
    oldest?.destroy();
    if (oldest !== undefined) this.#joins.delete(oldest);
    this.#joins.set(socket, networkOf(address));
    socket.once("close", () => this.#joins.delete(socket));
    return oldest ?? null;
  }

  /** A member keeps this connection ready for a stream. @returns whether an older one of its gave way */
  addReady(socket: TLSSocket, peer: Credential): boolean {
    const own = Array.from(this.#ready).filter(([, { id }]) => id === peer.id);
    const oldest = own.length < LIMITS.readyAcceptedPerMember ? undefined : own[0]?.[0];
    oldest?.destroy();
    if (oldest !== undefined) this.#ready.delete(oldest);
    this.#ready.set(socket, peer);
    socket.setTimeout(READY_IDLE_MS, () => {
      if (this.#ready.has(socket)) socket.destroy();
    });
    socket.once("close", () => {
      this.#ready.delete(socket);
      if (this.#streams.delete(socket)) this.#countStream(peer.id, -1);
    });
    return oldest !== undefined;
  }

  /** Whether the member of a kept-ready connection may have one more stream. */
  hasRoomFor(socket: TLSSocket): boolean {
    const member = this.#ready.get(socket);
    const own = member === undefined ? 0 : (this.#streamsByMember.get(member.id) ?? 0);
    return own < STREAMS_PER_FREE * (LIMITS.streamsMax - this.streamCount);
  }

  /** A kept-ready connection is used for a stream from now on. */
  addStream(socket: TLSSocket): void {
    const member = this.#ready.get(socket);
    if (member === undefined) return;
    this.#ready.delete(socket);
    socket.setTimeout(0);
    this.#streams.set(socket, member);
    this.#countStream(member.id, 1);
  }

  /** Ends all that whoever there is an objection to has here, links with that as a word. */
  cut(objection: Objection): void {
    for (const link of this.links.values()) {
      const reason = objection(link.peer);
      if (reason !== null) link.close(reason);
    }
    for (const [socket, peer] of this.#streams) if (objection(peer) !== null) reset(socket);
    for (const [socket, peer] of this.#ready) if (objection(peer) !== null) socket.destroy();
  }

  #countStream(member: NodeId, more: 1 | -1): void {
    const count = (this.#streamsByMember.get(member) ?? 0) + more;
    if (count === 0) this.#streamsByMember.delete(member);
    else this.#streamsByMember.set(member, count);
  }

  /** Ends what is kept ready: whoever wanted a stream over one of them goes on with the next. */
  dropReady(): void {
    for (const socket of this.#ready.keys()) socket.destroy();
  }

  /** Ends all there are; links get a moment for their goodbye. @param gone  settles when no socket is left */
  async close(gone: Promise<unknown>): Promise<void> {
    for (const socket of [...this.#ready.keys(), ...this.#joins.keys()]) socket.destroy();
    for (const socket of this.#streams.keys()) reset(socket);
    for (const link of this.links.values()) link.close("the daemon stops");
    const timer = setTimeout(() => {
      for (const socket of this.links.keys()) socket.destroy();
    }, GOODBYE_MS);
    await gone;
    clearTimeout(timer);
  }
}
