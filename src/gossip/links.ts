/**
 * Links: the connections that are open now, and whose they are.
 *
 * A link belongs to nobody until its hello; one on which none comes is closed, since it holds a place.
 *
 * Pure.
 */

import { renderHostPort, type HostPort } from "../base/ip.ts";

import type { Peer } from "./membership.ts";

/** A link on which nobody has said who he is by then is closed. */
const HELLO_DEADLINE_MS = 5000;

/** One connection. */
export interface OpenLink {
  readonly id: number;
  /** The address this node dialled; null for an accepted link. */
  readonly dialled: HostPort | null;
  /** The other end as the socket shows it, for people. */
  readonly remote: string;
  readonly openedAtMs: number;
  /** Null until its hello, and again once another link took its place. */
  peer: Peer | null;
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

  add(link: Omit<OpenLink, "peer">): void {
    this.#linkById.set(link.id, { ...link, peer: null });
  }

  /** Takes a link out. @returns it, or undefined when it is not there */
  remove(id: number): OpenLink | undefined {
    const link = this.#linkById.get(id);
    this.#linkById.delete(id);
    return link;
  }

  /** Links whose hello is overdue. */
  silent(nowMs: number): OpenLink[] {
    return [...this.#linkById.values()].filter((link) => {
      return link.peer === null && nowMs - link.openedAtMs > HELLO_DEADLINE_MS;
    });
  }

  /** The addresses, as text, that need no dial: dialled links', and those of peers linked either way. */
  addresses(peers: Iterable<Peer>): Set<string> {
    const linked = [...peers].filter(({ link }) => link !== null);
    const dialled = [...this.#linkById.values()].flatMap((link) =>
      link.dialled === null ? [] : [link.dialled],
    );
    return new Set([...linked, ...dialled].map((address) => renderHostPort(address)));
  }
}
