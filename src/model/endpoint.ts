/**
 * Endpoint: one running copy of a service on this host, as a source discovered it.
 *
 * Sources hand over their whole set each time, not edits, so a lost event heals with the next set. An endpoint is
 * discovered whether or not it is ready: health decides that, and rejoins at the catalog.
 *
 * Pure.
 */

import type { ReplicaId, ServiceKey } from "./ids.ts";
import type { Delivery, ServiceDeclaration } from "./service.ts";

/** An active check of one endpoint. Times in milliseconds; `rise` and `fall` are results in a row, at least 1. */
export interface ProbePlan {
  readonly kind: "tcp" | "http";
  readonly port: number;
  /** Request path for `http`; empty for `tcp`. */
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
}

/**
 * Who says whether an endpoint is ready: our own probe, Docker's HEALTHCHECK, or nobody (running is ready, as for a
 * service with UDP ports only).
 */
export type HealthSource =
  | { readonly kind: "probe"; readonly probe: ProbePlan }
  | { readonly kind: "reported"; readonly status: "starting" | "healthy" | "unhealthy" }
  | { readonly kind: "none" };

/**
 * How hosts other than its own reach an endpoint: `direct` by its address, `stream` relayed by its host's daemon
 * because the address means nothing elsewhere (a bridge network, loopback); `overlay`: by its address from hosts that
 * carry its network, by a relayed stream from all others.
 */
export type Reach = "direct" | "stream" | "overlay";

/** What the source says of the copy itself. `stopping`: it has been sent its stop signal. */
export type Lifecycle = "running" | "paused" | "stopping";

/**
 * What health says of one endpoint, and why, in words that stay the same while nothing changes (they are published).
 * `starting`: not proven yet, and too early to call it broken.
 */
export interface Readiness {
  readonly state: "starting" | "ready" | "unready";
  /** Who says so and why: `probe: connection refused`, `docker: health check failing`. */
  readonly reason: string;
}

/** One copy of a service on this host. */
export interface Discovered {
  readonly id: ReplicaId;
  /** A DNS label, unique in its service on this host: the container's name. */
  readonly name: string;
  /** Compose's container number; null where there is none. */
  readonly slot: number | null;
  readonly network: string;
  readonly service: string;
  /** Compose project; null where there is none. */
  readonly stack: string | null;
  readonly address: string;
  /** Its IPv6 address beside it, in canonical form, on a network that has both. */
  readonly address6?: string;
  readonly reach: Reach;
  readonly declaration: ServiceDeclaration;
  /** 0 to 100; 0 takes no new traffic. */
  readonly weight: number;
  readonly delivery: Delivery;
  /**
   * When the copy was started, by its host's clock: tells this run of it from others, so that health begins again and
   * a drain ends with a restart. 0 where nobody tells of restarts.
   */
  readonly startedAtMs: number;
  /** When it began to declare what it declares; orders declarations of one service, and says nothing of the copy. */
  readonly declaredAtMs: number;
  readonly lifecycle: Lifecycle;
  readonly health: HealthSource;
}

/** A container or process of this host that asks for names: its address, and the networks it may see, own first. */
export interface LocalClient {
  readonly address: string;
  readonly name: string;
  readonly networks: readonly string[];
  /** Nothing leads out of its networks: no question of it may leave the host. */
  readonly isolated: boolean;
  /** It has a label of ours, so that it counts on us for names, whomever it asks. */
  readonly labelled?: true;
  /** Services of overlay networks for whose names Docker's own server answers containers beside it with this one. */
  readonly hides?: readonly ServiceKey[];
}

/** A server that a client's resolver asks. */
export interface NameServer {
  readonly address: string;
  /** Asked from the host's network stack, not from the client's own: there loopback is the host's. */
  readonly fromHost: boolean;
}

/** An address that a client has. */
export interface HeldAddress {
  readonly address: string;
  /**
   * When this run of the client was first seen there; monotonic. Addresses are given out again at once, so what came
   * from this one earlier may have been another's.
   */
  readonly sinceMs: number;
}

/** How a container of this host asks for names. */
export interface NamePath {
  readonly name: string;
  /** Its own; none where it shares the host's network stack, or has no network. */
  readonly addresses: readonly HeldAddress[];
  /** Addresses of the host on its networks that lead out. */
  readonly gateways: readonly string[];
  /** Whose network stack it uses; `none`: it has no network at all. */
  readonly stack: "own" | "host" | "none";
  /** All its networks are internal: nothing leads out of them. */
  readonly isolated: boolean;
  /** Docker's own server (127.0.0.11) stands between. */
  readonly embedded: boolean;
  /** Whom its resolver, or Docker's on its behalf, asks, in that order; null when it cannot be told. */
  readonly servers: readonly NameServer[] | null;
  /** What it asks at port 53 of whatever server is led to this daemon by the kernel's rules. */
  readonly led?: true;
}

/** Something wrong with one source's input that left the rest of it usable: a bad label, a bad reply. */
export interface Problem {
  /** What it is about: `container web-1`, `service web`. */
  readonly subject: string;
  /** Lower case, naming thing, value and expectation. */
  readonly text: string;
}

/** All that one source knows at a moment. A source that lost its origin keeps its last set and says so. */
export interface Discovery {
  /** Which source: `docker`, `static`. */
  readonly source: string;
  readonly endpoints: readonly Discovered[];
  readonly clients: readonly LocalClient[];
  readonly problems: readonly Problem[];
  /** Why the set may be out of date; null when it is fresh. */
  readonly stale: string | null;
}
