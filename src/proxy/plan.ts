/**
 * Plan: the route table of a view.
 *
 * A service is served at its VIP from the moment it has one, tentative or not, and at the addresses that it had a while
 * ago: who comes there has them from an earlier answer. The plan decides nothing about health: a replica that is not to
 * be used is left out, or rests where it may keep the connections it has. Which service has a port or route that two
 * want is settled in the view (view/holders.ts); what only this host can see, its own ports and those of mode `host`,
 * goes to the lower service key here, and the other is reported.
 *
 * Pure. proxy.ts serves the plan, match.ts indexes its HTTP routes.
 */

import { isLocalToHost, isLoopback, isWildcard } from "../base/ip.ts";
import type { Member } from "../model/member.ts";
import { overlayOf } from "../model/network.ts";
import {
  httpPortOf,
  transportOf,
  type Protocol,
  type PublishedPort,
  type ServicePort,
} from "../model/service.ts";
import { TIERS, type Replica, type Service, type View } from "../model/view.ts";

import {
  listenerKey,
  type Frontend,
  type IngressRoute,
  type PassthroughRoute,
  type Pool,
  type RouteTable,
  type Upstream,
} from "./routes.ts";

/** What the configuration says about listening. */
export interface RouteOptions {
  /** Where published ports and the HTTP ingress listen; `0.0.0.0` for every address. */
  readonly ingressAddress: string;
  /** Ports of the ingress; null turns one off. */
  readonly httpPort: number | null;
  readonly httpsPort: number | null;
  /** True where there is a folder of certificates; without it HTTPS is there only for services that TLS passes to. */
  readonly terminatesTls: boolean;
  /** False where another daemon shares this network stack and holds the VIPs. */
  readonly listensOnVips: boolean;
  /** Overlay networks that this host carries; none unless told. */
  readonly carried?: ReadonlySet<string>;
  /** Ports of the daemon itself, which no service may publish. */
  readonly reservedPorts: readonly number[];
  /** Listeners at most; each costs a file descriptor. */
  readonly listenersMax: number;
}

/** Plans the listeners and pools of one view. */
export function planRoutes(view: View, options: RouteOptions): RouteTable {
  const services = [...view.services].sort((one, other) => (one.key < other.key ? -1 : 1));
  const claims = new Claims();
  const { ingressAddress: address, httpPort } = options;
  // A port that nothing would listen on is anybody's.
  const isSecure = options.terminatesTls || services.some(({ passthrough }) => passthrough.length > 0);
  const httpsPort = isSecure ? options.httpsPort : null;
  if (httpPort !== null) claims.takePort({ kind: "http", address, port: httpPort }, "the HTTP ingress");
  if (httpsPort !== null) claims.takePort({ kind: "tcp", address, port: httpsPort }, "the HTTPS ingress");
  for (const port of options.reservedPorts) {
    for (const kind of ["tcp", "udp"] as const) claims.takePort({ kind, address, port }, "the daemon itself");
  }

  const frontends: Frontend[] = [];
  const routes: IngressRoute[] = [];
  const passthrough: PassthroughRoute[] = [];
  const problems: string[] = [];
  const distanceOf = distancesFrom(view);
  const lifeOf = livesIn(view);
  const isCarried = overlaysIn(view, options.carried ?? new Set());
  const isUnrelayed = unrelayedIn(view, isCarried);
  for (const service of services) {
    const planned = new ServicePlan(service, options, { claims, distanceOf, lifeOf, isCarried, isUnrelayed });
    frontends.push(...planned.frontends);
    routes.push(...planned.routes);
    passthrough.push(...planned.passthrough);
    problems.push(...planned.problems.map((text) => `service ${service.key}: ${text}`));
  }
  bound(frontends, options.listenersMax, problems);
  const isOff = httpPort === null && httpsPort === null;
  const ingress = isOff ? null : { address, port: httpPort, httpsPort, routes, passthrough };
  return { complete: view.complete, frontends, ingress, problems };
}

/** How far a replica is from this node. */
type DistanceOf = (replica: Replica) => Upstream["distance"];

/** An empty zone is no zone: two hosts that name none are not known to be near. */
function distancesFrom(view: View): DistanceOf {
  const memberById = new Map<string, Member>(view.members.map((member) => [member.id, member]));
  const zone = memberById.get(view.self)?.zone ?? "";
  return ({ local, node }) => {
    if (local) return 0;
    return zone !== "" && memberById.get(node)?.zone === zone ? 1 : 2;
  };
}

/** In which life the daemon of a replica's host is. */
type LifeOf = (replica: Replica) => number;

function livesIn(view: View): LifeOf {
  const lifeById = new Map<string, number>(view.members.map(({ id, incarnation }) => [id, incarnation]));
  return ({ node }) => lifeById.get(node) ?? 0;
}

/** Whether a replica could be reached only by a relay whose daemon is away: the view knows what others can, not we. */
type IsUnrelayed = (replica: Replica, network: string) => boolean;

function unrelayedIn(view: View, isCarried: IsCarried): IsUnrelayed {
  const away = new Set<string>(view.members.filter(({ state }) => state === "away").map(({ id }) => id));
  return (replica, network) =>
    replica.reach === "overlay" && !replica.local && away.has(replica.node) && !isCarried(replica, network);
}

/** Whether a replica of a network is reached by its address over an overlay that this host carries. */
type IsCarried = (replica: Replica, network: string) => boolean;

function overlaysIn(view: View, carried: ReadonlySet<string>): IsCarried {
  const networkByName = new Map(
    view.networks.filter(({ name }) => carried.has(name)).map((network) => [network.name, network]),
  );
  const memberById = new Map<string, Member>(view.members.map((member) => [member.id, member]));
  return (replica, name) => overlayOf({ networkByName, memberById }, replica, name) !== null;
}

/** Keeps as many listeners as the host can afford: those somebody can be reached through before those of nobody. */
function bound(frontends: Frontend[], countMax: number, problems: string[]): void {
  if (frontends.length <= countMax) return;
  const isServed = ({ pool }: Frontend): number => (pool.tiers.some((tier) => tier.length > 0) ? 0 : 1);
  const kept = new Set(
    frontends.toSorted((one, other) => isServed(one) - isServed(other)).slice(0, countMax),
  );
  const left = frontends.length - countMax;
  problems.push(
    `${left} listeners are not opened: ${frontends.length} are wanted; expected at most ${countMax}`,
  );
  frontends.splice(0, frontends.length, ...frontends.filter((frontend) => kept.has(frontend)));
}

/** Who has which listener and route; the first to ask keeps it. */
class Claims {
  readonly #holderByKey = new Map<string, string>();

  /** Takes an address and port for `holder`; returns who has it already, or null. */
  takePort(
    at: { readonly kind: Protocol; readonly address: string; readonly port: number },
    holder: string,
  ): string | null {
    return this.takeName(listenerKey(at), holder);
  }

  takeName(name: string, holder: string): string | null {
    const held = this.#holderByKey.get(name);
    if (held !== undefined) return held;
    this.#holderByKey.set(name, holder);
    return null;
  }
}

/** What all services of a plan share. */
interface Shared {
  readonly claims: Claims;
  readonly distanceOf: DistanceOf;
  readonly lifeOf: LifeOf;
  readonly isCarried: IsCarried;
  readonly isUnrelayed: IsUnrelayed;
}

/** The part of the plan that one service makes. */
class ServicePlan {
  readonly frontends: Frontend[] = [];
  readonly routes: IngressRoute[] = [];
  readonly passthrough: PassthroughRoute[] = [];
  readonly problems: string[] = [];
  readonly #service: Service;
  readonly #options: RouteOptions;
  readonly #shared: Shared;
  /** Pools are shared between the VIP, published ports and routes of one port: a clone then holds them once. */
  readonly #poolByPort = new Map<ServicePort, Pool>();

  constructor(service: Service, options: RouteOptions, shared: Shared) {
    this.#service = service;
    this.#options = options;
    this.#shared = shared;
    for (const { name, address } of service.replicas.filter((replica) => this.#isOwnVip(replica))) {
      this.problems.push(
        `replica ${name} is left out: its address ${address} is a VIP of the service itself`,
      );
    }
    for (const port of service.ports) this.#planVip(port);
    for (const published of service.publish) this.#planPublished(published);
    this.#planRoutes();
    this.#planPassthrough();
  }

  /** True for a replica that would be this proxy, asked again and again. */
  #isOwnVip({ address }: Replica): boolean {
    const { vip, vip6, aliasVips } = this.#service;
    return address === vip || address === vip6 || aliasVips.includes(address);
  }

  #planVip(port: ServicePort): void {
    const { vip, vip6, aliasVips } = this.#service;
    if (!this.#options.listensOnVips) return;
    const addresses = vip === null ? [] : [vip, ...aliasVips];
    for (const address of vip6 === undefined ? addresses : [...addresses, vip6]) {
      this.#listen("vip", { kind: port.protocol, address, port: port.port }, this.#pool(port));
    }
  }

  #planPublished(published: PublishedPort): void {
    const port = this.#portOf(published);
    if (port === null) {
      const to = `${published.port}/${published.protocol}`;
      const name = `published port ${published.published}/${published.protocol}`;
      this.problems.push(`${name} leads to port ${to}; expected a port of the service`);
      return;
    }
    const local = this.#service.replicas.filter((replica) => replica.local);
    const isHostOnly = published.mode === "host";
    if (isHostOnly && local.length === 0) return;
    const owner = local.find((replica) => this.#isListenerOf(replica, port, published));
    if (owner !== undefined) {
      const name = `published port ${published.published}/${published.protocol}`;
      this.problems.push(`${name} is left to replica ${owner.name}, which listens on it itself`);
      return;
    }
    const pool = isHostOnly ? this.#poolOf(port, local) : this.#pool(port);
    const at = { address: this.#options.ingressAddress, port: published.published };
    this.#listen("published", { kind: port.protocol, ...at }, pool);
  }

  /**
   * True where a replica of this host has the very address and port that would be published: a listener there would
   * take them from it while it restarts, and then lead to itself.
   */
  #isListenerOf({ address, ports }: Replica, { port }: ServicePort, published: PublishedPort): boolean {
    const { ingressAddress } = this.#options;
    const isHere = isWildcard(ingressAddress) ? isLoopback(address) : address === ingressAddress;
    const isSame = (own: ServicePort): boolean =>
      own.port === port &&
      own.target === published.published &&
      transportOf(own.protocol) === published.protocol;
    return isHere && ports.some(isSame);
  }

  #listen(
    origin: Frontend["origin"],
    at: { readonly kind: Protocol; readonly address: string; readonly port: number },
    pool: Pool,
  ): void {
    const { key } = this.#service;
    const holder = this.#shared.claims.takePort(at, `service ${key}`);
    if (holder !== null) {
      const what = origin === "vip" ? "VIP port" : "published port";
      this.problems.push(`${what} ${at.port}/${transportOf(at.kind)} on ${at.address} is taken by ${holder}`);
      return;
    }
    this.frontends.push({ ...at, origin, pool });
  }

  #planRoutes(): void {
    const { http, key } = this.#service;
    if (http.length === 0) return;
    const port = httpPortOf(this.#service);
    const { httpPort, httpsPort, terminatesTls } = this.#options;
    if (port === null || (httpPort === null && (httpsPort === null || !terminatesTls))) {
      const why = port === null ? "the service has no TCP port" : "the HTTP ingress is off";
      this.problems.push(`HTTP routes are not served: ${why}`);
      return;
    }
    for (const { host, path } of http) {
      const prefix = path.replace(/\/+$/, "") || "/";
      const holder = this.#shared.claims.takeName(`route ${host.toLowerCase()} ${prefix}`, `service ${key}`);
      if (holder === null) {
        this.routes.push({ host: host.toLowerCase(), path: prefix, pool: this.#pool(port) });
      } else if (holder !== `service ${key}`) {
        this.problems.push(`HTTP route ${host}${prefix} is taken by ${holder}`);
      }
    }
  }

  #planPassthrough(): void {
    const { passthrough, key, ports } = this.#service;
    if (passthrough.length === 0) return;
    const port = ports.find(({ protocol }) => transportOf(protocol) === "tcp");
    if (port === undefined || this.#options.httpsPort === null) {
      const why = port === undefined ? "the service has no TCP port" : "the HTTPS ingress is off";
      this.problems.push(`TLS is not passed through: ${why}`);
      return;
    }
    for (const host of passthrough) {
      const holder = this.#shared.claims.takeName(`passthrough ${host}`, `service ${key}`);
      if (holder === null) this.passthrough.push({ host, pool: this.#pool(port) });
      else if (holder !== `service ${key}`)
        this.problems.push(`TLS passthrough of ${host} is taken by ${holder}`);
    }
  }

  #portOf(published: PublishedPort): ServicePort | null {
    const leads = (port: ServicePort): boolean =>
      port.port === published.port && transportOf(port.protocol) === published.protocol;
    return this.#service.ports.find(leads) ?? null;
  }

  #pool(port: ServicePort): Pool {
    const known = this.#poolByPort.get(port);
    if (known !== undefined) return known;
    const pool = this.#poolOf(port, this.#service.replicas);
    this.#poolByPort.set(port, pool);
    return pool;
  }

  #poolOf({ port, protocol }: ServicePort, replicas: readonly Replica[]): Pool {
    const { key, network, traffic } = this.#service;
    const of = { service: key, network, port, protocol };
    const upstreamsOf = (isMeant: (replica: Replica) => boolean): readonly Upstream[] =>
      replicas
        .filter((replica) => isMeant(replica) && !this.#isOwnVip(replica))
        .flatMap((replica) => upstreamOf(of, replica, this.#shared))
        .sort((one, other) => (one.id < other.id ? -1 : 1));
    const isLost = (replica: Replica): boolean => this.#shared.isUnrelayed(replica, network);
    return {
      service: key,
      port,
      protocol,
      tiers: TIERS.map((tier) => upstreamsOf((replica) => replica.tier === tier && !isLost(replica))),
      resting: upstreamsOf(
        (replica) => isLost(replica) || (replica.tier === "never" && replica.keepsConnections),
      ),
      traffic,
    };
  }
}

/** A replica that does not offer the port (another version of the service) has no upstream in its pool. */
function upstreamOf(
  of: Pick<Pool, "service" | "port" | "protocol"> & { readonly network: string },
  replica: Replica,
  { distanceOf, lifeOf, isCarried }: Pick<Shared, "distanceOf" | "lifeOf" | "isCarried">,
): readonly Upstream[] {
  const transport = transportOf(of.protocol);
  const own = replica.ports.find(
    ({ port, protocol }) => port === of.port && transportOf(protocol) === transport,
  );
  if (own === undefined) return [];
  const { delivery, sinceMs } = replica;
  const isDirect = replica.local || isReachable(replica) || isCarried(replica, of.network);
  return [
    {
      id: `${replica.id}:${own.target}${transport === "udp" ? "/udp" : ""}`,
      service: of.service,
      replica: replica.id,
      node: replica.node,
      nodeName: replica.nodeName,
      address: replica.address,
      port: own.target,
      via: isDirect ? "direct" : "stream",
      ...(!isDirect && { relayLife: lifeOf(replica) }),
      weight: Math.max(1, replica.weight),
      distance: distanceOf(replica),
      sinceMs,
      proxyProtocol: delivery.proxyProtocol,
      drainUntilMs: replica.tier === "draining" ? sinceMs + delivery.drainMs : null,
    },
  ];
}

/**
 * Whether a replica of another host may be dialled here by its address. Not where the address would mean this host
 * itself, whatever its record says: a published port must not lead to what listens on this host's loopback only.
 */
function isReachable({ reach, address }: Replica): boolean {
  return reach === "direct" && !isLocalToHost(address);
}
