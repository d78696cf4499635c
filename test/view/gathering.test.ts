// The replicas of one service, from all owners, become the service that the view shows.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Member } from "../../src/model/member.ts";
import type { ReplicaRecord } from "../../src/model/record.ts";
import { Gathering, type Settled } from "../../src/view/gathering.ts";
import { newOwner, placedAt, type Owner, type Placed } from "../../src/view/owner.ts";
import { replicaOf } from "../../src/view/replica.ts";
import type { PublishedClaim } from "../../src/view/vip.ts";

import { declare, member, replica } from "./cluster.ts";

const KEY = "default/web";
const NOTHING: Settled = {
  vip: null,
  vipTentative: false,
  aliasVips: [],
  vip6Of: () => null,
  vipProblems: () => [],
  refused: new Map(),
};

function ownerOf(name: string, part: Partial<Member> = {}, claims: readonly PublishedClaim[] = []): Owner {
  const owner = newOwner(member(name, part), { version: 1, body: "{}" });
  owner.claims = claims;
  return owner;
}

function place(owner: Owner, record: ReplicaRecord): Placed {
  const { reason, stack, declaration, startedAtMs, ...copy } = record;
  const circumstances = { reason, owner: owner.member, observer: "a", last: null, nowMs: 0 };
  const shown = replicaOf({ ...copy, ports: declaration.ports }, circumstances);
  const entry = { version: 1, body: "{}" };
  return placedAt(owner, KEY, { entry, reason, stack, declaration, startedAtMs, replica: shown });
}

function gathered(...placed: readonly Placed[]): Gathering {
  const gathering = new Gathering(KEY);
  for (const one of placed) gathering.put(one);
  gathering.gather();
  return gathering;
}

const claimed = (address: string, order: number, settled = true): PublishedClaim => {
  return { key: KEY, address, order, settled };
};

test("gathering: replicas are sorted by id, then node; taking one out leaves the others", () => {
  const [b, c] = [ownerOf("b"), ownerOf("c")];
  const placed = [place(c, replica("r2")), place(b, replica("r1")), place(c, replica("r1"))];
  const gathering = gathered(...placed);
  const shown = () => gathering.show(NOTHING).replicas;
  const nodes = [b.member.id, c.member.id].toSorted();
  assert.deepEqual(
    shown().map(({ id, node }) => [id, node]),
    [...nodes.map((node) => ["r1", node]), ["r2", c.member.id]],
  );
  const [gone] = placed;
  assert.ok(gone !== undefined);
  gathering.remove(gone);
  gathering.gather();
  assert.deepEqual(
    shown().map(({ id }) => id),
    ["r1", "r1"],
  );
  assert.equal(gathering.isEmpty, false);
});

test("gathering: a service comes out as the same object until something of it is otherwise", () => {
  const placed = place(ownerOf("b"), replica("r1"));
  const gathering = gathered(placed);
  const first = gathering.show({ ...NOTHING, vip: "10.96.5.5", vipProblems: () => ["vip a"] });
  const again = (part: Partial<Settled> = {}) => {
    gathering.gather();
    return gathering.show({ ...NOTHING, vip: "10.96.5.5", vipProblems: () => ["vip a"], ...part });
  };
  assert.equal(again(), first);
  assert.equal(again({ aliasVips: [] }), first);
  for (const part of [
    { vip: null },
    { vipTentative: true },
    { aliasVips: ["10.96.5.6"] },
    { vipProblems: () => [] },
  ]) {
    assert.notEqual(again(part), first);
    assert.deepEqual(again(), first);
  }
  const last = again();
  placed.replica = { ...placed.replica, weight: 5 };
  assert.notEqual(again(), last);
});

test("gathering: claims of those who have a replica count, one an address: the lowest order, settled if any is", () => {
  const b = ownerOf("b", {}, [claimed("10.96.5.5", 3, false)]);
  const c = ownerOf("c", {}, [claimed("10.96.5.5", 2, true)]);
  const d = ownerOf("d", {}, [claimed("10.96.5.6", 1)]);
  const gathering = gathered(place(b, replica("r1")), place(b, replica("r2")));
  assert.deepEqual(gathering.claims, [claimed("10.96.5.5", 3, false)]);
  gathering.put(place(c, replica("r3")));
  assert.equal(gathering.gather(), true);
  assert.deepEqual(gathering.claims, [claimed("10.96.5.5", 2, true)]);
  const placed = place(d, replica("r4"));
  gathering.put(placed);
  assert.equal(gathering.gather(), true);
  assert.deepEqual(gathering.claims, [claimed("10.96.5.5", 2, true), claimed("10.96.5.6", 1)]);
  gathering.remove(placed);
  assert.equal(gathering.gather(), true);
  gathering.put(place(c, replica("r5")));
  gathering.touchClaims();
  assert.equal(gathering.gather(), false, "a further replica and the same claims");
});

test("gathering: who does not answer neither declares nor counts as in disagreement; who is away does both", () => {
  const ports = [{ name: "web", port: 90, target: 9090, protocol: "tcp" as const }];
  const told = (state: Member["state"]) => {
    const fresh = replica("r2", { startedAtMs: 5000, declaration: declare({ ports }) });
    const gathering = gathered(place(ownerOf("b"), replica("r1")), place(ownerOf("c", { state }), fresh));
    const { ports: declared, problems } = gathering.show(NOTHING);
    return [declared[0]?.port, problems.length];
  };
  assert.deepEqual(told("alive"), [90, 1]);
  assert.deepEqual(told("away"), [90, 1]);
  for (const state of ["suspect", "dead"] as const) assert.deepEqual(told(state), [80, 0], state);
});

test("gathering: it wants ports and routes by its right, and is there while one of its hosts is", () => {
  const publish = [{ published: 8080, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];
  const order = () => 7;
  assert.equal(gathered(place(ownerOf("b"), replica("r1"))).wanting(order), null);
  for (const [state, isPresent] of [
    ["away", true],
    ["suspect", true],
    ["dead", false],
  ] as const) {
    const placed = place(ownerOf("b", { state }), replica("r1", { declaration: declare({ publish }) }));
    const gathering = gathered(placed);
    const names = ["published port 8080/tcp"];
    assert.deepEqual(gathering.wanting(order), { key: KEY, names, isPresent, order: 7 });
    placed.declaration = declare();
    gathering.gather();
    assert.deepEqual(gathering.wanting(order)?.names, [], "the same replica declares something else now");
    assert.equal(gathering.wanting(order), null);
  }
});

test("gathering: what is refused is taken from it and told, with whose it is; ports of mode host stay", () => {
  const port = (published: number, mode: "ingress" | "host") => {
    return { published, port: 80, protocol: "tcp" as const, mode };
  };
  const declaration = declare({
    publish: [port(8080, "ingress"), port(8080, "host"), port(8081, "ingress")],
    http: [{ host: "x.example", path: "/api/" }],
    passthrough: ["x.example", "y.example"],
  });
  const refused = new Map([
    ["published port 8080/tcp", "default/db"],
    ["route x.example/api", "default/db"],
    ["TLS passthrough of x.example", "default/db"],
  ]);
  const { publish, http, passthrough, problems } = gathered(
    place(ownerOf("b"), replica("r1", { declaration })),
  ).show({
    ...NOTHING,
    refused,
  });
  assert.deepEqual([publish, http], [[port(8080, "host"), port(8081, "ingress")], []]);
  assert.deepEqual(passthrough, ["y.example"]);
  assert.deepEqual(problems, [
    "published port 8080/tcp belongs to default/db",
    "route x.example/api belongs to default/db",
    "TLS passthrough of x.example belongs to default/db",
  ]);
});
