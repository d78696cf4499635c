// Acknowledgement: which drains everyone has heard of, and who has not.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Acknowledgements } from "../../src/catalog/acknowledgement.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { ReplicaRecord } from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";

function record(id: string, state: ReplicaRecord["state"]): ReplicaRecord {
  const where = { id, name: id, slot: null, network: "default", service: "web", stack: null } as const;
  const said = { state, reason: "", drainApplied: false, drainPending: [] };
  const rest = { declaration: EMPTY_DECLARATION, weight: 1, delivery: DEFAULT_DELIVERY, startedAtMs: 1 };
  return { kind: "replica", ...where, address: "127.0.0.1", reach: "direct", ...rest, ...said };
}

/** Members that hold this node's log up to `version`; those named lag behind it. */
function upTo(version: number, ...names: string[]): (asked: number) => readonly string[] {
  return (asked) => (asked <= version ? [] : names);
}

test("acknowledgement: missing is who has not applied the newest drain; nobody where nothing drains", () => {
  const drains = new Acknowledgements();
  assert.deepEqual(drains.missing(upTo(0, "host-2")), []);
  drains.published([record("web-1", "draining"), record("web-2", "ready")], 7, 0);
  drains.published([record("web-1", "draining"), record("web-2", "draining")], 9, 10);
  drains.published([record("web-1", "draining"), record("web-2", "draining")], 12, 20);
  assert.deepEqual(drains.missing(upTo(8, "host-2")), ["host-2"]);
  assert.deepEqual(drains.missing(upTo(9, "host-2")), [], "what came later is no drain");
  drains.settle(upTo(9), 30);
  assert.deepEqual(drains.missing(upTo(0, "host-2")), [], "applied once is applied");
});

test("acknowledgement: a drain is applied once nobody lags behind the version that first said it", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining"), record("web-2", "ready")], 7, 0);
  // Later writes of the same log do not move the goal.
  drains.published([record("web-1", "draining"), record("web-2", "unready")], 9, 10);
  assert.equal(drains.settle(upTo(6, "host-2"), 20), false);
  assert.equal(drains.isApplied("web-1"), false);
  assert.equal(drains.settle(upTo(7, "host-2"), 30), true);
  assert.deepEqual([drains.isApplied("web-1"), drains.isApplied("web-2")], [true, false]);
});

test("acknowledgement: an applied drain is told once", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1, 0);
  assert.equal(drains.settle(upTo(1), 10), true);
  drains.published([record("web-1", "draining")], 2, 20);
  assert.equal(drains.settle(upTo(1, "host-2"), 5000), false);
  assert.equal(drains.isApplied("web-1"), true);
});

test("acknowledgement: a replica that came back must be acknowledged anew when it drains again", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1, 0);
  drains.settle(upTo(1), 10);
  drains.published([record("web-1", "ready")], 2, 20);
  assert.equal(drains.isApplied("web-1"), false);
  drains.published([record("web-1", "draining")], 3, 30);
  assert.equal(drains.settle(upTo(2, "host-3"), 40), false);
});

test("acknowledgement: so must all when the log is started anew, for what was applied is gone with it", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining"), record("web-2", "ready")], 7, 0);
  drains.settle(upTo(7), 10);
  drains.published([record("web-1", "draining"), record("web-2", "draining")], 2, 20);
  assert.equal(drains.isApplied("web-1"), false);
});

test("acknowledgement: a replica that is gone is forgotten", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining"), record("web-2", "draining")], 1, 0);
  drains.settle(upTo(1), 10);
  drains.published([], 2, 20);
  assert.deepEqual([drains.isApplied("web-1"), drains.pending("web-2")], [false, []]);
});

test("acknowledgement: who has not applied it is named after a second, and again when that has changed", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1, 0);
  assert.equal(drains.settle(upTo(0, "host-3", "host-2"), 999), false);
  assert.deepEqual(drains.pending("web-1"), []);
  assert.equal(drains.settle(upTo(0, "host-3", "host-2"), 1000), true);
  assert.deepEqual(drains.pending("web-1"), ["host-2", "host-3"]);
  assert.equal(drains.settle(upTo(0, "host-2"), 1500), false, "at most once a second");
  assert.equal(drains.settle(upTo(0, "host-2", "host-3"), 2000), false, "the same as before is nothing new");
  assert.equal(drains.settle(upTo(0, "host-3"), 3000), true);
  assert.deepEqual(drains.pending("web-1"), ["host-3"]);
  assert.equal(drains.settle(upTo(1, "host-3"), 3010), true, "but that it is applied is told at once");
  assert.deepEqual([drains.isApplied("web-1"), drains.pending("web-1")], [true, []]);
});

test("acknowledgement: of many members the first names do; of a host that drains one replica tells for all", () => {
  const drains = new Acknowledgements();
  const names = Array.from({ length: 500 }, (_, index) => `host-${index}`);
  drains.published([record("web-1", "draining")], 1, 0);
  drains.settle(upTo(0, ...names), 1000);
  assert.equal(drains.pending("web-1").length, LIMITS.drainPendingMax);
  const all = Array.from({ length: 100 }, (_, index) => record(`web-${index}`, "draining"));
  drains.published(all, 2, 2000);
  assert.equal(drains.settle(upTo(0, "host-9"), 4000), true);
  const named = all.filter(({ id }) => drains.pending(id).join() === "host-9");
  assert.equal(named.length, 1);
});

test("acknowledgement: a drain that this host's own kernel does not follow yet is not over", () => {
  const drains = new Acknowledgements();
  drains.published([record("web-1", "draining")], 1, 100);
  assert.equal(drains.settle(upTo(1), 110, 100), false);
  assert.equal(drains.isApplied("web-1"), false);
  // What is not followed yet came later: it holds up nothing.
  assert.equal(drains.settle(upTo(1), 120, 101), true);
  assert.equal(drains.isApplied("web-1"), true);
});
