/**
 * Lanes: each frontend's and route's way to its pool, living on across tables.
 *
 * A table brings whole pools; what was learnt on the way to one (turns, retries saved) stays with its lane, keyed by
 * what the pool serves, and goes when that goes. A table that is not complete takes nothing away.
 *
 * Pure.
 */

import type { Random } from "../base/random.ts";

import { openLane, type Lane } from "./choice/attempts.ts";
import { listenerKey, type Frontend, type Pool, type RouteTable } from "./routes.ts";

/** The lanes of one proxy. */
export class Lanes {
  readonly #random: Random;
  readonly #laneByKey = new Map<string, Lane>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Makes the table's pools the ones that count. */
  set(table: RouteTable): void {
    const poolByKey = poolsOf(table);
    for (const [key, pool] of poolByKey) {
      const lane = this.#laneByKey.get(key);
      if (lane === undefined) this.#laneByKey.set(key, openLane(pool, this.#random));
      else lane.pool = pool;
    }
    for (const key of this.#laneByKey.keys()) {
      if (table.complete && !poolByKey.has(key)) this.#laneByKey.delete(key);
    }
  }

  /** Every pool that is served. */
  get pools(): readonly Pool[] {
    return [...this.#laneByKey.values()].map(({ pool }) => pool);
  }

  /** The lane of a listener; null when it has left the table. */
  ofFrontend(frontend: Pick<Frontend, "kind" | "address" | "port">): Lane | null {
    return this.#laneByKey.get(listenerKey(frontend)) ?? null;
  }

  /** The lane that all routes to one pool share; null when it has left the table. */
  ofRoute({ pool }: { readonly pool: Pool }): Lane | null {
    return this.#laneByKey.get(routeKey(pool)) ?? null;
  }
}

function poolsOf({ frontends, ingress }: RouteTable): ReadonlyMap<string, Pool> {
  const routes = [...(ingress?.routes ?? []), ...(ingress?.passthrough ?? [])];
  return new Map([
    ...frontends.map((frontend) => [listenerKey(frontend), frontend.pool] as const),
    ...routes.map(({ pool }) => [routeKey(pool), pool] as const),
  ]);
}

/** Not mistaken for a listener's key: that has no space. */
function routeKey(pool: Pool): string {
  return `route ${pool.service}:${pool.port}`;
}
