// Plan: which packets of tunnels are refused: by the networks that are on this host, and by who is a member.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { isAsPlanned, NO_GUARD, parseGuard, planGuard, renderGuard } from "../../../src/kernel/guard/plan.ts";
import { APP, DB, givenOf } from "../links/cluster.ts";

const SECRET = { ...DB, encrypted: true };

test("guard: encrypted networks are told from others, members from strangers", () => {
  const plan = planGuard(givenOf({ networks: [APP, SECRET] }));
  assert.deepEqual(plan, {
    sealed: [4712],
    plain: [4711],
    hosts: ["172.31.0.2", "172.31.0.3"],
    device: "eth0",
  });
});

test("guard: networks that are not on this host are others' business; without any there is no table", () => {
  const nowhere = { ...SECRET, slices: [] };
  assert.deepEqual(planGuard(givenOf({ networks: [APP, nowhere], bridged: ["app"] })).sealed, []);
  const { sealed, plain } = planGuard(givenOf({ networks: [] }));
  assert.deepEqual([sealed, plain], [[], []]);
  assert.doesNotMatch(renderGuard(NO_GUARD), /chain/);
});

test("guard: a network is guarded before its bridge is there, and where this host cannot encrypt", () => {
  assert.deepEqual(planGuard(givenOf({ networks: [SECRET], bridged: [], encrypts: false })).sealed, [4712]);
});

test("guard: a member that says it is everybody lets nobody in", () => {
  const said = { 2: { address: "255.255.255.255" }, 3: { address: "0.0.0.0/0" } };
  assert.deepEqual(planGuard(givenOf({ said })).hosts, []);
});

test("guard: a device whose name could end a rule is not written into one", () => {
  const { overlay, ...given } = givenOf();
  assert.ok(overlay !== null);
  const odd = { ...overlay, device: 'eth0" accept; #' };
  assert.equal(planGuard({ ...given, overlay: odd }).device, null);
});

test("guard: whatever is planned is read back as it was written", () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 2 ** 24 - 1 }), { maxLength: 5 });
  const hosts = fc.uniqueArray(fc.ipV4(), { maxLength: 4 });
  fc.assert(
    fc.property(numbers, numbers, hosts, (one, other, addresses) => {
      const sealed = one.toSorted((a, b) => a - b);
      const plain = other.filter((vni) => !one.includes(vni)).sort((a, b) => a - b);
      const plan = { sealed, plain, hosts: addresses.sort(), device: "eth0" };
      fc.pre(sealed.length + plain.length > 0);
      const read = parseGuard(renderGuard(plan));
      assert.deepEqual([read.sealed, read.plain, read.hosts], [sealed, plain, plan.hosts]);
      assert.ok(isAsPlanned(read, plan));
      assert.ok(!isAsPlanned(read, { ...plan, device: "eth1" }) && !isAsPlanned(null, plan));
    }),
  );
});
