// Slices and overlaps follow members and claims, and are the same objects while they say the same.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { NodeId } from "../../src/model/ids.ts";
import type { Member } from "../../src/model/member.ts";
import { newOwner, type Owner } from "../../src/view/owner.ts";
import { compareMembers, Ranges, type RangesGiven } from "../../src/view/ranges.ts";

import { member, POOL, prefix, range } from "./cluster.ts";

const BLUE = range("blue", "10.160.0.0/22", 24);
const GIVEN: RangesGiven = { pool: POOL, networks: [BLUE] };

/** Members with slices of blue, as the merger keeps them. */
class Cluster {
  readonly ranges: Ranges;
  readonly #ownerById = new Map<NodeId, Owner>();

  constructor(given: RangesGiven = GIVEN) {
    this.ranges = new Ranges(given);
  }

  set(next: Member, index?: number): void {
    const known = this.#ownerById.get(next.id);
    const owner = known ?? newOwner(next, { version: 1, body: "{}" });
    this.ranges.setMember(known?.member ?? null, next);
    this.#ownerById.set(next.id, owner);
    owner.member = next;
    if (index === undefined) return;
    owner.slices = [{ kind: "subnet", network: "blue", index, order: 1, settled: true }];
    this.ranges.touchSlices();
  }

  remove(gone: Member): void {
    this.#ownerById.delete(gone.id);
    this.ranges.setMember(gone, null);
    this.ranges.touchSlices();
  }

  settled(given: RangesGiven = GIVEN): Ranges {
    this.ranges.settle(given, this.#ownerById);
    return this.ranges;
  }
}

const slicesOf = ({ networks }: Ranges) =>
  networks[0]?.slices.map(({ nodeName, prefix }) => `${nodeName} ${prefix}`);

test("ranges: who claims a slice has it, by the name it has now", () => {
  const cluster = new Cluster();
  cluster.set(member("b"), 1);
  cluster.set(member("c"), 0);
  assert.deepEqual(slicesOf(cluster.settled()), ["c 10.160.0.0/24", "b 10.160.1.0/24"]);
  cluster.set(member("c", { name: "x" }));
  assert.deepEqual(slicesOf(cluster.settled()), ["x 10.160.0.0/24", "b 10.160.1.0/24"]);
  cluster.remove(member("b"));
  assert.deepEqual(slicesOf(cluster.settled()), ["x 10.160.0.0/24"]);
});

test("ranges: a member's state moves nobody's slice, and the settlement stays the same object through it", () => {
  const cluster = new Cluster();
  cluster.set(member("b"), 1);
  const { networks, assignmentByNetwork } = cluster.settled();
  cluster.set(member("b", { state: "suspect" }));
  const after = cluster.settled();
  assert.equal(after.networks, networks);
  assert.equal(after.assignmentByNetwork, assignmentByNetwork);
  cluster.set(member("b", { rttMs: 9 }));
  assert.equal(
    cluster.settled({ ...GIVEN, networks: [{ ...BLUE }] }).assignmentByNetwork,
    assignmentByNetwork,
  );
});

test("ranges: a network that comes is planned with the claims there are, one that goes takes them along", () => {
  const cluster = new Cluster({ pool: POOL, networks: [] });
  cluster.set(member("b"), 1);
  assert.deepEqual(cluster.settled({ pool: POOL, networks: [] }).networks, []);
  assert.deepEqual(slicesOf(cluster.settled()), ["b 10.160.1.0/24"]);
  const { networks, assignmentByNetwork } = cluster.settled({ pool: POOL, networks: [] });
  assert.deepEqual([networks.length, assignmentByNetwork.size], [0, 0]);
});

test("ranges: a member whose routes share addresses with the pool is told by its name, while it is there", () => {
  const cluster = new Cluster();
  const prefixes = ["172.17.0.0/16", "10.96.4.0/24"];
  const told = () => cluster.settled().problems.map(({ text }) => text);
  cluster.set(member("b"));
  assert.deepEqual(told(), []);
  cluster.set(member("c", { prefixes }));
  assert.equal(told().length, 1);
  assert.match(told()[0] ?? "", /10\.96\.4\.0\/24 of c;/);
  const { problems } = cluster.ranges;
  cluster.set(member("c", { prefixes, state: "suspect" }));
  cluster.set(member("b", { state: "dead" }));
  assert.equal(cluster.settled().problems, problems);
  cluster.set(member("c", { prefixes, name: "x" }));
  assert.match(told()[0] ?? "", /of x;/);
  cluster.set(member("c", { prefixes, state: "dead" }));
  assert.deepEqual(told(), []);
  cluster.set(member("c", { prefixes }));
  assert.equal(told().length, 1);
  cluster.remove(member("c", { prefixes }));
  assert.deepEqual(told(), []);
});

test("ranges: another pool is held against everybody anew", () => {
  const cluster = new Cluster();
  cluster.set(member("b", { prefixes: ["172.17.0.0/16"] }));
  assert.deepEqual(cluster.settled().problems, []);
  const { problems } = cluster.settled({ ...GIVEN, pool: prefix("172.16.0.0/12") });
  assert.equal(problems.length, 1);
  assert.deepEqual(cluster.settled().problems, []);
});

test("ranges: members stand by name, then id", () => {
  const all = [member("b"), member("a"), member("c", { name: "a" })];
  assert.deepEqual(
    all.toSorted(compareMembers).map(({ name }) => name),
    ["a", "a", "b"],
  );
  assert.ok(compareMembers(member("a", { id: "x" }), member("a", { id: "y" })) < 0);
});

test("ranges: a host's own network in the range is told, and keeps one from being begun, not from going on", () => {
  const cluster = new Cluster();
  const prefixes = ["10.160.2.0/25"];
  const shown = () => {
    const { networks, assignmentByNetwork } = cluster.settled();
    const [blue] = networks;
    return [blue?.isSound, assignmentByNetwork.get("blue")?.isSound, blue?.problems.length];
  };
  cluster.set(member("b"));
  assert.deepEqual(shown(), [true, true, 0]);
  cluster.set(member("c", { prefixes }));
  assert.deepEqual(shown(), [false, false, 1]);
  cluster.set(member("b"), 1);
  assert.deepEqual(shown(), [true, true, 1]);
  cluster.set(member("c", { prefixes: [] }));
  assert.deepEqual(shown(), [true, true, 0]);
});

test("ranges: a network of the same addresses made later is never sound, and the settlement says so at once", () => {
  const cluster = new Cluster();
  cluster.set(member("b"), 1);
  const later = { ...range("later", "10.160.1.0/24", 26), vni: 5000 };
  const { networks, assignmentByNetwork } = cluster.settled({ ...GIVEN, networks: [BLUE, later] });
  assert.deepEqual(
    networks.map(({ name, isSound }) => [name, isSound]),
    [
      ["blue", true],
      ["later", false],
    ],
  );
  assert.equal(assignmentByNetwork.get("later")?.isSound, false);
  const alone = cluster.settled({ ...GIVEN, networks: [later] }).networks;
  assert.deepEqual(
    alone.map(({ name, isSound }) => [name, isSound]),
    [["later", true]],
  );
});
