// Gossips of several hosts on one virtual clock, joined by links that behave like TCP: in order, nothing lost while up.
//
// The faults are those of real hosts. A crash closes every link at once and refuses dials. A host or pair that is cut
// goes silent: links stay open, carry nothing, ever again, and dials hang until their deadline; cut one way, what the
// other side says still comes. A frozen process (SIGSTOP) reads and ticks nothing, and finds all that was sent to it
// when it goes on. Every event checks what must always hold; the seed decides everything, so a failure replays.

import assert from "node:assert/strict";

import { base32, sha256 } from "../../src/base/bytes.ts";
import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { below, seededRandom, type Random } from "../../src/base/random.ts";
import type { GossipEffects } from "../../src/gossip/effects.ts";
import { Gossip } from "../../src/gossip/gossip.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { Acquaintance, MemberState } from "../../src/model/member.ts";
import { cheapSeals } from "./cheap-seals.ts";
import {
  endsBetween,
  farOf,
  nameAt,
  nameOf,
  type End,
  type Host,
  type HostOptions,
  type Passing,
  type Wire,
} from "./gossip-host.ts";
import { LogWitness, sameLogs } from "./log-witness.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** What the shell under gossip does: how often it ticks, and how long it lets a dial hang. */
const TICK_MS = 50;
const DIAL_DEADLINE_MS = 1000;
const PORT = 7650;

export interface NetworkOptions {
  readonly seed: number;
  /** The longest time a frame is under way. The shortest is half a millisecond. */
  readonly delayMs?: number;
  /** The share of frames that get lost on their way, and are sent again by the kernel after a while. */
  readonly loss?: number;
}

/** The hosts, the wires between them and the clock. */
export class GossipNetwork {
  readonly seed: number;
  readonly random: Random;
  /** Checked after every event, beside what always must hold. */
  onStep: () => void = () => undefined;
  /** Sees every frame that leaves a host. */
  onFrame: (passing: Passing) => void = () => undefined;
  /** Frames for which it is true get lost, as a push is skipped when a link is full. */
  loses: (passing: Passing) => boolean = () => false;
  readonly #clock = new VirtualClock(1_000_000);
  readonly #witness: LogWitness;
  readonly #delayMs: number;
  readonly #loss: number;
  readonly #hosts = new Map<string, Host>();
  readonly #nameByAddress = new Map<string, string>();
  /** Ways on which no packet passes, as `from to`. */
  readonly #cut = new Set<string>();
  readonly #nodeByBody = new Map<string, Acquaintance>();
  #lastLink = 0;

  constructor({ seed, delayMs = 5, loss = 0 }: NetworkOptions) {
    this.seed = seed;
    this.random = seededRandom(seed);
    this.#delayMs = delayMs;
    this.#loss = loss;
    this.#witness = new LogWitness(`seed ${seed}`);
  }

  get nowMs(): number {
    return this.#clock.nowMs;
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
    const address = { host: name, port: options.port ?? before?.address.port ?? PORT };
    const incarnation = options.incarnation ?? (before === undefined ? 10 : before.gossip.incarnation + 10);
    const seeds = options.seeds ?? before?.seeds ?? [];
    const random = seededRandom(below(this.random, 2 ** 32));
    const self = { id, name, ...address };
    const seals = cheapSeals(id, options.role);
    const gossip = new Gossip({ self, incarnation, seeds, seals, random, nowMs: this.nowMs });
    const lists = { happenings: [], refused: [], drains: [], spreadMs: [], waiting: [] };
    const state = { running: true, frozen: false, dials: 0, linksOpened: 0, endByLink: new Map() };
    const host: Host = { name, id, address, seeds, gossip, ...lists, ...state };
    // What its data dir remembers.
    const remembered = options.forgets === true ? [] : before?.gossip.addresses;
    for (const known of remembered ?? []) gossip.acquaint(known);
    this.#hosts.set(name, host);
    this.#nameByAddress.set(renderHostPort(address), name);
    this.write(host, { node: JSON.stringify(self) });
    this.#tickEvery(host);
    return host;
  }

  /** Starts `count` hosts a, b, c, ... which all have the first as their seed. */
  startMany(count: number): Host[] {
    return Array.from({ length: count }, (_, index) =>
      this.start(nameAt(index), { seeds: index === 0 ? [] : [{ host: nameAt(0), port: PORT }] }),
    );
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
    for (const end of host.endByLink.values()) this.#close(end, "connection reset");
  }

  /** The process stops cleanly: its farewell on each link, then gone. */
  stop(host: Host, said: "left" | "away" = "left", forMs = 0): void {
    this.#enter(host, () => host.gossip.farewell(said, forMs, this.nowMs));
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
    this.cutOneWay(one, other);
    this.cutOneWay(other, one);
  }

  /** No packet passes from one host to another; the other way they do. */
  cutOneWay(from: Host | string, to: Host | string): void {
    const [fromName, toName] = [nameOf(from), nameOf(to)];
    this.#cut.add(`${fromName} ${toName}`);
    for (const end of this.#hosts.get(toName)?.endByLink.values() ?? [])
      if (farOf(end).host.name === fromName) end.deaf = true;
  }

  /** Packets pass again between all hosts. Links that were cut stay silent, as after a lost NAT entry. */
  heal(): void {
    this.#cut.clear();
  }

  /** Cuts a host off from all others. */
  isolate(host: Host): void {
    for (const name of this.#hosts.keys()) if (name !== host.name) this.cut(host, name);
  }

  /** Both ends of the links between two hosts see them close. */
  dropLinks(one: Host, other: Host): void {
    for (const end of endsBetween(one, other)) {
      this.#close(end, "reset by a middlebox");
      this.#close(farOf(end), "reset by a middlebox");
    }
  }

  /** Deltas on the links between two hosts are skipped from now on, or no more. */
  setBehind(one: Host, other: Host, behind: boolean): void {
    for (const { wire } of endsBetween(one, other)) wire.behind = behind;
  }

  /** Sends a frame over an open link that its own gossip did not ask for. */
  send(end: End, frame: Uint8Array): void {
    const far = farOf(end);
    this.#deliver(far, () => {
      if (far.open && !far.deaf) far.host.gossip.frame(far.id, frame, this.nowMs);
    });
  }

  /** A host opens a connection, as when its gossip asked for it. */
  dial(host: Host, address: HostPort): void {
    host.dials += 1;
    const dialledAtMs = this.nowMs;
    this.#clock.later(this.#delay(), () => this.#dialArrives(host, address, dialledAtMs));
  }

  /** The number of links of which both ends are open. */
  linksBetween(one: Host, other: Host): number {
    return endsBetween(one, other).filter((end) => farOf(end).open).length;
  }

  /** Lets virtual time pass. */
  runFor(ms: number): void {
    this.#clock.runFor(ms);
  }

  /** Lets time pass in which nothing happens at all: ticks and frames are late by that much. */
  skip(ms: number): void {
    this.#clock.skip(ms);
  }

  /** Runs until a condition holds. @returns the virtual time it took; throws when that is more than `withinMs` */
  runUntil(what: string, withinMs: number, holds: () => boolean): number {
    const tookMs = this.#clock.runUntil(withinMs, holds);
    assert.ok(tookMs !== null, `seed ${this.seed}: not within ${withinMs} ms: ${what}`);
    return tookMs;
  }

  /** True when every running host holds the same and sees all running hosts alive, and no one else. */
  get agrees(): boolean {
    const running = this.running;
    const logs = running[0]?.gossip.logs ?? new Map();
    return running.every((host) => {
      if (!sameLogs(host.gossip.logs, logs)) return false;
      if (!running.every((other) => other === host || this.stateOf(host, other) === "alive")) return false;
      const alive = host.gossip.standings.filter(({ state }) => state === "alive").length;
      return alive === running.length - 1;
    });
  }

  stateOf(observer: Host, subject: Host): MemberState | "unknown" {
    return observer.gossip.standing(subject.id)?.state ?? "unknown";
  }

  bodyOf(holder: Host, owner: Host, key: string): string | null {
    return holder.gossip.logs.get(owner.id)?.entryByKey.get(key)?.body ?? null;
  }

  #tickEvery(host: Host): void {
    const tick = (): void => {
      if (!host.running) return;
      // One timer late is one tick, however long a freeze was.
      if (!host.frozen) this.#enter(host, () => host.gossip.tick(this.nowMs));
      this.#clock.later(TICK_MS, tick);
    };
    this.#clock.later(this.random() * TICK_MS, tick);
  }

  #dialArrives(host: Host, address: HostPort, dialledAtMs: number): void {
    const name = this.#nameByAddress.get(renderHostPort(address)) ?? address.host;
    const target = this.#listenerAt(name, address);
    // A handshake needs both ways.
    const isCut = this.#cut.has(`${host.name} ${name}`) || this.#cut.has(`${name} ${host.name}`);
    if (target?.running === true && !isCut && !target.frozen) {
      this.#join(host, target, address);
      return;
    }
    const isRefused = !isCut && target?.running !== true;
    const waitMs = isRefused ? this.#delay() : dialledAtMs + DIAL_DEADLINE_MS - this.nowMs;
    this.#clock.later(waitMs, () =>
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
    const wire: Wire = { ends: null, behind: false };
    const [near, far] = [this.#openEnd(dialler, wire), this.#openEnd(target, wire)];
    wire.ends = [near, far];
    const up = (end: End, dialled: HostPort | null, other: Host): void => {
      if (!end.open) return;
      end.host.linksOpened += 1;
      const remote = `${other.name}:${end.id}`;
      end.host.gossip.linkUp({ id: end.id, dialled, remote, peer: other.id }, this.nowMs);
    };
    // The answer to the dial first: what the target says on the new link comes behind it.
    this.#deliver(near, () => {
      if (near.open) up(near, address, target);
      else dialler.gossip.dialFailed(address, { refused: false }, this.nowMs);
    });
    this.#enter(target, () => up(far, null, dialler));
  }

  #openEnd(host: Host, wire: Wire): End {
    this.#lastLink += 1;
    const end: End = { host, id: this.#lastLink, wire, arrivesAtMs: 0, open: true, deaf: false };
    host.endByLink.set(end.id, end);
    return end;
  }

  /** Something reaches an end of a link, behind all that was sent to it before. */
  #deliver(end: End, act: () => void): void {
    end.arrivesAtMs = Math.max(end.arrivesAtMs, this.nowMs + this.#delay());
    this.#clock.later(end.arrivesAtMs - this.nowMs, () => this.#enter(end.host, act));
  }

  #close(end: End, reason: string): void {
    if (!end.open) return;
    const far = farOf(end);
    this.#shut(end);
    this.#clock.later(0, () =>
      this.#enter(end.host, () => end.host.gossip.linkDown(end.id, reason, this.nowMs)),
    );
    if (far.deaf || !far.open) return;
    this.#deliver(far, () => {
      if (!far.open || far.deaf) return;
      this.#shut(far);
      far.host.gossip.linkDown(far.id, "closed by the peer", this.nowMs);
    });
  }

  #shut(end: End): void {
    end.open = false;
    end.host.endByLink.delete(end.id);
  }

  /** The one way into a host: does it, carries out what gossip wants, checks what must hold. */
  #enter(host: Host, act: () => void): void {
    if (!host.running) return;
    if (host.frozen) {
      host.waiting.push(() => this.#enter(host, act));
      return;
    }
    const { revision } = host.gossip;
    act();
    if (host.gossip.revision !== revision) host.gossip.meet(this.#acquaintancesOf(host), this.nowMs);
    this.#carryOut(host, host.gossip.take());
    this.#witness.look(host.name, host.id, host.gossip);
    this.onStep();
  }

  #carryOut(host: Host, effects: GossipEffects): void {
    for (const { link, frame, kind } of effects.send) {
      const end = host.endByLink.get(link);
      if (end === undefined || (end.wire.behind && kind === "delta")) continue;
      const far = farOf(end);
      const passing = { from: host, to: far.host, kind, frame };
      this.onFrame(passing);
      if (!this.loses(passing)) this.send(end, frame);
    }
    for (const { link, reason } of effects.close) {
      const end = host.endByLink.get(link);
      if (end !== undefined) this.#close(end, reason);
    }
    for (const address of effects.dial) this.dial(host, address);
    host.happenings.push(...effects.happenings);
    host.refused.push(...effects.refused);
    host.drains.push(...effects.drains);
    host.spreadMs.push(...effects.spreadMs);
  }

  /** What the view tells gossip: where the records of members, its own aside, say that they are. */
  #acquaintancesOf({ gossip, id }: Host): Acquaintance[] {
    return [...gossip.logs.values()].flatMap(({ owner, entryByKey }) => {
      const body = owner === id ? null : (entryByKey.get("node")?.body ?? null);
      if (body === null) return [];
      const node = this.#nodeByBody.get(body) ?? (JSON.parse(body) as Acquaintance);
      this.#nodeByBody.set(body, node);
      return [node];
    });
  }

  #delay(): number {
    const delayMs = 0.5 + this.random() * Math.max(0, this.#delayMs - 0.5);
    let lateMs = 0;
    // As TCP does: 200 ms, and twice as long each time it is lost again.
    for (let waitMs = 200; this.#loss > 0 && this.random() < this.#loss; waitMs *= 2) lateMs += waitMs;
    return delayMs + lateMs;
  }
}

/** A node id made of a name. */
export function idOf(name: string): NodeId {
  return base32(sha256(name)).slice(0, 20);
}
