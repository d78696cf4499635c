// Whole nodes without I/O, on one virtual clock: probes, discoveries, links and disks are what the test says.
//
// Links behave like TCP: in order, lossless while they live, each frame some random milliseconds under way. A host that
// crashes closes its links and refuses dials; one that is cut off loses its links and dials to it hang. What a node
// wants kept is on its disk at once, and its next life finds it there. The seed decides everything.

import assert from "node:assert/strict";

import { base32, sha256 } from "../../src/base/bytes.ts";
import { parsePrefix, renderHostPort, type HostPort, type Prefix } from "../../src/base/ip.ts";
import { below, seededRandom, type Random } from "../../src/base/random.ts";
import type { Discovered } from "../../src/model/endpoint.ts";
import type { Happening } from "../../src/model/event.ts";
import { NOTHING_KEPT, type KeptState } from "../../src/model/kept.ts";
import { EMPTY_DECLARATION } from "../../src/model/service.ts";
import type { View } from "../../src/model/view.ts";
import { Node } from "../../src/node.ts";
import type { Effects, Input } from "../../src/step.ts";

const TICK_MS = 50;
const DIAL_DEADLINE_MS = 1000;

/** One host: its disk outlives its daemon. */
export interface NodeHost {
  readonly name: string;
  readonly address: HostPort;
  /** The daemon of its present life; null while there is none. */
  node: Node | null;
  kept: KeptState;
  /** Views that its present life has shown, the newest last. */
  views: View[];
  readonly happenings: Happening[];
}

interface End {
  readonly host: NodeHost;
  readonly node: Node;
  readonly id: number;
  arrivesAtMs: number;
}

interface Wire {
  readonly ends: readonly [End, End];
  open: boolean;
}

/** What a daemon is started with. */
export interface StartOptions {
  /** Sources that will tell; `static` unless told. */
  readonly sources?: readonly string[];
  /** Told by `static` at once; nothing is told when this is undefined. */
  readonly endpoints?: readonly Discovered[];
}

/** The hosts, the wires and the clock. */
export class NodeNetwork {
  nowMs = 1_000_000;
  /** Called after every step of every node. */
  onStep: (host: NodeHost) => void = () => undefined;
  /** Replicas whose probes fail. */
  readonly unhealthyIds = new Set<string>();
  readonly hosts: readonly NodeHost[];
  readonly #random: Random;
  readonly #pool: Prefix;
  readonly #delayMs: number;
  readonly #wires = new Set<Wire>();
  readonly #events: { readonly atMs: number; readonly order: number; readonly act: () => void }[] = [];
  #cut: (one: string, other: string) => boolean = () => false;
  #order = 0;
  #lastLink = 0;

  constructor(options: { seed: number; names: readonly string[]; pool?: string; delayMs?: number }) {
    const { seed, names, pool = "10.96.0.0/16", delayMs = 5 } = options;
    this.#random = seededRandom(seed);
    this.#pool = prefixOf(pool);
    this.#delayMs = delayMs;
    this.hosts = names.map((name) => {
      const address = { host: name, port: 7650 };
      return { name, address, node: null, kept: NOTHING_KEPT, views: [], happenings: [] };
    });
  }

  host(name: string): NodeHost {
    return this.hosts.find((host) => host.name === name) ?? assert.fail(`no host ${name}`);
  }

  /** Hosts whose daemon runs. */
  get running(): NodeHost[] {
    return this.hosts.filter(({ node }) => node !== null);
  }

  /** The newest view of a running host. */
  view(name: string): View {
    return this.host(name).node?.view ?? assert.fail(`${name} does not run`);
  }

  /** Starts a daemon that joins all other hosts. */
  start(name: string, { sources = ["static"], endpoints }: StartOptions = {}): Node {
    const host = this.host(name);
    assert.equal(host.node, null, `${name} does not run yet`);
    const seeds = this.hosts.filter((other) => other !== host).map(({ address }) => address);
    const node = new Node({
      id: idOf(name),
      record: {
        name,
        ...host.address,
        zone: "",
        labels: {},
        role: "manager",
        software: "test",
        prefixes: [],
      },
      seeds,
      sources,
      pool: this.#pool,
      kept: host.kept,
      random: seededRandom(below(this.#random, 2 ** 32)),
      nowMs: this.nowMs,
    });
    host.node = node;
    host.views = [];
    if (endpoints !== undefined) this.discover(name, endpoints);
    this.#tick(host, node);
    return node;
  }

  /** Tells a node all that one of its sources knows. */
  discover(name: string, endpoints: readonly Discovered[], source = "static"): void {
    const discovery = { source, endpoints, clients: [], problems: [], stale: null };
    this.feed(name, { kind: "discovered", discovery });
  }

  /** Gives a node one input, at this moment. */
  feed(name: string, input: Input): Effects {
    const host = this.host(name);
    return this.#step(host, host.node ?? assert.fail(`${name} does not run`), input);
  }

  /** The daemon is gone without a word; its host refuses connections. */
  crash(name: string): void {
    const host = this.host(name);
    host.node = null;
    for (const wire of this.#wires) if (wire.ends.some((end) => end.host === host)) this.#break(wire);
  }

  /** Cuts hosts off from each other wherever `isCut` says so, until the next call. */
  partition(isCut: (one: string, other: string) => boolean): void {
    this.#cut = isCut;
    for (const wire of this.#wires) {
      const [one, other] = wire.ends;
      if (this.#isCut(one.host, other.host)) this.#break(wire);
    }
  }

  heal(): void {
    this.#cut = () => false;
  }

  /** Lets time pass. */
  run(ms: number): void {
    this.until(() => false, ms);
  }

  /** Lets time pass until something holds. @returns whether it does, within `capMs` */
  until(condition: () => boolean, capMs: number): boolean {
    const endMs = this.nowMs + capMs;
    while (!condition()) {
      const next = this.#events[0];
      if (next === undefined || next.atMs > endMs) {
        this.nowMs = endMs;
        return condition();
      }
      this.#events.shift();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.act();
    }
    return true;
  }

  #tick(host: NodeHost, node: Node): void {
    if (host.node !== node) return;
    this.#step(host, node, { kind: "tick" });
    this.#after(TICK_MS, () => this.#tick(host, node));
  }

  #step(host: NodeHost, node: Node, input: Input): Effects {
    const effects = node.step(input, this.nowMs);
    if (effects.keep !== null) host.kept = effects.keep;
    if (effects.view !== host.views.at(-1)) host.views.push(effects.view);
    host.happenings.push(...effects.happenings);
    for (const { link, frame } of effects.send) this.#send(node, link, frame);
    for (const { link } of effects.close) this.#hangUp(node, link);
    for (const address of effects.dial) this.#dial(host, node, address);
    for (const probe of effects.probe) {
      const isHealthy = !this.unhealthyIds.has(probe.id);
      const failed = { kind: "failed", reason: "refused", refused: true } as const;
      const outcome = isHealthy ? ({ kind: "passed" } as const) : failed;
      this.#after(1, () => this.#give(host, node, { kind: "probed", probe, outcome }));
    }
    if (effects.wakeInMs !== null)
      this.#after(effects.wakeInMs, () => this.#give(host, node, { kind: "tick" }));
    this.onStep(host);
    return effects;
  }

  #give(host: NodeHost, node: Node, input: Input): void {
    if (host.node === node) this.#step(host, node, input);
  }

  #send(node: Node, link: number, frame: Uint8Array): void {
    const wire = this.#wireOf(node, link);
    if (wire === undefined) return;
    const [one, other] = wire.ends;
    const to = one.node === node && one.id === link ? other : one;
    // Never before the frame sent last.
    to.arrivesAtMs = Math.max(to.arrivesAtMs, this.nowMs + 0.5 + this.#random() * this.#delayMs);
    this.#at(to.arrivesAtMs, () => {
      if (wire.open) this.#give(to.host, to.node, { kind: "frame", link: to.id, frame });
    });
  }

  #hangUp(node: Node, link: number): void {
    const wire = this.#wireOf(node, link);
    if (wire === undefined) return;
    const atMs = Math.max(...wire.ends.map(({ arrivesAtMs }) => arrivesAtMs), this.nowMs);
    this.#at(atMs, () => this.#break(wire));
  }

  #break(wire: Wire): void {
    if (!wire.open) return;
    wire.open = false;
    this.#wires.delete(wire);
    for (const { host, node, id } of wire.ends) {
      this.#after(0.5, () => this.#give(host, node, { kind: "linkDown", link: id, reason: "lost" }));
    }
  }

  #dial(host: NodeHost, node: Node, address: HostPort): void {
    const target = this.hosts.find((other) => renderHostPort(other.address) === renderHostPort(address));
    const isCut = target === undefined || this.#isCut(host, target);
    this.#after(isCut ? DIAL_DEADLINE_MS : 1, () => {
      const accepting = target?.node ?? null;
      if (target === undefined || accepting === null || this.#isCut(host, target)) {
        this.#give(host, node, { kind: "dialFailed", address, refused: !isCut });
        return;
      }
      if (host.node !== node) return;
      const [near, far] = [this.#end(host, node), this.#end(target, accepting)];
      this.#wires.add({ ends: [near, far], open: true });
      this.#give(target, accepting, { kind: "linkUp", link: far.id, dialled: null, remote: host.name });
      this.#give(host, node, { kind: "linkUp", link: near.id, dialled: address, remote: target.name });
    });
  }

  #end(host: NodeHost, node: Node): End {
    this.#lastLink += 1;
    return { host, node, id: this.#lastLink, arrivesAtMs: this.nowMs };
  }

  #wireOf(node: Node, link: number): Wire | undefined {
    return [...this.#wires].find(({ ends }) => ends.some((end) => end.node === node && end.id === link));
  }

  #isCut(one: NodeHost, other: NodeHost): boolean {
    return this.#cut(one.name, other.name) || this.#cut(other.name, one.name);
  }

  #after(ms: number, act: () => void): void {
    this.#at(this.nowMs + ms, act);
  }

  #at(atMs: number, act: () => void): void {
    this.#order += 1;
    const event = { atMs, order: this.#order, act };
    let at = this.#events.length;
    while (at > 0 && (this.#events[at - 1]?.atMs ?? 0) > atMs) at -= 1;
    this.#events.splice(at, 0, event);
  }
}

/** A node's id, made of its name. */
export function idOf(name: string): string {
  return base32(sha256(name)).slice(0, 20);
}

/** A replica of `default/<service>` as a source finds it. */
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
    startedAtMs: 1000,
    lifecycle: "running",
    health: {
      kind: "probe",
      probe: { kind: "tcp", port: 8080, path: "", intervalMs: 1000, timeoutMs: 500, rise: 1, fall: 2 },
    },
    ...over,
  };
}

function prefixOf(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}
