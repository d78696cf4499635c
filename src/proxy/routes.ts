/**
 * Routes: what this host listens on and where each listener leads, as data.
 *
 * The plan holds whole pools, tier by tier, and says nothing about health: `tier` comes from the view. It is
 * structured-cloneable and comparable by value, so the shell may live in a worker and skip plans it has seen. Every
 * list has a fixed order (services by key, upstreams by id): equal views give equal plans.
 *
 * Pure. Types and the key of a listener; plan.ts makes the plan, proxy.ts serves it.
 */

import { renderHostPort } from "../base/ip.ts";
import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";
import type { Delivery, Protocol, TrafficPolicy } from "../model/service.ts";

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
  /** `direct`: connect to the address, be it over an overlay network; `stream`: through the daemon of its host. */
  readonly via: "direct" | "stream";
  /** 1 to 100: its share beside the others'. */
  readonly weight: number;
  /** 0: on this host; 1: elsewhere in its zone; 2: further away. */
  readonly distance: 0 | 1 | 2;
  /** Since when it has its tier, by this node's clock, Unix milliseconds. */
  readonly sinceMs: number;
  /** The header that it expects in front of each connection. */
  readonly proxyProtocol: Delivery["proxyProtocol"];
  /**
   * Of a relayed one: the life (incarnation) of the daemon that relays. What is kept open through an earlier one keeps
   * that one from ending, so no new request is to use it.
   */
  readonly relayLife?: number;
  /** Of a draining one: when the connections it still has are cut, Unix milliseconds. */
  readonly drainUntilMs: number | null;
}

/** The upstreams of one service port. */
export interface Pool {
  readonly service: ServiceKey;
  /** The service port, as clients know it. */
  readonly port: number;
  readonly protocol: Protocol;
  /** One list for each of TIERS, in that order, each sorted by id. */
  readonly tiers: readonly (readonly Upstream[])[];
  /**
   * Those that take nothing new but keep what they have: of weight 0, starting, or behind a daemon that is away. An
   * upstream that is neither in a tier nor here is gone, and so are its connections.
   */
  readonly resting: readonly Upstream[];
  readonly traffic: TrafficPolicy;
}

/** An address and port to listen on, leading to one pool. */
export interface Frontend {
  /** `http`: the upstream is chosen per request; `tcp`: per connection; `udp`: per flow, or per datagram. */
  readonly kind: Protocol;
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

/** TLS connections for a host that pass unopened. */
export interface PassthroughRoute {
  /** As IngressRoute's. */
  readonly host: string;
  readonly pool: Pool;
}

/** The ingress: listeners whose requests are told apart by host and path, and TLS connections by host. */
export interface Ingress {
  readonly address: string;
  /** Of HTTP; null when that is off. */
  readonly port: number | null;
  /** Of HTTPS and of what passes unopened; null when that is off. */
  readonly httpsPort: number | null;
  readonly routes: readonly IngressRoute[];
  readonly passthrough: readonly PassthroughRoute[];
}

/** The whole plan. */
export interface RouteTable {
  /** False while the view is incomplete: listeners may then be opened, not closed. */
  readonly complete: boolean;
  readonly frontends: readonly Frontend[];
  /** Null when both HTTP and HTTPS are off. */
  readonly ingress: Ingress | null;
  /** What could not be planned, in words. */
  readonly problems: readonly string[];
}

/** The key of a listener: two frontends never share one. */
export function listenerKey(at: {
  readonly kind: Protocol;
  readonly address: string;
  readonly port: number;
}): string {
  const where = renderHostPort({ host: at.address, port: at.port });
  return at.kind === "udp" ? `${where}/udp` : where;
}

/** Tells one life of an upstream from another: a container that restarts may keep its id and change its address. */
export function versionOf({ id, address }: Upstream): string {
  return `${id} ${address}`;
}

/**
 * Tells the ways to one life of an upstream apart: an overlay network may come up, or go down, while the replica lives.
 * What it has in hand goes on; what is opened from then on takes the new way.
 */
export function wayOf(upstream: Upstream): string {
  return `${versionOf(upstream)} ${upstream.via}`;
}
