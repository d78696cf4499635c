// Members' records become one picture: the same on every node, whatever order they came in.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom, shuffled } from "../../src/base/random.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import type { MemberState } from "../../src/model/member.ts";
import type { NodeLogRecord, ReplicaRecord } from "../../src/model/record.ts";
import type { Service, View } from "../../src/model/view.ts";
import { Merger, type MergeInput, type Merged } from "../../src/view/merge.ts";
import { idOf } from "../support/gossip-network.ts";

import { claim, declare, inputOf, logOf, replica, standing, type TestNode } from "./cluster.ts";

function merge(nodes: readonly TestNode[], part: Partial<MergeInput> = {}): Merged {
  return new Merger().merge(inputOf(nodes, part));
}

function service(view: View, key = "default/web"): Service {
  const found = view.services.find((service) => service.key === key);
  assert.ok(found !== undefined, `there is a service ${key}`);
  return found;
}

const tiers = (view: View, key?: string) =>
  service(view, key).replicas.map(({ id, tier }) => `${id} ${tier}`);

/** The same input with members, logs and the entries of each log in another order. */
function reordered(input: MergeInput, seed: number): MergeInput {
  const random = seededRandom(seed);
  const logs = shuffled(random, [...input.logs]).map(([owner, log]): [NodeId, OwnerLog] => {
    return [owner, { ...log, entryByKey: new Map(shuffled(random, [...log.entryByKey])) }];
  });
  return { ...input, standings: shuffled(random, input.standings), logs: new Map(logs) };
}

const anyReplica: fc.Arbitrary<ReplicaRecord> = fc
  .record({
    id: fc.constantFrom("r1", "r2", "r3"),
    service: fc.constantFrom("web", "db"),
    state: fc.constantFrom("starting", "ready", "unready", "draining"),
    weight: fc.constantFrom(0, 1, 5),
    startedAtMs: fc.nat({ max: 3 }),
    publish: fc.array(
      fc.constantFrom(8080, 8081).map((published) => {
        return { published, port: 80, protocol: "tcp" as const, mode: "ingress" as const };
      }),
      { maxLength: 2 },
    ),
    host: fc.option(fc.constantFrom("a.example.com", "b.example.com")),
    endpointMode: fc.constantFrom("vip" as const, "dnsrr" as const),
  })
  .map(({ id, publish, host, endpointMode, ...part }) => {
    const http = host === null ? [] : [{ host, path: "/" }];
    return replica(id, { ...part, declaration: declare({ publish, http, endpointMode }) });
  });
const anyClaim = fc
  .tuple(
    fc.constantFrom("web", "db"),
    fc.constantFrom("10.96.1.1", "10.96.1.2", "192.0.2.1", "192.0.2.2"),
    fc.nat({ max: 2 }),
  )
  .map(([service, address, order]) => claim(service, address, order));
const anyNode = fc.record({
  state: fc.constantFrom<MemberState[]>("alive", "suspect", "dead", "left"),
  records: fc.array(fc.oneof<fc.Arbitrary<NodeLogRecord>[]>(anyReplica, anyClaim), { maxLength: 5 }),
});

test("merge: any order of members, logs and entries gives an equal view", () => {
  fc.assert(
    fc.property(fc.array(anyNode, { minLength: 1, maxLength: 4 }), fc.integer(), (nodes, seed) => {
      const named = nodes.map((node, index) => ({ ...node, name: `n${index}` }));
      const input = inputOf(named);
      const [one, other] = [new Merger().merge(input), new Merger().merge(reordered(input, seed))];
      assert.deepEqual(one.view, other.view);
      assert.deepEqual(one.assignment.claimByKey, other.assignment.claimByKey);
    }),
    { numRuns: 300 },
  );
});

test("merge: every node of a cluster sees the same services at the same addresses", () => {
  fc.assert(
    fc.property(fc.array(anyNode, { minLength: 2, maxLength: 4 }), (nodes) => {
      const named = nodes.map(({ records }, index) => ({ name: `n${index}`, records }));
      const views = named.map((node) => {
        const others = named.filter((other) => other !== node);
        return merge([node, ...others]).view.services.map(({ replicas, ...rest }) => {
          return { ...rest, replicas: replicas.map(({ local: _local, ...replica }) => replica) };
        });
      });
      for (const view of views) assert.deepEqual(view, views[0]);
    }),
    { numRuns: 100 },
  );
});

test("merge: merging again finds nothing new: every service, and so every replica, is the same object", () => {
  fc.assert(
    fc.property(fc.array(anyNode, { minLength: 1, maxLength: 4 }), (nodes) => {
      const input = inputOf(nodes.map((node, index) => ({ ...node, name: `n${index}` })));
      const merger = new Merger();
      const first = merger.merge(input).view;
      const again = merger.merge({ ...input, nowMs: input.nowMs + 5000 }).view;
      again.services.forEach((service, index) => assert.equal(service, first.services[index], service.key));
      assert.equal(again.version, first.version + 1);
    }),
    { numRuns: 200 },
  );
});

test("merge: a replica comes out with all that its record and its node say", () => {
  const { view } = merge([
    { name: "a", records: [] },
    {
      name: "b",
      records: [replica("web-1", { address: "10.0.0.7", slot: 2, stack: "shop", reach: "stream" })],
    },
  ]);
  const { stack, replicas, vip } = service(view);
  assert.deepEqual([stack, vip, replicas.length], ["shop", null, 1]);
  const [one] = replicas;
  assert.ok(one !== undefined);
  const { node, nodeName, local, address, reach, slot, tier, reason, saidBy, sinceMs } = one;
  assert.deepEqual([node, nodeName, local], [idOf("b"), "b", false]);
  assert.deepEqual([address, reach, slot], ["10.0.0.7", "stream", 2]);
  assert.deepEqual([tier, reason, saidBy, sinceMs], ["eligible", "probe: passed", "b", 10_000]);
});

test("merge: members are sorted by name, the node itself among them, alive since its start", () => {
  const { view } = merge([
    { name: "m", records: [] },
    { name: "z", records: [], state: "dead" },
    { name: "b", records: [] },
  ]);
  assert.deepEqual(
    view.members.map(({ name, state, self }) => [name, state, self]),
    [
      ["b", "alive", false],
      ["m", "alive", true],
      ["z", "dead", false],
    ],
  );
  const self = view.members.find(({ self }) => self);
  assert.deepEqual([self?.sinceMs, self?.rttMs, self?.incarnation], [500, null, 3]);
});

test("merge: a malformed record is named and left out; its neighbours count", () => {
  const log = logOf("b", [replica("web-1"), claim("web", "10.96.5.5")], {
    "replica/bad": "{",
    "replica/worse": '{"kind":"replica","id":"worse","weight":1000}',
    "vip/default/db": '{"kind":"vip","network":"default","service":"db","address":"::1","order":1}',
    "replica/other-key": JSON.stringify(replica("web-2")),
    "tomorrow/b": "whatever",
    "replica/gone": null,
  });
  const input = inputOf([{ name: "a", records: [replica("web-0")] }]);
  const logs = new Map([...input.logs, [log.owner, log] as const]);
  const { view, malformed } = new Merger().merge({ ...input, logs, standings: [standing("b")] });
  assert.deepEqual(tiers(view), ["web-0 eligible", "web-1 eligible"]);
  assert.equal(service(view).vip, "10.96.5.5");
  assert.equal(malformed.length, 4);
  for (const text of malformed) assert.match(text, /^b: record ".*" holds /);
});

test("merge: a malformed node record is named, and hides its own node alone", () => {
  const bad = logOf("b", [replica("web-1")], { node: "{}" });
  const input = inputOf([{ name: "a", records: [replica("web-0")] }]);
  const logs = new Map([...input.logs, [bad.owner, bad] as const]);
  const { view, malformed } = new Merger().merge({ ...input, logs, standings: [standing("b")] });
  assert.deepEqual(
    view.members.map(({ name }) => name),
    ["a"],
  );
  assert.deepEqual(tiers(view), ["web-0 eligible"]);
  assert.equal(malformed.length, 1);
});

test("merge: a dead member keeps its services in the picture, with replicas that are never used", () => {
  const nodes = [
    { name: "a", records: [] },
    { name: "b", state: "dead" as const, records: [replica("web-1"), claim("web", "10.96.5.5")] },
  ];
  const { view } = merge(nodes);
  assert.deepEqual(tiers(view), ["web-1 never"]);
  assert.equal(service(view).vip, "10.96.5.5", "a name does not vanish because its host did");
  assert.equal(service(view).replicas[0]?.saidBy, "a");
});

test("merge: what a member that left had published is gone, its claims too; it stays a member", () => {
  const nodes = [
    { name: "a", records: [] },
    { name: "b", state: "left" as const, records: [replica("web-1"), claim("web", "10.96.5.5")] },
  ];
  const { view, assignment } = merge(nodes);
  assert.deepEqual(view.services, []);
  assert.equal(assignment.claimByKey.size, 0);
  assert.deepEqual(
    view.members.map(({ name, state }) => `${name} ${state}`),
    ["a alive", "b left"],
  );
});

test("merge: a member that returns counts again at once, with the same records", () => {
  const nodes = (state: MemberState): TestNode[] => [
    { name: "a", records: [] },
    { name: "b", state, records: [replica("web-1")] },
  ];
  const merger = new Merger();
  const input = inputOf(nodes("alive"));
  const seen = (["alive", "suspect", "dead", "alive"] as const).map((state, index) => {
    return tiers(merger.merge({ ...input, standings: [standing("b", state)], nowMs: index }).view)[0];
  });
  assert.deepEqual(seen, ["web-1 eligible", "web-1 panic", "web-1 never", "web-1 eligible"]);
});

test("merge: records of an owner without a node record wait for it", () => {
  const log = logOf("b", [replica("web-1")], { node: null });
  const input = inputOf([{ name: "a", records: [] }]);
  const logs = new Map([...input.logs, [log.owner, log] as const]);
  const { view } = new Merger().merge({ ...input, logs, standings: [standing("b"), standing("unheard-of")] });
  assert.deepEqual([view.members.length, view.services.length], [1, 0]);
});

test("merge: the declaration of the newest start counts, ties by replica id; so a rolling update moves it", () => {
  const declares = (id: string, port: number, startedAtMs: number): ReplicaRecord => {
    const ports = [{ name: "web", port, target: port, protocol: "tcp" as const }];
    return replica(id, { startedAtMs, declaration: declare({ ports }) });
  };
  const portOf = (...records: ReplicaRecord[]) =>
    service(merge([{ name: "a", records }]).view).ports[0]?.port;
  assert.equal(portOf(declares("r1", 81, 200), declares("r2", 82, 100)), 81);
  assert.equal(portOf(declares("r1", 81, 100), declares("r2", 82, 200)), 82);
  assert.equal(portOf(declares("r1", 81, 100), declares("r2", 82, 100)), 82);
});

test("merge: replicas that declare their service differently are told of, with the one that counts", () => {
  const ports = [{ name: "web", port: 90, target: 9090, protocol: "tcp" as const }];
  const records = [
    replica("r1"),
    replica("r2"),
    replica("r3", { startedAtMs: 9e15 / 10, declaration: declare({ ports }) }),
  ];
  const [problem] = service(merge([{ name: "a", records }]).view).problems;
  assert.match(problem ?? "", /^2 replicas declare it otherwise than r3/);
  assert.deepEqual(service(merge([{ name: "a", records: records.slice(0, 2) }]).view).problems, []);
});

test("merge: a node that is dead does not declare while another lives; each replica keeps its own ports", () => {
  const old = replica("r1", { startedAtMs: 1 });
  const ports = [{ name: "web", port: 90, target: 9090, protocol: "tcp" as const }];
  const fresh = replica("r2", { startedAtMs: 2, declaration: declare({ ports }) });
  const nodes = (state: MemberState) => [
    { name: "a", records: [old] },
    { name: "b", state, records: [fresh] },
  ];
  assert.equal(service(merge(nodes("alive")).view).ports[0]?.port, 90);
  const { ports: declared, replicas } = service(merge(nodes("dead")).view);
  assert.equal(declared[0]?.port, 80);
  assert.deepEqual(
    replicas.map(({ ports }) => ports[0]?.target),
    [8080, 9090],
  );
});

test("merge: a service in dnsrr mode, or without ports, has no VIP, whatever is claimed", () => {
  for (const declaration of [declare({ endpointMode: "dnsrr" }), declare({ ports: [] })]) {
    const { view } = merge([
      { name: "a", records: [replica("web-1", { declaration }), claim("web", "10.96.5.5")] },
    ]);
    assert.equal(service(view).vip, null);
    assert.deepEqual(service(view).problems, []);
  }
});

const published = (...ports: number[]) =>
  ports.map((published) => ({ published, port: 80, protocol: "tcp" as const, mode: "ingress" as const }));

test("merge: a published port belongs to the lower (order, key); the other keeps the rest and says so", () => {
  const records = (webOrder: number, dbOrder: number): NodeLogRecord[] => [
    replica("web-1", { declaration: declare({ publish: published(8080, 8081) }) }),
    replica("db-1", { service: "db", declaration: declare({ publish: published(8080, 8082) }) }),
    claim("web", "10.96.5.5", webOrder),
    claim("db", "10.96.5.6", dbOrder),
  ];
  const portsOf = (webOrder: number, dbOrder: number) => {
    const { view } = merge([{ name: "a", records: records(webOrder, dbOrder) }]);
    return [service(view), service(view, "default/db")].map(({ publish, problems }) => ({
      ports: publish.map(({ published }) => published),
      problems,
    }));
  };
  const lost = (holder: string) => [`published port 8080/tcp belongs to ${holder}`];
  assert.deepEqual(portsOf(1, 2), [
    { ports: [8080, 8081], problems: [] },
    { ports: [8082], problems: lost("default/web") },
  ]);
  assert.deepEqual(portsOf(2, 1), [
    { ports: [8081], problems: lost("default/db") },
    { ports: [8080, 8082], problems: [] },
  ]);
  assert.deepEqual(portsOf(1, 1), [
    { ports: [8081], problems: lost("default/db") },
    { ports: [8080, 8082], problems: [] },
  ]);
});

test("merge: the same port in TCP and UDP is two ports; a service may publish one of its own twice", () => {
  const udp = [{ published: 53, port: 53, protocol: "udp" as const, mode: "ingress" as const }];
  const twice = [
    ...published(53),
    { published: 53, port: 81, protocol: "tcp" as const, mode: "ingress" as const },
  ];
  const { view } = merge([
    {
      name: "a",
      records: [
        replica("web-1", { declaration: declare({ publish: twice }) }),
        replica("db-1", { service: "db", declaration: declare({ publish: udp }) }),
      ],
    },
  ]);
  for (const { problems } of view.services) assert.deepEqual(problems, []);
  assert.equal(service(view).publish.length, 2);
});

test("merge: a route wanted by two services belongs to one; another path of that host is another route", () => {
  const { view } = merge([
    {
      name: "a",
      records: [
        replica("web-1", { declaration: declare({ http: [{ host: "x.example", path: "/" }] }) }),
        replica("db-1", {
          service: "db",
          declaration: declare({
            http: [
              { host: "x.example", path: "/" },
              { host: "x.example", path: "/db" },
            ],
          }),
        }),
        claim("web", "10.96.5.5", 1),
      ],
    },
  ]);
  assert.deepEqual(service(view).http.length, 1);
  assert.deepEqual(service(view, "default/db").http, [{ host: "x.example", path: "/db" }]);
  assert.deepEqual(service(view, "default/db").problems, ["route x.example/ belongs to default/web"]);
});

test("merge: a VIP that was lost is a problem of the service, named with who has it", () => {
  const { view } = merge([
    {
      name: "a",
      records: [
        replica("web-1"),
        replica("db-1", { service: "db" }),
        claim("web", "10.96.5.5", 1),
        claim("db", "10.96.5.5", 2),
      ],
    },
  ]);
  assert.deepEqual([service(view).vip, service(view, "default/db").vip], ["10.96.5.5", null]);
  assert.match(service(view, "default/db").problems[0] ?? "", /10\.96\.5\.5 belongs to default\/web/);
});

test("merge: one change touches its own service and replica, and leaves every other object as it was", () => {
  const merger = new Merger();
  const before = inputOf([
    { name: "a", records: [replica("web-1"), replica("web-2"), replica("db-1", { service: "db" })] },
  ]);
  const first = merger.merge(before).view;
  const log = before.logs.get(idOf("a"));
  assert.ok(log !== undefined);
  const body = JSON.stringify(replica("web-2", { state: "draining" }));
  const entryByKey = new Map([...log.entryByKey, ["replica/web-2", { version: 99, body }] as const]);
  const second = merger.merge({ ...before, logs: new Map([[log.owner, { ...log, entryByKey }]]) }).view;
  assert.equal(service(second, "default/db"), service(first, "default/db"));
  assert.notEqual(service(second), service(first));
  assert.equal(service(second).replicas[0], service(first).replicas[0]);
  assert.deepEqual(tiers(second), ["web-1 eligible", "web-2 draining"]);
});

test("merge: since when a replica is in its tier stays while the tier does, whatever else changes", () => {
  const merger = new Merger();
  const step = (state: ReplicaRecord["state"], reason: string, nowMs: number) => {
    const { view } = merger.merge(
      inputOf([{ name: "a", records: [replica("web-1", { state, reason })] }], { nowMs }),
    );
    return service(view).replicas[0]?.sinceMs;
  };
  assert.equal(step("ready", "one", 1), 1);
  assert.equal(step("ready", "two", 2), 1);
  assert.equal(step("unready", "two", 3), 3);
  assert.equal(step("unready", "three", 4), 3);
  assert.equal(step("ready", "one", 5), 5);
});

test("merge: two nodes with a replica of one id both count, and stay apart", () => {
  const nodes = [
    { name: "a", records: [replica("web-1")] },
    { name: "b", records: [replica("web-1", { state: "unready" })] },
  ];
  const { view } = merge(nodes);
  assert.equal(service(view).replicas.length, 2);
  assert.deepEqual(
    new Set(service(view).replicas.map(({ nodeName, tier }) => `${nodeName} ${tier}`)),
    new Set(["a eligible", "b panic"]),
  );
});

test("merge: a service of one name in two networks is two services", () => {
  const { view } = merge([{ name: "a", records: [replica("r1"), replica("r2", { network: "shop" })] }]);
  assert.deepEqual(
    view.services.map(({ key }) => key),
    ["default/web", "shop/web"],
  );
});

test("merge: 1,000 services of 10 replicas; figures are told, not judged", (t) => {
  const nodes = Array.from({ length: 10 }, (_, node) => ({
    name: `n${node}`,
    records: Array.from({ length: 1000 }, (_, index) => [
      replica(`s${index}-${node}`, {
        service: `s${index}`,
        address: `10.${node}.${index >> 8}.${index & 255}`,
      }),
      claim(`s${index}`, `10.96.${16 + (index >> 8)}.${index & 255}`, index),
    ]).flat(),
  }));
  const input = inputOf(nodes);
  const merger = new Merger();
  const heapBytes = process.memoryUsage().heapUsed;
  const timed = (what: string, input: MergeInput): View => {
    const startMs = performance.now();
    const { view } = merger.merge(input);
    t.diagnostic(`${what}: ${(performance.now() - startMs).toFixed(1)} ms`);
    return view;
  };
  const first = timed("first merge, every record parsed", input);
  t.diagnostic(`heap for it: ${((process.memoryUsage().heapUsed - heapBytes) / 2 ** 20).toFixed(1)} MiB`);
  for (let round = 0; round < 3; round += 1) timed("again, nothing changed", input);
  const suspect = timed("again, one of ten members suspect", {
    ...input,
    standings: input.standings.map((standing, index) =>
      index === 0 ? { ...standing, state: "suspect" } : standing,
    ),
  });
  assert.equal(first.services.length, 1000);
  assert.ok(first.services.every(({ replicas, vip }) => replicas.length === 10 && vip !== null));
  assert.ok(
    suspect.services.every(({ replicas }) => replicas.filter(({ tier }) => tier === "panic").length === 1),
  );
});
