// Decisions on networks: one outcome whatever the order in which they are heard, bounds, and what follows from them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { NetworkDecision, NetworkDefinition } from "../../src/model/charter.ts";
import { LIMITS } from "../../src/model/limits.ts";
import {
  boundDecisions,
  decisionFrom,
  decisionsFor,
  isNetworkName,
  mergeDecisions,
  networkRanges,
  rangeOf,
  renderDecision,
} from "../../src/trust/networks.ts";

const CLUSTER = "abcdefghijklmnopqrst";

const FRONT: NetworkDefinition = {
  range: "10.160.0.0/16",
  sliceBits: 24,
  vni: 70_001,
  encrypted: false,
  ipv6: true,
};

function plain<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true });
}

const definition: fc.Arbitrary<NetworkDefinition> = plain({
  range: fc.constantFrom("10.160.0.0/16", "172.20.0.0/20", "192.168.4.0/24"),
  sliceBits: fc.constantFrom(25, 26, 28),
  vni: fc.integer({ min: 4097, max: 4100 }),
  encrypted: fc.boolean(),
  ipv6: fc.boolean(),
});

const decision: fc.Arbitrary<NetworkDecision> = plain({
  name: fc.constantFrom("a", "b", "c", "front"),
  order: fc.integer({ min: 0, max: 4 }),
  definition: fc.option(definition),
});

const decisions = fc.array(decision, { maxLength: 8 }).map(boundDecisions);

test("networks: more than may be at once are not made real, however they came together; the first stay", () => {
  const count = LIMITS.networksMax + 3;
  const networks = Array.from({ length: count }, (_, order) => {
    return { name: `n-${order}`, order, definition: FRONT };
  });
  const ranges = networkRanges({ clusterId: CLUSTER, networks: networks.toReversed() });
  assert.equal(ranges.length, LIMITS.networksMax);
  assert.deepEqual([ranges[0]?.name, ranges.at(-1)?.name], ["n-0", `n-${LIMITS.networksMax - 1}`]);
});

test("networks: whoever hears what first, all end with the same decisions, and again changes nothing", () => {
  fc.assert(
    fc.property(decisions, decisions, decisions, (one, other, third) => {
      const merged = mergeDecisions(one, other);
      assert.deepEqual(merged, mergeDecisions(other, one));
      assert.deepEqual(mergeDecisions(merged, third), mergeDecisions(one, mergeDecisions(other, third)));
      assert.equal(mergeDecisions(merged, other), merged);
      assert.equal(mergeDecisions(merged, structuredClone(one)), merged);
    }),
    { numRuns: 500 },
  );
});

test("networks: the later decision on a name counts; of two at one moment it is the removal", () => {
  const made = { name: "front", order: 3, definition: FRONT };
  const removed = { name: "front", order: 3, definition: null };
  assert.deepEqual(mergeDecisions([made], [removed]), [removed]);
  assert.deepEqual(mergeDecisions([removed], [{ ...made, order: 4 }]), [{ ...made, order: 4 }]);
  assert.deepEqual(mergeDecisions([made], [{ ...removed, order: 2 }]), [made]);
});

test("networks: what is written of a decision is read as it was, and its text is the same again", () => {
  fc.assert(
    fc.property(decision, (one) => {
      const body = renderDecision(one);
      const read = decisionFrom(one.name, JSON.parse(body));
      assert.deepEqual(read, one);
      assert.deepEqual(
        decisionFrom(one.name, JSON.parse(JSON.stringify(one))),
        one,
        "as in a charter's file",
      );
    }),
  );
});

test("networks: what cannot be made real, or is nobody's to take, is no decision", () => {
  const good = { order: 1, ...FRONT };
  assert.ok(decisionFrom("front", good));
  const bad: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
    ...["", "-a", "a-", "A", "a_b", "a.b", "a b", "a/b", "$(x)", "a".repeat(64)].map(
      (name) => [name, good] as const,
    ),
    ...[
      { order: -1 },
      { order: "1" },
      { range: "10.160.0.0" },
      { range: "10.160.0.1/16" },
      { range: "8.8.0.0/16" },
      { range: "10.0.0.0/7" },
      { range: "127.0.0.0/16" },
      { range: "0.0.0.0/0" },
      { range: 7 },
      { sliceBits: 16 },
      { sliceBits: 30 },
      { sliceBits: 24.5 },
      { range: "10.0.0.0/8", sliceBits: 24 },
      { vni: 4095 },
      { vni: 2 ** 24 },
      { vni: 65_536 },
      { encrypted: 1 },
      { ipv6: null },
    ].map((changed) => ["front", { ...good, ...changed }] as const),
  ];
  for (const [name, fields] of bad)
    assert.equal(decisionFrom(name, fields), undefined, `${name} ${JSON.stringify(fields)}`);
});

test("networks: they stand in the order in which they were made, with a /64 that follows from the number", () => {
  const networks = boundDecisions([
    { name: "b", order: 2, definition: { ...FRONT, range: "10.161.0.0/16", vni: 70_002, ipv6: false } },
    { name: "gone", order: 9, definition: null },
    { name: "z", order: 1, definition: FRONT },
  ]);
  const ranges = networkRanges({ clusterId: CLUSTER, networks });
  assert.deepEqual(
    ranges.map(({ name, range, vni }) => [name, range.text, vni]),
    [
      ["z", "10.160.0.0/16", 70_001],
      ["b", "10.161.0.0/16", 70_002],
    ],
  );
  assert.match(ranges[0]?.range6 ?? "", /^fd[0-9a-f]{2}:[0-9a-f:]+:1171::\/64$/);
  assert.equal("range6" in (ranges[1] ?? {}), false);
  assert.deepEqual(ranges[0], rangeOf("z", FRONT, CLUSTER));
});

test("networks: a new decision comes after all that are known, whatever they are about", () => {
  fc.assert(
    fc.property(decisions, fc.constantFrom("a", "new"), fc.option(definition), (known, name, wanted) => {
      const made = decisionsFor(known, name, wanted);
      const merged = mergeDecisions(known, made);
      assert.deepEqual(merged.find((one) => one.name === name)?.definition, wanted);
      for (const one of known) if (one.name !== name) assert.ok(merged.includes(one), "the others stand");
    }),
  );
});

test("networks: of too many decisions old removals are forgotten, never a network in use", () => {
  let known: readonly NetworkDecision[] = [{ name: "first", order: 1, definition: FRONT }];
  for (let at = 0; at < LIMITS.networkDecisionsMax + 500; at += 1) {
    known = mergeDecisions(known, decisionsFor(known, `run-${at}`, { ...FRONT, vni: 80_001 }));
    known = mergeDecisions(known, decisionsFor(known, `run-${at}`, null));
    assert.ok(known.length <= LIMITS.networkDecisionsMax);
  }
  assert.deepEqual(known.find(({ name }) => name === "first")?.definition, FRONT);
});

test("networks: a name is what devices, Docker and DNS take alike", () => {
  for (const name of ["app", "a", "team-1-blue", "a".repeat(63)]) assert.ok(isNetworkName(name), name);
  for (const name of ["", "App", "a_b", "-a", "a-", "a".repeat(64), "a\n", "é"])
    assert.equal(isNetworkName(name), false, name);
});
