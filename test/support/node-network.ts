// Whole nodes by name, for tests of what a cluster agrees on: a thin layer over the simulator, which see for how links,
// crashes and cuts behave. What must always hold is checked at every step, as in any simulation.

import assert from "node:assert/strict";

import type { HostPort } from "../../src/base/ip.ts";
import type { Charter } from "../../src/model/charter.ts";
import type { Role } from "../../src/model/credential.ts";
import type { Discovered } from "../../src/model/endpoint.ts";
import type { Happening } from "../../src/model/event.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { KeptState } from "../../src/model/kept.ts";
import type { Seals } from "../../src/model/seal.ts";
import type { View } from "../../src/model/view.ts";
import type { Node } from "../../src/node.ts";
import type { Input } from "../../src/step.ts";
import { Simulation } from "../simulation/engine.ts";
import { heal, pause } from "../simulation/faults.ts";
import type { Host } from "../simulation/host.ts";
import { LogCheck } from "../simulation/logs.ts";
import { PictureCheck } from "../simulation/pictures.ts";

/** What the clocks of all hosts show when a test begins. */
const BEGIN_MS = 1_000_000;
/** The shortest time a frame is under way. */
const LEAST_DELAY_MS = 0.5;

/** One host: its disk outlives its daemon. */
export class NodeHost {
  readonly name: string;
  readonly address: HostPort;
  /** Views that its present life has shown, the newest last. */
  readonly views: View[] = [];
  readonly #sim: Simulation;
  readonly #host: Host;

  constructor(sim: Simulation, host: Host) {
    this.name = host.name;
    this.address = host.address;
    this.#sim = sim;
    this.#host = host;
  }

  /** The daemon of its present life; null while there is none. */
  get node(): Node | null {
    return this.#host.node;
  }

  /** What its next life will find on its disk. */
  get kept(): KeptState {
    return this.#host.unsaved ?? this.#host.disk;
  }

  set kept(kept: KeptState) {
    this.#host.disk = kept;
  }

  /** The cluster's decisions, as its next life will find them on its disk. */
  get charter(): Charter {
    return this.#host.charter;
  }

  /** What its certificate makes it, from its next start on; `seals` for a daemon that lies. */
  certify(role: Role, seals: Seals | null = null): void {
    Object.assign(this.#host, { role, seals });
  }

  get id(): NodeId {
    return this.#host.id;
  }

  get happenings(): readonly Happening[] {
    return this.#host.happenings;
  }

  /** Its daemon hangs: its links stay, and nothing that it gets is worked on. */
  hang(): void {
    pause(this.#sim, this.#host);
  }
}

/** What a daemon is started with. */
export interface StartOptions {
  /** Sources that will tell; `static` unless told. */
  readonly sources?: readonly string[];
  /** Told by `static` at once; nothing is told when this is undefined. */
  readonly endpoints?: readonly Discovered[];
}

/** The hosts and the clock. */
export class NodeNetwork {
  /** Called after every step of every node. */
  onStep: (host: NodeHost) => void = () => undefined;
  readonly hosts: readonly NodeHost[];
  readonly #sim: Simulation;
  readonly #hostByName: ReadonlyMap<string, NodeHost>;

  constructor(options: { seed: number; names: readonly string[]; pool?: string; delayMs?: number }) {
    const { seed, names, pool = "10.96.0.0/16", delayMs = 5 } = options;
    const latencyMs = { low: LEAST_DELAY_MS, high: LEAST_DELAY_MS + delayMs };
    this.#sim = new Simulation({ seed, pool, weather: { latencyMs } });
    const hosts = names.map((name) => this.#sim.add(name));
    for (const host of hosts) {
      host.clockOffsetMs = BEGIN_MS;
      host.seeds = hosts.filter((other) => other !== host).map(({ address }) => address);
    }
    this.hosts = hosts.map((host) => new NodeHost(this.#sim, host));
    this.#hostByName = new Map(this.hosts.map((host) => [host.name, host]));
    const logs = new LogCheck(this.#sim);
    this.#sim.observers.push(logs, new PictureCheck(this.#sim, logs), {
      started: ({ name }) => this.host(name).views.splice(0),
      stepped: ({ name }, _input, { view }) => {
        const host = this.host(name);
        if (host.views.at(-1) !== view) host.views.push(view);
        this.onStep(host);
      },
    });
  }

  /** What every host's clock shows now. */
  get nowMs(): number {
    return BEGIN_MS + this.#sim.nowMs;
  }

  /** Replicas whose probes fail. */
  get unhealthyIds(): Set<string> {
    return this.#sim.unhealthyIds;
  }

  host(name: string): NodeHost {
    return this.#hostByName.get(name) ?? assert.fail(`no host ${name}`);
  }

  /** Hosts whose daemon runs. */
  get running(): NodeHost[] {
    return this.hosts.filter(({ node }) => node !== null);
  }

  /** The newest view of a running host. */
  view(name: string): View {
    return this.#sim.view(this.#sim.host(name));
  }

  /** Starts a daemon that joins all other hosts. */
  start(name: string, { sources = ["static"], endpoints }: StartOptions = {}): void {
    this.#sim.start(this.#sim.host(name), { sources, toldAfterMs: null });
    if (endpoints !== undefined) this.discover(name, endpoints);
  }

  /** Tells a node all that one of its sources knows. */
  discover(name: string, endpoints: readonly Discovered[], source = "static"): void {
    const host = this.#sim.host(name);
    host.toldAtMs = Math.min(host.toldAtMs, this.#sim.nowMs);
    this.#sim.runs(host, endpoints, source);
  }

  /** Gives a node one input, at this moment. */
  feed(name: string, input: Input): void {
    this.#sim.feed(this.#sim.host(name), input);
  }

  /** The daemon is gone without a word; its host refuses connections. */
  crash(name: string): void {
    this.#sim.crash(this.#sim.host(name));
  }

  /** No packet passes between hosts wherever `isCut` says so of either way, until the next call. */
  partition(isCut: (one: string, other: string) => boolean): void {
    this.heal();
    for (const one of this.#sim.hosts) {
      for (const other of this.#sim.hosts) {
        if (isCut(one.name, other.name) || isCut(other.name, one.name)) this.#sim.network.cut(one, other);
      }
    }
  }

  heal(): void {
    heal(this.#sim);
  }

  /** Lets time pass. */
  run(ms: number): void {
    this.#sim.run(ms);
  }

  /** Lets time pass until something holds. @returns whether it does, within `capMs` */
  until(condition: () => boolean, capMs: number): boolean {
    return this.#sim.until(condition, capMs) !== null;
  }
}
