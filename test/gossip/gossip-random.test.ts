// Random schedules of faults: nothing false is ever held, and once the faults stop all hosts agree.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { MESH_MAX } from "../../src/gossip/ring.ts";
import { kindsSaid, toldOf } from "../support/gossip-cluster.ts";
import type { Host } from "../support/gossip-host.ts";
import { GossipNetwork } from "../support/gossip-network.ts";

/** What may happen; hosts are chosen by number, modulo how many there are. */
type Fault =
  | { readonly kind: "write"; readonly host: number; readonly key: number; readonly deletes: boolean }
  | { readonly kind: PairFault; readonly host: number; readonly other: number }
  | {
      readonly kind: "crash" | "stop" | "away" | "freeze" | "thaw" | "isolate" | "move";
      readonly host: number;
    }
  | { readonly kind: "start"; readonly host: number; readonly isRestored: boolean }
  | { readonly kind: "heal" };

type PairFault = "reset" | "cut" | "cutOneWay" | "behind" | "keepUp";

const index = fc.nat({ max: 29 });
/** Mostly few: a fault among few harms most. */
const size = fc.oneof(
  { weight: 16, arbitrary: fc.integer({ min: 2, max: 5 }) },
  { weight: 3, arbitrary: fc.integer({ min: 6, max: 12 }) },
  { weight: 1, arbitrary: fc.integer({ min: 24, max: 30 }) },
);
const fault: fc.Arbitrary<Fault> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write"),
      host: index,
      key: fc.nat({ max: 3 }),
      deletes: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("reset", "cut", "cutOneWay", "behind", "keepUp"),
      host: index,
      other: index,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("crash", "stop", "away", "freeze", "thaw", "isolate", "move"),
      host: index,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("start"), host: index, isRestored: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("heal") }) },
);
const pauseMs = fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 1200 }), fc.integer({ min: 2500, max: 6000 }));

/** After the faults silence may have to be noticed, addresses dialled, and repair may find the wrong peer first. */
const AGREED_MS = 10_000;

/** What each host has written in this life, by key. */
type Truth = Map<string, Map<string, string>>;

function chosen(network: GossipNetwork, number: number): Host {
  const host = network.hosts[number % network.hosts.length];
  assert.ok(host !== undefined);
  return host;
}

function inflict(network: GossipNetwork, truth: Truth, one: Fault): void {
  if (one.kind === "heal") {
    network.heal();
    return;
  }
  const host = chosen(network, one.host);
  switch (one.kind) {
    case "write":
      if (host.running && !host.frozen)
        write(network, truth, { host, key: `replica/${one.key}`, deletes: one.deletes });
      break;
    case "reset":
    case "cut":
    case "cutOneWay":
    case "behind":
    case "keepUp":
      inflictOnPair(network, one.kind, [host, chosen(network, one.other)]);
      break;
    case "start":
      if (host.running) break;
      truth.set(host.name, new Map());
      // Restored: older than what peers remember, and of no life there ever was.
      network.start(
        host.name,
        one.isRestored ? { incarnation: Math.max(1, host.gossip.incarnation - 3) } : {},
      );
      break;
    case "move":
      // Not the seed: if all move while they are down, nobody can know where anybody is.
      if (host.running || host === network.hosts[0]) break;
      truth.set(host.name, new Map());
      network.start(host.name, { port: host.address.port + 1 });
      break;
    case "crash":
    case "stop":
      if (host.running && !host.frozen) network[one.kind](host);
      break;
    case "away":
      if (host.running && !host.frozen) network.stop(host, "away", 3000);
      break;
    case "freeze":
    case "thaw":
    case "isolate":
      if (host.running) network[one.kind](host);
      break;
  }
}

function inflictOnPair(network: GossipNetwork, kind: PairFault, pair: readonly [Host, Host]): void {
  const [host, other] = pair;
  if (host === other) return;
  if (kind === "cut" || kind === "cutOneWay") network[kind](host, other);
  else if (kind === "reset") network.dropLinks(host, other);
  else network.setBehind(host, other, kind === "behind");
}

function write(
  network: GossipNetwork,
  truth: Truth,
  { host, key, deletes }: { host: Host; key: string; deletes: boolean },
): void {
  const written = truth.get(host.name) ?? new Map<string, string>();
  truth.set(host.name, written);
  const body = `${host.name} at ${network.nowMs}`;
  network.write(host, { [key]: deletes ? null : body });
  if (deletes) written.delete(key);
  else written.set(key, body);
}

function endFaults(network: GossipNetwork, truth: Truth): void {
  network.heal();
  for (const host of network.hosts) {
    network.thaw(host);
    for (const other of network.hosts) network.setBehind(host, other, false);
  }
  for (const host of network.hosts) {
    if (host.running) continue;
    truth.set(host.name, new Map());
    network.start(host.name);
  }
}

/** What is said in three seconds besides pings and sums. */
function kindsBesidesQuiet(network: GossipNetwork): string[] {
  return [...kindsSaid(network, 3000)].filter((kind) => !["ping", "pong", "compare"].includes(kind));
}

test("gossip: whatever faults come in whatever order, logs are never falsified and all agree after the last", () => {
  const schedule = fc.array(fc.tuple(fault, pauseMs), { minLength: 1, maxLength: 25 });
  fc.assert(
    fc.property(fc.nat(), size, schedule, (seed, count, faults) => {
      const network = new GossipNetwork({ seed, delayMs: 5 });
      const truth: Truth = new Map();
      network.startMany(count);
      for (const [one, pauseMs] of faults) {
        inflict(network, truth, one);
        network.runFor(pauseMs);
      }
      endFaults(network, truth);
      network.runUntil("all agree", AGREED_MS, () => network.agrees);
      for (const holder of network.hosts) {
        for (const owner of network.hosts) {
          const live = [...(holder.gossip.logs.get(owner.id)?.entryByKey ?? [])].filter(
            ([key, { body }]) => key.startsWith("replica/") && body !== null,
          );
          const held = new Map(live.map(([key, { body }]) => [key, body]));
          assert.deepEqual(
            held,
            truth.get(owner.name) ?? new Map(),
            `seed ${seed}: ${owner.name} as held by ${holder.name}`,
          );
        }
      }
      network.runFor(10_000);
      assert.ok(network.agrees, `seed ${seed}: agreement lasts`);
      assert.deepEqual(kindsBesidesQuiet(network), [], `seed ${seed}: nothing is left to be said`);
      // Beyond a mesh only who asks for it is told who has applied what.
      for (const host of count > MESH_MAX ? [] : network.hosts)
        assert.deepEqual(host.gossip.lagging(host.gossip.version), [], `seed ${seed}`);
    }),
    { numRuns: 200 },
  );
});

test("gossip: while nothing fails nobody is ever suspected, whatever is written", () => {
  const writes = fc.array(fc.tuple(index, fc.nat({ max: 3 }), fc.boolean(), fc.nat({ max: 700 })), {
    maxLength: 25,
  });
  fc.assert(
    fc.property(fc.nat(), size, writes, (seed, count, writes) => {
      const network = new GossipNetwork({ seed, delayMs: [5, 50, 200][seed % 3] ?? 5 });
      const truth: Truth = new Map();
      network.startMany(count);
      network.runUntil("all agree", 5000, () => network.agrees);
      for (const [host, key, deletes, pauseMs] of writes) {
        inflict(network, truth, { kind: "write", host, key, deletes });
        network.runFor(pauseMs);
      }
      network.runFor(2000);
      assert.ok(network.agrees, `seed ${seed}`);
      for (const host of network.hosts) {
        assert.deepEqual(
          [...toldOf(host, "member.suspect"), ...toldOf(host, "member.dead")],
          [],
          `seed ${seed}`,
        );
        assert.deepEqual(host.refused, [], `seed ${seed}`);
      }
    }),
    { numRuns: 60 },
  );
});
