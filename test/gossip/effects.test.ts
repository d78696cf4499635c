// Effects are gathered in order until they are taken, and nothing is sent once the box is shut.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode } from "../../src/gossip/codec.ts";
import { happeningOf, isNothing, noEffects, Outbox } from "../../src/gossip/effects.ts";
import type { Message } from "../../src/gossip/message.ts";
import { peerOf } from "../support/gossip-peers.ts";

const ping = (sequence: number): Message => ({ kind: "ping", sequence, suspected: null });

test("effects: frames keep their order and are taken once", () => {
  const outbox = new Outbox();
  outbox.send(1, ping(1));
  outbox.send(2, ping(2));
  outbox.send(1, { kind: "part" });
  const { send } = outbox.take();
  assert.deepEqual(
    send.map(({ link, kind }) => `${kind} ${link}`),
    ["ping 1", "ping 2", "part 1"],
  );
  assert.deepEqual(decode(send[1]?.frame ?? new Uint8Array()), { ok: true, value: ping(2) });
  assert.deepEqual(outbox.take(), noEffects());
});

test("effects: who sends is told how many bytes that takes", () => {
  const outbox = new Outbox();
  const bytes = outbox.send(1, ping(1));
  assert.equal(bytes, outbox.take().send[0]?.frame.byteLength);
  outbox.shut();
  assert.equal(outbox.send(1, ping(1)), 0);
});

test("effects: what was sent before the box is shut still goes, what comes after does not", () => {
  const outbox = new Outbox();
  outbox.send(1, { kind: "part" });
  outbox.shut();
  outbox.send(1, ping(1));
  assert.ok(outbox.isShut);
  assert.deepEqual(
    outbox.take().send.map(({ kind }) => kind),
    ["part"],
  );
});

test("effects: nothing is wanted only while every list is empty", () => {
  assert.ok(isNothing(noEffects()));
  assert.ok(!isNothing({ ...noEffects(), spreadMs: [0] }));
  assert.ok(!isNothing({ ...noEffects(), dial: [{ host: "a", port: 1 }] }));
});

test("effects: death and suspicion are told as warnings; life, being away and leaving are not", () => {
  const peer = peerOf("host-a");
  const levels = (["alive", "away", "suspect", "dead", "left"] as const).map((to) => {
    const { kind, level, subject, text, atMs } = happeningOf({ peer, from: "alive", to, reason: "why" }, 7);
    assert.deepEqual([kind, subject, text, atMs], [`member.${to}`, "host-a", "why", 7]);
    return level;
  });
  assert.deepEqual(levels, ["info", "info", "warn", "warn", "info"]);
});
