/**
 * Merge: members' records become services with replicas and VIPs.
 *
 * Each node writes only its own records, so merging is grouping: replicas by service, declarations by newest start,
 * claims by the rules of vip.ts. Records of a dead member stay in the picture as replicas that are never used, so a
 * name does not vanish because its host did; those of a member that left are gone. A malformed record is left out and
 * named; its neighbours count.
 *
 * Parsed records are remembered by their entry, and a service that came out as before is the same object as before, so
 * a change of one replica among thousands costs what it touches.
 *
 * Pure.
 */

import type { Prefix } from "../base/ip.ts";
import { serviceKey, type NodeId, type ServiceKey } from "../model/ids.ts";
import type { Claim } from "../model/kept.ts";
import type { Entry, OwnerLog } from "../model/log.ts";
import type { Member, Standing } from "../model/member.ts";
import { parseRecord, type NodeLogRecord, type ReplicaRecord } from "../model/record.ts";
import { EMPTY_DECLARATION, type PublishedPort, type ServiceDeclaration } from "../model/service.ts";
import type { Replica, Service, View } from "../model/view.ts";

import { rule } from "./tier.ts";
import { assign, type Assignment } from "./vip.ts";

/** What a view is made of. */
export interface MergeInput {
  readonly self: NodeId;
  readonly incarnation: number;
  readonly standings: readonly Standing[];
  readonly logs: ReadonlyMap<NodeId, OwnerLog>;
  readonly complete: boolean;
  readonly pool: Prefix;
  /** When this node started: since when it is alive in its own eyes. */
  readonly startedAtMs: number;
  readonly nowMs: number;
}

/** A view, and what it was made from. */
export interface Merged {
  readonly view: View;
  readonly assignment: Assignment;
  /** Malformed records: owner's name and what is wrong. */
  readonly malformed: readonly string[];
  readonly replicaCount: number;
}

/** Malformed records told at once. */
const MALFORMED_MAX = 100;

/** Distinct declarations remembered for sharing. */
const DECLARATIONS_KEPT = 4096;

interface Placed {
  readonly entry: Entry;
  readonly record: ReplicaRecord;
  readonly owner: Member;
}

/** Makes views, one after the other; remembers the last one to reuse its parts. */
export class Merger {
  readonly #parsedByEntry = new WeakMap<Entry, NodeLogRecord | string | null>();
  /** One object for equal declarations: the replicas of a service say the same, and so it costs and compares as one. */
  readonly #declarationByText = new Map<string, ServiceDeclaration>();
  readonly #recordByReplica = new WeakMap<Replica, Entry>();
  #last: View | null = null;

  /** The picture these records make. Services and replicas that did not change are the same objects as last time. */
  merge(input: MergeInput): Merged {
    const malformed: string[] = [];
    const members = this.#members(input, malformed);
    const observer = members.find(({ self }) => self)?.name ?? input.self;
    const claims: Claim[] = [];
    const placedByKey = new Map<ServiceKey, Placed[]>();
    for (const owner of members) {
      if (owner.state === "left") continue;
      const offered = new Set<ServiceKey>();
      const claimed: Claim[] = [];
      for (const [key, entry] of input.logs.get(owner.id)?.entryByKey ?? []) {
        const record = this.#parsed(key, entry);
        if (typeof record === "string") note(malformed, `${owner.name}: ${record}`);
        else if (record?.kind === "vip") claimed.push(claimOf(record));
        else if (record?.kind === "replica") offered.add(place(placedByKey, { entry, record, owner }));
      }
      // Only who has a replica of a service holds an address for it.
      for (const claim of claimed) if (offered.has(claim.key)) claims.push(claim);
    }
    const assignment = assign(claims, input.pool);
    const services = this.#services(placedByKey, assignment, { ...input, observer, members });
    const view: View = {
      version: (this.#last?.version ?? 0) + 1,
      complete: input.complete,
      self: input.self,
      members,
      services,
    };
    this.#last = view;
    let replicaCount = 0;
    for (const placed of placedByKey.values()) replicaCount += placed.length;
    return { view, assignment, malformed, replicaCount };
  }

  #services(
    placedByKey: ReadonlyMap<ServiceKey, readonly Placed[]>,
    assignment: Assignment,
    context: {
      readonly observer: string;
      readonly self: NodeId;
      readonly nowMs: number;
      readonly members: readonly Member[];
    },
  ): Service[] {
    const lastByKey = new Map(this.#last?.services.map((service) => [service.key, service]));
    const services: Service[] = [];
    for (const key of [...placedByKey.keys()].sort()) {
      const placed = placedByKey.get(key) ?? [];
      services.push(this.#service(key, placed, { ...context, assignment, last: lastByKey.get(key) }));
    }
    // Compared with the last ones only now: what a conflict took from a service is part of it.
    return withPortConflicts(services, assignment, context.members).map((fresh) => {
      const last = lastByKey.get(fresh.key);
      return last !== undefined && isSame(last, fresh) ? last : fresh;
    });
  }

  #service(
    key: ServiceKey,
    placed: readonly Placed[],
    context: {
      readonly observer: string;
      readonly self: NodeId;
      readonly nowMs: number;
      readonly assignment: Assignment;
      readonly last: Service | undefined;
    },
  ): Service {
    const lastById = new Map(
      context.last?.replicas.map((replica) => [`${replica.node} ${replica.id}`, replica]),
    );
    const replicas = placed.map((one) => {
      return this.#replica(one, lastById.get(`${one.owner.id} ${one.record.id}`), context);
    });
    replicas.sort((one, other) => compareText(one.id, other.id) || compareText(one.node, other.node));
    const newest = newestOf(placed);
    const declaration: ServiceDeclaration = newest?.declaration ?? EMPTY_DECLARATION;
    const hasVip = declaration.endpointMode === "vip" && declaration.ports.length > 0;
    const { assignment } = context;
    const ofVip = hasVip ? [assignment.lostByKey.get(key), assignment.outsideByKey.get(key)] : [];
    const problems = [...ofVip, disagreement(placed, newest)].filter((text) => text !== undefined);
    const { ports, publish, http, endpointMode, aliases } = declaration;
    return {
      key,
      network: newest?.network ?? "",
      name: newest?.service ?? "",
      stack: newest?.stack ?? null,
      vip: hasVip ? (assignment.claimByKey.get(key)?.address ?? null) : null,
      ports,
      publish,
      http,
      endpointMode,
      aliases,
      replicas,
      problems: [...new Set(problems)],
    };
  }

  #replica(
    { entry, record, owner }: Placed,
    last: Replica | undefined,
    context: { readonly observer: string; readonly self: NodeId; readonly nowMs: number },
  ): Replica {
    const ruling = rule(record, owner, context.observer);
    const isUnchanged =
      last !== undefined && this.#recordByReplica.get(last) === entry && last.nodeName === owner.name;
    if (isUnchanged && last.tier === ruling.tier && last.reason === ruling.reason) return last;
    const { id, name, slot, address, reach, weight, state, drainApplied } = record;
    const replica: Replica = {
      id,
      name,
      slot,
      node: owner.id,
      nodeName: owner.name,
      local: owner.id === context.self,
      address,
      reach,
      ports: record.declaration.ports,
      weight,
      state,
      drainApplied,
      ...ruling,
      sinceMs: last !== undefined && last.tier === ruling.tier ? last.sinceMs : context.nowMs,
    };
    this.#recordByReplica.set(replica, entry);
    return replica;
  }

  #members(input: MergeInput, malformed: string[]): Member[] {
    const own: Standing = { id: input.self, state: "alive", sinceMs: input.startedAtMs, rttMs: null };
    const members: Member[] = [];
    for (const standing of [own, ...input.standings]) {
      const log = input.logs.get(standing.id);
      const entry = log?.entryByKey.get("node");
      const record = entry === undefined ? null : this.#parsed("node", entry);
      if (typeof record === "string") note(malformed, `${standing.id}: ${record}`);
      // Without its record a member has no name to show and no address to use; it comes with its first exchange.
      if (log === undefined || record === null || typeof record === "string" || record.kind !== "node")
        continue;
      const { name, host, port, zone, labels, role, software } = record;
      const said = { name, host, port, zone, labels, role, software };
      members.push({ ...standing, ...said, incarnation: log.incarnation, self: standing.id === input.self });
    }
    return members.sort((one, other) => compareText(one.name, other.name) || compareText(one.id, other.id));
  }

  /** The record of an entry; null for a tombstone or a kind not known here; a text that says what is wrong. */
  #parsed(key: string, entry: Entry): NodeLogRecord | string | null {
    const known = this.#parsedByEntry.get(entry);
    if (known !== undefined) return known;
    const result = entry.body === null ? null : parseRecord(key, entry.body);
    const parsed = result === null ? null : result.ok ? this.#interned(result.value) : result.failure.message;
    this.#parsedByEntry.set(entry, parsed);
    return parsed;
  }

  #interned(record: NodeLogRecord | null): NodeLogRecord | null {
    if (record?.kind !== "replica") return record;
    const text = JSON.stringify(record.declaration);
    const known = this.#declarationByText.get(text);
    if (known !== undefined) return { ...record, declaration: known };
    // Starting over when full: what is in use is held by its records, and equal ones to come share anew.
    if (this.#declarationByText.size >= DECLARATIONS_KEPT) this.#declarationByText.clear();
    this.#declarationByText.set(text, record.declaration);
    return record;
  }
}

function claimOf(record: { network: string; service: string; address: string; order: number }): Claim {
  return { key: serviceKey(record.network, record.service), address: record.address, order: record.order };
}

function place(placedByKey: Map<ServiceKey, Placed[]>, placed: Placed): ServiceKey {
  const key = serviceKey(placed.record.network, placed.record.service);
  const others = placedByKey.get(key);
  if (others === undefined) placedByKey.set(key, [placed]);
  else others.push(placed);
  return key;
}

/** Replicas that declare the service otherwise than the one that counts, as in a rolling update; undefined for none. */
function disagreement(placed: readonly Placed[], newest: ReplicaRecord | null): string | undefined {
  if (newest === null) return undefined;
  const others = placed.filter(({ record, owner }) => {
    return owner.state === "alive" && !isAlike(record.declaration, newest.declaration);
  });
  if (others.length === 0) return undefined;
  return `${others.length} replicas declare it otherwise than ${newest.name}, which started last and counts`;
}

/** Where a copy itself listens is its own affair. */
function withoutTarget(key: string, value: unknown): unknown {
  return key === "target" ? undefined : value;
}

/** Equal declarations are most often one object, but not always: the memory for sharing them is bounded. */
function isAlike(one: ServiceDeclaration, other: ServiceDeclaration): boolean {
  return one === other || JSON.stringify(one, withoutTarget) === JSON.stringify(other, withoutTarget);
}

/** The declaration that counts: of the newest start, ties by replica id; a node that is gone does not speak. */
function newestOf(placed: readonly Placed[]): ReplicaRecord | null {
  const present = placed.filter(({ owner }) => owner.state === "alive");
  // A copy that serves speaks before one that is on its way in or out.
  const serving = present.filter(({ record }) => record.state === "ready" && record.weight > 0);
  const speakers = serving.length > 0 ? serving : present.length > 0 ? present : placed;
  let newest: ReplicaRecord | null = null;
  for (const { record } of speakers) {
    const isNewer =
      newest === null ||
      record.startedAtMs > newest.startedAtMs ||
      (record.startedAtMs === newest.startedAtMs && record.id > newest.id);
    if (isNewer) newest = record;
  }
  return newest;
}

/**
 * A published port belongs to one service: the lower (order, key). The others keep the rest of theirs and say so.
 * The same holds for an HTTP route.
 */
function withPortConflicts(
  services: readonly Service[],
  assignment: Assignment,
  members: readonly Member[],
): Service[] {
  const present = new Set(
    members.filter(({ state }) => state === "alive" || state === "suspect").map(({ id }) => id),
  );
  // A service whose hosts are all gone must not hold a port that a living one could serve.
  const absence = new Map(
    services.map(({ key, replicas }) => [key, replicas.some(({ node }) => present.has(node)) ? 0 : 1]),
  );
  const orderOf = (service: Service): number => assignment.claimByKey.get(service.key)?.order ?? Infinity;
  const byRight = [...services].sort((one, other) => {
    const ofPresence = (absence.get(one.key) ?? 0) - (absence.get(other.key) ?? 0);
    return ofPresence || compareOrder(orderOf(one), orderOf(other)) || compareText(one.key, other.key);
  });
  const holderByWanted = new Map<string, ServiceKey>();
  const refusedByKey = new Map<ServiceKey, Set<string>>();
  for (const service of byRight) {
    for (const wanted of wantedBy(service)) {
      const holder = holderByWanted.get(wanted);
      if (holder === undefined) holderByWanted.set(wanted, service.key);
      else if (holder !== service.key) refuse(refusedByKey, service.key, wanted);
    }
  }
  return services.map((service) => {
    const refused = refusedByKey.get(service.key);
    if (refused === undefined) return service;
    const problems = Array.from(refused, (wanted) => `${wanted} belongs to ${holderByWanted.get(wanted)}`);
    const publish = service.publish.filter((port) => port.mode === "host" || !refused.has(publishText(port)));
    const http = service.http.filter((route) => !refused.has(routeText(route)));
    return { ...service, publish, http, problems: [...service.problems, ...problems] };
  });
}

function refuse(refusedByKey: Map<ServiceKey, Set<string>>, key: ServiceKey, wanted: string): void {
  const refused = refusedByKey.get(key) ?? new Set<string>();
  refused.add(wanted);
  refusedByKey.set(key, refused);
}

function wantedBy(service: Service): string[] {
  // A port of mode `host` is open only where a replica runs: each host settles those for itself.
  const everywhere = service.publish.filter(({ mode }) => mode === "ingress");
  return [...everywhere.map(publishText), ...service.http.map(routeText)];
}

function publishText({ published, protocol }: PublishedPort): string {
  return `published port ${published}/${protocol}`;
}

function routeText({ host, path }: { readonly host: string; readonly path: string }): string {
  // `/api` and `/api/` are one route to the proxy.
  return `route ${host}${path.replace(/(.)\/+$/, "$1")}`;
}

/** Whether a service came out as it was: its parts are shared with declarations and last replicas, so === tells. */
function isSame(one: Service, other: Service): boolean {
  return (
    one.vip === other.vip &&
    one.stack === other.stack &&
    one.endpointMode === other.endpointMode &&
    isSameList(one.ports, other.ports) &&
    isSameList(one.publish, other.publish) &&
    isSameList(one.http, other.http) &&
    isSameList(one.aliases, other.aliases) &&
    isSameList(one.problems, other.problems) &&
    isSameList(one.replicas, other.replicas)
  );
}

/** Not === alone: a list from which a conflict took something is made anew each time, of the same parts. */
function isSameList(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one === other || (one.length === other.length && one.every((part, index) => part === other[index]));
}

/** Keeps the first of many: a peer that sends nothing else must not fill a list with it. */
function note(malformed: string[], text: string): void {
  if (malformed.length < MALFORMED_MAX) malformed.push(text);
}

function compareOrder(one: number, other: number): number {
  // Not one - other: both are Infinity for services without a VIP.
  return one === other ? 0 : one < other ? -1 : 1;
}

function compareText(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
