// Endpoints and discoveries, for the tests of what a node makes of them.

import type { Discovered, Discovery } from "../../src/model/endpoint.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";

/** A running endpoint of service `web`. */
export function endpoint(id: string, over: Partial<Discovered> = {}): Discovered {
  return {
    id,
    name: id,
    slot: null,
    network: "default",
    service: "web",
    stack: null,
    address: "172.17.0.2",
    reach: "stream",
    declaration: EMPTY_DECLARATION,
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1000,
    declaredAtMs: 1000,
    lifecycle: "running",
    health: { kind: "none" },
    ...over,
  };
}

/** A fresh set of one source. */
export function discovery(source: string, endpoints: readonly Discovered[]): Discovery {
  return { source, endpoints, clients: [], problems: [], stale: null };
}
