// What a node writes to its log when what it offers has changed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { writesFor } from "../../src/catalog/publication.ts";
import type { NodeRecord, ReplicaRecord, ReplicaState } from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, EMPTY_DECLARATION } from "../../src/model/service.ts";

const NODE: NodeRecord = {
  kind: "node",
  name: "host-1",
  host: "10.0.0.1",
  port: 7650,
  zone: "",
  labels: {},
  software: "test",
  prefixes: [],
};

function replica(id: string, state: ReplicaState = "ready"): ReplicaRecord {
  const where = {
    network: "default",
    service: "web",
    stack: null,
    address: "10.0.0.9",
    reach: "stream",
  } as const;
  const said = {
    declaration: EMPTY_DECLARATION,
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    startedAtMs: 1,
    reason: "",
    drainApplied: false,
    drainPending: [],
  };
  return { kind: "replica", id, name: id, slot: null, ...where, ...said, state };
}

test("publication: the node itself comes first, then what is draining, then the rest", () => {
  const records = [replica("a"), replica("b", "draining"), replica("c")];
  const writes = writesFor({ node: NODE, records, published: [] });
  assert.deepEqual([...writes.keys()], ["node", "replica/b", "replica/a", "replica/c"]);
});

test("publication: a replica that is not offered any more is deleted, once", () => {
  const writes = writesFor({ node: NODE, records: [replica("a")], published: [replica("a"), replica("b")] });
  assert.equal(writes.get("replica/b"), null);
  assert.notEqual(writes.get("replica/a"), null);
  const later = writesFor({ node: NODE, records: [replica("a")], published: [replica("a")] });
  assert.equal(later.has("replica/b"), false);
});

test("publication: an offer that did not change renders as it did", () => {
  const offer = { node: NODE, records: [replica("a")], published: [replica("a")] };
  assert.deepEqual([...writesFor(offer)], [...writesFor(offer)]);
});
