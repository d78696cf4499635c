// What is known of a node at first, where it is, and whether it counts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isAt, isPresent, strangerOf } from "../../src/gossip/peer.ts";
import { positionOf } from "../../src/gossip/ring.ts";
import { idOf } from "../support/gossip-network.ts";
import { peerOf } from "../support/gossip-peers.ts";

test("peer: a stranger counts as alive on the word of who told of it, and cannot be dialled", () => {
  const stranger = strangerOf(idOf("a"), 7);
  assert.equal(stranger.state, "alive");
  assert.equal(stranger.sinceMs, 7);
  assert.equal(stranger.name, idOf("a"));
  assert.equal(stranger.position, positionOf(idOf("a")));
  assert.deepEqual([stranger.host, stranger.port, stranger.link, stranger.via], ["", 0, null, null]);
});

test("peer: any life that a stranger tells of is later than the one it is taken for", () => {
  const { incarnation, refutation, said } = strangerOf(idOf("a"), 0);
  assert.deepEqual([incarnation, refutation, said], [0, 0, "alive"]);
});

test("peer: who has been given up, or left, does not count any more", () => {
  const present = (["alive", "suspect", "away", "dead", "left"] as const).filter((state) =>
    isPresent({ state }),
  );
  assert.deepEqual(present, ["alive", "suspect", "away"]);
});

test("peer: it is at an address when host and port are the same", () => {
  const peer = peerOf("a");
  assert.ok(isAt(peer, { host: "a", port: 7650 }));
  assert.ok(!isAt(peer, { host: "a", port: 7651 }));
  assert.ok(!isAt(peer, { host: "b", port: 7650 }));
});
