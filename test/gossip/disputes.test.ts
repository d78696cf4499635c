// Two live nodes with one id are told apart by their runs: both are refused, it is told, and it ends.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Disputes } from "../../src/gossip/disputes.ts";
import type { Peer } from "../../src/gossip/peer.ts";
import { peerOf } from "../support/gossip-peers.ts";

const REMOTE = "10.0.0.9:5";

/** A member, and hellos of its runs by their nonces; a hello that is taken is linked. */
function watched(): {
  disputes: Disputes;
  peer: Peer;
  hello: (nonce: number, nowMs: number) => string | null;
} {
  const disputes = new Disputes();
  const peer = peerOf("web-1", { host: "10.0.0.2" });
  const hello = (nonce: number, nowMs: number): string | null => {
    const refusal = disputes.refusal(peer, { nonce, remote: REMOTE }, nowMs)?.text ?? null;
    if (refusal === null) {
      disputes.taken(peer, nonce);
      peer.link = nonce;
    } else peer.link = null;
    return refusal;
  };
  return { disputes, peer, hello };
}

test("disputes: a node that starts anew, over and over, or dials again is no dispute", () => {
  const { disputes, hello } = watched();
  for (const nonce of [1, 1, 2, 2, 3, 4, 4]) assert.equal(hello(nonce, nonce * 1000), null);
  assert.deepEqual(disputes.texts, []);
});

test("disputes: a run that comes back after another one was taken means that both live", () => {
  const { disputes, peer, hello } = watched();
  hello(1, 0);
  hello(2, 100);
  const text = hello(1, 200);
  assert.ok(
    text !== null &&
      text.includes(peer.id) &&
      text.includes("web-1 at 10.0.0.2:7650") &&
      text.includes(REMOTE),
  );
  assert.deepEqual(disputes.texts, [text]);
  assert.equal(hello(2, 300), text, "neither can be believed");
  assert.equal(hello(3, 400), text, "nor a third");
});

test("disputes: an earlier run's hello that comes late, when nobody is linked, is no proof that both live", () => {
  const { peer, hello } = watched();
  hello(1, 0);
  hello(2, 100);
  peer.link = null;
  assert.equal(hello(1, 200), null);
});

test("disputes: five seconds after one of two was heard last the other is taken back, and nothing is wrong", () => {
  const { disputes, hello } = watched();
  hello(1, 0);
  hello(2, 100);
  hello(1, 200);
  assert.notEqual(hello(2, 1000), null);
  assert.notEqual(hello(1, 4000), null);
  assert.notEqual(hello(1, 5999), null);
  assert.equal(hello(1, 6000), null);
  assert.deepEqual(disputes.texts, []);
  assert.equal(hello(1, 40_000), null);
});

test("disputes: as long as both come both are refused, and neither is taken in between", () => {
  const { disputes, hello } = watched();
  hello(1, 0);
  hello(2, 100);
  for (let nowMs = 1000; nowMs < 600_000; nowMs += 2000) {
    assert.notEqual(hello(1, nowMs), null, `${nowMs}`);
    assert.notEqual(hello(2, nowMs + 1000), null, `${nowMs}`);
    disputes.tick(nowMs + 1000);
  }
  assert.equal(disputes.texts.length, 1);
});

test("disputes: when the other comes after all it is a dispute again", () => {
  const { hello } = watched();
  hello(1, 0);
  hello(2, 100);
  hello(1, 200);
  assert.equal(hello(1, 31_000), null);
  assert.notEqual(hello(2, 31_100), null, "it was the last before");
  assert.notEqual(hello(1, 31_200), null);
});

test("disputes: runs without end are refused as two are, and not all of them remembered", () => {
  const { hello } = watched();
  hello(1, 0);
  hello(2, 100);
  for (let nonce = 1; nonce <= 1000; nonce += 1) assert.notEqual(hello(nonce, 200 + nonce), null);
  assert.equal(hello(1000, 200 + 1000 + 5000), null);
});

test("disputes: one of which nobody reminds is dropped half a minute later", () => {
  const { disputes, hello } = watched();
  hello(1, 0);
  hello(2, 100);
  hello(1, 200);
  disputes.tick(30_199);
  assert.equal(disputes.texts.length, 1);
  disputes.tick(30_200);
  assert.deepEqual(disputes.texts, []);
});

test("disputes: each run is told once that it is another one than before", () => {
  const disputes = new Disputes();
  const peer = peerOf("a");
  assert.deepEqual(
    [7, 7, 8, 8, 7].map((nonce) => disputes.taken(peer, nonce)),
    [true, false, true, false, true],
  );
});

test("disputes: earlier runs are remembered, but not without end", () => {
  const disputes = new Disputes();
  const peer = peerOf("a");
  for (let nonce = 1; nonce <= 1000; nonce += 1) disputes.taken(peer, nonce);
  assert.ok(peer.pastNonces.length <= 8 && peer.pastNonces.includes(999));
});

test("disputes: a refusal is new once; who comes again and again is refused without another word", () => {
  const { disputes, peer, hello } = watched();
  hello(1, 0);
  hello(2, 100);
  const refusal = (nowMs: number) => disputes.refusal(peer, { nonce: 1, remote: REMOTE }, nowMs);
  assert.equal(refusal(200)?.isNew, true);
  assert.deepEqual([refusal(300)?.isNew, refusal(400)?.isNew], [false, false]);
});
