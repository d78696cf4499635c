/**
 * Discoveries: what the sources of this host have told, put together.
 *
 * Each source hands over its whole set, so the newest of each is all there is to keep. Two things follow from what has
 * not been told: until every source has spoken, this node does not know what it has, and must not publish the part
 * that it knows, which would replace what peers hold of its last life; and only with every set fresh may anything that
 * is not in them count as gone.
 *
 * Pure.
 */

import type { Discovered, Discovery, LocalClient, Problem } from "../model/endpoint.ts";
import type { Happening } from "../model/event.ts";
import type { ReplicaId } from "../model/ids.ts";

/** The last set of each source. */
export class Discoveries {
  readonly #discoveryBySource = new Map<string, Discovery>();
  /** Sources that have not told anything yet. */
  readonly #awaited: Set<string>;
  readonly #sources: ReadonlySet<string>;
  #endpointById: ReadonlyMap<ReplicaId, Discovered> = new Map();
  #clientByAddress: ReadonlyMap<string, LocalClient> = new Map();
  #clientByName: ReadonlyMap<string, LocalClient> = new Map();

  /** @param sources  the names of those that will tell */
  constructor(sources: readonly string[]) {
    this.#awaited = new Set(sources);
    this.#sources = new Set(sources);
  }

  /** The last set of each source. */
  get all(): readonly Discovery[] {
    return [...this.#discoveryBySource.values()];
  }

  /** Every endpoint of every source. */
  get endpoints(): readonly Discovered[] {
    return this.all.flatMap((one) => one.endpoints);
  }

  /** What is wrong with what was found. */
  get problems(): readonly Problem[] {
    return this.all.flatMap(({ problems }) => problems);
  }

  /** True once every source has told something. */
  get heardAll(): boolean {
    return this.#awaited.size === 0;
  }

  /** What is known of a source: whether there is one, and whether it has told, or at least tried to look. */
  standing(source: string): "none" | "awaited" | "failing" | "told" {
    if (!this.#sources.has(source)) return "none";
    if (!this.#awaited.has(source)) return "told";
    return this.#discoveryBySource.has(source) ? "failing" : "awaited";
  }

  /** True while some source has neither told nor failed to look. */
  get isAwaiting(): boolean {
    return [...this.#awaited].some((source) => this.standing(source) === "awaited");
  }

  /** True while what no set holds is not there: every source has told, and none may be out of date. */
  get isWhole(): boolean {
    return this.heardAll && this.all.every(({ stale }) => stale === null);
  }

  /** The endpoint of a replica; null when it is not (or no longer) here. */
  endpoint(id: ReplicaId): Discovered | null {
    return this.#endpointById.get(id) ?? null;
  }

  /** What is in several networks is a copy in each, `<id>` and `<id>.<network>`: the first stands for all of them. */
  copiesOf(id: ReplicaId): readonly Discovered[] {
    return this.endpoints.filter((endpoint) => endpoint.id === id || endpoint.id.startsWith(`${id}.`));
  }

  /** The container of this host that has an address; null when none does. */
  clientAt(address: string): LocalClient | null {
    return this.#clientByAddress.get(address) ?? null;
  }

  /** A container of this host, by its address or its name; null when there is none. */
  client(addressOrName: string): LocalClient | null {
    return this.clientAt(addressOrName) ?? this.#clientByName.get(addressOrName) ?? null;
  }

  /** The containers of this host, each once an address. */
  get clients(): readonly LocalClient[] {
    return [...this.#clientByAddress.values()];
  }

  /** Names of this host's containers, sorted. */
  get clientNames(): readonly string[] {
    return [...this.#clientByName.keys()].sort();
  }

  /** Takes the newest set of a source. @returns what a person would want to be told of it */
  take(discovery: Discovery, atMs: number): Happening[] {
    const before = this.#discoveryBySource.get(discovery.source);
    this.#discoveryBySource.set(discovery.source, discovery);
    // A source that could not look has not spoken: what runs here is not known, and is not nothing.
    if (discovery.stale === null) this.#awaited.delete(discovery.source);
    this.#endpointById = new Map(this.endpoints.map((endpoint) => [endpoint.id, endpoint]));
    const clients = this.all.flatMap((one) => one.clients);
    this.#clientByAddress = new Map(clients.map((client) => [client.address, client]));
    this.#clientByName = new Map(clients.map((client) => [client.name, client]));
    return [...freshness(before, discovery, atMs), ...newProblems(before, discovery, atMs)];
  }
}

function freshness(before: Discovery | undefined, after: Discovery, atMs: number): Happening[] {
  const was = before?.stale ?? null;
  const subject = after.source;
  if (after.stale !== null && was === null)
    return [{ kind: "source.stale", level: "warn", subject, text: after.stale, atMs }];
  if (after.stale === null && was !== null)
    return [{ kind: "source.fresh", level: "info", subject, text: "answers again", atMs }];
  return [];
}

function newProblems(before: Discovery | undefined, after: Discovery, atMs: number): Happening[] {
  const known = new Set(before?.problems.map(({ subject, text }) => `${subject} ${text}`));
  return after.problems
    .filter(({ subject, text }) => !known.has(`${subject} ${text}`))
    .map(({ subject, text }) => ({ kind: "source.problem", level: "warn", subject, text, atMs }));
}
