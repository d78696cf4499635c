// Effects are gathered in order until they are taken, and nothing is sent once the box is shut.

import assert from "node:assert/strict";
import { test } from "node:test";

import { happeningOf, noEffects, Outbox } from "../../src/gossip/effects.ts";
import { Membership } from "../../src/gossip/membership.ts";
import { decode } from "../../src/gossip/message.ts";
import { idOf } from "../support/gossip-network.ts";

test("effects: frames keep their order, are taken once, and one message over several links is one frame", () => {
  const outbox = new Outbox();
  outbox.send(1, { kind: "ping", sequence: 1 });
  outbox.send([2, 1], { kind: "ping", sequence: 2 });
  const { send } = outbox.take();
  assert.deepEqual(
    send.map(({ link, kind }) => `${kind} ${link}`),
    ["ping 1", "ping 2", "ping 1"],
  );
  assert.equal(send[1]?.frame, send[2]?.frame);
  assert.deepEqual(decode(send[0]?.frame ?? new Uint8Array()), {
    ok: true,
    value: { kind: "ping", sequence: 1 },
  });
  assert.deepEqual(outbox.take(), noEffects());
});

test("effects: what was sent before the box is shut still goes, what comes after does not", () => {
  const outbox = new Outbox();
  outbox.send(1, { kind: "goodbye", incarnation: 1 });
  outbox.shut();
  outbox.send(1, { kind: "ping", sequence: 1 });
  assert.ok(outbox.isShut);
  assert.deepEqual(
    outbox.take().send.map(({ kind }) => kind),
    ["goodbye"],
  );
});

test("effects: death and suspicion are told as warnings, life and leaving are not", () => {
  const peer = new Membership().meet({ id: idOf("a"), name: "host-a", host: "a", port: 1 }, 0);
  const levels = (["alive", "suspect", "dead", "left"] as const).map((to) => {
    const { kind, level, subject, text, atMs } = happeningOf({ peer, from: "alive", to, reason: "why" }, 7);
    assert.deepEqual([kind, subject, text, atMs], [`member.${to}`, "host-a", "why", 7]);
    return level;
  });
  assert.deepEqual(levels, ["info", "warn", "warn", "info"]);
});
