// The catalog: what a node offers, made of what it found, what health says and what is drained.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Acknowledgements } from "../../src/catalog/acknowledgement.ts";
import { planCatalog, type CatalogInput } from "../../src/catalog/catalog.ts";
import { drainDaemon, drainReplica, NO_DRAINS } from "../../src/catalog/drain.ts";
import type { Discovered, Readiness } from "../../src/model/endpoint.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { parseRecord, recordKey, renderRecord } from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";
import { discovery, endpoint } from "./fixture.ts";

const READY: Readiness = { state: "ready", reason: "probe: passing" };
const REFUSED: Readiness = { state: "unready", reason: "probe: connection refused" };

function input(endpoints: readonly Discovered[], over: Partial<CatalogInput> = {}): CatalogInput {
  return {
    discoveries: [discovery("docker", endpoints)],
    readinessById: new Map(endpoints.map(({ id }) => [id, READY])),
    drains: NO_DRAINS,
    acknowledgements: new Acknowledgements(),
    published: [],
    ...over,
  };
}

const stateOf = (one: Discovered, over: Partial<CatalogInput> = {}) => {
  const record = planCatalog(input([one], over)).records[0];
  return [record?.state, record?.reason];
};

test("catalog: a record says what was found, and what health says of it", () => {
  const web = endpoint("web-1", { slot: 3, stack: "shop", weight: 7, network: "app" });
  const [record] = planCatalog(input([web])).records;
  assert.deepEqual(record, {
    kind: "replica",
    id: "web-1",
    name: "web-1",
    slot: 3,
    network: "app",
    service: "web",
    stack: "shop",
    address: "172.17.0.2",
    reach: "stream",
    declaration: EMPTY_DECLARATION,
    weight: 7,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1000,
    state: "ready",
    reason: "probe: passing",
    drainApplied: false,
    drainPending: [],
  });
  assert.deepEqual(stateOf(web, { readinessById: new Map([["web-1", REFUSED]]) }), [
    "unready",
    "probe: connection refused",
  ]);
});

test("catalog: an endpoint that health has not heard of yet is starting", () => {
  assert.deepEqual(stateOf(endpoint("web-1"), { readinessById: new Map() }), ["starting", "not checked yet"]);
});

test("catalog: draining comes before paused, and paused before health", () => {
  const drained = { drains: drainDaemon(NO_DRAINS, "stops") };
  assert.deepEqual(stateOf(endpoint("a", { lifecycle: "paused" })), ["unready", "docker: paused"]);
  assert.deepEqual(stateOf(endpoint("a", { lifecycle: "stopping" })), [
    "draining",
    "docker: stop signal sent",
  ]);
  assert.deepEqual(stateOf(endpoint("a", { lifecycle: "paused" }), drained), [
    "draining",
    "its daemon is stopping",
  ]);
  const unhealthy = { ...drained, readinessById: new Map([["a", REFUSED]]) };
  assert.deepEqual(stateOf(endpoint("a"), unhealthy), ["draining", "its daemon is stopping"]);
});

test("catalog: only a draining replica's drain can be applied", () => {
  const two = [endpoint("a"), endpoint("b")];
  const drains = drainReplica(NO_DRAINS, endpoint("a"));
  const acknowledgements = { isApplied: () => true, pending: () => ["host-2"] };
  const { records } = planCatalog(input(two, { drains, acknowledgements }));
  assert.deepEqual(
    records.map(({ drainApplied, drainPending }) => [drainApplied, drainPending]),
    [
      [true, ["host-2"]],
      [false, []],
    ],
  );
});

test("catalog: of two sources that name one id one counts, always the same, and the other is reported", () => {
  const docker = discovery("docker", [endpoint("a", { address: "172.17.0.2" })]);
  const fixed = discovery("static", [endpoint("a", { address: "127.0.0.1" })]);
  for (const discoveries of [
    [docker, fixed],
    [fixed, docker],
  ]) {
    const { records, problems } = planCatalog(input([], { discoveries }));
    assert.deepEqual(
      records.map((record) => record.address),
      ["172.17.0.2"],
    );
    assert.match(problems[0]?.text ?? "", /id "a" of static is taken by replica a of docker/);
  }
});

test("catalog: the same input in any order gives the same offer, and unchanged records are the same objects", () => {
  const lifecycle = fc.constantFrom("running" as const, "paused" as const, "stopping" as const);
  const found = fc.record({ id: fc.constantFrom("a", "b", "c", "d", "e"), lifecycle, weight: fc.nat(2) });
  const endpoints = fc.array(
    found.map(({ id, ...over }) => endpoint(id, over)),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(endpoints, endpoints, fc.integer(), (one, other, seed) => {
      const whole = planCatalog(
        input([], { discoveries: [discovery("docker", one), discovery("static", other)] }),
      );
      const turned = [...one.slice(seed % (one.length + 1)), ...one.slice(0, seed % (one.length + 1))];
      const again = planCatalog(
        input([], {
          discoveries: [discovery("static", other.toReversed()), discovery("docker", turned)],
          published: whole.records.toReversed(),
        }),
      );
      assert.deepEqual(again, whole);
      again.records.forEach((record, index) => assert.equal(record, whole.records[index]));
      const ids = whole.records.map((record) => record.id);
      assert.deepEqual(ids, [...new Set(ids)].toSorted());
      for (const record of whole.records) assert.ok(parseRecord(recordKey(record), renderRecord(record)).ok);
    }),
  );
});

test("catalog: a record that peers would refuse is reported here, and its neighbours are offered", () => {
  const long = { host: "a.example.com", path: `/${"x".repeat(2000)}` };
  const http = Array.from({ length: 64 }, () => ({ host: "a.example.com", path: `/${"x".repeat(500)}` }));
  const bad = [
    endpoint("a", { declaration: { ...EMPTY_DECLARATION, http: [long] } }),
    endpoint("b", { declaration: { ...EMPTY_DECLARATION, http } }),
    endpoint("c", { declaredAtMs: 0.5 }),
    endpoint("d", { name: "not a label" }),
  ];
  const { records, problems } = planCatalog(input([...bad, endpoint("good")]));
  assert.deepEqual(
    records.map((record) => record.id),
    ["good"],
  );
  assert.equal(problems.length, bad.length);
  for (const problem of problems) assert.match(problem.text, /peers would refuse it/);
});

test("catalog: past the bound of a node the replicas that were offered before keep their places", () => {
  const all = Array.from({ length: LIMITS.replicasPerNode + 2 }, (_, index) =>
    endpoint(`e${String(index).padStart(6, "0")}`),
  );
  const late = all.slice(2);
  const first = planCatalog(input(late));
  assert.equal(first.records.length, LIMITS.replicasPerNode);
  assert.deepEqual(first.problems, []);
  const second = planCatalog(input(all, { published: first.records }));
  assert.deepEqual(
    second.records.map((record) => record.id),
    late.map(({ id }) => id),
  );
  assert.match(
    second.problems[0]?.text ?? "",
    /10002 replicas run here; expected at most 10000: 2 are not offered/,
  );
});

test("catalog: a daemon that restarts drains overlay replicas only where nothing but it leads to them", () => {
  const web = endpoint("web-1", { reach: "overlay", address6: "fd12::2" });
  const drains = drainDaemon(NO_DRAINS, "stopsForAWhile");
  assert.deepEqual(stateOf(web, { drains }), ["draining", "its daemon is restarting"]);
  assert.deepEqual(stateOf(web, { drains, carriesOverlays: true }), ["ready", "probe: passing"]);
  assert.deepEqual(stateOf(web, { drains: drainDaemon(NO_DRAINS, "stops"), carriesOverlays: true }), [
    "draining",
    "its daemon is stopping",
  ]);
  const [record] = planCatalog(input([web])).records;
  assert.deepEqual([record?.reach, record?.address6], ["overlay", "fd12::2"]);
});
