// Who asks whether a member is reached gets a yes or a no in time, and no more of them than can be served.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Favours } from "../../src/gossip/favours.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";

const asked = (subject: string, link: number, sequence = link) => ({
  subject: idOf(subject),
  link,
  sequence,
});
const links = (favours: readonly { readonly link: number }[]) => favours.map(({ link }) => link);

test("favours: all who asked for a member are answered once it is heard, and nobody else", () => {
  const favours = new Favours();
  favours.asked(asked("a", 1), 0);
  favours.asked(asked("b", 2), 0);
  favours.asked(asked("a", 3), 10);
  assert.deepEqual(links(favours.settled(idOf("a"))), [1, 3]);
  assert.deepEqual(favours.settled(idOf("a")), [], "once");
  assert.deepEqual(links(favours.settled(idOf("b"))), [2]);
});

test("favours: what is not heard in 600 ms is overdue, sooner than the asker stops waiting", () => {
  const favours = new Favours();
  favours.asked(asked("a", 1), 0);
  favours.asked(asked("a", 2), 100);
  assert.deepEqual(favours.overdue(599), []);
  assert.deepEqual(links(favours.overdue(600)), [1]);
  assert.deepEqual(links(favours.overdue(5000)), [2]);
  assert.deepEqual(favours.overdue(9000), []);
});

test("favours: past the bound the answer is no at once; answered ones make room", () => {
  const favours = new Favours();
  for (let index = 0; index < LIMITS.favoursMax; index += 1)
    assert.equal(favours.asked(asked("a", index), 0), true);
  assert.equal(favours.asked(asked("b", 1), 0), false);
  favours.settled(idOf("a"));
  assert.equal(favours.asked(asked("b", 1), 0), true);
});

test("favours: whatever happens in whatever order, each is answered exactly once", () => {
  const step = fc.record({
    kind: fc.constantFrom("asked", "settled", "overdue"),
    subject: fc.constantFrom("a", "b", "c"),
    afterMs: fc.nat({ max: 400 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const favours = new Favours();
      const open: number[] = [];
      const answered: number[] = [];
      let nowMs = 0;
      steps.forEach(({ kind, subject, afterMs }, sequence) => {
        nowMs += afterMs;
        if (kind === "asked" && favours.asked(asked(subject, 1, sequence), nowMs)) open.push(sequence);
        const done = kind === "settled" ? favours.settled(idOf(subject)) : [];
        const late = kind === "overdue" ? favours.overdue(nowMs) : [];
        answered.push(...[...done, ...late].map((favour) => favour.sequence));
      });
      answered.push(...favours.overdue(nowMs + 10_000).map((favour) => favour.sequence));
      assert.deepEqual(
        answered.toSorted((one, other) => one - other),
        open,
      );
    }),
  );
});
