// Slices of a network's range without a leader: equal claims give equal outcomes, one slice has one node.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { contains, overlaps } from "../../src/base/ip.ts";
import type { Member } from "../../src/model/member.ts";
import type { NetworkRange } from "../../src/model/network.ts";
import type { SubnetRecord } from "../../src/model/record.ts";
import {
  assignSlices,
  claimSlice,
  planSlices,
  sliceCount,
  slicePrefix,
  type SliceAssignment,
  type SliceClaim,
} from "../../src/view/subnet.ts";

import { prefix, range } from "./cluster.ts";

const FRONT: NetworkRange = range("front", "10.160.0.0/16", 24);
const TINY: NetworkRange = range("tiny", "10.161.0.0/24", 26);
const NOTHING = { remembered: undefined, releasedAtMs: () => null };

const claim = (node: string, index: number, order: number): SliceClaim => {
  return { network: "front", node, index, order, settled: true };
};

function indexes({ claimByNode }: SliceAssignment): Record<string, number> {
  return Object.fromEntries(Array.from(claimByNode, ([node, { index }]) => [node, index]));
}

test("subnet: a range of /16 has 256 slices of /24, each inside it, none sharing an address with another", () => {
  assert.equal(sliceCount(FRONT), 256);
  const slices = [0, 1, 7, 255].map((index) => prefix(slicePrefix(FRONT, index)));
  assert.deepEqual(
    slices.map(({ text }) => text),
    ["10.160.0.0/24", "10.160.1.0/24", "10.160.7.0/24", "10.160.255.0/24"],
  );
  for (const [at, slice] of slices.entries()) {
    assert.ok(contains(FRONT.range, slice.text.split("/", 1)[0] ?? ""));
    for (const other of slices.slice(at + 1)) assert.equal(overlaps(slice, other), false);
  }
});

test("subnet: a range that cannot be cut as told has no slices, and nobody claims one", () => {
  for (const sliceBits of [15, 31, 24.5, 30]) {
    const uncut = { ...FRONT, sliceBits };
    assert.equal(sliceCount(uncut), 0, `/${sliceBits} of a /16`);
    assert.equal(claimSlice("a", assignSlices([], uncut), NOTHING), null);
  }
  assert.equal(sliceCount({ ...FRONT, sliceBits: 16 }), 1);
});

test("subnet: of two nodes that want one slice the lower (order, node id) has it", () => {
  assert.deepEqual(indexes(assignSlices([claim("b", 3, 1), claim("a", 3, 2)], FRONT)), { b: 3 });
  const even = assignSlices([claim("b", 3, 1), claim("a", 3, 1)], FRONT);
  assert.deepEqual(indexes(even), { a: 3 });
  assert.deepEqual(even.lostByNode.get("b"), { index: 3, holder: "a" });
});

test("subnet: equal claims in any order give equal outcomes, and no slice has two nodes", () => {
  const one = fc.record({
    network: fc.constant("front"),
    node: fc.constantFrom("a", "b", "c", "d", "e"),
    index: fc.constantFrom(0, 1, 2, 255, 256, 8191),
    order: fc.nat({ max: 3 }),
    settled: fc.boolean(),
  });
  const claims = fc.uniqueArray(one, { selector: ({ node }) => node, maxLength: 5 });
  const pair = claims.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
  );
  fc.assert(
    fc.property(pair, ([list, shuffled]) => {
      const [first, second] = [assignSlices(list, FRONT), assignSlices(shuffled, FRONT)];
      assert.deepEqual(indexes(first), indexes(second));
      assert.deepEqual(new Map(first.lostByNode), new Map(second.lostByNode));
      const given = Object.values(indexes(first));
      assert.equal(new Set(given).size, given.length);
      for (const { node } of list) assert.equal(first.claimByNode.has(node), !first.lostByNode.has(node));
      for (const index of given) assert.ok(index < 256);
    }),
  );
});

test("subnet: nodes that never met choose by hash, each for itself, and the same again", () => {
  const nobody = assignSlices([], FRONT);
  const chosen = Array.from({ length: 40 }, (_, at) => claimSlice(`node-${at}`, nobody, NOTHING)?.index);
  assert.ok(new Set(chosen).size > 30, "spread");
  assert.equal(claimSlice("node-7", nobody, NOTHING)?.index, chosen[7]);
});

test("subnet: a node keeps what it has, takes back what it remembers, and moves on when that is another's", () => {
  const held = assignSlices([claim("a", 3, 9)], FRONT);
  const remembered = { network: "front", index: 8, order: 2 };
  assert.deepEqual(claimSlice("a", held, { ...NOTHING, remembered }), {
    network: "front",
    index: 3,
    order: 9,
  });
  assert.deepEqual(claimSlice("b", held, { ...NOTHING, remembered }), remembered);
  const wanted = claimSlice("b", held, { ...NOTHING, remembered: { ...remembered, index: 3 } });
  assert.ok(wanted !== null && wanted.index !== 3 && wanted.order === 10);
  const lost = assignSlices([claim("a", 3, 1), claim("b", 3, 2)], FRONT);
  const moved = claimSlice("b", lost, { ...NOTHING, remembered: { ...remembered, index: 3 } });
  assert.ok(moved !== null && moved.index !== 3 && moved.order === 3);
});

test("subnet: a slice let go by another is the last to be taken; where all are held there is none", () => {
  const others = [0, 1, 2].map((index) => ({ ...claim(`n${index}`, index, 1), network: "tiny" }));
  const two = assignSlices(others.slice(0, 2), TINY);
  const releasedAtMs = (index: number) => (index === 3 ? 5 : null);
  assert.equal(claimSlice("z", two, { remembered: undefined, releasedAtMs })?.index, 2);
  assert.equal(
    claimSlice("z", assignSlices(others, TINY), { remembered: undefined, releasedAtMs })?.index,
    3,
  );
  const all = assignSlices([...others, { ...claim("n3", 3, 1), network: "tiny" }], TINY);
  assert.equal(claimSlice("z", all, NOTHING), null);
});

function member(name: string, state: Member["state"] = "alive"): Member {
  const said = { name, host: name, port: 1, zone: "", labels: {}, role: "worker", software: "" } as const;
  const judged = { state, sinceMs: 0, rttMs: null, via: null, settlesAtMs: null };
  return { ...said, ...judged, id: `id-${name}`, prefixes: [], incarnation: 1, self: false };
}

function record(network: string, index: number, order = 1, settled = true): SubnetRecord {
  return { kind: "subnet", network, index, order, settled };
}

test("subnet: the picture shows each network's slices in order, whose they are and which are tentative", () => {
  const { networks } = planSlices(
    [TINY, FRONT],
    [
      [member("b"), [record("front", 9, 2, false), record("gone", 1)]],
      [member("a", "dead"), [record("front", 11)]],
    ],
  );
  assert.deepEqual(
    networks.map(({ name, range, sliceBits }) => [name, range, sliceBits]),
    [
      ["front", "10.160.0.0/16", 24],
      ["tiny", "10.161.0.0/24", 26],
    ],
  );
  assert.deepEqual(networks[0]?.slices, [
    { node: "id-b", nodeName: "b", index: 9, prefix: "10.160.9.0/24", tentative: true },
    { node: "id-a", nodeName: "a", index: 11, prefix: "10.160.11.0/24", tentative: false },
  ]);
  assert.deepEqual(networks[0]?.problems, []);
});

test("subnet: a slice wanted twice, one that does not exist and a range that is used up are told with names", () => {
  const conflict = planSlices(
    [FRONT],
    [
      [member("a"), [record("front", 3)]],
      [member("b"), [record("front", 3)]],
      [member("c"), [record("front", 300)]],
    ],
  );
  assert.deepEqual(conflict.networks[0]?.problems, [
    "slice 10.160.3.0/24 belongs to a, which claimed it first; b has to move",
    "slice 300 of c does not exist; it has 256 slices of /24",
  ]);
  const members = ["a", "b", "c", "d", "e"].map((name) => member(name));
  const full = planSlices(
    [TINY],
    members.map((one, index) => [one, index < 4 ? [record("tiny", index)] : []] as const),
  );
  assert.deepEqual(full.networks[0]?.problems, [
    "10.161.0.0/24 has no slice left for e: it has 4 slices of /26; " +
      "make the network anew with a larger range, or remove nodes that are gone for good",
  ]);
});

test("subnet: of a network that is not sound nobody claims a slice; who has one keeps it", () => {
  const faults = { clashes: ["taken"], overlaps: [] };
  const held = assignSlices([claim("a", 3, 9)], FRONT, faults);
  assert.equal(claimSlice("a", held, NOTHING)?.index, 3);
  assert.equal(claimSlice("b", held, NOTHING), null);
  const overlapping = assignSlices([], FRONT, { clashes: [], overlaps: ["taken"] });
  assert.equal(claimSlice("b", overlapping, NOTHING), null);
});

test("subnet: a slice has an IPv6 prefix where its network has one, by its number", () => {
  const both = { ...FRONT, range6: "fd12:3456:789a:4d::/64" };
  const { networks } = planSlices([both], [[member("a"), [record("front", 11)]]]);
  assert.equal(networks[0]?.slices[0]?.prefix6, "fd12:3456:789a:4d:b::/80");
  assert.equal(networks[0]?.range6, both.range6);
});
