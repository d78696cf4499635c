// A node answers who holds it for lost, above all accusations, and not more than five times a second.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { FIRST_LIFE, REFUTATION_MAX } from "../../src/gossip/life.ts";
import { Voice } from "../../src/gossip/voice.ts";

test("voice: nobody is answered who did not accuse", () => {
  const voice = new Voice();
  assert.equal(voice.answer(0), null);
  assert.deepEqual(voice.life, FIRST_LIFE);
});

test("voice: an accusation is answered at once, once, and above it", () => {
  const voice = new Voice();
  voice.accused(0);
  assert.deepEqual(voice.answer(0), { refutation: 1, said: "alive", forMs: 0 });
  assert.equal(voice.answer(1000), null);
  voice.accused(0);
  assert.equal(voice.answer(2000), null, "that is refuted already");
  voice.accused(5);
  assert.equal(voice.answer(3000)?.refutation, 6);
});

test("voice: of several accusations the highest is answered, and that answers all", () => {
  const voice = new Voice();
  for (const refutation of [3, 7, 0]) voice.accused(refutation);
  assert.equal(voice.answer(0)?.refutation, 8);
});

test("voice: refutations only rise, each is above what it answers, and five a second are the most", () => {
  const step = fc.record({ refutation: fc.nat({ max: 50 }), afterMs: fc.nat({ max: 120 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const voice = new Voice();
      const answers: { readonly atMs: number; readonly refutation: number }[] = [];
      let nowMs = 0;
      let highest = -1;
      for (const { refutation, afterMs } of steps) {
        nowMs += afterMs;
        voice.accused(refutation);
        highest = Math.max(highest, refutation);
        const life = voice.answer(nowMs);
        if (life !== null) answers.push({ atMs: nowMs, refutation: life.refutation });
      }
      answers.slice(1).forEach(({ atMs, refutation }, index) => {
        const before = answers[index];
        assert.ok(before !== undefined && refutation > before.refutation && atMs - before.atMs >= 200);
      });
      voice.answer(nowMs + 1000);
      assert.equal(voice.life.refutation, highest + 1, "in the end nothing is left unanswered");
    }),
  );
});

test("voice: a clock that goes backwards does not silence it", () => {
  const voice = new Voice();
  voice.accused(0);
  voice.answer(1_000_000);
  voice.accused(1);
  assert.equal(voice.answer(10)?.refutation, 2);
});

test("voice: an accusation beyond all counting is not answered, so that counting never ends", () => {
  const voice = new Voice();
  voice.accused(REFUTATION_MAX);
  voice.accused(Number.MAX_SAFE_INTEGER);
  assert.equal(voice.answer(0), null);
});

test("voice: a farewell is above all that was said before; only one for a while says for how long", () => {
  const voice = new Voice();
  voice.accused(4);
  voice.answer(0);
  assert.deepEqual(voice.farewell("away", 5000), { refutation: 6, said: "away", forMs: 5000 });
  assert.deepEqual(voice.farewell("left", 5000), { refutation: 7, said: "left", forMs: 0 });
});

test("voice: who has left says no more, whoever holds him for dead", () => {
  const voice = new Voice();
  voice.farewell("left", 0);
  voice.accused(9);
  assert.equal(voice.answer(1000), null);
});
