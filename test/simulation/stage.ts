/**
 * Stage: a settled cluster for one named case, with everything watched as in a search.
 */

import assert from "node:assert/strict";

import { jumpClock } from "./faults.ts";
import type { Host } from "./host.ts";
import { DEFAULTS, type Options } from "./options.ts";
import { Run } from "./run.ts";
import { replicaOf } from "./scenarios/seen.ts";

/** A cluster of hosts a, b, c ... that agree; host x offers `own-x` and a copy of `web`. */
export class Stage extends Run {
  constructor(nodes: number, over: Partial<Options> = {}) {
    super({ ...DEFAULTS, scenario: "change", ...over, nodes, replicas: 0 });
  }

  /** Starts all and waits until they agree. */
  raise(): this {
    this.addHosts(this.options.nodes);
    for (const host of this.sim.hosts) this.furnish(host);
    for (const host of this.sim.hosts) this.sim.start(host);
    this.settle("the start", 10_000);
    this.sim.run(1500);
    return this;
  }

  /** Gives a host its replicas. */
  furnish(host: Host): void {
    this.sim.runs(host, [this.work.make(host, `own-${host.name}`), this.work.make(host, "web")]);
  }

  host(name: string): Host {
    return this.sim.host(name);
  }

  /** The tier of the first replica of a service of one host in another one's view; "absent" when it is not there. */
  tier(at: Host, service: string, id: string): string {
    return replicaOf(this.sim.view(at), service, id)?.tier ?? "absent";
  }

  /** The state in which a host's view has another host's node; "unknown" when it has not. */
  state(at: Host, of: Host): string {
    return this.sim.view(at).members.find(({ id }) => id === of.id)?.state ?? "unknown";
  }

  /** The VIP that a host's view has for a service. */
  vip(at: Host, service: string): string | null {
    return this.sim.view(at).services.find(({ key }) => key === `default/${service}`)?.vip ?? null;
  }

  /** Lets time pass until something holds; fails when it does not within `capMs`. @returns how long it took */
  within(capMs: number, what: string, holds: () => boolean): number {
    const took = this.sim.until(holds, capMs);
    assert.ok(took !== null, `seed ${this.sim.seed}: not within ${capMs} ms: ${what}`);
    return took;
  }

  /** Waits until all agree, on what is below the views as well. */
  agree(capMs: number, what: string): number {
    const took = this.settle(what, capMs);
    this.checkDeep();
    return took;
  }

  /** Lets much time pass at once: every clock jumps, as if all machines had been asleep together. */
  skip(ms: number): void {
    for (const host of this.sim.hosts) jumpClock(host, ms);
    this.sim.run(100);
  }
}

/** The id of a host's replica of a service. */
export function idAt(host: Host, service: string): string {
  const found = host.endpoints.find((endpoint) => endpoint.service === service);
  assert.ok(found !== undefined, `${host.name} has ${service}`);
  return found.id;
}
