/**
 * Gathering: the replicas of one service, from all owners, as the service that the view shows.
 *
 * What a service publishes is declared by its replicas; the newest start counts, so a rolling update moves it, and who
 * says otherwise is told of. A service is put together anew only when something of it was touched, and comes out as
 * the same object when that changed nothing.
 *
 * These objects change in place and are the merger's own.
 *
 * Pure.
 */

import { compareText, updated } from "../base/sorted.ts";
import type { NodeId, ServiceKey } from "../model/ids.ts";
import { EMPTY_DECLARATION, type ServiceDeclaration } from "../model/service.ts";
import type { Replica, Service } from "../model/view.ts";

import { passthroughText, publishText, routeText, wantedBy, type Asked, type Wanting } from "./holders.ts";
import { claimOf, isHeard, isPresent, type Owner, type Placed } from "./owner.ts";
import { isSameClaim } from "./reading.ts";
import type { PublishedClaim } from "./vip.ts";

/** What is settled elsewhere about a service. */
export interface Settled {
  /** Null where it holds none. */
  readonly vip: string | null;
  readonly vipTentative: boolean;
  readonly aliasVips: readonly string[];
  /** Its IPv6 address; null where services like it have none. */
  readonly vip6Of: (network: string, service: string) => string | null;
  /** What is wrong with its VIP, in words; asked only of a service that is to have one. */
  readonly vipProblems: () => readonly string[];
  /** What it wants and another service has, and whose it is. */
  readonly refused: ReadonlyMap<string, ServiceKey>;
}

/** One service in the making. */
export class Gathering {
  readonly key: ServiceKey;
  #placed: readonly Placed[] = [];
  #come: Placed[] = [];
  #gone: Placed[] = [];
  #newest: Placed | null = null;
  #declaration: ServiceDeclaration = EMPTY_DECLARATION;
  #names: readonly string[] = [];
  #hadNames = false;
  #isPresent = false;
  /** Claims of its address by those who have a replica of it, each once. */
  #claims: readonly PublishedClaim[] = [];
  #claimsAreDue = false;
  #service: Service | null = null;

  constructor(key: ServiceKey) {
    this.key = key;
  }

  get isEmpty(): boolean {
    return this.#placed.length === 0;
  }

  get claims(): readonly PublishedClaim[] {
    return this.#claims;
  }

  /** As it was shown last; null before the first time. */
  get service(): Service | null {
    return this.#service;
  }

  put(placed: Placed): void {
    this.#come.push(placed);
    this.#claimsAreDue = true;
  }

  remove(placed: Placed): void {
    this.#gone.push(placed);
    this.#claimsAreDue = true;
  }

  /** A claim of its address changed. */
  touchClaims(): void {
    this.#claimsAreDue = true;
  }

  /**
   * Takes in what came, went and changed since the last time.
   *
   * @returns true when other claims of its address count than before
   */
  gather(): boolean {
    if (this.#gone.length + this.#come.length > 0) this.#take();
    this.#newest = newestOf(this.#placed);
    const declaration = this.#newest?.declaration ?? EMPTY_DECLARATION;
    // Not that of the newest before: it may be the same replica, which declares something else now.
    if (declaration !== this.#declaration) this.#names = wantedBy(declaration);
    this.#declaration = declaration;
    this.#isPresent = this.#placed.some(({ owner }) => isPresent(owner.member.state));
    if (!this.#claimsAreDue) return false;
    this.#claimsAreDue = false;
    const claims = claimsOf(this.key, this.#placed);
    if (isSameClaims(this.#claims, claims)) return false;
    this.#claims = claims;
    return true;
  }

  #take(): void {
    this.#placed = updated(this.#placed, { gone: this.#gone, come: this.#come }, comparePlaced);
    this.#come = [];
    this.#gone = [];
  }

  /** What it wants of ports and routes, by the right of its VIP's claim; null for nothing, as when asked before. */
  wanting(orderOf: (key: ServiceKey) => number): Wanting | null {
    const hadNames = this.#hadNames;
    this.#hadNames = this.#names.length > 0;
    if (!hadNames && !this.#hadNames) return null;
    return { key: this.key, names: this.#names, isPresent: this.#isPresent, order: orderOf(this.key) };
  }

  /** Puts the service together; the same object as the last time when it came out the same. */
  show(settled: Settled): Service {
    const last = this.#service;
    const declaration = this.#declaration;
    const { publish, http, passthrough } = withoutRefused(declaration, settled.refused);
    const hasVip = declaration.endpointMode === "vip" && declaration.ports.length > 0;
    const problems = [
      ...(hasVip ? settled.vipProblems() : []),
      ...disagreement(this.#placed, this.#newest),
      ...Array.from(settled.refused, ([name, holder]) => `${name} belongs to ${holder}`),
    ];
    const vip = hasVip ? settled.vip : null;
    const { network, service: name } = namesOf(this.key);
    const vip6 = hasVip ? settled.vip6Of(network, name) : null;
    const service: Service = {
      key: this.key,
      network: last?.network ?? network,
      name: last?.name ?? name,
      stack: this.#newest?.stack ?? null,
      vip,
      ...(vip6 !== null && { vip6 }),
      vipTentative: vip !== null && settled.vipTentative,
      aliasVips: vip === null ? NONE : kept(last?.aliasVips, settled.aliasVips),
      ports: declaration.ports,
      publish: kept(last?.publish, publish),
      http: kept(last?.http, http),
      endpointMode: declaration.endpointMode,
      aliases: declaration.aliases,
      passthrough: kept(last?.passthrough, passthrough),
      traffic: declaration.traffic,
      replicas: this.#replicas(last?.replicas),
      problems: kept(last?.problems, problems.length === 0 ? NONE : problems),
    };
    if (last !== null && isSame(last, service)) return last;
    this.#service = service;
    return service;
  }

  /** Compared while it is listed: most often one of a thousand has changed, or none. */
  #replicas(last: readonly Replica[] | undefined): readonly Replica[] {
    const isLast = last?.length === this.#placed.length;
    if (isLast && this.#placed.every(({ replica }, index) => replica === last[index])) return last;
    return this.#placed.map(({ replica }) => replica);
  }
}

const NONE: readonly never[] = [];

function comparePlaced(one: Placed, other: Placed): number {
  return compareText(one.replica.id, other.replica.id) || compareText(nodeOf(one), nodeOf(other));
}

function nodeOf({ owner }: Placed): NodeId {
  return owner.member.id;
}

function namesOf(key: ServiceKey): { readonly network: string; readonly service: string } {
  const slash = key.indexOf("/");
  return { network: key.slice(0, slash), service: key.slice(slash + 1) };
}

/**
 * The claims of those who have a replica, since only they hold an address for the service: one for each address, of the
 * lowest order, settled if one of its claimants says so. Every claimant after the first changes nothing by that.
 */
function claimsOf(key: ServiceKey, placed: readonly Placed[]): readonly PublishedClaim[] {
  const owners = new Set<Owner>();
  for (const { owner } of placed) owners.add(owner);
  const claimByAddress = new Map<string, PublishedClaim>();
  for (const owner of owners) {
    const claim = claimOf(owner, key);
    if (claim === undefined) continue;
    const known = claimByAddress.get(claim.address);
    const order = Math.min(claim.order, known?.order ?? claim.order);
    const settled = claim.settled || known?.settled === true;
    if (known?.order === order && known.settled === settled) continue;
    const isWhole = claim.order === order && claim.settled === settled;
    claimByAddress.set(claim.address, isWhole ? claim : { ...claim, order, settled });
  }
  return [...claimByAddress.values()].sort((one, other) => compareText(one.address, other.address));
}

function isSameClaims(one: readonly PublishedClaim[], other: readonly PublishedClaim[]): boolean {
  if (one.length !== other.length) return false;
  return one.every((claim, index) => {
    const match = other[index];
    return match !== undefined && isSameClaim(claim, match);
  });
}

/**
 * The replica whose declaration counts: of the newest start, ties by replica id. A copy that serves speaks before one
 * that is on its way in or out, and the owner's being gone or silent counts against both: who does not answer must not
 * hold back a change that everybody else has made.
 */
function newestOf(placed: readonly Placed[]): Placed | null {
  let newest: Placed | null = null;
  let newestRank = -1;
  for (const one of placed) {
    const rank = rankOf(one);
    const isNewer =
      newest === null ||
      rank > newestRank ||
      (rank === newestRank && one.startedAtMs > newest.startedAtMs) ||
      (rank === newestRank &&
        one.startedAtMs === newest.startedAtMs &&
        compareText(one.replica.id, newest.replica.id) > 0);
    if (!isNewer) continue;
    newest = one;
    newestRank = rank;
  }
  return newest;
}

function rankOf({ owner, replica }: Placed): number {
  if (!isHeard(owner.member.state)) return 0;
  return replica.state === "ready" && replica.weight > 0 ? 2 : 1;
}

/** Replicas that declare the service otherwise than the one that counts, as in a rolling update; empty for none. */
function disagreement(placed: readonly Placed[], newest: Placed | null): readonly string[] {
  if (newest === null) return NONE;
  const others = placed.filter(({ declaration }) => declaration !== newest.declaration);
  if (others.length === 0) return NONE;
  const isAlikeByDeclaration = new Map<ServiceDeclaration, boolean>();
  let count = 0;
  for (const { owner, declaration } of others) {
    if (!isHeard(owner.member.state)) continue;
    const known = isAlikeByDeclaration.get(declaration) ?? isAlike(declaration, newest.declaration);
    isAlikeByDeclaration.set(declaration, known);
    if (!known) count += 1;
  }
  if (count === 0) return NONE;
  return [
    `${count} replicas declare it otherwise than ${newest.replica.name}, which started last and counts`,
  ];
}

/** Where a copy itself listens is its own affair. */
function withoutTarget(key: string, value: unknown): unknown {
  return key === "target" ? undefined : value;
}

/** Equal declarations are most often one object, but not always: the memory for sharing them is bounded. */
function isAlike(one: ServiceDeclaration, other: ServiceDeclaration): boolean {
  return JSON.stringify(one, withoutTarget) === JSON.stringify(other, withoutTarget);
}

function withoutRefused(
  { publish, http, passthrough }: ServiceDeclaration,
  refused: ReadonlyMap<string, ServiceKey>,
): Asked {
  if (refused.size === 0) return { publish, http, passthrough };
  return {
    publish: publish.filter((port) => port.mode === "host" || !refused.has(publishText(port))),
    http: http.filter((route) => !refused.has(routeText(route))),
    passthrough: passthrough.filter((host) => !refused.has(passthroughText(host))),
  };
}

/** The last list where the new one holds the same: what is made anew each time stays one object. */
function kept<T>(last: readonly T[] | undefined, next: readonly T[]): readonly T[] {
  const isSameList =
    last !== undefined && last.length === next.length && last.every((part, index) => part === next[index]);
  return isSameList ? last : next;
}

/** Whether a service came out as it was: its parts are shared with declarations and the last service, so === tells. */
function isSame(one: Service, other: Service): boolean {
  return (
    one.vip === other.vip &&
    one.vip6 === other.vip6 &&
    one.vipTentative === other.vipTentative &&
    one.aliasVips === other.aliasVips &&
    one.stack === other.stack &&
    one.endpointMode === other.endpointMode &&
    one.ports === other.ports &&
    one.publish === other.publish &&
    one.http === other.http &&
    one.aliases === other.aliases &&
    one.passthrough === other.passthrough &&
    one.traffic === other.traffic &&
    one.problems === other.problems &&
    one.replicas === other.replicas
  );
}
