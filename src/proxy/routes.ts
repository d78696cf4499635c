/**
 * Routes: what this host listens on and where each listener leads, projected from the view.
 *
 * A service is served at its VIP from the moment it has one, tentative or not, and at the addresses that it had a while
 * ago: who comes there has them from an earlier answer.
 *
 * The plan holds whole pools, tier by tier, and decides nothing about health: `tier` comes from the view, `never` is
 * left out. It is structured-cloneable and comparable by value, so the shell may live in a worker and skip plans it
 * has seen. Every list has a fixed order (services by key, upstreams by id): equal views give equal plans, and where
 * two services want one port or route every host decides alike: the lower service key has it, the other is reported.
 *
 * Not carried yet: UDP ports; they are reported as problems so that a user sees why nothing answers.
 *
 * Pure. proxy.ts serves the plan, match.ts indexes its HTTP routes.
 */

import { isLocalToHost, renderHostPort } from "../base/ip.ts";
import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";
import { httpPortOf, transportOf, type PublishedPort, type ServicePort } from "../model/service.ts";
import { TIERS, type Replica, type Service, type View } from "../model/view.ts";

/** One replica's port in the eyes of the proxy. */
export interface Upstream {
  /** `<replica>:<target port>`: stays the same while the replica lives, whatever tier it is in. */
  readonly id: string;
  readonly service: ServiceKey;
  readonly replica: ReplicaId;
  readonly node: NodeId;
  readonly nodeName: string;
  readonly address: string;
  /** The replica's own port: two versions of a service may listen on different ones. */
  readonly port: number;
  /** `direct`: connect to the address; `stream`: through the daemon of its host. */
  readonly via: "direct" | "stream";
}

/** The upstreams of one service port. */
export interface Pool {
  readonly service: ServiceKey;
  /** The service port, as clients know it. */
  readonly port: number;
  /** One list for each of TIERS, in that order, each sorted by id. */
  readonly tiers: readonly (readonly Upstream[])[];
}

/** An address and port to listen on, leading to one pool. */
export interface Frontend {
  /** `http`: the upstream is chosen per request; `tcp`: per connection. */
  readonly kind: "tcp" | "http";
  readonly origin: "vip" | "published";
  readonly address: string;
  readonly port: number;
  readonly pool: Pool;
}

/** A route of the HTTP ingress. */
export interface IngressRoute {
  /** Exact host or `*.suffix`, lower case. */
  readonly host: string;
  /** Path prefix without a closing slash, unless it is `/` itself. */
  readonly path: string;
  readonly pool: Pool;
}

/** The HTTP ingress: one listener whose requests are told apart by host and path. */
export interface Ingress {
  readonly address: string;
  readonly port: number;
  readonly routes: readonly IngressRoute[];
}

/** The whole plan. */
export interface RouteTable {
  /** False while the view is incomplete: listeners may then be opened, not closed. */
  readonly complete: boolean;
  readonly frontends: readonly Frontend[];
  /** Null when the HTTP ingress is off. */
  readonly ingress: Ingress | null;
  /** What could not be planned, in words. */
  readonly problems: readonly string[];
}

/** What the configuration says about listening. */
export interface RouteOptions {
  /** Where published ports and the HTTP ingress listen; `0.0.0.0` for every address. */
  readonly ingressAddress: string;
  /** Port of the HTTP ingress; 0 turns it off. */
  readonly httpPort: number;
  /** False where another daemon shares this network stack and holds the VIPs. */
  readonly listensOnVips: boolean;
  /** Ports of the daemon itself, which no service may publish. */
  readonly reservedPorts: readonly number[];
  /** Listeners at most; each costs a file descriptor. */
  readonly listenersMax: number;
}

/** Plans the listeners and pools of one view. */
export function planRoutes(view: View, options: RouteOptions): RouteTable {
  const services = [...view.services].sort((one, other) => (one.key < other.key ? -1 : 1));
  const claims = new Claims();
  if (options.httpPort !== 0) claims.take(options.ingressAddress, options.httpPort, "the HTTP ingress");
  for (const port of options.reservedPorts) claims.take(options.ingressAddress, port, "the daemon itself");

  const frontends: Frontend[] = [];
  const routes: IngressRoute[] = [];
  const problems: string[] = [];
  for (const service of services) {
    const planned = new ServicePlan(service, options, claims);
    frontends.push(...planned.frontends);
    routes.push(...planned.routes);
    problems.push(...planned.problems.map((text) => `service ${service.key}: ${text}`));
  }
  bound(frontends, options.listenersMax, problems);
  const ingress =
    options.httpPort === 0 ? null : { address: options.ingressAddress, port: options.httpPort, routes };
  return { complete: view.complete, frontends, ingress, problems };
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

/** The key of a listener: two frontends never share one. */
export function listenerKey(at: { readonly address: string; readonly port: number }): string {
  return renderHostPort({ host: at.address, port: at.port });
}

/** Who has which listener and route; the first to ask keeps it. */
class Claims {
  readonly #holderByKey = new Map<string, string>();

  /** Takes `address:port` for `holder`; returns who has it already, or null. */
  take(address: string, port: number, holder: string): string | null {
    return this.takeName(listenerKey({ address, port }), holder);
  }

  takeName(name: string, holder: string): string | null {
    const held = this.#holderByKey.get(name);
    if (held !== undefined) return held;
    this.#holderByKey.set(name, holder);
    return null;
  }
}

/** The part of the plan that one service makes. */
class ServicePlan {
  readonly frontends: Frontend[] = [];
  readonly routes: IngressRoute[] = [];
  readonly problems: string[] = [];
  readonly #service: Service;
  readonly #options: RouteOptions;
  readonly #claims: Claims;
  /** Pools are shared between the VIP, published ports and routes of one port: a clone then holds them once. */
  readonly #poolByPort = new Map<number, Pool>();

  constructor(service: Service, options: RouteOptions, claims: Claims) {
    this.#service = service;
    this.#options = options;
    this.#claims = claims;
    for (const port of service.ports) this.#planVip(port);
    for (const published of service.publish) this.#planPublished(published);
    this.#planRoutes();
  }

  #planVip(port: ServicePort): void {
    if (port.protocol === "udp") {
      this.problems.push(`port ${port.port}/udp is not carried in proxy mode yet`);
      return;
    }
    const { vip, aliasVips } = this.#service;
    if (vip === null || !this.#options.listensOnVips) return;
    for (const address of [vip, ...aliasVips])
      this.#listen("vip", { address, port: port.port }, port, this.#pool(port.port));
  }

  #planPublished(published: PublishedPort): void {
    const name = `published port ${published.published}/${published.protocol}`;
    if (published.protocol === "udp") {
      this.problems.push(`${name} is not carried in proxy mode yet`);
      return;
    }
    const port = this.#portOf(published.port);
    if (port === null) {
      this.problems.push(`${name} leads to port ${published.port}/tcp; expected a port of the service`);
      return;
    }
    const isHostOnly = published.mode === "host";
    if (isHostOnly && !this.#service.replicas.some((replica) => replica.local)) return;
    const pool = isHostOnly ? this.#localPool(port.port) : this.#pool(port.port);
    this.#listen(
      "published",
      { address: this.#options.ingressAddress, port: published.published },
      port,
      pool,
    );
  }

  #listen(
    origin: Frontend["origin"],
    at: { readonly address: string; readonly port: number },
    port: ServicePort,
    pool: Pool,
  ): void {
    const holder = this.#claims.take(at.address, at.port, `service ${this.#service.key}`);
    if (holder !== null) {
      const what = origin === "vip" ? "VIP port" : "published port";
      this.problems.push(`${what} ${at.port}/tcp on ${at.address} is taken by ${holder}`);
      return;
    }
    this.frontends.push({ kind: port.protocol === "http" ? "http" : "tcp", origin, ...at, pool });
  }

  #planRoutes(): void {
    const { http, key } = this.#service;
    if (http.length === 0) return;
    const port = httpPortOf(this.#service);
    if (port === null || this.#options.httpPort === 0) {
      const why = port === null ? "the service has no TCP port" : "the HTTP ingress is off";
      this.problems.push(`HTTP routes are not served: ${why}`);
      return;
    }
    for (const { host, path } of http) {
      const prefix = path.replace(/\/+$/, "") || "/";
      const holder = this.#claims.takeName(`route ${host.toLowerCase()} ${prefix}`, `service ${key}`);
      if (holder === null) {
        this.routes.push({ host: host.toLowerCase(), path: prefix, pool: this.#pool(port.port) });
      } else if (holder !== `service ${key}`) {
        this.problems.push(`HTTP route ${host}${prefix} is taken by ${holder}`);
      }
    }
  }

  #portOf(number: number): ServicePort | null {
    return this.#service.ports.find((port) => port.port === number && port.protocol !== "udp") ?? null;
  }

  #pool(port: number): Pool {
    const known = this.#poolByPort.get(port);
    if (known !== undefined) return known;
    const pool = poolOf(this.#service, port, this.#service.replicas);
    this.#poolByPort.set(port, pool);
    return pool;
  }

  #localPool(port: number): Pool {
    const local = this.#service.replicas.filter((replica) => replica.local);
    return poolOf(this.#service, port, local);
  }
}

function poolOf(service: Service, port: number, replicas: readonly Replica[]): Pool {
  const tiers = TIERS.map((tier) =>
    replicas
      .filter((replica) => replica.tier === tier)
      .flatMap((replica) => upstreamOf(service.key, port, replica))
      .sort((one, other) => (one.id < other.id ? -1 : 1)),
  );
  return { service: service.key, port, tiers };
}

/** A replica that does not offer the port (another version of the service) has no upstream in its pool. */
function upstreamOf(service: ServiceKey, port: number, replica: Replica): readonly Upstream[] {
  const own = replica.ports.find(
    (offered) => offered.port === port && transportOf(offered.protocol) === "tcp",
  );
  if (own === undefined) return [];
  return [
    {
      id: `${replica.id}:${own.target}`,
      service,
      replica: replica.id,
      node: replica.node,
      nodeName: replica.nodeName,
      address: replica.address,
      port: own.target,
      via: replica.local || isReachable(replica) ? "direct" : "stream",
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
