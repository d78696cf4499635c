/**
 * Ring: whom a node links to, how a message reaches all members once, and which link leads towards one of them.
 *
 * Ids are hashes, so their first 50 bits lay the members evenly around a ring. Up to 24 members all are linked. Beyond,
 * each links to its two successors and to the successors of its position + 2^i (Chord: Stoica, Morris, Karger,
 * Kaashoek, Balakrishnan 2001). A broadcast needs no tree to be set up or mended (El-Ansary, Alima, Brand, Haridi 2003,
 * "Efficient broadcast in structured P2P networks"): who sends to a member hands it the arc from there to the next one
 * it sends to. Arcs never overlap, so nobody gets two copies, whatever links are open.
 *
 * Where a node has no link to its successor, the arc up to its first link is nobody's: `spreadAround` closes it for the
 * origin, repair for the rest; and for the one of two ids at one position (at 5,000 members a chance of 10^-8).
 *
 * Pure. links.ts opens and closes what `wanted` asks for; gossip.ts sends.
 */

import type { NodeId } from "../model/ids.ts";

import type { Until } from "./message.ts";

/** Up to so many members, this node included, everybody is linked to everybody. */
export const MESH_MAX = 24;

/** Positions are whole numbers from 0 to below this: exact in a double, and so are their sums. */
export const RING_SIZE = 2 ** 50;

/** An open link, by its peer's place on the ring. */
export interface RingLink {
  readonly position: number;
  /** The peer misses pings: it gets its copy, but nobody depends on it. */
  readonly doubtful: boolean;
}

/** A link to send to, and the end of the arc that its peer is to serve. */
export interface Share<T> {
  readonly link: T;
  readonly until: Until;
}

interface Place {
  readonly id: NodeId;
  readonly position: number;
}

/** Where a node stands on the ring: the first 50 bits of its id. Any text has a position; ids are checked elsewhere. */
export function positionOf(id: NodeId): number {
  let position = 0;
  for (let at = 0; at < 10; at += 1) {
    const code = id.charCodeAt(at);
    // In base32 the letters a to z are 0 to 25, and the digits 2 to 7 go on from there.
    position = position * 32 + ((code >= 97 ? code - 97 : code - 24) & 31);
  }
  return position;
}

/** How far it is from one position to another, clockwise: upwards, and from the end to 0. */
function arc(from: number, to: number): number {
  return to >= from ? to - from : to - from + RING_SIZE;
}

/** Index of the first place at or after a position; the length when there is none. Places ascend by position. */
function firstFrom(places: readonly { readonly position: number }[], position: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((places[middle]?.position ?? RING_SIZE) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The members by position; building takes n log n steps, a change of one member log n and a move of memory. */
export class Ring {
  /** Invariant: ascending by position, then by id; each id once. */
  readonly #places: Place[];

  constructor(ids: Iterable<NodeId> = []) {
    this.#places = Array.from(new Set(ids), (id) => ({ id, position: positionOf(id) }));
    this.#places.sort((one, other) => one.position - other.position || (one.id < other.id ? -1 : 1));
  }

  get size(): number {
    return this.#places.length;
  }

  /** Returns whether the member is new. */
  add(id: NodeId): boolean {
    const index = this.#indexFor(id);
    if (this.#places[index]?.id === id) return false;
    this.#places.splice(index, 0, { id, position: positionOf(id) });
    return true;
  }

  /** Returns whether the member was there. */
  delete(id: NodeId): boolean {
    const index = this.#indexFor(id);
    if (this.#places[index]?.id !== id) return false;
    this.#places.splice(index, 1);
    return true;
  }

  /**
   * The members that a node is to open links to, its successor first, each once and never itself; others want links to
   * it in their turn. A node that is no member is told what it would want as one.
   */
  wanted(self: NodeId): NodeId[] {
    const places = this.#places;
    const index = this.#indexFor(self);
    const next = places[index]?.id === self ? index + 1 : index;
    const others = places.length - (next - index);
    const successors = others < MESH_MAX ? others : 2;
    const at = (index: number): Place => places[index % places.length] as Place;
    const wanted = Array.from({ length: successors }, (_, step) => at(next + step));
    const origin = positionOf(self);
    let reached = wanted.length === others ? RING_SIZE : arc(origin, wanted.at(-1)?.position ?? origin);
    for (let finger = 1; finger < RING_SIZE; finger *= 2) {
      // What succeeds a point before the member found last is one that we have.
      if (finger <= reached) continue;
      const place = at(firstFrom(places, (origin + finger) % RING_SIZE));
      reached = arc(origin, place.position);
      if (reached < finger) break;
      wanted.push(place);
    }
    return wanted.map(({ id }) => id);
  }

  /** Where a member is, or would have to be put. */
  #indexFor(id: NodeId): number {
    const places = this.#places;
    const position = positionOf(id);
    let index = firstFrom(places, position);
    while (places[index]?.position === position && (places[index]?.id ?? id) < id) index += 1;
    return index;
  }
}

/**
 * Whom to send a message to that this node is to bring to all members in (self, until): each linked peer in there,
 * with the arc it serves in its turn. A doubtful peer serves none; its arc falls to the link before it.
 *
 * @param until  as it was received; `self` is the full circle, null nobody
 * @param links  ascending by position; may hold the link the message came by
 * @returns the farthest first, since its arc is the longest; empty when no linked peer lies in the arc
 */
export function spread<T extends RingLink>(self: number, until: Until, links: readonly T[]): Share<T>[] {
  if (until === null) return [];
  const from = firstFrom(links, self + 1);
  const to = firstFrom(links, until) + (until > self ? 0 : links.length);
  const shares: Share<T>[] = [];
  let end = until;
  for (let at = to - 1; at >= from; at -= 1) {
    const link = links[at % links.length] as T;
    // Not an arc from a position to itself, as between two links to one place: that would be the full circle.
    const serves = !link.doubtful && link.position !== end;
    shares.push({ link, until: serves ? end : null });
    if (serves) end = link.position;
  }
  return shares;
}

/**
 * As `spread` over the full circle, for an origin that has no link to its successor: the last arc goes on past the
 * origin up to its first link, so that who lies between is served from the other side. The origin lies in that arc: a
 * receiver must not send back over the link that a message came by. In a mesh that is enough; on a larger ring the
 * origin may get one copy of its own message.
 */
export function spreadAround<T extends RingLink>(self: number, links: readonly T[]): Share<T>[] {
  const shares = spread(self, self, links);
  // The first that serves: a doubtful one before it gets its copy from the other side as well.
  const first = shares.findLast(({ until }) => until !== null)?.link.position ?? self;
  return shares.map((share) => (share.until === self ? { link: share.link, until: first } : share));
}

/**
 * The link that leads nearest to an owner, on either side of it, or to the owner itself; a doubtful one only when no
 * other leads nearer than here. Nearness strictly grows with each hop, so no message goes in circles.
 * Not Chord's rule, from one side only: links work both ways here, and it is stuck where one link is missing.
 *
 * @returns null when no linked peer is nearer to the owner than this node
 */
export function towards<T extends RingLink>(owner: number, self: number, links: readonly T[]): T | null {
  const hereApart = apart(self, owner);
  let best: T | null = null;
  let bestApart = hereApart;
  for (const link of links) {
    const linkApart = apart(link.position, owner);
    if (linkApart >= hereApart) continue;
    const sameDoubt = best !== null && best.doubtful === link.doubtful;
    if (sameDoubt ? linkApart >= bestApart : best?.doubtful === false) continue;
    best = link;
    bestApart = linkApart;
  }
  return best;
}

/** How far two positions are apart, the shorter way round. */
function apart(one: number, other: number): number {
  const clockwise = arc(one, other);
  return Math.min(clockwise, RING_SIZE - clockwise);
}
