// Acknowledgement: which drains everyone has heard of.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Acknowledgements } from "../../src/catalog/acknowledgement.ts";
import type { ReplicaRecord } from "../../src/model/record.ts";
import { EMPTY_DECLARATION } from "../../src/model/service.ts";

function record(id: string, state: ReplicaRecord["state"]): ReplicaRecord {
  const where = { id, name: id, slot: null, network: "default", service: "web", stack: null } as const;
  const rest = { declaration: EMPTY_DECLARATION, weight: 1, startedAtMs: 1, reason: "", drainApplied: false };
  return { kind: "replica", ...where, address: "127.0.0.1", reach: "direct", state, ...rest };
}

test("acknowledgement: a drain is applied once nobody lags behind the version that first said it", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining"), record("web-2", "ready")], 7);
  // Later writes of the same log do not move the goal.
  drains.published([record("web-1", "draining"), record("web-2", "unready")], 9);
  assert.equal(
    drains.settle((version) => (version <= 6 ? [] : ["host-2"])),
    false,
  );
  assert.deepEqual([...drains.appliedIds], []);
  assert.equal(
    drains.settle((version) => (version <= 7 ? [] : ["host-2"])),
    true,
  );
  assert.deepEqual([...drains.appliedIds], ["web-1"]);
});

test("acknowledgement: an applied drain is told once", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1);
  assert.equal(
    drains.settle(() => []),
    true,
  );
  assert.equal(
    drains.settle(() => []),
    false,
  );
});

test("acknowledgement: a replica that came back must be acknowledged anew when it drains again", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1);
  drains.settle(() => []);
  drains.published([record("web-1", "ready")], 2);
  assert.deepEqual([...drains.appliedIds], []);
  drains.published([record("web-1", "draining")], 3);
  assert.equal(
    drains.settle((version) => (version <= 2 ? [] : ["host-3"])),
    false,
  );
});

test("acknowledgement: a replica that is gone is forgotten", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1);
  drains.settle(() => []);
  drains.published([], 2);
  assert.deepEqual([...drains.appliedIds], []);
});
