/**
 * Links: the connections that are open now, and whose they are.
 *
 * A link belongs to nobody until its hello; one on which none comes is closed, since it holds a place.
 *
 * Pure.
 */

import { renderHostPort, type HostPort } from "../base/ip.ts";
import type { NodeId } from "../model/ids.ts";

import type { Peer } from "./membership.ts";

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
  /** The other end as the socket shows it, for people. */
  readonly remote: string;
  readonly openedAtMs: number;
  /** Whose it is; null until its hello, and again once another link took its place. */
  peer: Peer | null;
  /** Since when another link to its peer is used instead; null when it is the one. */
  spareSinceMs: number | null;
  /** Being closed by this node: what still comes over it does not count. */
  closing: boolean;
}

/** What needs no dial: addresses as text, and members. */
export interface Linked {
  readonly addresses: ReadonlySet<string>;
  readonly members: ReadonlySet<NodeId>;
}

/** All open links of a node, by id. */
export class Links {
  readonly #linkById = new Map<number, OpenLink>();

  get count(): number {
    return this.#linkById.size;
  }

  get(id: number | null): OpenLink | undefined {
    return id === null ? undefined : this.#linkById.get(id);
  }

  add(link: Omit<OpenLink, "peer" | "spareSinceMs" | "closing">): void {
    this.#linkById.set(link.id, { ...link, peer: null, spareSinceMs: null, closing: false });
  }

  /** Takes a link out. @returns it, or undefined when it is not there */
  remove(id: number): OpenLink | undefined {
    const link = this.#linkById.get(id);
    this.#linkById.delete(id);
    return link;
  }

  /** The links of one peer that are not being closed: one, or for a moment two when dials crossed. */
  of(peer: Peer): OpenLink[] {
    return [...this.#linkById.values()].filter((link) => link.peer === peer && !link.closing);
  }

  /** Links whose hello is overdue. */
  silent(nowMs: number): OpenLink[] {
    return [...this.#linkById.values()].filter((link) => {
      return link.peer === null && !link.closing && nowMs - link.openedAtMs > HELLO_DEADLINE_MS;
    });
  }

  /** Spares that are not needed any more. */
  surplus(nowMs: number): OpenLink[] {
    return [...this.#linkById.values()].filter(({ dialled, spareSinceMs }) => {
      const keptMs = dialled === null ? SPARE_KEPT_MS.other : SPARE_KEPT_MS.dialler;
      return spareSinceMs !== null && nowMs - spareSinceMs >= keptMs;
    });
  }

  /** What needs no dial: the addresses of dialled links, and peers linked either way. */
  linked(peers: Iterable<Peer>): Linked {
    const linked = [...peers].filter(({ link }) => link !== null);
    const dialled = [...this.#linkById.values()].flatMap((link) =>
      link.dialled === null ? [] : [link.dialled],
    );
    const addresses = new Set([...linked, ...dialled].map((address) => renderHostPort(address)));
    return { addresses, members: new Set(linked.map(({ id }) => id)) };
  }
}
