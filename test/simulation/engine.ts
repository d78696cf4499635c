/**
 * Engine: whole daemons on one virtual clock.
 *
 * It runs `Node`s as src/daemon/driver.ts does: a tick each 50 ms and sooner when asked, effects carried out in the
 * order in which they were decided, the state on disk a moment later. One seed decides everything, so what went wrong
 * once goes wrong again. Observers see each step: they check what must always hold (logs.ts,
 * pictures.ts) and measure (measure.ts). Faults are in faults.ts, what bytes do on their way in network.ts.
 */

import { parsePrefix, type Prefix } from "../../src/base/ip.ts";
import { below, seededRandom, type Random } from "../../src/base/random.ts";
import type { Discovered } from "../../src/model/endpoint.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { View } from "../../src/model/view.ts";
import { Node } from "../../src/node.ts";
import type { Effects, Input } from "../../src/step.ts";
import { cheapSeals } from "../support/cheap-seals.ts";

import { Host, type End, type Parcel } from "./host.ts";
import { logsOf } from "./inside.ts";
import { Network } from "./network.ts";
import { lineOf, Violation, type Observer } from "./observer.ts";
import { EventQueue, type Timed } from "./queue.ts";
import { CALM, type AddOptions, type SimulationOptions, type StartOptions } from "./settings.ts";

/** As in src/daemon/driver.ts. */
export const TICK_MS = 50;
/** Every so many ticks the daemon tells its node how late it is. */
const TELLS_DELAY_EVERY = 20;
/** Up to this many hosts what a node was given is overwritten after the step: a copy of each frame. */
const SCRUBBED_UP_TO = 25;
/** How long a probe takes. */
const PROBE_MS = 1;
/** How long the state takes to be on disk, at most. */
const SAVE_MS = 20;

interface Event extends Timed {
  readonly kind: "tick" | "wake" | "parcel" | "act";
  readonly host: Host | null;
  readonly life: number;
  readonly end: End | null;
  readonly parcel: Parcel | null;
  readonly act: (() => void) | null;
}

/** The hosts, the network between them, and the clock. */
export class Simulation {
  readonly seed: number;
  /** For whoever writes what happens; the network and each node have their own. */
  readonly random: Random;
  readonly network: Network;
  readonly hosts: Host[] = [];
  readonly observers: Observer[] = [];
  /** Replicas whose probes fail. */
  readonly unhealthyIds = new Set<string>();
  /** Told what happens, when set; for looking into one run. */
  trace: ((line: string) => void) | null = null;
  eventCount = 0;
  stepCount = 0;
  readonly #queue = new EventQueue<Event>();
  readonly #pool: Prefix;
  readonly #drift: boolean;
  readonly #machines: Random;
  readonly #hostByName = new Map<string, Host>();
  #nowMs = 0;

  constructor(options: SimulationOptions) {
    const { seed, pool = "10.96.0.0/12", weather = {}, drift = false } = options;
    this.seed = seed;
    const seeds = seededRandom(seed);
    const next = (): Random => seededRandom(below(seeds, 2 ** 32));
    this.random = next();
    this.#machines = next();
    this.#drift = drift;
    const parsed = parsePrefix(pool);
    if (!parsed.ok) throw parsed.failure;
    this.#pool = parsed.value;
    this.network = new Network({
      agenda: this,
      random: next(),
      give: (host, life, input, end) => this.#give(host, life, input, end),
      weather: { ...CALM, ...weather },
    });
  }

  /** Milliseconds since the simulation began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Hosts whose daemon runs. */
  get running(): Host[] {
    return this.hosts.filter((host) => host.isRunning);
  }

  host(name: string): Host {
    const host = this.#hostByName.get(name);
    if (host === undefined) throw new Error(`host is "${name}"; expected one that was added`);
    return host;
  }

  /** The newest view of a running host. */
  view(host: Host): View {
    if (host.node === null) throw new Error(`${host.name} does not run`);
    return host.node.view;
  }

  /** Adds a host; nothing runs there yet. */
  add(name: string, options: AddOptions = {}): Host {
    const { seeds = [], ...rest } = options;
    const random = seededRandom(below(this.#machines, 2 ** 32));
    const host = new Host({ index: this.hosts.length, name, seeds, random, ...rest });
    if (this.#drift) {
      host.clockOffsetMs += (this.#machines() - 0.5) * 7_200_000;
      host.clockRate = 1 + (this.#machines() - 0.5) * 2e-4;
    }
    this.hosts.push(host);
    this.#hostByName.set(name, host);
    this.network.listen(host.address, host);
    return host;
  }

  /** Starts the daemon of a host. */
  start(host: Host, options: StartOptions = {}): Node {
    if (host.isRunning) throw new Error(`${host.name} runs already`);
    const { sources = ["static"], toldAfterMs = host.random() * 50 } = options;
    host.life += 1;
    const { life } = host;
    const said = { zone: "", labels: {}, software: "test", prefixes: [] } as const;
    const node = new Node({
      id: host.id,
      record: { name: host.name, ...host.address, ...said },
      seeds: host.seeds,
      sources,
      pool: this.#pool,
      kept: host.disk,
      seals: host.seals ?? cheapSeals(host.id, host.role),
      charter: host.charter,
      random: seededRandom(below(host.random, 2 ** 32)),
      nowMs: host.clock(this.#nowMs),
    });
    // As the daemon does: the incarnation is on disk before the first link.
    host.disk = { ...host.disk, incarnation: node.gossip.incarnation };
    const begins = { node, logs: logsOf(node), startedAtMs: this.#nowMs, view: null, unsaved: null };
    const is = { wakeIsSet: false, isPaused: false, tickIsLate: false, isLeaving: false };
    Object.assign(host, begins, is, { delayMs: 0, toldAtMs: Infinity });
    host.waiting.length = 0;
    this.tell(`${host.name} starts, life ${life}, incarnation ${host.disk.incarnation}`);
    for (const observer of this.observers) observer.started?.(host);
    this.#push(this.#nowMs + host.random() * TICK_MS, { kind: "tick", host, life });
    if (toldAfterMs !== null) this.after(toldAfterMs, () => this.#tellAll(host, life, sources));
    return node;
  }

  /** The daemon is killed: its kernel closes its links and refuses dials. What was not on disk yet is lost. */
  crash(host: Host): void {
    if (!host.isRunning) return;
    this.tell(`${host.name} crashes`);
    this.#end(host);
    this.network.crash(host);
  }

  /** The host loses its power: no word to anybody. */
  powerOff(host: Host): void {
    this.tell(`${host.name} loses power`);
    this.#end(host);
    this.network.powerOff(host);
    host.isOn = false;
  }

  /** Gives a daemon an input at this moment; one that is paused gets it when it goes on. */
  feed(host: Host, input: Input): void {
    this.#give(host, host.life, input);
  }

  /** Changes what runs on a host, and tells its daemon. */
  runs(host: Host, endpoints: readonly Discovered[], source = "static"): void {
    host.endpointsBySource.set(source, endpoints);
    const ids = new Set(host.endpoints.map(({ id }) => id));
    for (const id of host.runsSinceMsById.keys()) if (!ids.has(id)) host.runsSinceMsById.delete(id);
    for (const id of ids) {
      if (!host.runsSinceMsById.has(id)) host.runsSinceMsById.set(id, this.#nowMs);
    }
    if (host.isRunning && host.toldAtMs <= this.#nowMs) this.discovered(host, source);
  }

  /** A source tells the daemon what runs there. */
  discovered(host: Host, source = "static"): void {
    const endpoints = host.endpointsBySource.get(source) ?? [];
    const discovery = { source, endpoints, clients: [], problems: [], stale: null };
    host.toldAtMs = Math.min(host.toldAtMs, this.#nowMs);
    this.feed(host, { kind: "discovered", discovery });
  }

  /** Lets a stopped process go on; its late tick comes before what waited, or after it. */
  resume(host: Host, lateTick: "first" | "last"): void {
    if (!host.isPaused) return;
    this.tell(`${host.name} goes on, tick ${lateTick}, ${host.waiting.length} inputs wait`);
    host.isPaused = false;
    host.delayMs = Math.max(host.delayMs, this.#nowMs - host.pausedAtMs);
    const { life } = host;
    const tick = (): void => {
      if (host.life === life && host.tickIsLate) this.#tick(host);
    };
    if (lateTick === "first") tick();
    for (const act of host.waiting.splice(0)) act();
    if (lateTick === "last") tick();
  }

  /** Does something later, whatever becomes of the hosts. */
  after(ms: number, act: () => void): void {
    this.act(this.#nowMs + ms, act);
  }

  act(atMs: number, act: () => void): void {
    this.#push(atMs, { kind: "act", act });
  }

  parcel(atMs: number, end: End, parcel: Parcel): void {
    this.#push(atMs, { kind: "parcel", end, parcel });
  }

  /** Lets time pass. */
  run(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const first = this.#queue.first;
      if (first === undefined || first.atMs > endMs) break;
      this.#queue.pop();
      this.#happen(first);
    }
    this.#nowMs = endMs;
  }

  /**
   * Lets time pass until something holds.
   *
   * @param everyMs  how often to look; 0 for after each event
   * @returns how long it took, null when it did not come to hold within `capMs`
   */
  until(holds: () => boolean, capMs: number, everyMs = 0): number | null {
    const startMs = this.#nowMs;
    const endMs = startMs + capMs;
    while (!holds()) {
      const next = everyMs === 0 ? (this.#queue.first?.atMs ?? endMs) : this.#nowMs + everyMs;
      if (next > endMs || this.#nowMs >= endMs) {
        this.run(endMs - this.#nowMs);
        return holds() ? endMs - startMs : null;
      }
      if (everyMs > 0) this.run(everyMs);
      else this.#happen(this.#queue.pop() as Event);
    }
    return this.#nowMs - startMs;
  }

  #push(atMs: number, event: Partial<Event> & Pick<Event, "kind">): void {
    const { kind, host = null, life = 0, end = null, parcel = null, act = null } = event;
    this.#queue.push({ atMs: Math.max(atMs, this.#nowMs), order: 0, kind, host, life, end, parcel, act });
  }

  #happen(event: Event): void {
    this.#nowMs = event.atMs;
    this.eventCount += 1;
    const { kind, host, end } = event;
    if (kind === "parcel") {
      if (end !== null && event.parcel !== null) this.network.arrived(end, event.parcel);
    } else if (kind === "act") event.act?.();
    else if (host !== null && host.node !== null && host.life === event.life) {
      if (kind === "wake") {
        host.wakeIsSet = false;
        if (!host.isPaused) this.#step(host, { kind: "tick" });
      } else if (host.isPaused) {
        // One timer that is late is one tick, however long a pause was.
        host.tickIsLate = true;
      } else this.#tick(host);
    }
  }

  #tick(host: Host): void {
    host.tickIsLate = false;
    host.tickCount += 1;
    if (host.tickCount % TELLS_DELAY_EVERY === 0) {
      this.#step(host, { kind: "tick", delayMs: host.delayMs });
      host.delayMs = 0;
    } else this.#step(host, { kind: "tick" });
    this.#push(this.#nowMs + TICK_MS / host.clockRate, { kind: "tick", host, life: host.life });
  }

  #tellAll(host: Host, life: number, sources: readonly string[]): void {
    if (host.life !== life || !host.isRunning) return;
    for (const source of sources) this.discovered(host, source);
  }

  #end(host: Host): void {
    host.node = null;
    host.life += 1;
    host.waiting.length = 0;
    host.isPaused = false;
  }

  #give(host: Host, life: number, input: Input, end?: End): void {
    if (host.life !== life || !host.isRunning) return;
    if (host.isPaused) {
      host.waiting.push(() => this.#give(host, life, input, end));
      return;
    }
    if (end === undefined || input.kind !== "frame") return this.#step(host, input);
    if (!this.network.read(end, input.frame)) return;
    if (this.hosts.length > SCRUBBED_UP_TO) return this.#step(host, input);
    // The bytes are gone when the step returns: what a node keeps of them it must have copied.
    const frame = input.frame.slice();
    this.#step(host, { ...input, frame });
    frame.fill(0xff);
  }

  /** One step of one node, and all that it wants done. */
  #step(host: Host, input: Input): void {
    const { node } = host;
    if (node === null) return;
    this.stepCount += 1;
    for (const observer of this.observers) observer.before?.(host, input);
    const effects = this.#stepOf(host, node, input);
    if (effects.charter !== null) host.charter = effects.charter;
    for (const observer of this.observers) observer.stepped?.(host, input, effects);
    if (effects.view !== host.view) {
      host.view = effects.view;
      host.viewCount += 1;
    }
    if (effects.keep !== null) this.#save(host, effects.keep);
    host.note(effects.happenings);
    if (this.trace !== null) this.tell(lineOf(host, input, effects));
    for (const { link, frame, kind } of effects.send) this.#send(host, link, frame, kind);
    for (const { link, reason } of effects.close) {
      const end = host.endByLink.get(link);
      if (end !== undefined) this.network.close(end, reason);
    }
    for (const address of effects.dial) this.network.dial(host, address);
    for (const probe of effects.probe) this.#probe(host, probe);
    if (effects.wakeInMs !== null && !host.wakeIsSet) {
      host.wakeIsSet = true;
      this.#push(this.#nowMs + effects.wakeInMs, { kind: "wake", host, life: host.life });
    }
  }

  #stepOf(host: Host, node: Node, input: Input): Effects {
    try {
      return node.step(input, host.clock(this.#nowMs));
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new Violation(this.at(host, `step(${input.kind}) threw: ${text}`), { cause });
    }
  }

  // oxlint-disable-next-line max-params -- one for each field of what is sent, on the hottest path there is
  #send(host: Host, link: number, frame: Uint8Array, sort: string): void {
    if (frame.byteLength > LIMITS.frameBytes)
      throw new Violation(this.at(host, `a "${sort}" frame has ${frame.byteLength} bytes`));
    const end = host.endByLink.get(link);
    if (end !== undefined) this.network.send(end, frame, sort);
  }

  #probe(host: Host, probe: Effects["probe"][number]): void {
    const { life } = host;
    this.after(PROBE_MS, () => {
      const isHealthy = !this.unhealthyIds.has(probe.id);
      const failed = { kind: "failed", reason: "refused", refused: true } as const;
      this.#give(host, life, {
        kind: "probed",
        probe,
        outcome: isHealthy ? { kind: "passed" } : failed,
      });
    });
  }

  #save(host: Host, kept: NonNullable<Effects["keep"]>): void {
    host.unsaved = kept;
    const { life } = host;
    this.after(this.#machines() * SAVE_MS, () => {
      if (host.life === life && host.unsaved === kept) host.disk = kept;
    });
  }

  /** Tells what happens now, where somebody listens. */
  tell(line: string | null): void {
    if (line !== null) this.trace?.(`${this.#nowMs.toFixed(3)} ${line}`);
  }

  /** A text with the moment and the host in front, for violations. */
  at(host: Host, text: string): string {
    return `at ${this.#nowMs.toFixed(3)} ms, ${host.name}: ${text}`;
  }
}
