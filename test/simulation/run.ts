/**
 * Run: one scenario from an empty cluster to its figures.
 *
 * It sets up the simulation with all that watches it, lets the scenario happen, and gathers what was measured. A broken
 * invariant ends the run; it is part of the result, since the search wants to go on with the next seed.
 */

import { Agreement } from "./agreement.ts";
import { DeathCount } from "./deaths.ts";
import { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";
import { Violation } from "./observer.ts";
import { LogCheck } from "./logs.ts";
import { Meter, percentilesOf, type Percentiles, type Wanted, type Watch } from "./measure.ts";
import type { Options } from "./options.ts";
import { PictureCheck } from "./pictures.ts";
import type { SimulationOptions } from "./settings.ts";
import { namesOf, Workload } from "./workload.ts";

/** What a run found. */
export interface Result {
  readonly nodes: number;
  readonly scenario: string;
  readonly seed: number;
  readonly convergenceMs: Percentiles;
  /** From a fault until every other running node holds the member dead. */
  readonly detectionMs: Percentiles;
  /** From a fault until nobody holds the member alive. */
  readonly doubtedMs: Percentiles;
  /** From the end of the faults until all agree; null when nothing was to heal. */
  readonly healMs: number | null;
  readonly falseDeaths: number;
  readonly copiesPerChange: number | null;
  readonly bytesPerNodePerSecond: number | null;
  readonly messagesPerNodePerSecond: number | null;
  readonly violations: readonly string[];
  /** What else the scenario has to tell. */
  readonly remarks: readonly string[];
  readonly wallMs: number;
  readonly virtualMs: number;
}

/** Times measured, in milliseconds. */
export interface Samples {
  readonly convergence: number[];
  readonly detection: number[];
  readonly doubted: number[];
  readonly heal: number[];
}

/** What runs one scenario. */
export type Scenario = (run: Run) => void;

/** Views that are equal tell of logs that are equal a moment later. */
const DEEP_WITHIN_MS = 5000;
/** What was agreed on must stay so for this long. */
const LASTING_MS = 4000;
/** How long after one another the nodes of a cluster are started. */
const START_EVERY_MS = 10;
/** How long a change may take at most before the run gives up. */
const PATIENCE_MS = 60_000;

/** A simulation with everything that watches it. */
export class Run {
  readonly options: Options;
  readonly sim: Simulation;
  readonly logs: LogCheck;
  readonly pictures: PictureCheck;
  readonly meter: Meter;
  readonly deaths: DeathCount;
  readonly agreement: Agreement;
  readonly work: Workload;
  readonly samples: Samples = { convergence: [], detection: [], doubted: [], heal: [] };
  readonly remarks: string[] = [];
  /** Told now and then how far a long run has come. */
  onProgress: (text: string) => void = () => undefined;
  #measuredMs = 0;
  #measuredBytes = 0;
  #measuredMessages = 0;

  constructor(options: Options, simulation: Partial<SimulationOptions> = {}) {
    this.options = options;
    const { seed, drift, loss, latencyMs } = options;
    const raw = options.raw ? { drop: 0.05, repeat: 0.05, reorder: 0.1 } : null;
    this.sim = new Simulation({ seed, drift, weather: { latencyMs, loss, raw }, ...simulation });
    this.logs = new LogCheck(this.sim);
    this.pictures = new PictureCheck(this.sim, this.logs);
    this.meter = new Meter(this.sim);
    this.deaths = new DeathCount(this.sim);
    this.agreement = new Agreement(this.sim);
    this.work = new Workload(this.sim);
    this.sim.observers.push(this.logs, this.pictures, this.meter, this.deaths);
    this.#beat();
  }

  #beat(): void {
    this.onProgress(`${(this.sim.nowMs / 1000).toFixed(0)} s of virtual time`);
    this.sim.after(1000, () => this.#beat());
  }

  /** How often to look whether all agree: a look costs as much as a view of every node. */
  get lookEveryMs(): number {
    return this.sim.hosts.length <= 25 ? 5 : 50;
  }

  /** Adds hosts with their share of replicas, and starts none. */
  addHosts(count: number): Host[] {
    const { sim } = this;
    const names = namesOf(count);
    const seeds = names.slice(0, 3).map((name) => ({ host: name, port: 7650 }));
    return names.map((name) => {
      const host = sim.add(name, { seeds });
      this.populate(host);
      return host;
    });
  }

  /** Gives a host its replicas: of services with some ten replicas each, on hosts side by side and far apart. */
  populate(host: Host): void {
    const { replicas, nodes } = this.options;
    const count = Math.ceil(nodes / 10);
    const endpoints = Array.from({ length: replicas }, (_, at) => {
      const service =
        at === 0 ? `web${Math.floor(host.index / 10)}` : `s${at}-${(host.index * 7 + at) % count}`;
      return this.work.make(host, service);
    });
    this.sim.runs(host, endpoints);
  }

  /**
   * Starts all hosts within a short time and waits until they agree. A cluster that is there already is used again: to
   * bring a thousand nodes up costs more than all that is done with them.
   */
  assemble(count = this.options.nodes): readonly Host[] {
    const { sim } = this;
    if (sim.hosts.length > 0) {
      this.settle("what was done before", 120_000);
    } else {
      const spreadMs = Math.max(100, START_EVERY_MS * count);
      for (const [at, host] of this.addHosts(count).entries()) {
        sim.after(at < 3 ? 0 : sim.random() * spreadMs, () => void sim.start(host));
      }
      sim.run(spreadMs + 1);
      this.settle("the cluster came up", 120_000);
    }
    sim.run(2000);
    this.reset();
    return sim.running;
  }

  /** Forgets what was measured, to measure something else in the same cluster. */
  measureAnew(): void {
    for (const values of Object.values(this.samples)) values.length = 0;
    this.remarks.length = 0;
    this.deaths.found.length = 0;
    this.meter.forgetCopies();
    this.reset();
  }

  /** Waits until all agree. @returns how long it took; throws a Violation when it takes longer than `capMs` */
  settle(what: string, capMs: number): number {
    const { sim, agreement } = this;
    const startedAtMs = sim.nowMs;
    for (;;) {
      const stepMs = Math.min(5000, startedAtMs + capMs - sim.nowMs);
      const took = sim.until(() => agreement.holds, stepMs, this.lookEveryMs);
      if (took !== null) return sim.nowMs - startedAtMs;
      if (sim.nowMs - startedAtMs >= capMs)
        throw new Violation(`no agreement ${capMs} ms after ${what}: ${agreement.fault()}`);
      this.onProgress(
        `${((sim.nowMs - startedAtMs) / 1000).toFixed(0)} s after ${what}: ${agreement.fault()}`,
      );
    }
  }

  /** Looks below the views, once all agree: what the views do not show may take a moment longer. */
  checkDeep(): void {
    const { sim, agreement } = this;
    const holds = (): boolean => agreement.deepFault() === null;
    if (sim.until(holds, DEEP_WITHIN_MS, 10 * this.lookEveryMs) === null)
      throw new Violation(`views are equal, but ${agreement.deepFault()}`);
  }

  /** Waits until all agree, and have agreed for some seconds. @returns how long it took until they did first */
  settleForGood(what: string, capMs: number): number {
    const { sim, agreement } = this;
    const endMs = sim.nowMs + capMs;
    let tookMs = this.settle(what, capMs);
    for (;;) {
      const agreedAtMs = sim.nowMs;
      const broke = sim.until(() => !agreement.holds, LASTING_MS, this.lookEveryMs);
      if (broke === null) return tookMs;
      tookMs += sim.nowMs - agreedAtMs;
      if (sim.nowMs >= endMs) throw new Violation(`no lasting agreement ${capMs} ms after ${what}`);
      tookMs += this.settle(what, endMs - sim.nowMs);
    }
  }

  /** Begins to count messages and bytes anew. */
  reset(): void {
    this.meter.reset();
    this.meter.settle();
    this.#measuredMs = -this.sim.nowMs;
  }

  /** Ends the count of messages and bytes; what comes later does not show in the figures. */
  measured(): void {
    this.#measuredMs += this.sim.nowMs;
    this.#measuredBytes = this.meter.bytes;
    this.#measuredMessages = this.meter.messages;
  }

  /** Makes a change and waits until every running host's view shows it. @returns the time, null for never */
  change(wanted: Wanted, act: () => void): number | null {
    const watch = this.meter.watch(wanted, act);
    const took = this.await(watch);
    if (took === null)
      this.remarks.push(`a change was not seen by ${namesIn(watch.waiting)} in ${PATIENCE_MS} ms`);
    return took;
  }

  /** Waits for a watch. @returns the time until the last saw it, null when that is more than `capMs` */
  await(watch: Watch, capMs = PATIENCE_MS): number | null {
    this.sim.until(() => watch.doneMs !== null, capMs);
    this.meter.stop(watch);
    return watch.doneMs;
  }

  /** Everything measured. */
  result(scenario: string, violations: readonly string[], wallMs: number): Result {
    if (this.#measuredMs < 0) this.measured();
    const { samples, deaths, meter, options } = this;
    const perSecond = (sum: number): number | null =>
      this.#measuredMs <= 0 ? null : round(sum / options.nodes / (this.#measuredMs / 1000));
    const copies = meter.copiesPerChange;
    return {
      nodes: options.nodes,
      scenario,
      seed: options.seed,
      convergenceMs: percentilesOf(samples.convergence),
      detectionMs: percentilesOf(samples.detection),
      doubtedMs: percentilesOf(samples.doubted),
      healMs: samples.heal.length === 0 ? null : round(Math.max(...samples.heal)),
      falseDeaths: deaths.found.length,
      copiesPerChange: copies === null ? null : Math.round(copies * 100) / 100,
      bytesPerNodePerSecond: perSecond(this.#measuredBytes),
      messagesPerNodePerSecond: perSecond(this.#measuredMessages),
      violations,
      remarks: [...this.remarks],
      wallMs: round(wallMs),
      virtualMs: round(this.sim.nowMs),
    };
  }
}

function namesIn(hosts: Iterable<Host>): string {
  return Array.from(hosts, ({ name }) => name)
    .slice(0, 5)
    .join(", ");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
