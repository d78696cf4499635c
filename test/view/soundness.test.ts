// Which networks may be made real: the one made first, and one whose addresses nobody had before it was in use.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Member } from "../../src/model/member.ts";
import type { SubnetRecord } from "../../src/model/record.ts";
import { isSoundWith, networkFaults, NO_FAULTS } from "../../src/view/soundness.ts";

import { member, POOL, range } from "./cluster.ts";

const FRONT = range("front", "10.160.0.0/16", 24);
const BACK = range("back", "10.161.0.0/16", 24);

const around = (
  members: readonly Member[] = [],
  claimed: readonly (readonly [Member, readonly SubnetRecord[]])[] = [],
) => {
  return { pool: POOL, members, claimed };
};

test("soundness: networks beside each other, and beside what hosts have, are well", () => {
  const members = [member("b", { prefixes: ["192.168.0.0/16", "10.162.0.0/16"] })];
  assert.deepEqual(networkFaults([FRONT, BACK], around(members)), new Map());
  assert.ok(isSoundWith(NO_FAULTS, { hasSlices: false }));
});

test("soundness: of two that share addresses or a number the one made first counts, in use or not", () => {
  const inside = range("inside", "10.160.4.0/24", 26);
  const faults = networkFaults([FRONT, inside], around());
  assert.deepEqual([...faults.keys()], ["inside"]);
  const [text = ""] = faults.get("inside")?.clashes ?? [];
  assert.match(text, /^10\.160\.4\.0\/24 overlaps 10\.160\.0\.0\/16 of network front, which was made before/);
  assert.equal(isSoundWith(faults.get("inside") ?? NO_FAULTS, { hasSlices: true }), false);
  const twin = { ...BACK, vni: FRONT.vni + 65_536 };
  assert.match(
    networkFaults([FRONT, twin], around()).get("back")?.clashes[0] ?? "",
    /^number \d+ is that of network front/,
  );
});

test("soundness: one that has no right to be takes nobody else's away", () => {
  const wide = range("wide", "10.160.0.0/15", 24);
  const faults = networkFaults([FRONT, wide, BACK], around());
  assert.deepEqual([...faults.keys()], ["wide"]);
});

test("soundness: what a host has in the range is told with its name; the network goes on once it is in use", () => {
  const members = [member("b", { prefixes: ["10.160.0.0/20", "10.160.7.0/25"] })];
  const found = networkFaults([FRONT], around(members)).get("front") ?? NO_FAULTS;
  assert.deepEqual(found, {
    clashes: [],
    overlaps: ["10.160.0.0/16 overlaps 10.160.0.0/20, 10.160.7.0/25 of b"],
  });
  assert.equal(isSoundWith(found, { hasSlices: false }), false);
  assert.equal(isSoundWith(found, { hasSlices: true }), true);
  const dead = [member("b", { prefixes: ["10.160.0.0/20"], state: "dead" })];
  assert.deepEqual(networkFaults([FRONT], around(dead)), new Map());
});

test("soundness: slices of the network itself in routing tables are no overlap, other parts of it are", () => {
  const host = member("b", { prefixes: ["10.160.3.0/24"] });
  const slice: SubnetRecord = { kind: "subnet", network: "front", index: 3, order: 1, settled: true };
  assert.deepEqual(networkFaults([FRONT], around([host], [[host, [slice]]])), new Map());
  assert.equal(networkFaults([FRONT], around([host], [[host, [{ ...slice, index: 4 }]]])).size, 1);
  assert.equal(networkFaults([FRONT], around([host], [[host, [{ ...slice, network: "back" }]]])).size, 1);
});

test("soundness: a range in the VIP pool is told, and of very many hosts only some are named", () => {
  const inPool = range("pooled", "10.96.4.0/22", 24);
  assert.deepEqual(networkFaults([inPool], around()).get("pooled")?.overlaps, [
    "10.96.4.0/22 overlaps vip.pool 10.96.0.0/16",
  ]);
  const members = Array.from({ length: 40 }, (_, at) => member(`h${at}`, { prefixes: ["10.160.1.0/25"] }));
  const told = networkFaults([FRONT], around(members)).get("front")?.overlaps ?? [];
  assert.equal(told.length, 11);
  assert.equal(told.at(-1), "10.160.0.0/16 overlaps ranges of 30 more hosts");
});
