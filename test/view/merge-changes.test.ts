// One view after the other: what a change does to the picture, and what it leaves alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parsePrefix6 } from "../../src/base/ip6.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { Entry, OwnerLog } from "../../src/model/log.ts";
import type { MemberState, Standing } from "../../src/model/member.ts";
import { parseRecord, recordKey, renderRecord, type NodeLogRecord } from "../../src/model/record.ts";
import type { Service, View } from "../../src/model/view.ts";
import { vip6Of } from "../../src/model/vip6.ts";
import { ALIAS_MS } from "../../src/view/alias.ts";
import { Merger, type MergeInput, type Merged } from "../../src/view/merge.ts";
import { idOf } from "../support/gossip-network.ts";

import { claim, declare, inputOf, logOf, range, replica, standing, type TestNode } from "./cluster.ts";

interface LiveLog extends OwnerLog {
  version: number;
  readonly entryByKey: Map<string, Entry>;
}

/** A cluster seen from its first node, changed in place as gossip changes it. */
class Cluster {
  readonly merger: Merger;
  readonly #input: MergeInput;
  readonly #logs = new Map<NodeId, LiveLog>();
  readonly #standings = new Map<NodeId, Standing>();
  readonly #changed = new Set<NodeId>();
  #isFirst = true;

  constructor(nodes: readonly TestNode[], merger = new Merger()) {
    this.merger = merger;
    this.#input = inputOf(nodes);
    for (const [id, log] of this.#input.logs)
      this.#logs.set(id, { ...log, entryByKey: new Map(log.entryByKey) });
    for (const one of this.#input.standings) this.#standings.set(one.id, one);
  }

  put(name: string, key: string, body: string | null): void {
    const log = this.#logs.get(idOf(name)) ?? assert.fail(`there is a node ${name}`);
    log.version += 1;
    log.entryByKey.delete(key);
    log.entryByKey.set(key, { version: log.version, body });
    this.#changed.add(log.owner);
  }

  write(name: string, record: NodeLogRecord): void {
    this.put(name, recordKey(record), renderRecord(record));
  }

  stand(name: string, state: MemberState, part: Partial<Standing> = {}): void {
    this.#standings.set(idOf(name), { ...standing(name, state), ...part });
    this.#changed.add(idOf(name));
  }

  merge(part: Partial<MergeInput> = {}): Merged {
    const changed = new Map(Array.from(this.#changed, (id) => [id, this.#standings.get(id) ?? null]));
    const told = this.#isFirst ? {} : { changed, standings: [] };
    this.#changed.clear();
    this.#isFirst = false;
    return this.merger.merge({ ...this.#input, logs: this.#logs, ...told, ...part });
  }
}

function service({ view }: { readonly view: View }, key = "default/web"): Service {
  return view.services.find((one) => one.key === key) ?? assert.fail(`there is a service ${key}`);
}

const tiers = (merged: Merged, key?: string) =>
  service(merged, key).replicas.map(({ id, tier, reason }) => `${id} ${tier}: ${reason}`);

const publishing = (published: number) => {
  return declare({ publish: [{ published, port: 80, protocol: "tcp", mode: "ingress" }] });
};

test("merge: a restart takes out what the daemon relays and leaves what is reached without it", () => {
  const records = [replica("direct"), replica("stream", { reach: "stream" })];
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records },
  ]);
  const alive = ["direct eligible: probe: passed", "stream eligible: probe: passed"];
  assert.deepEqual(tiers(cluster.merge()), alive);
  cluster.stand("b", "away");
  const away = cluster.merge();
  assert.deepEqual(tiers(away), ["direct eligible: probe: passed", "stream never: node b is away"]);
  assert.equal(service(away).replicas[1]?.saidBy, "a");
  cluster.stand("b", "alive");
  assert.deepEqual(tiers(cluster.merge()), alive);
});

test("merge: a restart moves neither a declaration nor a published port to somebody else", () => {
  const ports = [{ name: "web", port: 90, target: 9090, protocol: "tcp" as const }];
  const cluster = new Cluster([
    {
      name: "a",
      records: [replica("old"), replica("db-1", { service: "db", declaration: publishing(8080) })],
    },
    {
      name: "b",
      records: [
        replica("new", { startedAtMs: 5000, reach: "stream", declaration: { ...publishing(8080), ports } }),
        claim("web", "10.96.5.5"),
      ],
    },
  ]);
  const seen = () => {
    const merged = cluster.merge();
    const [web, db] = [service(merged), service(merged, "default/db")];
    return { ports: web.ports, publish: [web.publish.length, db.publish.length], problems: web.problems };
  };
  const before = seen();
  assert.deepEqual([before.ports, before.publish], [ports, [1, 0]]);
  cluster.stand("b", "away");
  assert.deepEqual(seen(), before);
  cluster.stand("b", "dead");
  const dead = seen();
  assert.deepEqual([dead.ports[0]?.port, dead.publish], [80, [0, 1]], "given up, it does not speak any more");
});

test("merge: replicas of a member that came and went wait until it has settled", () => {
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records: [replica("r1"), replica("r2", { state: "draining" })] },
  ]);
  const first = cluster.merge();
  cluster.stand("b", "alive", { settlesAtMs: 99_000 });
  const settling = cluster.merge();
  assert.deepEqual(tiers(settling), [
    "r1 panic: node b came and went; settling",
    "r2 draining: probe: passed",
  ]);
  assert.equal(service(settling).replicas[1], service(first).replicas[1]);
  assert.equal(settling.view.members[1]?.settlesAtMs, 99_000);
  cluster.stand("b", "alive", { settlesAtMs: 120_000 });
  const longer = cluster.merge();
  assert.equal(longer.view.services, settling.view.services);
  cluster.stand("b", "alive");
  assert.deepEqual(tiers(cluster.merge()), tiers(first));
});

test("merge: what did not change is the same object, whole lists included", () => {
  const cluster = new Cluster([
    { name: "a", records: [replica("web-1"), claim("web", "10.96.5.5")] },
    { name: "b", records: [replica("db-1", { service: "db" }), replica("web-2")] },
  ]);
  const first = cluster.merge();
  const idle = cluster.merge();
  assert.equal(idle.view.members, first.view.members);
  assert.equal(idle.view.services, first.view.services);
  assert.equal(idle.view.networks, first.view.networks);
  assert.equal(idle.view.problems, first.view.problems);
  assert.equal(idle.assignment, first.assignment);
  assert.equal(idle.slices, first.slices);
  assert.equal(idle.malformed, first.malformed);
  cluster.stand("b", "alive", { rttMs: 9 });
  const pinged = cluster.merge();
  assert.equal(pinged.view.services, first.view.services);
  assert.deepEqual(
    [pinged.view.members[0] === first.view.members[0], pinged.view.members[1]?.rttMs],
    [true, 9],
  );
  cluster.write("b", replica("web-2", { state: "draining" }));
  const drained = cluster.merge();
  assert.equal(drained.view.members, pinged.view.members);
  assert.equal(drained.assignment, first.assignment);
  assert.equal(service(drained, "default/db"), service(first, "default/db"));
  assert.equal(service(drained).replicas[0], service(first).replicas[0]);
  cluster.write("b", claim("web", "10.96.5.5"));
  const claimed = cluster.merge();
  assert.equal(claimed.assignment, first.assignment, "a further claimant changes nothing");
  assert.equal(claimed.view.services, drained.view.services);
});

test("merge: only who is told to have changed is looked at", () => {
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records: [replica("r1")] },
    { name: "c", records: [replica("r2")] },
  ]);
  cluster.merge();
  cluster.stand("b", "dead");
  cluster.stand("c", "dead");
  const told = new Map([[idOf("c"), standing("c", "dead")]]);
  assert.deepEqual(tiers(cluster.merge({ changed: told })), [
    "r1 eligible: probe: passed",
    "r2 never: node c is dead",
  ]);
  assert.deepEqual(tiers(cluster.merge({ changed: null, standings: [standing("b", "dead")] })), [
    "r1 never: node b is dead",
  ]);
});

test("merge: a member that left and returns is read anew, with what it wrote meanwhile", () => {
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records: [replica("r1"), replica("r2"), claim("web", "10.96.5.5")] },
  ]);
  cluster.merge();
  cluster.stand("b", "left");
  assert.deepEqual([cluster.merge().view.services, cluster.merge().replicaCount], [[], 0]);
  cluster.put("b", "replica/r1", null);
  cluster.write("b", replica("r3"));
  assert.deepEqual(cluster.merge().view.services, []);
  cluster.stand("b", "alive");
  const back = cluster.merge();
  assert.deepEqual(tiers(back), ["r2 eligible: probe: passed", "r3 eligible: probe: passed"]);
  assert.deepEqual([service(back).vip, back.replicaCount], ["10.96.5.5", 2]);
});

test("merge: a replica that moves to another service leaves the first, which goes with its last one", () => {
  const cluster = new Cluster([{ name: "a", records: [replica("r1"), claim("web", "10.96.5.5")] }]);
  cluster.merge();
  cluster.write("a", replica("r1", { service: "db" }));
  const moved = cluster.merge({ nowMs: 20_000 });
  assert.deepEqual(
    moved.view.services.map(({ key, replicas }) => [key, replicas.length, replicas[0]?.sinceMs]),
    [["default/db", 1, 20_000]],
  );
  assert.equal(moved.assignment.claimByKey.size, 0, "its claim counts only where it has a replica");
});

test("merge: who gave up a port lets the next one have it, and services that do not want it stay as they were", () => {
  const cluster = new Cluster([
    {
      name: "a",
      records: [
        replica("a-1", { service: "a", declaration: publishing(8080) }),
        replica("b-1", { service: "b", declaration: publishing(8080) }),
        replica("c-1", { service: "c", declaration: publishing(8081) }),
      ],
    },
  ]);
  const first = cluster.merge();
  assert.deepEqual(service(first, "default/b").problems, ["published port 8080/tcp belongs to default/a"]);
  cluster.write("a", replica("a-1", { service: "a" }));
  const second = cluster.merge();
  assert.deepEqual(
    [service(second, "default/b").publish.length, service(second, "default/b").problems],
    [1, []],
  );
  assert.equal(service(second, "default/c"), service(first, "default/c"));
});

test("merge: a member's new name is shown at its replicas, this node's at its own verdicts", () => {
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records: [replica("r1")] },
  ]);
  cluster.stand("b", "dead");
  cluster.merge();
  const rename = (name: string, to: string) => {
    cluster.put(name, "node", logOf(to, []).entryByKey.get("node")?.body ?? null);
  };
  rename("b", "x");
  assert.deepEqual(tiers(cluster.merge()), ["r1 never: node x is dead"]);
  rename("a", "y");
  const [only] = service(cluster.merge()).replicas;
  assert.deepEqual([only?.nodeName, only?.saidBy], ["x", "y"]);
});

test("merge: a malformed record is told until it is mended or deleted, a hundred at most", () => {
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records: [replica("r1")] },
  ]);
  cluster.merge();
  cluster.put("b", "replica/r1", "{");
  cluster.put("b", "replica/r2", "{");
  const two = cluster.merge();
  assert.equal(two.malformed.length, 2);
  for (const text of two.malformed) assert.match(text, /^b: record "replica\/r[12]" holds/);
  cluster.write("b", replica("r9"));
  assert.equal(cluster.merge().malformed, two.malformed);
  cluster.write("b", replica("r1"));
  cluster.put("b", "replica/r2", null);
  assert.deepEqual(cluster.merge().malformed, []);
  for (let index = 0; index < 150; index += 1) cluster.put("b", `replica/bad-${index}`, "{");
  assert.equal(cluster.merge().malformed.length, 100);
  for (let index = 0; index < 120; index += 1) cluster.put("b", `replica/bad-${index}`, null);
  assert.equal(cluster.merge().malformed.length, 30, "those that had no place before are told now");
});

test("merge: an address that a service had ends by time alone, at the moment that was told", () => {
  const cluster = new Cluster([
    { name: "a", records: [replica("r1")] },
    { name: "b", records: [replica("r2"), claim("web", "10.96.5.5", 2)] },
  ]);
  assert.equal(cluster.merge().dueAtMs, null);
  cluster.write("a", claim("web", "10.96.5.4", 1));
  const moved = cluster.merge({ nowMs: 20_000 });
  assert.deepEqual([service(moved).vip, service(moved).aliasVips], ["10.96.5.4", ["10.96.5.5"]]);
  assert.equal(moved.dueAtMs, 20_000 + ALIAS_MS);
  assert.equal(cluster.merge({ nowMs: 20_001 }).view.services, moved.view.services);
  const ended = cluster.merge({ nowMs: 20_000 + ALIAS_MS });
  assert.deepEqual([service(ended).aliasVips, ended.dueAtMs], [[], null]);
});

test("merge: a network's slices are in the view, with the names their owners have", () => {
  const slice: NodeLogRecord = { kind: "subnet", network: "blue", index: 2, order: 1, settled: true };
  const cluster = new Cluster([
    { name: "a", records: [] },
    { name: "b", records: [slice] },
  ]);
  const networks = [range("blue", "10.160.0.0/16", 24)];
  const first = cluster.merge({ networks });
  const shown = { node: idOf("b"), nodeName: "b", index: 2, prefix: "10.160.2.0/24", tentative: false };
  assert.deepEqual(first.view.networks[0]?.slices, [shown]);
  cluster.stand("b", "suspect");
  const second = cluster.merge({ networks });
  assert.equal(second.slices, first.slices);
  cluster.stand("b", "left");
  assert.deepEqual(cluster.merge({ networks }).view.networks[0]?.slices, []);
});

test("merge: many nodes of one process may share what they have parsed", () => {
  const parsedByBody = new Map<string, ReturnType<typeof parseRecord>>();
  let count = 0;
  const parse = (key: string, body: string) => {
    const known = parsedByBody.get(`${key} ${body}`);
    if (known !== undefined) return known;
    count += 1;
    const parsed = parseRecord(key, body);
    parsedByBody.set(`${key} ${body}`, parsed);
    return parsed;
  };
  const nodes = ["a", "b", "c"].map((name) => ({ name, records: [replica(`r-${name}`)] }));
  const views = [0, 1, 2].map((first) => {
    const seen = [...nodes.slice(first), ...nodes.slice(0, first)];
    return new Cluster(seen, new Merger(parse)).merge();
  });
  assert.equal(count, 6);
  for (const merged of views) assert.equal(service(merged).replicas.length, 3);
});

test("merge: services have IPv6 VIPs by the rule and the networks of the moment, and are the same objects else", () => {
  const nameless = { service: "robin", declaration: declare({ endpointMode: "dnsrr" }) };
  const records = [replica("one"), replica("two", { network: "app" }), replica("none", nameless)];
  const cluster = new Cluster([{ name: "a", records }]);
  const seen = (part: Partial<MergeInput>): readonly (string | undefined)[] =>
    cluster.merge(part).view.services.map(({ key, vip6 }) => (vip6 === undefined ? undefined : key));
  const parsed = parsePrefix6("fd12:3456:789a::/64");
  assert.ok(parsed.ok);
  const vip6 = { pool: parsed.value, isEvery: false };
  const wide = { ...range("app", "10.160.0.0/16", 24), range6: "fd12:3456:789a:4d::/64" };
  assert.deepEqual(seen({}), [undefined, undefined, undefined]);
  assert.deepEqual(seen({ vip6, networks: [] }), [undefined, undefined, undefined]);
  assert.deepEqual(seen({ vip6, networks: [wide] }), ["app/web", undefined, undefined]);
  const [before] = cluster.merge({ vip6, networks: [wide] }).view.services;
  assert.equal(cluster.merge({ vip6: { ...vip6 }, networks: [wide] }).view.services[0], before);
  const every = cluster.merge({ vip6: { ...vip6, isEvery: true }, networks: [wide] }).view.services;
  assert.equal(every[0], before);
  assert.deepEqual(
    every.map(({ key, vip6: address }) => [key, address]),
    [
      ["app/web", vip6Of(vip6.pool, "app", "web")],
      ["default/robin", undefined],
      ["default/web", vip6Of(vip6.pool, "default", "web")],
    ],
  );
});
