/**
 * Node: one member of the cluster, without its I/O.
 *
 * The picture in ARCHITECTURE.md as one synchronous function: an input goes in, what should be done comes out, and the
 * newest view with it. The same `step` runs under the daemon, under the simulator and under a recorded trace; so it
 * knows no clock (`nowMs` is told), no dice (a Random is handed in) and no sockets (links and probes are numbers and
 * requests).
 *
 * After each input the parts that depend on it are brought up to date in the order of the picture: catalog, own log,
 * view, claims. Merging a large cluster costs milliseconds, so a burst of frames is merged once: the first change at
 * once, further ones after a pause; `wakeInMs` asks the caller for the tick that does it.
 *
 * Pure.
 */

import { unreachable } from "./base/assert.ts";
import type { HostPort, Prefix } from "./base/ip.ts";
import type { Random } from "./base/random.ts";
import { Acknowledgements } from "./catalog/acknowledgement.ts";
import { planCatalog } from "./catalog/catalog.ts";
import { Discoveries } from "./catalog/discoveries.ts";
import {
  activateReplica,
  drainDaemon,
  drainReplica,
  forgetEnded,
  NO_DRAINS,
  type Drains,
} from "./catalog/drain.ts";
import type { GossipEffects } from "./gossip/effects.ts";
import { Gossip } from "./gossip/gossip.ts";
import { ProbeSchedule, type ProbeRequest } from "./health/schedule.ts";
import type { ProbeOutcome } from "./health/verdict.ts";
import type { Discovery, Problem } from "./model/endpoint.ts";
import type { Happening } from "./model/event.ts";
import { serviceKey, type NodeId, type ReplicaId } from "./model/ids.ts";
import type { KeptState } from "./model/kept.ts";
import { LIMITS } from "./model/limits.ts";
import type { Entry } from "./model/log.ts";
import { recordKey, renderRecord, type NodeRecord, type ReplicaRecord } from "./model/record.ts";
import type { View } from "./model/view.ts";
import { changesBetween } from "./view/changes.ts";
import { Claims } from "./view/claims.ts";
import { Merger, type Merged } from "./view/merge.ts";

/** Between two merges of one burst: a little more for each replica, since a merge costs that much more. */
const MERGE_PAUSE_MS = 5;
const MERGE_PAUSE_MS_PER_REPLICA = 0.005;
/** Between two publications of what probes found, for each replica of this node: a plan costs about as much. */
const PUBLISH_PAUSE_MS_PER_REPLICA = 0.02;
/** How long nothing is published while a source has not told what runs here: a hung Docker must not hide the rest. */
const SOURCES_GRACE_MS = 5000;

/** What a node is told. */
export type Input =
  | { readonly kind: "tick" }
  | { readonly kind: "discovered"; readonly discovery: Discovery }
  | { readonly kind: "probed"; readonly probe: ProbeRequest; readonly outcome: ProbeOutcome }
  | {
      readonly kind: "linkUp";
      readonly link: number;
      readonly dialled: HostPort | null;
      readonly remote: string;
    }
  | { readonly kind: "linkDown"; readonly link: number; readonly reason: string }
  | { readonly kind: "dialFailed"; readonly address: HostPort; readonly refused: boolean }
  | { readonly kind: "frame"; readonly link: number; readonly frame: Uint8Array }
  /** A drain of any replica of the cluster: published here, or asked of its owner. */
  | { readonly kind: "drain"; readonly replica: ReplicaId; readonly draining: boolean }
  /** A clean stop begins: every replica of this node drains. */
  | { readonly kind: "stop" }
  /** A clean stop ends: goodbye to all. */
  | { readonly kind: "leave" };

/** What a step wants done. */
export interface Effects extends GossipEffects {
  readonly probe: readonly ProbeRequest[];
  /** The newest view: the same object as before when nothing changed. */
  readonly view: View;
  /** Set when it changed: to be on disk soon. */
  readonly keep: KeptState | null;
  /** Set when a tick is wanted sooner than usual. */
  readonly wakeInMs: number | null;
}

/** What a node is made of. */
export interface NodeOptions {
  readonly id: NodeId;
  readonly record: Omit<NodeRecord, "kind">;
  readonly seeds: readonly HostPort[];
  /** The sources that will tell what runs here. */
  readonly sources: readonly string[];
  readonly pool: Prefix;
  readonly kept: KeptState;
  readonly random: Random;
  readonly nowMs: number;
}

/** One node. */
export class Node {
  readonly #options: NodeOptions;
  readonly #gossip: Gossip;
  readonly #schedule = new ProbeSchedule(LIMITS.probesInFlight);
  readonly #merger = new Merger();
  readonly #discoveries: Discoveries;
  readonly #claims: Claims;
  #drains: Drains;
  #published: readonly ReplicaRecord[] = [];
  readonly #acknowledgements = new Acknowledgements();
  #problems: readonly Problem[] = [];
  #malformed: readonly string[] = [];
  #merged: Merged;
  #mergedRevision = -1;
  #mergedAtMs: number;
  #catalogIsDue = true;
  #publishedAtMs = 0;
  #keptText = "";
  #keptIncarnation = 0;
  #happenings: Happening[] = [];
  #heldBack: Effects["send"] = [];

  constructor(options: NodeOptions) {
    const { id, record, kept, random, nowMs } = options;
    this.#options = options;
    this.#discoveries = new Discoveries(options.sources);
    this.#claims = new Claims(options.pool, kept.claims);
    const startedAtMsById = new Map(kept.drains.map((run) => [run.id, run.startedAtMs]));
    this.#drains = { ...NO_DRAINS, startedAtMsById };
    this.#gossip = new Gossip({
      self: { id, name: record.name, host: record.host, port: record.port },
      incarnation: kept.incarnation + 1,
      seeds: options.seeds,
      random,
      nowMs,
    });
    for (const address of kept.addresses) this.#gossip.acquaint(address);
    this.#mergedAtMs = nowMs - MERGE_PAUSE_MS;
    this.#merged = this.#merge(nowMs);
  }

  /** What is wrong with what this node discovered, offers or was told. */
  get problems(): readonly Problem[] {
    const malformed = this.#malformed.map((text) => ({ subject: "record", text }));
    return [...this.#discoveries.problems, ...this.#problems, ...malformed];
  }

  /** What the sources of this host have told. */
  get found(): Discoveries {
    return this.#discoveries;
  }

  /** The newest view. */
  get view(): View {
    return this.#merged.view;
  }

  /** Names of alive members that have not yet applied what this node published last. */
  get lagging(): readonly string[] {
    return this.#gossip.lagging(this.#gossip.version);
  }

  /** Takes one input and says what is to be done. */
  step(input: Input, nowMs: number): Effects {
    this.#take(input, nowMs);
    const taken = this.#gossip.take();
    for (const asked of taken.drains) this.#drain(asked.replica, asked.draining);
    const isTick = input.kind === "tick";
    if (isTick && this.#acknowledgements.settle((version) => this.#gossip.lagging(version)))
      this.#catalogIsDue = true;
    const wakesInMs = [this.#publishWhenDue(input, nowMs), this.#bringUpToDate(nowMs)].filter(
      (ms) => ms !== null,
    );
    const later = this.#gossip.take();
    const probe =
      isTick || input.kind === "discovered" ? this.#schedule.due(nowMs, this.#options.random) : [];
    const happenings = this.#happenings;
    this.#happenings = [];
    return {
      send: this.#sendable([...taken.send, ...later.send]),
      dial: [...taken.dial, ...later.dial],
      close: [...taken.close, ...later.close],
      happenings: [...taken.happenings, ...later.happenings, ...happenings],
      received: taken.received,
      refused: [...taken.refused, ...later.refused],
      spreadMs: taken.spreadMs,
      drains: taken.drains,
      probe,
      view: this.#merged.view,
      keep: isTick || this.#gossip.incarnation !== this.#keptIncarnation ? this.#toKeep() : null,
      wakeInMs: wakesInMs.length === 0 ? null : Math.min(...wakesInMs),
    };
  }

  #take(input: Input, nowMs: number): void {
    switch (input.kind) {
      case "tick":
        return this.#gossip.tick(nowMs);
      case "discovered":
        return this.#discovered(input.discovery, nowMs);
      case "probed":
        if (this.#schedule.result(input.probe, input.outcome, nowMs, this.#options.random))
          this.#catalogIsDue = true;
        return;
      case "linkUp":
        return this.#gossip.linkUp({ id: input.link, dialled: input.dialled, remote: input.remote }, nowMs);
      case "linkDown":
        return this.#gossip.linkDown(input.link, input.reason, nowMs);
      case "dialFailed":
        return this.#gossip.dialFailed(input.address, { refused: input.refused }, nowMs);
      case "frame":
        return this.#gossip.frame(input.link, input.frame, nowMs);
      case "drain":
        return this.#drainAnywhere(input.replica, input.draining);
      case "stop":
        this.#drains = drainDaemon(this.#drains);
        this.#catalogIsDue = true;
        return;
      case "leave":
        return this.#leave(nowMs);
      default:
        return unreachable(input);
    }
  }

  #discovered(discovery: Discovery, nowMs: number): void {
    this.#happenings.push(...this.#discoveries.take(discovery, nowMs));
    const { endpoints, isWhole } = this.#discoveries;
    this.#schedule.set(endpoints, nowMs);
    if (isWhole && this.#gossip.complete) this.#drains = forgetEnded(this.#drains, endpoints);
    this.#catalogIsDue = true;
  }

  #drain(id: ReplicaId, draining: boolean): void {
    const endpoint = this.#discoveries.endpoint(id);
    if (endpoint === null) return;
    this.#drains = draining ? drainReplica(this.#drains, endpoint) : activateReplica(this.#drains, id);
    this.#catalogIsDue = true;
  }

  #drainAnywhere(id: ReplicaId, draining: boolean): void {
    if (this.#discoveries.endpoint(id) !== null) return this.#drain(id, draining);
    for (const { replicas } of this.#merged.view.services) {
      const replica = replicas.find((candidate) => candidate.id === id);
      if (replica !== undefined) this.#gossip.askDrain(replica.node, id, draining);
    }
  }

  /**
   * True once this node knows what there is, here and elsewhere. Till then it publishes nothing: after a restart that
   * would replace what peers hold of its last life by less, and take names out of DNS that are back a moment later.
   */
  #isComplete(nowMs: number): boolean {
    const hasHeard = this.#discoveries.heardAll || nowMs - this.#options.nowMs >= SOURCES_GRACE_MS;
    return hasHeard && this.#gossip.complete;
  }

  /** Holds `applied` back until the view has it: who hears that may stop a replica, and nobody may use it then. */
  #sendable(frames: Effects["send"]): Effects["send"] {
    const all = [...this.#heldBack, ...frames];
    const isCurrent = this.#mergedRevision === this.#gossip.revision;
    this.#heldBack = isCurrent ? [] : all.filter(({ kind }) => kind === "applied");
    return isCurrent ? all : all.filter(({ kind }) => kind !== "applied");
  }

  /**
   * Publishes what is due: at once what a source, a command or a stop changed; what probes found after a pause, since a
   * plan costs for each replica and a host's probes answer one by one.
   *
   * @returns after how long it must be looked at again; null when it need not be
   */
  #publishWhenDue(input: Input, nowMs: number): number | null {
    if (!this.#catalogIsDue || !this.#isComplete(nowMs)) return null;
    const isPaced = input.kind === "probed" || input.kind === "tick" || input.kind === "frame";
    const leftMs = this.#publishedAtMs + PUBLISH_PAUSE_MS_PER_REPLICA * this.#published.length - nowMs;
    if (isPaced && leftMs > 0) return leftMs;
    this.#publishedAtMs = nowMs;
    this.#publish(nowMs);
    return null;
  }

  /**
   * Takes this node's services out of every picture and says goodbye. By deletions in its own log, not by the goodbye
   * alone: those spread to whoever comes later, who would else take the rest of the log for a dead node's.
   */
  #leave(nowMs: number): void {
    const own = this.#gossip.logs.get(this.#options.id)?.entryByKey ?? new Map<string, Entry>();
    const writes = Array.from(own.keys()).filter((key) => key !== "node");
    this.#published = [];
    this.#catalogIsDue = false;
    this.#gossip.write(new Map(writes.map((key) => [key, null])), nowMs);
    this.#gossip.goodbye();
  }

  /** Plans what this node offers and writes what changed to its log: replicas and claims in one, as peers hold them. */
  #publish(nowMs: number): void {
    this.#catalogIsDue = false;
    const catalog = planCatalog({
      discoveries: this.#discoveries.all,
      readinessById: this.#schedule.verdicts(),
      drains: this.#drains,
      drainAppliedIds: this.#acknowledgements.appliedIds,
      published: this.#published,
    });
    this.#problems = catalog.problems;
    const changes = new Map<string, string | null>();
    const node: NodeRecord = { kind: "node", ...this.#options.record };
    changes.set("node", renderRecord(node));
    const offered = new Set(catalog.records.map(({ id }) => id));
    // Draining first: it is what peers must hear soonest, and a delta is cut in this order.
    for (const record of catalog.records.toSorted((one, other) => urgency(one) - urgency(other))) {
      changes.set(recordKey(record), renderRecord(record));
    }
    for (const gone of this.#published) {
      if (!offered.has(gone.id)) changes.set(recordKey(gone), null);
    }
    this.#published = catalog.records;
    // The first claims must not be made of a picture in which others' are still to come.
    if (this.#gossip.version === 0) this.#remerge(nowMs);
    for (const [key, body] of this.#claimed()) changes.set(key, body);
    this.#gossip.write(changes, nowMs);
    this.#acknowledgements.published(catalog.records, this.#gossip.version);
  }

  /** Merges when something changed. @returns after how long it must be looked at again; null when it need not be */
  #bringUpToDate(nowMs: number): number | null {
    if (this.#gossip.revision === this.#mergedRevision) return null;
    const sinceMs = nowMs - this.#mergedAtMs;
    const pauseMs = MERGE_PAUSE_MS + MERGE_PAUSE_MS_PER_REPLICA * this.#merged.replicaCount;
    if (sinceMs >= 0 && sinceMs < pauseMs) return pauseMs - sinceMs;
    this.#remerge(nowMs);
    // Before the first exchange others' claims are not known, and one made blindly may lose and move a service.
    if (this.#gossip.complete) this.#gossip.write(this.#claimed(), nowMs);
    if (this.#gossip.revision !== this.#mergedRevision) this.#remerge(nowMs);
    const others = this.#merged.view.members.filter(({ self }) => !self);
    this.#gossip.meet(others, nowMs);
    return null;
  }

  #remerge(nowMs: number): void {
    const before = this.#merged;
    this.#merged = this.#merge(nowMs);
    this.#happenings.push(...changesBetween(before.view, this.#merged.view, nowMs));
    const known = new Set(before.malformed);
    for (const text of this.#merged.malformed) {
      if (known.has(text)) continue;
      this.#happenings.push({ kind: "member.refused", level: "warn", subject: "record", text, atMs: nowMs });
    }
    this.#malformed = this.#merged.malformed;
  }

  #merge(nowMs: number): Merged {
    this.#mergedRevision = this.#gossip.revision;
    this.#mergedAtMs = nowMs;
    return this.#merger.merge({
      self: this.#options.id,
      incarnation: this.#gossip.incarnation,
      standings: this.#gossip.standings,
      logs: this.#gossip.logs,
      complete: this.#isComplete(nowMs),
      pool: this.#options.pool,
      startedAtMs: this.#options.nowMs,
      nowMs,
    });
  }

  /** The VIPs of services that have a replica here, as writes. The one loop: a claim changes the view it came from. */
  #claimed(): ReadonlyMap<string, string | null> {
    const keys = this.#published
      .filter(({ declaration }) => declaration.endpointMode === "vip" && declaration.ports.length > 0)
      .map(({ network, service }) => serviceKey(network, service));
    return this.#claims.update(new Set(keys), this.#merged.assignment);
  }

  #toKeep(): KeptState | null {
    const kept: KeptState = {
      incarnation: this.#gossip.incarnation,
      claims: this.#claims.remembered,
      addresses: this.#gossip.addresses,
      drains: Array.from(this.#drains.startedAtMsById, ([id, startedAtMs]) => ({ id, startedAtMs })),
    };
    this.#keptIncarnation = kept.incarnation;
    const text = JSON.stringify(kept);
    if (text === this.#keptText) return null;
    this.#keptText = text;
    return kept;
  }
}

function urgency(record: ReplicaRecord): number {
  return record.state === "draining" ? 0 : 1;
}
