/**
 * Workload: what runs on the hosts, and how it changes.
 *
 * Each replica has an address of its own, so that an answer of DNS or a route tells which one it means.
 */

import type { Discovered } from "../../src/model/endpoint.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";

import type { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";

const PROBED: Discovered["health"] = {
  kind: "probe",
  probe: { kind: "tcp", port: 8080, path: "", intervalMs: 1000, timeoutMs: 500, rise: 1, fall: 2 },
};

/** A replica of `default/<service>` as a source finds it: probed, reached by way of its host. */
export function endpoint(service: string, id: string, over: Partial<Discovered> = {}): Discovered {
  const ports = [{ name: "web", port: 80, target: 8080, protocol: "tcp" as const }];
  return {
    id,
    name: id,
    slot: null,
    network: "default",
    service,
    stack: null,
    address: "10.0.0.9",
    reach: "stream",
    declaration: { ...EMPTY_DECLARATION, ports },
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1000,
    declaredAtMs: 1000,
    lifecycle: "running",
    health: PROBED,
    ...over,
  };
}

/** How many addresses one host may give out: what lies between two hosts in 10.0.0.0/8. */
const ADDRESSES_PER_HOST = 2048;

/** Makes replicas with addresses of their own. */
export class Workload {
  readonly #sim: Simulation;
  readonly #usedByHost = new Map<Host, number>();

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  /** A new replica of a service for a host; it does not run yet. */
  make(host: Host, service: string, over: Partial<Discovered> = {}): Discovered {
    const used = this.#usedByHost.get(host) ?? 0;
    this.#usedByHost.set(host, used + 1);
    const startedAtMs = Math.floor(host.clock(this.#sim.nowMs));
    return endpoint(service, `${service}-${host.name}-${used}`, {
      address: addressOf(host.index * ADDRESSES_PER_HOST + (used % ADDRESSES_PER_HOST)),
      reach: used % 3 === 2 ? "direct" : "stream",
      startedAtMs,
      declaredAtMs: startedAtMs,
      // Most as Docker tells it, which costs no events; some probed.
      health: used % 4 === 3 ? PROBED : { kind: "reported", status: "healthy" },
      ...over,
    });
  }

  /** Starts a new replica of a service on a host. */
  create(host: Host, service: string, over: Partial<Discovered> = {}): Discovered {
    const made = this.make(host, service, over);
    this.#sim.runs(host, [...host.endpoints, made]);
    return made;
  }

  /** Gives a replica another weight. @returns what it is now; null when it does not run */
  update(host: Host, id: string, weight: number): Discovered | null {
    const old = host.endpoints.find((one) => one.id === id);
    if (old === undefined) return null;
    const next = { ...old, weight };
    this.#sim.runs(
      host,
      host.endpoints.map((one) => (one === old ? next : one)),
    );
    return next;
  }

  /** Takes a replica away. */
  remove(host: Host, id: string): void {
    this.#sim.runs(
      host,
      host.endpoints.filter((one) => one.id !== id),
    );
  }
}

/** The address with this number in 10.0.0.0/8, leaving out the first 256. */
function addressOf(index: number): string {
  const at = (index + 256) % 2 ** 24;
  return `10.${at >>> 16}.${(at >>> 8) & 255}.${at & 255}`;
}

/** Names for many hosts: a, b, c ... for up to 26, then n0, n1, ... */
export function namesOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    return count <= 26 ? String.fromCharCode(97 + index) : `n${index}`;
  });
}
