// What peers did that they must not do is told by name, and not each time.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Complaints } from "../../src/gossip/complaints.ts";
import { Outbox } from "../../src/gossip/effects.ts";

const A = { id: "id of a", name: "a" };
const B = { id: "id of b", name: "b" };

test("complaints: each peer and kind of trespass is told once a minute", () => {
  const outbox = new Outbox();
  const complaints = new Complaints(outbox);
  for (let atMs = 0; atMs < 120_000; atMs += 1000) {
    for (const peer of [A, B]) complaints.of(peer, { sort: "log", text: `lies at ${atMs}` }, atMs);
    complaints.of(A, { sort: "rumor", text: "accuses" }, atMs);
  }
  const { happenings } = outbox.take();
  assert.deepEqual(
    happenings.map(({ kind, level, subject, text }) => `${kind} ${level} ${subject} ${text}`),
    [
      "mesh.refused warn a lies at 0",
      "mesh.refused warn b lies at 0",
      "mesh.refused warn a accuses",
      "mesh.refused warn a lies at 60000",
      "mesh.refused warn b lies at 60000",
      "mesh.refused warn a accuses",
    ],
  );
});

test("complaints: what this node could not publish is told with what it was and how much there may be", () => {
  const outbox = new Outbox();
  const complaints = new Complaints(outbox);
  complaints.ofOwnLog(A, ["replica/x", "replica/y", "replica/z"], 5);
  complaints.ofOwnLog(A, ["replica/x"], 6);
  const { happenings } = outbox.take();
  assert.equal(happenings.length, 1);
  assert.match(happenings[0]?.text ?? "", /^replica\/x and 2 more not published: .* at most 40000 entries/);
  assert.equal(happenings[0]?.kind, "log.full");
});
