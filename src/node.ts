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
import { below } from "./base/random.ts";
import { Acknowledgements } from "./catalog/acknowledgement.ts";
import { planCatalog } from "./catalog/catalog.ts";
import { Discoveries } from "./catalog/discoveries.ts";
import { activateReplica, drainDaemon, drainHost, drainReplica, forgetEnded } from "./catalog/drain.ts";
import type { Drains } from "./catalog/drain.ts";
import { drainsKept, Keeping } from "./catalog/keeping.ts";
import { writesFor } from "./catalog/publication.ts";
import { PAUSE_MS } from "./gossip/awareness.ts";
import { Gossip } from "./gossip/gossip.ts";
import { ProbeSchedule } from "./health/schedule.ts";
import type { Discovery, Problem } from "./model/endpoint.ts";
import type { Happening } from "./model/event.ts";
import { EVERY_REPLICA, serviceKey, type NodeId, type ReplicaId } from "./model/ids.ts";
import type { KeptState } from "./model/kept.ts";
import { LIMITS } from "./model/limits.ts";
import { recordWith, type NodeRecord, type ReplicaRecord } from "./model/record.ts";
import type { View } from "./model/view.ts";
import type { Effects, Farewell, Input, NodeOptions } from "./step.ts";
import { Decisions } from "./trust/decisions.ts";
import { changesBetween, refusalsBetween } from "./view/changes.ts";
import { Claims } from "./view/claims.ts";
import { Merger, type Merged, type MergeInput } from "./view/merge.ts";

/** Between two merges of one burst: more in a large cluster, where each costs more and bursts are longer. */
const MERGE_PAUSE_MS = 5;
const MERGE_PAUSE_MS_PER_REPLICA = 0.002;
const MERGE_PAUSE_MS_PER_MEMBER = 0.01;
/** Between two publications of what probes found, for each replica of this node: a plan costs about as much. */
const PUBLISH_PAUSE_MS_PER_REPLICA = 0.02;
/** How long a source is waited for before something is published: a hung Docker must not hide the rest. */
const SOURCES_GRACE_MS = 5000;
/** An incarnation is the last one known here and up to so much more. */
const INCARNATION_STEP = 1000;
/** How long a daemon that restarts is waited for: pulling a new image may take a minute. */
const AWAY_MS = 120_000;

/** One node. */
export class Node {
  readonly #options: NodeOptions;
  readonly #gossip: Gossip;
  readonly #decisions: Decisions;
  readonly #schedule: ProbeSchedule;
  readonly #merger = new Merger();
  readonly #discoveries: Discoveries;
  readonly #claims: Claims;
  #drains: Drains;
  #published: readonly ReplicaRecord[] = [];
  readonly #acknowledgements = new Acknowledgements();
  #problems: readonly Problem[] = [];
  #merged: Merged;
  #mergedRevision = -1;
  #mergedAtMs: number;
  #catalogIsDue = true;
  #publishedAtMs = 0;
  readonly #keeping = new Keeping();
  #happenings: Happening[] = [];
  #heldBack: Effects["send"] = [];
  /** When it started; moved on by pauses and clocks that jump, for nothing was heard meanwhile. */
  #awakeSinceMs: number;
  #steppedAtMs: number;
  /** What it says of itself. */
  #record: NodeOptions["record"];

  constructor(options: NodeOptions) {
    const { id, record, kept, pool, seals, charter, random, nowMs, trusted } = options;
    this.#options = options;
    this.#record = record;
    this.#awakeSinceMs = this.#steppedAtMs = nowMs;
    this.#discoveries = new Discoveries(options.sources);
    this.#claims = new Claims({ self: id, pool, kept, nowMs });
    this.#schedule = new ProbeSchedule(LIMITS.probesInFlight, trusted);
    this.#drains = drainsKept(kept);
    this.#gossip = new Gossip({
      self: { id, name: record.name, host: record.host, port: record.port },
      // Not just the next: a data dir restored from a backup would give a number again that was used since, and who
      // holds the log of that life could not tell it from this one's.
      incarnation: kept.incarnation + 1 + below(random, INCARNATION_STEP),
      seeds: options.seeds,
      seals,
      random,
      nowMs,
    });
    const nameOf = (of: NodeId): string =>
      this.#merged.view.members.find((member) => member.id === of)?.name ?? of;
    this.#decisions = new Decisions({ self: id, seals, charter, carrier: this.#gossip, nameOf });
    for (const address of kept.addresses) this.#gossip.acquaint(address);
    this.#mergedAtMs = nowMs - MERGE_PAUSE_MS;
    this.#merged = this.#merge(null, nowMs);
    this.#mergedRevision = this.#gossip.revision;
  }

  /** What is wrong with what this node discovered, offers or was told. */
  get problems(): readonly Problem[] {
    const malformed = this.#merged.malformed.map((text) => ({ subject: "record", text }));
    const ofMembers = this.#gossip.problems.map((text) => ({ subject: "member", text }));
    return [...this.#discoveries.problems, ...this.#problems, ...ofMembers, ...malformed];
  }

  /** What the sources of this host have told. */
  get found(): Discoveries {
    return this.#discoveries;
  }

  /** The newest view. */
  get view(): View {
    return this.#merged.view;
  }

  /** What gossip knows beyond the view: which life this is, and what changes all the time. */
  get gossip(): Pick<Gossip, "incarnation" | "healthScore" | "standing" | "credentialOf"> {
    return this.#gossip;
  }

  /** Names of members that may still send traffic to what drains here: they have not applied that it does. */
  get lagging(): readonly string[] {
    return this.#acknowledgements.missing((version) => this.#gossip.lagging(version));
  }

  /** Takes one input and says what is to be done. */
  step(input: Input, nowMs: number): Effects {
    if (nowMs - this.#steppedAtMs > PAUSE_MS) this.#awakeSinceMs += nowMs - this.#steppedAtMs;
    this.#steppedAtMs = nowMs;
    this.#take(input, nowMs);
    const taken = this.#gossip.take();
    for (const asked of taken.drains) this.#drain(asked.replica, asked.draining);
    const isTick = input.kind === "tick";
    const lagging = (version: number): readonly string[] => this.#gossip.lagging(version);
    if (isTick && this.#acknowledgements.settle(lagging, nowMs, input.aheadMs)) this.#catalogIsDue = true;
    if (isTick && this.#claims.settle(lagging, nowMs)) {
      // What somebody claimed before he applied this node's claim has come with the news that he did: it must be seen.
      if (this.#mergedRevision !== this.#gossip.revision) this.#remerge(nowMs);
      this.#claim(nowMs);
    }
    if (isTick || input.kind === "charter") this.#decisions.tick(nowMs);
    const wakesInMs = [this.#publishWhenDue(input, nowMs), this.#bringUpToDate(nowMs)].filter(
      (ms) => ms !== null,
    );
    const decided = this.#decisions.take();
    const later = this.#gossip.take();
    const probe =
      isTick || input.kind === "discovered" ? this.#schedule.due(nowMs, this.#options.random) : [];
    const happenings = this.#happenings;
    this.#happenings = [];
    return {
      send: this.#sendable([...taken.send, ...later.send]),
      dial: [...taken.dial, ...later.dial],
      close: [...taken.close, ...later.close],
      happenings: [...taken.happenings, ...later.happenings, ...decided.happenings, ...happenings],
      received: taken.received,
      refused: [...taken.refused, ...later.refused, ...decided.refused],
      spreadMs: taken.spreadMs,
      drains: taken.drains,
      probe,
      view: this.#merged.view,
      keep: isTick || this.#gossip.incarnation !== this.#keeping.incarnation ? this.#toKeep() : null,
      charter: decided.charter,
      // Whole: a fraction of a millisecond left over by rounding would ask for a tick at this very moment, for ever.
      wakeInMs: wakesInMs.length === 0 ? null : Math.max(1, Math.ceil(Math.min(...wakesInMs))),
    };
  }

  #take(input: Input, nowMs: number): void {
    switch (input.kind) {
      case "tick":
        if (input.delayMs !== undefined) this.#gossip.delayed(input.delayMs);
        return this.#gossip.tick(nowMs);
      case "discovered":
        return this.#discovered(input.discovery, nowMs);
      case "probed":
        if (this.#schedule.result(input.probe, input.outcome, nowMs, this.#options.random))
          this.#catalogIsDue = true;
        return;
      case "linkUp": {
        const { link: id, dialled, remote, peer } = input;
        return this.#gossip.linkUp({ id, dialled, remote, peer }, nowMs);
      }
      case "linkDown":
        return this.#gossip.linkDown(input.link, input.reason, nowMs);
      case "dialFailed":
        return this.#gossip.dialFailed(input.address, { refused: input.refused }, nowMs);
      case "frame":
        return this.#gossip.frame(input.link, input.frame, nowMs);
      case "drain":
        return this.#drainAnywhere(input.replica, input.draining);
      case "drainNode":
        if (input.node === this.#options.id) return this.#drain(EVERY_REPLICA, input.draining);
        return void this.#gossip.askDrain(input.node, EVERY_REPLICA, input.draining);
      case "prefixes":
      case "overlay":
        this.#record = recordWith(this.#record, input);
        this.#catalogIsDue = true;
        return;
      case "charter":
        this.#mergedRevision = -1;
        return this.#decisions.merge(input.charter, nowMs);
      case "stop":
        this.#drains = drainDaemon(this.#drains, input.farewell === "left" ? "stops" : "stopsForAWhile");
        this.#catalogIsDue = true;
        return;
      case "leave":
        return this.#leave(input.farewell, nowMs);
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
    if (id === EVERY_REPLICA) {
      this.#drains = drainHost(this.#drains, draining);
      this.#catalogIsDue = true;
    }
    for (const copy of this.#discoveries.copiesOf(id)) {
      this.#drains = draining ? drainReplica(this.#drains, copy) : activateReplica(this.#drains, copy.id);
      this.#catalogIsDue = true;
    }
  }

  #drainAnywhere(id: ReplicaId, draining: boolean): void {
    if (this.#discoveries.endpoint(id) !== null) return this.#drain(id, draining);
    for (const { replicas } of this.#merged.view.services) {
      const replica = replicas.find((candidate) => candidate.id === id);
      if (replica !== undefined) this.#gossip.askDrain(replica.node, id, draining);
    }
  }

  /**
   * True once this node knows what there is, here and elsewhere. Till then it publishes nothing: that would replace
   * what peers hold of its last life by less, and take names out of DNS that are back a moment later.
   */
  #isComplete(nowMs: number): boolean {
    const hasHeard = this.#discoveries.heardAll || nowMs - this.#awakeSinceMs >= SOURCES_GRACE_MS;
    return hasHeard && this.#gossip.complete;
  }

  /** True once the view may hold that, too: what is here is in it when it was published. */
  #isViewComplete(nowMs: number): boolean {
    return this.#isComplete(nowMs) && this.#gossip.version > 0;
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

  /** Says farewell. Not by deleting what this node publishes: `left` hides it everywhere, and `away` is to keep it. */
  #leave(farewell: Farewell, nowMs: number): void {
    this.#published = [];
    this.#catalogIsDue = false;
    this.#gossip.farewell(farewell, AWAY_MS, nowMs);
  }

  /** Plans what this node offers and writes what changed to its log: replicas and claims in one, as peers hold them. */
  #publish(nowMs: number): void {
    this.#catalogIsDue = false;
    const catalog = planCatalog({
      discoveries: this.#discoveries.all,
      readinessById: this.#schedule.verdicts(),
      drains: this.#drains,
      carriesOverlays: this.#record.overlay !== undefined,
      acknowledgements: this.#acknowledgements,
      published: this.#published,
    });
    this.#problems = catalog.problems;
    const node: NodeRecord = { kind: "node", ...this.#record, ...(this.#drains.host && { draining: true }) };
    const writes = writesFor({ node, records: catalog.records, published: this.#published });
    this.#published = catalog.records;
    // The first claims must not be made of a picture in which others' are still to come.
    if (this.#gossip.version === 0) this.#remerge(nowMs);
    const claimed = this.#claimed(nowMs);
    for (const [key, body] of [...claimed, ...this.#decisions.writes(nowMs)]) writes.set(key, body);
    this.#write(writes, nowMs);
    this.#acknowledgements.published(catalog.records, this.#gossip.version, nowMs);
  }

  /** Writes to this node's log; asks who has applied it where a drain or a claim waits for that. */
  #write(writes: ReadonlyMap<string, string | null>, nowMs: number): void {
    const isDraining = this.#published.some(
      ({ state, drainApplied }) => state === "draining" && !drainApplied,
    );
    this.#gossip.write(writes, nowMs, { acknowledge: isDraining || this.#claims.isTentative });
    this.#claims.written(this.#gossip.version);
  }

  /** Writes the claims that follow from the view. */
  #claim(nowMs: number): void {
    const writes = this.#claimed(nowMs);
    if (writes.size > 0) this.#write(writes, nowMs);
  }

  /** Merges when something changed. @returns after how long it must be looked at again; null when it need not be */
  #bringUpToDate(nowMs: number): number | null {
    const { view, dueAtMs, replicaCount } = this.#merged;
    const isDue = (dueAtMs !== null && nowMs >= dueAtMs) || view.complete !== this.#isViewComplete(nowMs);
    if (this.#gossip.revision === this.#mergedRevision && !isDue) return null;
    const sinceMs = nowMs - this.#mergedAtMs;
    const ofMembers = MERGE_PAUSE_MS_PER_MEMBER * view.members.length;
    const pauseMs = MERGE_PAUSE_MS + MERGE_PAUSE_MS_PER_REPLICA * replicaCount + ofMembers;
    if (sinceMs >= 0 && sinceMs < pauseMs) return pauseMs - sinceMs;
    this.#remerge(nowMs);
    // Before the first exchange others' claims are not known, and one made blindly may lose and move a service.
    if (this.#isComplete(nowMs)) this.#claim(nowMs);
    if (this.#gossip.revision !== this.#mergedRevision) this.#remerge(nowMs);
    return null;
  }

  #remerge(nowMs: number): void {
    const before = this.#merged;
    // Before it is heard who was removed: that is news of its own.
    this.#mergedRevision = this.#gossip.revision;
    const changed = this.#gossip.takeChanged();
    this.#decisions.hear(changed.keys(), nowMs);
    this.#merged = this.#merge(changed, nowMs);
    const { view, malformed } = this.#merged;
    this.#happenings.push(...changesBetween(before.view, view, nowMs));
    this.#happenings.push(...refusalsBetween(before.malformed, malformed, nowMs));
    if (view.members !== before.view.members) {
      const fresh = view.members.filter(({ id }) => changed.has(id));
      this.#gossip.meet(fresh, nowMs);
    }
  }

  #merge(changed: MergeInput["changed"], nowMs: number): Merged {
    this.#mergedAtMs = nowMs;
    return this.#merger.merge({
      self: this.#options.id,
      incarnation: this.#gossip.incarnation,
      changed: changed ?? null,
      standings: changed === null ? this.#gossip.standings : [],
      logs: this.#gossip.logs,
      roleOf: (id) => this.#gossip.credentialOf(id)?.role ?? "worker",
      complete: this.#isViewComplete(nowMs),
      pool: this.#options.pool,
      vip6: this.#options.vip6 ?? null,
      networks: this.#decisions.networks,
      startedAtMs: this.#options.nowMs,
      nowMs,
    });
  }

  /** The claims of services with a replica here, as writes. The one loop: a claim changes the view it came from. */
  #claimed(nowMs: number): ReadonlyMap<string, string | null> {
    const keys = this.#published
      .filter(({ declaration }) => declaration.endpointMode === "vip" && declaration.ports.length > 0)
      .map(({ network, service }) => serviceKey(network, service));
    const isAlone = this.#merged.view.members.every(({ self, state }) => self || state !== "alive");
    return this.#claims.update({ keys: new Set(keys), isAlone }, this.#merged, nowMs);
  }

  #toKeep(): KeptState | null {
    const { incarnation, addressesRevision } = this.#gossip;
    const now = { incarnation, addressesRevision, claims: this.#claims.kept, drains: this.#drains };
    return this.#keeping.due(now, () => this.#gossip.addresses);
  }
}
