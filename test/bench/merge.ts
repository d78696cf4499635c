/**
 * Merge: what one change costs the view of a large cluster, and what the view holds.
 *
 * A thousand nodes with ten replicas each make a thousand services of ten. Each change is merged by itself, as the
 * daemon does it when nothing else is going on, and told to the merger as gossip tells it: with the owner that it is
 * of. A second cluster of as many nodes that run nothing is what a simulated node holds of the other nodes.
 *
 * Touches: the garbage collector.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { base32, sha256 } from "../../src/base/bytes.ts";
import { parsePrefix, type Prefix } from "../../src/base/ip.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";
import type { MemberState, Standing } from "../../src/model/member.ts";
import { recordKey, renderRecord, type NodeLogRecord, type ReplicaState } from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";
import { changesBetween } from "../../src/view/changes.ts";
import { Merger, type Merged } from "../../src/view/merge.ts";

import { quantile } from "./statistics.ts";

const NODES = 1000;
const REPLICAS_PER_NODE = 10;
const SERVICES = 1000;
/** Of each kind of change, before it is measured: the first ones run uncompiled. */
const WARM_UP = 100;
const ROUNDS = 300;
/** Nodes that change; each kind of change is of one after the other. */
const OWNERS = 300;

/** One kind of change, in milliseconds a merge. */
export interface ChangeFigures {
  readonly medianMs: number;
  readonly worstMs: number;
  /** Of processor time: without what a busy machine took from it. In steps of the kernel's clock. */
  readonly worstCpuMs: number;
}

/** What one merge, or one comparison of views, took. */
interface Took {
  readonly ms: number;
  readonly cpuMs: number;
}

/** What merging costs. Bytes are those of the live heap after a collection; the logs themselves are not in them. */
export interface MergeFigures {
  readonly nodes: number;
  readonly replicas: number;
  readonly services: number;
  readonly firstMs: number;
  readonly changes: Readonly<Record<string, ChangeFigures>>;
  /** A replica's change when it is not told whose it was. */
  readonly untold: ChangeFigures;
  /** From one view to the next: what a person is told. */
  readonly happenings: ChangeFigures;
  readonly bytesPerReplica: number;
  readonly sparse: {
    readonly members: number;
    readonly changes: Readonly<Record<string, ChangeFigures>>;
    readonly bytesPerMember: number;
  };
}

interface LiveLog extends OwnerLog {
  version: number;
  readonly entryByKey: Map<string, Entry>;
}

/** A cluster as gossip holds it: logs that change in place, standings that are replaced. */
class Cluster {
  readonly merger = new Merger();
  readonly #logs = new Map<NodeId, LiveLog>();
  readonly #standings = new Map<NodeId, Standing>();
  #changed: Set<NodeId> | null = null;
  #nowMs = 1_800_000_000_000;

  addNode(index: number, records: readonly NodeLogRecord[]): void {
    const owner = nodeId(index);
    const log: LiveLog = { owner, incarnation: 1, version: 0, floor: 0, entryByKey: new Map() };
    this.#logs.set(owner, log);
    this.write(index, [nodeRecord(index), ...records]);
    if (index > 0) this.stand(index, "alive");
  }

  write(index: number, records: readonly NodeLogRecord[]): void {
    for (const record of records) this.#put(index, recordKey(record), renderRecord(record));
  }

  bury(index: number, key: string): void {
    this.#put(index, key, null);
  }

  stand(index: number, state: MemberState): void {
    const id = nodeId(index);
    const standing = { id, state, sinceMs: this.#nowMs, rttMs: 0.5, via: null, settlesAtMs: null };
    this.#standings.set(id, standing);
    this.#changed?.add(id);
  }

  merge(isTold = true): { readonly merged: Merged; readonly took: Took } {
    this.#nowMs += 10;
    const changed =
      this.#changed === null || !isTold
        ? null
        : new Map(Array.from(this.#changed, (id) => [id, this.#standings.get(id) ?? null] as const));
    const input = {
      self: nodeId(0),
      incarnation: 1,
      standings: changed === null ? [...this.#standings.values()] : [],
      changed,
      logs: this.#logs,
      roleOf: () => "manager" as const,
      complete: true,
      pool: POOL,
      networks: [],
      startedAtMs: 1,
      nowMs: this.#nowMs,
    };
    const { outcome: merged, took } = clocked(() => this.merger.merge(input));
    this.#changed = new Set();
    return { merged, took };
  }

  #put(index: number, key: string, body: string | null): void {
    const log = this.#logs.get(nodeId(index));
    if (log === undefined) throw new Error(`there is no node ${index}`);
    log.version += 1;
    // A key in one piece, as it comes off the wire: one put together of two would be held twice.
    const plain = JSON.parse(JSON.stringify(key)) as string;
    log.entryByKey.delete(plain);
    log.entryByKey.set(plain, { version: log.version, body });
    this.#changed?.add(log.owner);
  }
}

const POOL: Prefix = (() => {
  const parsed = parsePrefix("10.96.0.0/12");
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
})();

const nodeIds: NodeId[] = [];

function nodeId(index: number): NodeId {
  nodeIds[index] ??= base32(sha256(`bench node ${index}`)).slice(0, 20);
  return nodeIds[index];
}

/** Measures; takes some seconds. */
export function measureMerge(): MergeFigures {
  const sparse = measureSparse();
  const cluster = new Cluster();
  for (let index = 0; index < NODES; index += 1) cluster.addNode(index, recordsOf(index));
  const logged = heapBytes();
  const first = cluster.merge();
  const bytesPerReplica = (heapBytes() - logged) / (NODES * REPLICAS_PER_NODE);
  const changes = changesOf(cluster, REPLICAS_PER_NODE);
  const untold = timed((round) => {
    cluster.write(1, [replica(1, 0, { state: round % 2 === 0 ? "unready" : "ready" })]);
    return cluster.merge(false).took;
  });
  return {
    nodes: NODES,
    replicas: first.merged.replicaCount,
    services: first.merged.view.services.length,
    firstMs: first.took.ms,
    changes,
    untold,
    happenings: happeningsOf(cluster),
    bytesPerReplica,
    sparse,
  };
}

/** The figures, a line each, beside what is promised. */
export function linesOfMerge(
  figures: MergeFigures,
): readonly { readonly what: string; readonly promised: string; readonly measured: string }[] {
  const { changes, untold, happenings, sparse } = figures;
  const line = (what: string, promised: string, { medianMs, worstMs, worstCpuMs }: ChangeFigures) => {
    const worst = `worst ${worstMs.toFixed(1)} ms (${worstCpuMs.toFixed(1)} ms of it its own)`;
    return { what, promised, measured: `median ${medianMs.toFixed(3)} ms, ${worst}` };
  };
  const bytes = (what: string, count: number) => {
    return { what, promised: "-", measured: `${count.toFixed(0)} bytes` };
  };
  return [
    { what: "10,000 replicas merged at first", promised: "-", measured: `${figures.firstMs.toFixed(0)} ms` },
    ...Object.entries(changes).map(([kind, took]) => line(`merged: ${kind}`, "10 ms", took)),
    line("merged: not told whose", "10 ms", untold),
    line("told to people: a replica's state", "-", happenings),
    bytes("the view holds of each replica", figures.bytesPerReplica),
    ...Object.entries(sparse.changes).map(([kind, took]) => line(`nothing runs, merged: ${kind}`, "-", took)),
    bytes("nothing runs, the view holds of each member", sparse.bytesPerMember),
  ];
}

function measureSparse(): MergeFigures["sparse"] {
  const idleCluster = (): Cluster => {
    const cluster = new Cluster();
    for (let index = 0; index < NODES; index += 1) cluster.addNode(index, []);
    return cluster;
  };
  // The first one brings the code into memory, which is not the view's.
  idleCluster().merge();
  const cluster = idleCluster();
  const logged = heapBytes();
  cluster.merge();
  const bytesPerMember = (heapBytes() - logged) / NODES;
  return { members: NODES, changes: changesOf(cluster, 0), bytesPerMember };
}

function changesOf(cluster: Cluster, replicasOfNew: number): Record<string, ChangeFigures> {
  const merged = (): Took => cluster.merge().took;
  const figures: Record<string, ChangeFigures> = {};
  // Each round is of another owner.
  const at = (round: number): number => 1 + (round % OWNERS);
  figures["a replica's state"] = timed((round) => {
    cluster.write(at(round), [replica(at(round), 0, { state: round < OWNERS ? "unready" : "ready" })]);
    return merged();
  });
  figures["a new replica"] = timed((round) => {
    cluster.write(at(round), [replica(at(round), 100 + round, {})]);
    return merged();
  });
  figures["a tombstone"] = timed((round) => {
    cluster.bury(at(round), recordKey(replica(at(round), 100 + round, {})));
    return merged();
  });
  figures["a member suspect"] = timed((round) => {
    cluster.stand(OWNERS + at(round), "suspect");
    return merged();
  });
  figures["a member alive again"] = timed((round) => {
    cluster.stand(OWNERS + at(round), "alive");
    return merged();
  });
  figures["a new claim"] = timed((round) => {
    const service = `new-${round}`;
    cluster.write(at(round), [{ ...replica(at(round), 5000 + round, {}), service }]);
    merged();
    cluster.write(at(round), [claim(service, 60_000 + round, 2)]);
    return merged();
  });
  figures["a new member"] = timed((round) => {
    cluster.addNode(NODES + round, recordsOf(NODES + round, replicasOfNew));
    return merged();
  });
  return figures;
}

function happeningsOf(cluster: Cluster): ChangeFigures {
  let last = cluster.merge().merged.view;
  return timed((round) => {
    cluster.write(2, [replica(2, 0, { state: round % 2 === 0 ? "unready" : "ready" })]);
    const { view } = cluster.merge().merged;
    const { took } = clocked(() => changesBetween(last, view, 0));
    last = view;
    return took;
  });
}

function timed(change: (round: number) => Took): ChangeFigures {
  for (let round = 0; round < WARM_UP; round += 1) change(round);
  const took = Array.from({ length: ROUNDS }, (_, round) => change(WARM_UP + round));
  const tookMs = took.map(({ ms }) => ms);
  const worstCpuMs = Math.max(...took.map(({ cpuMs }) => cpuMs));
  return { medianMs: quantile(tookMs, 0.5), worstMs: Math.max(...tookMs), worstCpuMs };
}

function clocked<T>(act: () => T): { readonly outcome: T; readonly took: Took } {
  const before = process.threadCpuUsage();
  const startMs = performance.now();
  const outcome = act();
  const ms = performance.now() - startMs;
  const { user, system } = process.threadCpuUsage(before);
  return { outcome, took: { ms, cpuMs: (user + system) / 1000 } };
}

function recordsOf(index: number, count = REPLICAS_PER_NODE): NodeLogRecord[] {
  return Array.from({ length: count }, (_, at) => {
    const record = replica(index, at, {});
    return [record, claim(record.service, serviceOf(index, at), 1)];
  }).flat();
}

function serviceOf(index: number, at: number): number {
  return (index * REPLICAS_PER_NODE + at) % SERVICES;
}

function replica(index: number, at: number, part: { readonly state?: ReplicaState }) {
  const service = serviceOf(index, at);
  const ports = [{ name: "web", port: 80, target: 8080, protocol: "http" as const }];
  const state = part.state ?? "ready";
  return {
    kind: "replica" as const,
    id: base32(sha256(`${index} ${at}`)).slice(0, 12),
    name: `service-${service}-${index}`,
    slot: 1,
    network: "default",
    service: `service-${service}`,
    stack: null,
    address: `172.17.${at % 250}.${(index % 250) + 2}`,
    reach: "stream" as const,
    declaration: { ...EMPTY_DECLARATION, ports },
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1_700_000_000_000 + index,
    state,
    reason: state === "ready" ? "probe: passing" : "probe: connection refused",
    drainApplied: false,
    drainPending: [],
  };
}

function claim(service: string, number: number, order: number): NodeLogRecord {
  const address = `10.${97 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
  return { kind: "vip", network: "default", service, address, order, settled: true };
}

function nodeRecord(index: number): NodeLogRecord {
  const host = `10.0.${index >> 8}.${index & 255}`;
  const said = { name: `node-${index}`, host, port: 7650, zone: "", labels: {}, prefixes: [] };
  return { kind: "node", ...said, software: "bench" };
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 4; round += 1) collect();
  return process.memoryUsage().heapUsed;
}
