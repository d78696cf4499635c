/**
 * Crowd: who of all TCP connections of the DNS server gives way to a new one.
 *
 * A bound that refuses the newcomer is a way to lock others out: whoever comes first and stays has all. So when all
 * places are taken, a connection on which nothing goes on gives way, which a server may end at any time (RFC 7766
 * 6.2.3): the one at rest longest, of the client with most places. When none is at rest, a client with clearly more
 * places than the newcomer's gives one up. So whoever has few gets in, and keeps it while it is used. Clients of this
 * host always find a part of the places that others cannot take.
 *
 * The same for bytes held for clients that do not read: past the bound the client for whom most is held loses the
 * connection with most. A client is an address, or the /64 of an IPv6 one (base/ip.ts).
 *
 * Pure.
 */

import { first } from "../../base/first.ts";

/** `idle`: nothing to do. `unread`: answers wait for the client to read. `busy`: we owe it an answer. */
export type Condition = "idle" | "unread" | "busy";

/** Who comes. */
export interface Comer {
  /** What counts as one client: base/ip.ts `networkOf`. */
  readonly network: string;
  /** True for a client of this host. */
  readonly isLocal: boolean;
}

/** A connection that has its place. */
export interface Place<T> {
  readonly item: T;
  readonly network: string;
  condition: Condition;
  /** When a query or an answer last came through; monotonic. */
  movedAtMs: number;
  heldBytes: number;
  /** False once it has left, or had to give way. */
  isTaken: boolean;
}

/** What is to be done with a newcomer; `instead`: that one has to leave first; `later`: nobody gives way now. */
export type Verdict<T> =
  | { readonly kind: "free" }
  | { readonly kind: "instead"; readonly place: Place<T> }
  | { readonly kind: "later" };

/** The bounds of a crowd. */
export interface CrowdOptions {
  readonly placesMax: number;
  readonly heldBytesMax: number;
  /** How long a connection must have been at rest before another of its own client, or of an equal one, ends it. */
  readonly restMs: number;
}

/** The places of one client; of each condition those that moved longest ago come first. */
interface Crew<T> {
  readonly places: Readonly<Record<Condition, Set<Place<T>>>>;
  readonly isLocal: boolean;
  count: number;
  heldBytes: number;
}

/** Those of other hosts leave so much of all places, as a divisor, to clients of this one. */
const LOCAL_SHARE = 4;
/** One client leaves so much of all places to others, even while nobody wants them. */
const OTHERS_SHARE = 2;

const FREE = { kind: "free" } as const;
const LATER = { kind: "later" } as const;

/** All who have a place. What it costs grows with the number of clients only when all places are taken. */
export class Crowd<T> {
  readonly #options: CrowdOptions;
  readonly #crewByNetwork = new Map<string, Crew<T>>();
  #total = 0;
  #foreign = 0;
  #heldBytes = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
  }

  get total(): number {
    return this.#total;
  }

  /** Bytes held for all of them. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** How many places a client has. */
  countOf(network: string): number {
    return this.#crewByNetwork.get(network)?.count ?? 0;
  }

  /** Whether there is a place for a newcomer, and whose. Changes nothing. */
  judge({ network, isLocal }: Comer, nowMs: number): Verdict<T> {
    const { placesMax } = this.#options;
    const own = this.#crewByNetwork.get(network);
    const count = own?.count ?? 0;
    if (own !== undefined && count >= Math.ceil(placesMax / OTHERS_SHARE))
      return instead(this.#restingOf([own], nowMs));
    const isForeignFull = !isLocal && this.#foreign >= placesMax - Math.floor(placesMax / LOCAL_SHARE);
    if (this.#total < placesMax && !isForeignFull) return FREE;
    const all = [...this.#crewByNetwork.values()];
    const crews = isForeignFull ? all.filter((crew) => !crew.isLocal) : all;
    return instead(this.#restingOf(crews, nowMs) ?? richestOf(crews, count));
  }

  /** Takes a place, idle at first. Whoever calls this has asked `judge`, and made room. */
  enter(item: T, { network, isLocal }: Comer, nowMs: number): Place<T> {
    const rest = { condition: "idle", movedAtMs: nowMs, heldBytes: 0, isTaken: true } as const;
    const place: Place<T> = { item, network, ...rest };
    const crew = this.#crewByNetwork.get(network) ?? newCrew(isLocal);
    this.#crewByNetwork.set(network, crew);
    crew.places.idle.add(place);
    crew.count += 1;
    this.#total += 1;
    // As the client was at first, and until it has left: what is added is taken away again.
    if (!crew.isLocal) this.#foreign += 1;
    return place;
  }

  /** Gives a place back; one that was given back before is none. */
  leave(place: Place<T>): void {
    const crew = this.#crewByNetwork.get(place.network);
    if (!place.isTaken || crew === undefined) return;
    this.hold(place, 0);
    place.isTaken = false;
    crew.places[place.condition].delete(place);
    crew.count -= 1;
    this.#total -= 1;
    if (!crew.isLocal) this.#foreign -= 1;
    if (crew.count === 0) this.#crewByNetwork.delete(place.network);
  }

  /** Says what a connection is doing now, and that a query or an answer came through. */
  move(place: Place<T>, condition: Condition, nowMs: number): void {
    const crew = this.#crewByNetwork.get(place.network);
    if (!place.isTaken || crew === undefined) return;
    crew.places[place.condition].delete(place);
    place.condition = condition;
    place.movedAtMs = nowMs;
    crew.places[condition].add(place);
  }

  /** Says how many bytes are held for a connection now. */
  hold(place: Place<T>, bytes: number): void {
    const crew = this.#crewByNetwork.get(place.network);
    if (!place.isTaken || crew === undefined) return;
    const more = bytes - place.heldBytes;
    place.heldBytes = bytes;
    crew.heldBytes += more;
    this.#heldBytes += more;
  }

  /** The connection to end because too much is held for all of them; null while it is not too much. */
  overfull(): Place<T> | null {
    if (this.#heldBytes <= this.#options.heldBytesMax) return null;
    const crew = most([...this.#crewByNetwork.values()], ({ heldBytes }) => heldBytes);
    if (crew === null) return null;
    const { unread, busy, idle } = crew.places;
    return most([...unread, ...busy, ...idle], ({ heldBytes }) => heldBytes);
  }

  /** Of the client with most places among those who have one at rest, the one that rests longest. */
  #restingOf(crews: readonly Crew<T>[], nowMs: number): Place<T> | null {
    let found: Place<T> | null = null;
    let foundCount = 0;
    for (const crew of crews) {
      if (crew.count < foundCount) continue;
      const place = restingIn(crew, nowMs - this.#options.restMs);
      if (place === null) continue;
      if (found !== null && crew.count === foundCount && place.movedAtMs >= found.movedAtMs) continue;
      found = place;
      foundCount = crew.count;
    }
    return found;
  }
}

function instead<T>(place: Place<T> | null): Verdict<T> {
  return place === null ? LATER : { kind: "instead", place };
}

/** What moved last at that time or before: idle, or else with answers that the client does not read. */
function restingIn<T>({ places }: Crew<T>, untilMs: number): Place<T> | null {
  for (const place of [first(places.idle), first(places.unread)]) {
    if (place !== null && place.movedAtMs <= untilMs) return place;
  }
  return null;
}

/** Of the client with most places, the one least missed; null when it would then have no more than the newcomer's. */
function richestOf<T>(crews: readonly Crew<T>[], count: number): Place<T> | null {
  const richest = most(crews, (crew) => crew.count);
  if (richest === null || richest.count <= count + 1) return null;
  const { idle, unread, busy } = richest.places;
  return first(idle) ?? first(unread) ?? first(busy);
}

function newCrew<T>(isLocal: boolean): Crew<T> {
  const places = { idle: new Set<Place<T>>(), unread: new Set<Place<T>>(), busy: new Set<Place<T>>() };
  return { places, isLocal, count: 0, heldBytes: 0 };
}

/** The first with the largest value. */
function most<V>(values: readonly V[], valueOf: (value: V) => number): V | null {
  let found: V | null = null;
  for (const value of values) {
    if (found === null || valueOf(value) > valueOf(found)) found = value;
  }
  return found;
}
