// Gossips of several hosts on one virtual clock, joined by links that behave like TCP: in order, nothing lost while up.
//
// The faults are those of real hosts. A crash closes every link at once and refuses dials. A host or pair that is cut
// goes silent: links stay open, carry nothing, ever again, and dials hang until their deadline. A frozen process
// (SIGSTOP) reads and ticks nothing, and finds all that was sent to it when it goes on. Every event checks what must
// always hold; the seed decides everything, so a failure replays.

import assert from "node:assert/strict";

import { base32, sha256 } from "../../src/base/bytes.ts";
import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { below, seededRandom, type Random } from "../../src/base/random.ts";
import type { GossipEffects } from "../../src/gossip/effects.ts";
import { Gossip } from "../../src/gossip/gossip.ts";
import type { Happening } from "../../src/model/event.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import type { Acquaintance } from "../../src/model/member.ts";

/** What the shell under gossip does: how often it ticks, and how long it lets a dial hang. */
export const TICK_MS = 50;
export const DIAL_DEADLINE_MS = 1000;

export interface NetworkOptions {
  readonly seed: number;
  /** The longest time a frame is under way. The shortest is half a millisecond. */
  readonly delayMs?: number;
}

/** What a host is started with. */
export interface HostOptions {
  readonly id?: NodeId;
  readonly seeds?: readonly HostPort[];
  /** Port of its mesh listener: another one is another address. */
  readonly port?: number;
  readonly incarnation?: number;
}

/** One daemon's gossip, and what the test knows of it. */
export interface Host {
  readonly name: string;
  readonly id: NodeId;
  readonly address: HostPort;
  readonly seeds: readonly HostPort[];
  readonly gossip: Gossip;
  /** False once it crashed or stopped; its successor is another Host. */
  running: boolean;
  frozen: boolean;
  readonly happenings: Happening[];
  readonly refused: string[];
  readonly drains: GossipEffects["drains"];
  dials: number;
  linksOpened: number;
  /** What came while it was frozen. */
  readonly waiting: (() => void)[];
  /** Where each held log stood when this host was last looked at. */
  readonly seen: Map<NodeId, { incarnation: number; version: number }>;
}

/** One end of a link. */
interface End {
  readonly host: Host;
  readonly id: number;
  /** When the last frame sent to this end arrives: the next one may not overtake it. */
  arrivesAtMs: number;
  open: boolean;
}

interface Wire {
  readonly ends: readonly [End, End];
  silent: boolean;
  /** Deltas are skipped, as on a link whose peer does not keep up. */
  behind: boolean;
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly act: () => void;
}

/** The hosts, the wires between them and the clock. */
export class GossipNetwork {
  readonly seed: number;
  readonly random: Random;
  nowMs = 1_000_000;
  /** Checked after every event, beside what always must hold. */
  onStep: () => void = () => undefined;
  readonly #delayMs: number;
  readonly #hosts = new Map<string, Host>();
  readonly #nameByAddress = new Map<string, string>();
  readonly #wires = new Set<Wire>();
  readonly #cut = new Set<string>();
  /** Every write any owner ever made, as `owner incarnation key version`. */
  readonly #written = new Map<string, string | null>();
  readonly #events: Event[] = [];
  #order = 0;
  #lastLink = 0;

  constructor({ seed, delayMs = 5 }: NetworkOptions) {
    this.seed = seed;
    this.random = seededRandom(seed);
    this.#delayMs = delayMs;
  }

  get hosts(): Host[] {
    return [...this.#hosts.values()];
  }

  get running(): Host[] {
    return this.hosts.filter(({ running }) => running);
  }

  host(name: string): Host {
    const host = this.#hosts.get(name);
    assert.ok(host !== undefined, `there is a host ${name}`);
    return host;
  }

  /** Starts a daemon; one that ran under this name before is replaced, with a higher incarnation unless told. */
  start(name: string, options: HostOptions = {}): Host {
    const before = this.#hosts.get(name);
    assert.ok(before?.running !== true, `${name} does not run`);
    const id = options.id ?? before?.id ?? idOf(name);
    const address = { host: name, port: options.port ?? before?.address.port ?? 7650 };
    const incarnation = options.incarnation ?? (before === undefined ? 10 : before.gossip.incarnation + 10);
    const seeds = options.seeds ?? before?.seeds ?? [];
    const random = seededRandom(below(this.random, 2 ** 32));
    const gossip = new Gossip({
      self: { id, name, ...address },
      incarnation,
      seeds,
      random,
      nowMs: this.nowMs,
    });
    const lists = { happenings: [], refused: [], drains: [], waiting: [] };
    const state = { running: true, frozen: false, dials: 0, linksOpened: 0, seen: new Map() };
    const host: Host = { name, id, address, seeds, gossip, ...lists, ...state };
    // What its data dir remembers.
    for (const known of before?.gossip.addresses ?? []) gossip.acquaint(known);
    this.#hosts.set(name, host);
    this.#nameByAddress.set(renderHostPort(address), name);
    this.write(host, { node: JSON.stringify({ id, name, ...address }) });
    this.#tickEvery(host);
    return host;
  }

  /** Starts `count` hosts a, b, c, ... which all have the first as their seed. */
  startMany(count: number): Host[] {
    const first = { host: "a", port: 7650 };
    return Array.from({ length: count }, (_, index) => {
      return this.start(String.fromCharCode(97 + index), { seeds: index === 0 ? [] : [first] });
    });
  }

  /** Makes another address lead to a host, as a DNS name does. */
  alias(address: HostPort, host: Host): void {
    this.#nameByAddress.set(renderHostPort(address), host.name);
  }

  /** Writes keys of a host's own log. */
  write(host: Host, changes: Readonly<Record<string, string | null>>): void {
    this.#enter(host, () => host.gossip.write(new Map(Object.entries(changes)), this.nowMs));
  }

  /** Runs something of a host's gossip and carries out what it wants done. */
  act(host: Host, what: (gossip: Gossip) => void): void {
    this.#enter(host, () => what(host.gossip));
  }

  /** The process dies: its kernel closes every link and refuses dials. */
  crash(host: Host): void {
    host.running = false;
    for (const wire of this.#wiresOf(host)) {
      for (const end of wire.ends) if (end.host === host) this.#close(wire, end, "connection reset");
    }
  }

  /** The process stops cleanly: goodbye on each link, then gone. */
  stop(host: Host): void {
    this.#enter(host, () => host.gossip.goodbye());
    this.crash(host);
  }

  /** SIGSTOP and SIGCONT. */
  freeze(host: Host): void {
    host.frozen = true;
  }

  thaw(host: Host): void {
    if (!host.frozen) return;
    host.frozen = false;
    for (const act of host.waiting.splice(0)) act();
  }

  /** No packet passes between two hosts any more, either way; open links between them never carry one again. */
  cut(one: Host | string, other: Host | string): void {
    const pair = pairOf(nameOf(one), nameOf(other));
    this.#cut.add(pair);
    for (const wire of this.#wires) {
      if (pairOf(wire.ends[0].host.name, wire.ends[1].host.name) === pair) wire.silent = true;
    }
  }

  /** Packets pass again between all hosts. Links that were cut stay silent, as after a lost NAT entry. */
  heal(): void {
    this.#cut.clear();
  }

  isCut(one: Host, other: Host): boolean {
    return this.#cut.has(pairOf(one.name, other.name));
  }

  /** Cuts a host off from all others. */
  isolate(host: Host): void {
    for (const name of this.#hosts.keys()) if (name !== host.name) this.cut(host, name);
  }

  /** Both ends of the links between two hosts see them close. */
  dropLinks(one: Host, other: Host): void {
    for (const wire of this.#wiresOf(one)) {
      if (!wire.ends.some(({ host }) => host === other)) continue;
      for (const end of wire.ends) this.#close(wire, end, "reset by a middlebox");
    }
  }

  /** Deltas on the links between two hosts are skipped from now on, or no more. */
  setBehind(one: Host, other: Host, behind: boolean): void {
    for (const wire of this.#wiresOf(one))
      if (wire.ends.some(({ host }) => host === other)) wire.behind = behind;
  }

  /** A host opens a connection, as when its gossip asked for it. */
  dial(host: Host, address: HostPort): void {
    host.dials += 1;
    const dialled = this.nowMs;
    this.#later(this.#delay(), () => this.#dialArrives(host, address, dialled));
  }

  /** The number of links both ends of which are open. */
  linksBetween(one: Host, other: Host): number {
    return this.#wiresOf(one).filter(({ ends }) => ends.some((end) => end.host === other)).length;
  }

  /** Lets virtual time pass. */
  runFor(ms: number): void {
    const endMs = this.nowMs + ms;
    while ((this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY) <= endMs) this.#next();
    this.nowMs = endMs;
  }

  /** Runs until a condition holds. @returns the virtual time it took; throws when that is more than `withinMs` */
  runUntil(what: string, withinMs: number, holds: () => boolean): number {
    const startMs = this.nowMs;
    while (!holds()) {
      assert.ok(
        (this.#events[0]?.atMs ?? Infinity) <= startMs + withinMs,
        `seed ${this.seed}: not within ${withinMs} ms: ${what}`,
      );
      this.#next();
    }
    return this.nowMs - startMs;
  }

  /** True when every running host holds the same and sees all running hosts alive, and no one else. */
  get agrees(): boolean {
    const running = this.running;
    return running.every((host) => {
      const others = running.filter((other) => other !== host);
      if (!others.every((other) => this.stateOf(host, other) === "alive")) return false;
      const alive = host.gossip.standings.filter(({ state }) => state === "alive").length;
      return (
        alive === others.length && others.every((other) => sameLogs(host.gossip.logs, other.gossip.logs))
      );
    });
  }

  stateOf(observer: Host, subject: Host): string {
    return observer.gossip.standings.find(({ id }) => id === subject.id)?.state ?? "unknown";
  }

  bodyOf(holder: Host, owner: Host, key: string): string | null {
    return holder.gossip.logs.get(owner.id)?.entryByKey.get(key)?.body ?? null;
  }

  #tickEvery(host: Host): void {
    const tick = (): void => {
      if (!host.running) return;
      // One timer late is one tick, however long a freeze was.
      if (!host.frozen) this.#enter(host, () => host.gossip.tick(this.nowMs));
      this.#later(TICK_MS, tick);
    };
    this.#later(this.random() * TICK_MS, tick);
  }

  #dialArrives(host: Host, address: HostPort, dialledAtMs: number): void {
    const name = this.#nameByAddress.get(renderHostPort(address)) ?? address.host;
    const target = this.#listenerAt(name, address);
    const isCut = this.#cut.has(pairOf(host.name, name));
    if (target?.running === true && !isCut && !target.frozen) {
      this.#join(host, target, address);
      return;
    }
    const isRefused = !isCut && target?.running !== true;
    const waitMs = isRefused ? this.#delay() : dialledAtMs + DIAL_DEADLINE_MS - this.nowMs;
    this.#later(waitMs, () =>
      this.#enter(host, () => host.gossip.dialFailed(address, { refused: isRefused }, this.nowMs)),
    );
  }

  /** The daemon that listens there: a host that moved to another port is not at its old one. */
  #listenerAt(name: string, address: HostPort): Host | undefined {
    const host = this.#hosts.get(name);
    const isAlias = address.host !== name;
    return isAlias || host?.address.port === address.port ? host : undefined;
  }

  #join(dialler: Host, target: Host, address: HostPort): void {
    const wire: Wire = { ends: [this.#end(dialler), this.#end(target)], silent: false, behind: false };
    this.#wires.add(wire);
    const [near, far] = wire.ends;
    const up = (end: End, dialled: HostPort | null, other: Host): void => {
      if (!end.open) return;
      end.host.linksOpened += 1;
      end.host.gossip.linkUp({ id: end.id, dialled, remote: `${other.name}:${end.id}` }, this.nowMs);
    };
    // The answer to the dial first: what the target says on the new link comes behind it.
    this.#deliver(near, () => {
      if (near.open) up(near, address, target);
      else dialler.gossip.dialFailed(address, { refused: false }, this.nowMs);
    });
    this.#enter(target, () => up(far, null, dialler));
  }

  #end(host: Host): End {
    this.#lastLink += 1;
    return { host, id: this.#lastLink, arrivesAtMs: 0, open: true };
  }

  /** Something reaches an end of a link, behind all that was sent to it before. */
  #deliver(end: End, act: () => void): void {
    end.arrivesAtMs = Math.max(end.arrivesAtMs, this.nowMs + this.#delay());
    this.#later(end.arrivesAtMs - this.nowMs, () => this.#enter(end.host, act));
  }

  #close(wire: Wire, end: End, reason: string): void {
    if (!end.open) return;
    end.open = false;
    const other = wire.ends[0] === end ? wire.ends[1] : wire.ends[0];
    const down = (closing: End, text: string): void => {
      closing.open = false;
      closing.host.gossip.linkDown(closing.id, text, this.nowMs);
      this.#forgetWire(wire);
    };
    this.#later(0, () => this.#enter(end.host, () => down(end, reason)));
    this.#forgetWire(wire);
    if (wire.silent || !other.open) return;
    this.#deliver(other, () => {
      if (other.open && !wire.silent) down(other, "closed by the peer");
    });
  }

  #forgetWire(wire: Wire): void {
    if (wire.ends.every(({ open }) => !open)) this.#wires.delete(wire);
  }

  #wiresOf(host: Host): Wire[] {
    return [...this.#wires].filter(({ ends }) => ends.some((end) => end.host === host));
  }

  /** The one way into a host: does it, carries out what gossip wants, checks what must hold. */
  #enter(host: Host, act: () => void): void {
    if (!host.running) return;
    if (host.frozen) {
      host.waiting.push(() => this.#enter(host, act));
      return;
    }
    const revision = host.gossip.revision;
    act();
    if (host.gossip.revision !== revision) host.gossip.meet(acquaintancesOf(host), this.nowMs);
    this.#recordWrites(host);
    this.#carryOut(host, host.gossip.take());
    this.#check(host);
  }

  #carryOut(host: Host, effects: GossipEffects): void {
    const wireByLink = new Map<number, { wire: Wire; end: End }>();
    for (const wire of this.#wiresOf(host)) {
      for (const end of wire.ends) if (end.host === host) wireByLink.set(end.id, { wire, end });
    }
    for (const { link, frame, kind } of effects.send) {
      const found = wireByLink.get(link);
      if (found === undefined || !found.end.open || (found.wire.behind && kind === "delta")) continue;
      const { ends } = found.wire;
      const far = ends[0] === found.end ? ends[1] : ends[0];
      this.#deliver(far, () => {
        if (far.open && !found.wire.silent) far.host.gossip.frame(far.id, frame, this.nowMs);
      });
    }
    for (const { link, reason } of effects.close) {
      const found = wireByLink.get(link);
      if (found !== undefined) this.#close(found.wire, found.end, reason);
    }
    for (const address of effects.dial) this.dial(host, address);
    host.happenings.push(...effects.happenings);
    host.refused.push(...effects.refused);
    host.drains.push(...effects.drains);
  }

  #recordWrites(host: Host): void {
    const own = host.gossip.logs.get(host.id);
    for (const [key, { version, body }] of own?.entryByKey ?? []) {
      const write = `${host.id} ${own?.incarnation} ${key} ${version}`;
      const before = this.#written.get(write);
      assert.ok(before === undefined || before === body, `seed ${this.seed}: ${write} was written twice`);
      this.#written.set(write, body);
    }
  }

  /** Nobody but its owner writes a log, and no log goes back within an incarnation. */
  #check(host: Host): void {
    for (const [owner, log] of host.gossip.logs) {
      const seen = host.seen.get(owner);
      const isBack =
        seen !== undefined &&
        (log.incarnation < seen.incarnation ||
          (log.incarnation === seen.incarnation && log.version < seen.version));
      assert.ok(!isBack, `seed ${this.seed}: ${host.name} went back on ${owner} at ${this.nowMs}`);
      if (seen?.version === log.version && seen.incarnation === log.incarnation) continue;
      host.seen.set(owner, { incarnation: log.incarnation, version: log.version });
      for (const [key, { version, body }] of log.entryByKey) {
        const write = `${owner} ${log.incarnation} ${key} ${version}`;
        assert.ok(
          this.#written.get(write) === body,
          `seed ${this.seed}: ${host.name} holds ${write}, which nobody wrote`,
        );
      }
    }
    this.onStep();
  }

  #delay(): number {
    return 0.5 + this.random() * Math.max(0, this.#delayMs - 0.5);
  }

  #later(delayMs: number, act: () => void): void {
    this.#order += 1;
    const event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order, act };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#events[middle];
      if (at !== undefined && at.atMs <= event.atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  #next(): void {
    const event = this.#events.shift();
    assert.ok(event !== undefined, "the clock always has a next event");
    this.nowMs = event.atMs;
    event.act();
  }
}

/** What the view tells gossip: where the records of members, its own aside, say that they are. */
function acquaintancesOf({ gossip, id }: Host): Acquaintance[] {
  return [...gossip.logs.values()].flatMap(({ owner, entryByKey }) => {
    const body = owner === id ? null : (entryByKey.get("node")?.body ?? null);
    return body === null ? [] : [JSON.parse(body) as Acquaintance];
  });
}

/** A node id made of a name. */
export function idOf(name: string): NodeId {
  return base32(sha256(name)).slice(0, 20);
}

function nameOf(host: Host | string): string {
  return typeof host === "string" ? host : host.name;
}

function pairOf(one: string, other: string): string {
  return one < other ? `${one} ${other}` : `${other} ${one}`;
}

/** True when both hold the same live entries and tombstones of every owner. */
function sameLogs(one: ReadonlyMap<NodeId, OwnerLog>, other: ReadonlyMap<NodeId, OwnerLog>): boolean {
  if (one.size !== other.size) return false;
  return [...one].every(([owner, log]) => {
    const theirs = other.get(owner);
    if (theirs?.incarnation !== log.incarnation || theirs.version !== log.version) return false;
    if (theirs.entryByKey.size !== log.entryByKey.size) return false;
    return [...log.entryByKey].every(([key, { version, body }]) => {
      const entry = theirs.entryByKey.get(key);
      return entry?.version === version && entry.body === body;
    });
  });
}
