/**
 * Links: the connections that are open now, and whose they are.
 *
 * A link belongs to nobody until its hello; one on which none comes is closed, since it holds a place. The links that
 * carry gossip, one a peer, are kept in the order of the id ring, as broadcasts and routes need them.
 *
 * Pure.
 */

import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import type { Peer } from "./peer.ts";
import type { RingLink } from "./ring.ts";

/** A link on which nobody has said who he is by then is closed. */
const HELLO_DEADLINE_MS = 5000;

/**
 * How long one of two links to a peer is kept as a spare, by the side that dialled it. The other side waits longer: it
 * cannot know which of several dials of one peer that peer has chosen.
 */
const SPARE_KEPT_MS = { dialler: 1000, other: 5000 };

/** One connection. */
export interface OpenLink {
  readonly id: number;
  /** The address this node dialled; null for an accepted link. */
  readonly dialled: HostPort | null;
  /** Who the peer is, as TLS says. */
  readonly identity: NodeId;
  /** The other end as the socket shows it, for people. */
  readonly remote: string;
  readonly openedAtMs: number;
  /** Whose it is; null until its hello. */
  peer: Peer | null;
  /** Since when another link to its peer is used instead; null when it is the one. */
  spareSinceMs: number | null;
  /** Being closed by this node: what still comes over it does not count. */
  closing: boolean;
  /** The peer closes it since it needs it no more. */
  parted: boolean;
  /** What may be sent over it at once in answer to questions, in bytes, as of `answeredAtMs`; below 0 nothing. */
  answerBytes: number;
  answeredAtMs: number;
  /** When the peer was last asked for the whole of a log. */
  askedWholeAtMs: number;
}

/** A peer with its link, at its place on the ring. */
export class Seat implements RingLink {
  readonly peer: Peer;
  readonly link: number;

  constructor(peer: Peer, link: number) {
    this.peer = peer;
    this.link = link;
  }

  get position(): number {
    return this.peer.position;
  }

  get doubtful(): boolean {
    return (this.peer.pulse?.misses ?? 0) > 0;
  }
}

/** All open links of a node, by id. */
export class Links {
  readonly #linkById = new Map<number, OpenLink>();
  #seats: readonly Seat[] | null = [];
  #addresses: ReadonlySet<string> | null = null;

  get count(): number {
    return this.#linkById.size;
  }

  get all(): Iterable<OpenLink> {
    return this.#linkById.values();
  }

  /** The links that carry gossip, ascending by position on the ring. */
  get seats(): readonly Seat[] {
    if (this.#seats !== null) return this.#seats;
    const seats: Seat[] = [];
    for (const { id, peer } of this.#linkById.values()) if (peer?.link === id) seats.push(new Seat(peer, id));
    this.#seats = seats.sort((one, other) => one.position - other.position);
    return this.#seats;
  }

  /** Where no dial is needed: addresses of dialled links, and of peers that are linked either way. */
  get addresses(): ReadonlySet<string> {
    if (this.#addresses !== null) return this.#addresses;
    const addresses = new Set<string>();
    for (const { dialled, peer } of this.#linkById.values()) {
      if (dialled !== null) addresses.add(renderHostPort(dialled));
      if (peer !== null) addresses.add(renderHostPort(peer));
    }
    this.#addresses = addresses;
    return addresses;
  }

  get(id: number | null): OpenLink | undefined {
    return id === null ? undefined : this.#linkById.get(id);
  }

  add(link: Pick<OpenLink, "id" | "dialled" | "identity" | "remote" | "openedAtMs">): void {
    this.#linkById.set(link.id, {
      ...link,
      peer: null,
      spareSinceMs: null,
      closing: false,
      parted: false,
      askedWholeAtMs: Number.NEGATIVE_INFINITY,
      answeredAtMs: link.openedAtMs,
      answerBytes: LIMITS.answerBytes,
    });
    this.changed();
  }

  /** Takes a link out. @returns it, or undefined when it is not there */
  remove(id: number): OpenLink | undefined {
    const link = this.#linkById.get(id);
    this.#linkById.delete(id);
    this.changed();
    return link;
  }

  /** To be told whenever a link's peer, or a peer's link or address, was set. */
  changed(): void {
    this.#seats = null;
    this.#addresses = null;
  }

  /** The links of one peer that are not being closed: one, or for a moment two when dials crossed. */
  of(peer: Peer): OpenLink[] {
    return [...this.#linkById.values()].filter((link) => link.peer === peer && !link.closing);
  }

  /** Links whose hello is overdue, and spares that are not needed any more. */
  overdue(nowMs: number): { readonly silent: readonly OpenLink[]; readonly surplus: readonly OpenLink[] } {
    const silent: OpenLink[] = [];
    const surplus: OpenLink[] = [];
    for (const link of this.#linkById.values()) {
      const { peer, closing, openedAtMs, dialled, spareSinceMs } = link;
      if (peer === null && !closing && nowMs - openedAtMs > HELLO_DEADLINE_MS) silent.push(link);
      const keptMs = dialled === null ? SPARE_KEPT_MS.other : SPARE_KEPT_MS.dialler;
      if (spareSinceMs !== null && nowMs - spareSinceMs >= keptMs) surplus.push(link);
    }
    return { silent, surplus };
  }
}
