// The parts of one node fit together, note what changed, and close or refuse a link once.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";
import { Changes, closeLink, openParts, refuseLink, type Parts } from "../../src/gossip/parts.ts";
import { cheapSeals } from "../support/cheap-seals.ts";
import { idOf } from "../support/gossip-network.ts";
import { peerOf } from "../support/gossip-peers.ts";

function parts(seed = 1): Parts {
  const self = { id: idOf("me"), name: "me", host: "me", port: 7650 };
  const seeds = [
    { host: "seed", port: 1 },
    { host: "me", port: 7650 },
  ];
  const seals = cheapSeals(self.id);
  return openParts({ self, incarnation: 3, seeds, seals, random: seededRandom(seed), nowMs: 0 });
}

test("parts: each change is counted, and who changed is told once", () => {
  const changes = new Changes();
  assert.equal(changes.take().size, 0);
  changes.note("a");
  changes.note("b");
  changes.note("a");
  changes.noteWhole();
  assert.equal(changes.revision, 4);
  assert.deepEqual([...changes.take()].toSorted(), ["a", "b"]);
  assert.equal(changes.take().size, 0);
  assert.equal(changes.revision, 4);
});

test("parts: what was taken does not change under the hands of who took it", () => {
  const changes = new Changes();
  changes.note("a");
  const taken = changes.take();
  changes.note("b");
  assert.deepEqual([...taken], ["a"]);
});

test("parts: a node never dials itself, though its own address is among its seeds", () => {
  assert.deepEqual(parts().dialer.addresses, [{ host: "seed", port: 1 }]);
});

test("parts: each start draws a nonce of its own, never 0, by which runs are told apart", () => {
  const nonces = Array.from({ length: 100 }, (_, seed) => parts(seed).nonce);
  assert.equal(new Set(nonces).size, 100);
  assert.ok(nonces.every((nonce) => Number.isSafeInteger(nonce) && nonce > 0));
});

test("parts: a link is closed once, and one that is gone not at all", () => {
  const all = parts();
  all.links.add({ id: 1, dialled: null, identity: "x", remote: "10.0.0.9:5", openedAtMs: 0 });
  closeLink(all, 1, "first");
  closeLink(all, 1, "second");
  closeLink(all, 2, "never there");
  assert.deepEqual(all.outbox.take().close, [{ link: 1, reason: "first" }]);
});

test("parts: a link that broke the rules is closed, counted, and told of by its member's name or its address", () => {
  const all = parts();
  for (const id of [1, 2])
    all.links.add({ id, dialled: null, identity: "x", remote: `10.0.0.9:${id}`, openedAtMs: 0 });
  const [one, other] = [all.links.get(1), all.links.get(2)];
  assert.ok(one !== undefined && other !== undefined);
  other.peer = peerOf("web-1");
  refuseLink(all, one, "why", 7);
  refuseLink(all, other, "why", 7);
  const { refused, close, happenings } = all.outbox.take();
  assert.deepEqual(refused, ["frame", "frame"]);
  assert.deepEqual(
    close.map(({ link }) => link),
    [1, 2],
  );
  assert.deepEqual(
    happenings.map(({ kind, level, subject, text, atMs }) => [kind, level, subject, text, atMs]),
    [
      ["member.refused", "warn", "10.0.0.9:1", "why", 7],
      ["member.refused", "warn", "web-1", "why", 7],
    ],
  );
});
