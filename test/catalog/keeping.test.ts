// What a node wants on disk, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import { drainDaemon, drainHost, drainReplica, NO_DRAINS } from "../../src/catalog/drain.ts";
import { drainsKept, Keeping, type Keepable } from "../../src/catalog/keeping.ts";

const CLAIMS = { claims: [], slices: [], releases: [] };
const ADDRESSES = [{ host: "10.0.0.2", port: 7650 }];

function keepable(over: Partial<Keepable> = {}): Keepable {
  return { incarnation: 7, addressesRevision: 1, claims: CLAIMS, drains: NO_DRAINS, ...over };
}

test("keeping: the first state is due, and the same one never again", () => {
  const keeping = new Keeping();
  assert.equal(keeping.incarnation, null);
  assert.deepEqual(
    keeping.due(keepable(), () => ADDRESSES),
    { incarnation: 7, ...CLAIMS, addresses: ADDRESSES, drains: [], isDrained: false },
  );
  assert.equal(keeping.incarnation, 7);
  assert.equal(
    keeping.due(keepable(), () => assert.fail("nothing is rendered for nothing")),
    null,
  );
});

test("keeping: a new incarnation, address, claim or drain makes it due again", () => {
  const keeping = new Keeping();
  const due = (over: Partial<Keepable>) => keeping.due(keepable(over), () => ADDRESSES);
  due({});
  assert.equal(due({ incarnation: 8 })?.incarnation, 8);
  assert.notEqual(due({ incarnation: 8, addressesRevision: 2 }), null);
  const claims = { ...CLAIMS };
  assert.notEqual(due({ incarnation: 8, addressesRevision: 2, claims }), null);
  const drains = drainReplica(NO_DRAINS, { id: "web-1", startedAtMs: 5 });
  assert.deepEqual(due({ incarnation: 8, addressesRevision: 2, claims, drains })?.drains, [
    { id: "web-1", startedAtMs: 5 },
  ]);
  assert.equal(due({ incarnation: 8, addressesRevision: 2, claims, drains }), null);
  const hostDrains = drainHost(drains, true);
  assert.equal(due({ incarnation: 8, addressesRevision: 2, claims, drains: hostDrains })?.isDrained, true);
  assert.equal(due({ incarnation: 8, addressesRevision: 2, claims, drains: hostDrains }), null);
});

test("keeping: drains by command come back as they were; that a daemon stops is over when it starts", () => {
  const drains = drainHost(drainReplica(NO_DRAINS, { id: "web-1", startedAtMs: 5 }), true);
  for (const kept of [NO_DRAINS, drains]) {
    const state = new Keeping().due(keepable({ drains: drainDaemon(kept, "stops") }), () => ADDRESSES);
    assert.deepEqual(drainsKept(state ?? assert.fail()), kept);
  }
});
