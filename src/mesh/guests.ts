/**
 * Guests: the connections of the mesh port that are no strangers any more, by what became of them and whose they are.
 *
 * A member's links, streams and kept-ready connections end with its membership, so they are found by member. What one
 * member may keep ready here is bounded: the oldest gives way, for it is the one that is nearest to its end anyway.
 *
 * Touches: the sockets it is given.
 */

import type { TLSSocket } from "node:tls";

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { reset } from "../runtime/pump.ts";

import type { Link } from "./link.ts";

/** How long a kept-ready connection may lie here unused: longer than the other end keeps it. */
const READY_IDLE_MS = 90_000;
/** How long links get to say goodbye when the listener closes. */
const GOODBYE_MS = 1500;

/** The guests of one listener; a socket is in one of the sets at most. */
export class Guests {
  readonly links = new Map<TLSSocket, Link>();
  readonly #streams = new Map<TLSSocket, NodeId>();
  /** Oldest first. */
  readonly #ready = new Map<TLSSocket, NodeId>();
  /** Whoever asks to join, by address. */
  readonly #joins = new Map<TLSSocket, string>();

  get streamCount(): number {
    return this.#streams.size;
  }

  get readyCount(): number {
    return this.#ready.size;
  }

  /** How many ask to join now, in all and from an address. */
  joinCounts(address: string): { readonly all: number; readonly ofAddress: number } {
    const ofAddress = Array.from(this.#joins.values()).filter((one) => one === address).length;
    return { all: this.#joins.size, ofAddress };
  }

  addLink(socket: TLSSocket, link: Link): void {
    this.links.set(socket, link);
    socket.once("close", () => this.links.delete(socket));
  }

  /** Whether this connection has asked to join before. */
  isJoining(socket: TLSSocket): boolean {
    return this.#joins.has(socket);
  }

  addJoin(socket: TLSSocket, address: string): void {
    this.#joins.set(socket, address);
    socket.once("close", () => this.#joins.delete(socket));
  }

  /** A member keeps this connection ready for a stream. @returns whether an older one of its gave way */
  addReady(socket: TLSSocket, member: NodeId): boolean {
    const own = Array.from(this.#ready).filter(([, owner]) => owner === member);
    const oldest = own.length < LIMITS.readyAcceptedPerMember ? undefined : own[0]?.[0];
    oldest?.destroy();
    if (oldest !== undefined) this.#ready.delete(oldest);
    this.#ready.set(socket, member);
    socket.setTimeout(READY_IDLE_MS, () => {
      if (this.#ready.has(socket)) socket.destroy();
    });
    socket.once("close", () => {
      this.#ready.delete(socket);
      this.#streams.delete(socket);
    });
    return oldest !== undefined;
  }

  /** A kept-ready connection is used for a stream from now on. */
  addStream(socket: TLSSocket): void {
    const member = this.#ready.get(socket);
    if (member === undefined) return;
    this.#ready.delete(socket);
    socket.setTimeout(0);
    this.#streams.set(socket, member);
  }

  /** Ends all that this member has here, links with a word. */
  closeMember(member: NodeId, reason: string): void {
    for (const link of this.links.values()) if (link.peer.id === member) link.close(reason);
    for (const [socket, owner] of this.#streams) if (owner === member) reset(socket);
    for (const [socket, owner] of this.#ready) if (owner === member) socket.destroy();
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
