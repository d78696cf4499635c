// Random histories of a cluster: a view made change by change is the view of merging everything anew.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { NodeId } from "../../src/model/ids.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";
import type { MemberState, Standing } from "../../src/model/member.ts";
import {
  recordKey,
  renderRecord,
  type NodeLogRecord,
  type ReplicaRecord,
  type SubnetRecord,
} from "../../src/model/record.ts";
import type { Replica, Service, View } from "../../src/model/view.ts";
import { changesBetween } from "../../src/view/changes.ts";
import { Merger, type MergeInput, type Merged } from "../../src/view/merge.ts";
import { idOf } from "../support/gossip-network.ts";

import { claim, declare, POOL, prefix, range, replica, standing } from "./cluster.ts";

const NAMES = ["a", "b", "c", "d"] as const;
const TINY = prefix("10.96.1.0/28");

/** What may happen to a cluster; `who` is a node. */
type Change =
  | { readonly kind: "write"; readonly who: string; readonly key: string; readonly body: string | null }
  /** A store without room for a write drops what it had under that key. */
  | { readonly kind: "vanish"; readonly who: string; readonly key: number }
  | { readonly kind: "collect" | "restart" | "reset" | "forget" | "clear"; readonly who: string }
  | { readonly kind: "stand"; readonly who: string; readonly standing: Standing }
  | { readonly kind: "networks"; readonly count: number }
  | { readonly kind: "pool"; readonly isTiny: boolean };

interface LiveLog extends OwnerLog {
  incarnation: number;
  version: number;
  readonly entryByKey: Map<string, Entry>;
}

/** A cluster as gossip holds it: logs change in place. */
class Cluster {
  readonly logs = new Map<NodeId, LiveLog>();
  readonly standings = new Map<NodeId, Standing>();
  readonly changed = new Set<NodeId>();
  #networkCount = 0;
  #pool = POOL;

  /** All that a merge is given, except who has changed. */
  input(nowMs: number): MergeInput {
    const networks = ["blue", "green"].slice(0, this.#networkCount).map((name, index) => {
      return range(name, `10.${96 + index}.0.0/22`, 23 + index);
    });
    return {
      self: idOf("a"),
      incarnation: 1,
      standings: [...this.standings.values()],
      changed: null,
      logs: this.logs,
      roleOf: () => "manager",
      complete: true,
      pool: this.#pool,
      networks,
      startedAtMs: 500,
      nowMs,
    };
  }

  apply(change: Change): void {
    if (change.kind === "networks") this.#networkCount = change.count;
    else if (change.kind === "pool") this.#pool = change.isTiny ? TINY : POOL;
    else {
      this.changed.add(idOf(change.who));
      this.#applyTo(change);
    }
  }

  #applyTo(change: Extract<Change, { readonly who: string }>): void {
    const id = idOf(change.who);
    const log = this.#log(id);
    const keys = [...log.entryByKey.keys()];
    switch (change.kind) {
      case "write":
        return put(log, change.key, change.body);
      case "vanish":
        log.version += 1;
        log.entryByKey.delete(keys[change.key % keys.length] ?? "");
        return;
      case "collect":
        for (const [key, { body }] of log.entryByKey) if (body === null) log.entryByKey.delete(key);
        return;
      case "restart":
      case "reset": {
        const incarnation = log.incarnation + (change.kind === "restart" ? 1 : 0);
        const next: LiveLog = { ...log, incarnation, version: 0, entryByKey: new Map() };
        for (const [key, { body }] of log.entryByKey) if (body !== null) put(next, key, body);
        this.logs.set(id, next);
        return;
      }
      case "clear":
        this.logs.set(id, { ...log, entryByKey: new Map() });
        return;
      case "forget":
        this.logs.delete(id);
        this.standings.delete(id);
        return;
      case "stand":
        if (change.who !== "a") this.standings.set(id, change.standing);
        return;
    }
  }

  #log(id: NodeId): LiveLog {
    const known = this.logs.get(id);
    if (known !== undefined) return known;
    const log: LiveLog = { owner: id, incarnation: 1, version: 0, floor: 0, entryByKey: new Map() };
    this.logs.set(id, log);
    return log;
  }
}

function put(log: LiveLog, key: string, body: string | null): void {
  log.version += 1;
  log.entryByKey.delete(key);
  log.entryByKey.set(key, { version: log.version, body });
}

const who = fc.constantFrom(...NAMES);

const anyReplica: fc.Arbitrary<ReplicaRecord> = fc
  .record({
    id: fc.constantFrom("r1", "r2", "r3", "r4"),
    service: fc.constantFrom("web", "db", "web-db"),
    stack: fc.constantFrom(null, null, "shop"),
    state: fc.constantFrom("starting", "ready", "ready", "unready", "draining"),
    reason: fc.constantFrom("", "probe: passed", "probe: refused"),
    reach: fc.constantFrom("direct", "stream"),
    weight: fc.constantFrom(0, 1, 1, 5),
    startedAtMs: fc.nat({ max: 3 }),
    drainApplied: fc.boolean(),
    publish: fc.subarray([8080, 8081]),
    mode: fc.constantFrom("ingress" as const, "ingress" as const, "host" as const),
    paths: fc.subarray(["/", "/api", "/api/"]),
    target: fc.constantFrom(8080, 9090),
    endpointMode: fc.constantFrom("vip" as const, "vip" as const, "vip" as const, "dnsrr" as const),
  })
  .map(({ id, publish, mode, paths, target, endpointMode, ...part }) => {
    const declaration = declare({
      ports: [{ name: "web", port: 80, target, protocol: "tcp" }],
      publish: publish.map((published) => ({ published, port: 80, protocol: "tcp", mode })),
      http: paths.map((path) => ({ host: "x.example", path })),
      endpointMode,
    });
    return replica(id, { ...part, declaration });
  });
const anyClaim = fc
  .tuple(
    fc.constantFrom("web", "db", "web-db"),
    fc.constantFrom("10.96.1.9", "10.96.1.10", "192.0.2.1"),
    fc.nat({ max: 2 }),
    fc.boolean(),
  )
  .map(([service, address, order, settled]) => ({ ...claim(service, address, order), settled }));
const anySlice: fc.Arbitrary<SubnetRecord> = fc.record({
  kind: fc.constant("subnet"),
  network: fc.constantFrom("blue", "green"),
  index: fc.nat({ max: 2 }),
  order: fc.nat({ max: 1 }),
  settled: fc.boolean(),
});
const nodeRecord: fc.Arbitrary<NodeLogRecord> = fc.record({
  kind: fc.constant("node"),
  name: fc.constantFrom("a", "b", "c", "x"),
  host: fc.constantFrom("10.0.0.1", "10.0.0.2"),
  port: fc.constant(7650),
  zone: fc.constant(""),
  labels: fc.constantFrom({}, { rack: "1" }),
  software: fc.constant("0.1.0"),
  prefixes: fc.subarray(["10.96.0.0/17", "172.17.0.0/16"]),
});

const anyRecord = fc.oneof<fc.Arbitrary<NodeLogRecord>[]>(
  anyReplica,
  anyReplica,
  anyClaim,
  anySlice,
  nodeRecord,
);
const write = fc
  .tuple(
    who,
    anyRecord,
    fc.constantFrom<("live" | "tombstone" | "malformed")[]>("live", "live", "live", "tombstone", "malformed"),
  )
  .map(([who, record, form]): Change => {
    const body = form === "live" ? renderRecord(record) : form === "tombstone" ? null : "{}";
    return { kind: "write", who, key: recordKey(record), body };
  });
const stand = fc
  .tuple(
    who,
    fc.constantFrom<MemberState[]>("alive", "alive", "suspect", "dead", "away", "left"),
    fc.constantFrom(null, null, 99_000),
    fc.constantFrom(null, 0.4, 2),
  )
  .map(([who, state, settlesAtMs, rttMs]): Change => {
    return { kind: "stand", who, standing: { ...standing(who, state), settlesAtMs, rttMs } };
  });
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 10, arbitrary: write },
  { weight: 4, arbitrary: stand },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("vanish"), who, key: fc.nat({ max: 9 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("collect", "restart", "reset", "forget", "clear"),
      who,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("networks"), count: fc.nat({ max: 2 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pool"), isTiny: fc.boolean() }) },
);
/** Changes that are merged together, and whether the merger is told whose they are. */
const history = fc.array(
  fc.record({ changes: fc.array(change, { minLength: 1, maxLength: 4 }), isTold: fc.boolean() }),
  { minLength: 1, maxLength: 12 },
);

/** Every node has said who it is, and all are alive: else most of what is written would never be seen. */
function started(): Cluster {
  const cluster = new Cluster();
  for (const name of NAMES) {
    const said = {
      host: name,
      port: 7650,
      zone: "",
      labels: {},
      software: "",
      prefixes: [],
    };
    const body = renderRecord({ kind: "node", name, ...said });
    cluster.apply({ kind: "write", who: name, key: "node", body });
    cluster.apply({ kind: "stand", who: name, standing: standing(name) });
  }
  return cluster;
}

/** Follows a history with one merger. */
function* followed(
  steps: readonly { readonly changes: readonly Change[]; readonly isTold: boolean }[],
): Iterable<{ readonly merged: Merged; readonly input: MergeInput }> {
  const cluster = started();
  const merger = new Merger();
  let nowMs = 10_000;
  let isFirst = true;
  for (const { changes, isTold } of [{ changes: [], isTold: false }, ...steps]) {
    for (const change of changes) cluster.apply(change);
    const input = cluster.input((nowMs += 1000));
    const changed = new Map(Array.from(cluster.changed, (id) => [id, cluster.standings.get(id) ?? null]));
    const told = isTold && !isFirst ? { changed, standings: [] } : {};
    yield { merged: merger.merge({ ...input, ...told }), input };
    cluster.changed.clear();
    isFirst = false;
  }
}

/** All that does not come of memory: since when, which addresses there were, how many views. */
function timeless({ view, assignment, slices, malformed, replicaCount }: Merged): unknown {
  const services = view.services.map((service) => {
    return { ...service, aliasVips: [], replicas: service.replicas.map((one) => ({ ...one, sinceMs: 0 })) };
  });
  return {
    view: { ...view, version: 0, services },
    assignment,
    slices,
    malformed: malformed.toSorted(),
    replicaCount,
  };
}

test("merge: a view made change by change is the view of merging everything anew", () => {
  fc.assert(
    fc.property(history, (steps) => {
      for (const { merged, input } of followed(steps))
        assert.deepEqual(timeless(merged), timeless(new Merger().merge(input)));
    }),
    { numRuns: 500 },
  );
});

test("merge: whatever comes out as it was is the same object, lists included", () => {
  fc.assert(
    fc.property(history, (steps) => {
      let last: Merged | null = null;
      for (const { merged } of followed(steps)) {
        if (last !== null) assertShared(last, merged);
        last = merged;
      }
    }),
    { numRuns: 300 },
  );
});

test("merge: a replica is in its tier since the view in which it came into it", () => {
  fc.assert(
    fc.property(history, (steps) => {
      let last = new Map<string, Replica>();
      for (const { merged, input } of followed(steps)) {
        const now = new Map(placesOf(merged.view));
        for (const [place, { tier, sinceMs }] of now) {
          const before = last.get(place);
          assert.equal(sinceMs, before?.tier === tier ? before.sinceMs : input.nowMs, place);
        }
        last = now;
      }
    }),
    { numRuns: 200 },
  );
});

test("changes: what is told rests on what changed, not on which objects are shared", () => {
  fc.assert(
    fc.property(history, (steps) => {
      let last: View | null = null;
      for (const { merged } of followed(steps)) {
        const told = changesBetween(last, merged.view, 0);
        assert.deepEqual(changesBetween(structuredClone(last), structuredClone(merged.view), 0), told);
        last = merged.view;
      }
    }),
    { numRuns: 200 },
  );
});

function assertShared(last: Merged, next: Merged): void {
  const pairs: (readonly [unknown, unknown, string])[] = [
    [last.view.members, next.view.members, "members"],
    [last.view.services, next.view.services, "services"],
    [last.view.networks, next.view.networks, "networks"],
    [last.view.problems, next.view.problems, "problems"],
    [last.malformed, next.malformed, "malformed"],
  ];
  const services = new Map(last.view.services.map((service) => [service.key, service]));
  for (const service of next.view.services) pairs.push([services.get(service.key), service, service.key]);
  const members = new Map(last.view.members.map((member) => [member.id, member]));
  for (const member of next.view.members) pairs.push([members.get(member.id), member, member.name]);
  const replicas = new Map(placesOf(last.view));
  for (const [place, replica] of placesOf(next.view)) pairs.push([replicas.get(place), replica, place]);
  for (const [before, after, what] of pairs) if (isEqual(before, after)) assert.equal(after, before, what);
}

function placesOf({ services }: { readonly services: readonly Service[] }): (readonly [string, Replica])[] {
  return services.flatMap(({ key, replicas }) => {
    return replicas.map((replica) => [`${key} ${replica.node} ${replica.id}`, replica] as const);
  });
}

function isEqual(one: unknown, other: unknown): boolean {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}
