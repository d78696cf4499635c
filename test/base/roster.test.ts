// Roster: a set, whatever the order in which members come and go.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Roster, type Placed } from "../../src/base/roster.ts";

test("roster: holds what a set would, through any comings and goings", () => {
  const move = fc.record({ joins: fc.boolean(), who: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
      const people: readonly Placed[] = Array.from({ length: 10 }, () => ({ at: -1 }));
      const [roster, model] = [new Roster<Placed>(), new Set<Placed>()];
      for (const { joins, who } of moves) {
        const person = people[who];
        if (person === undefined) continue;
        if (!joins) assert.equal(roster.remove(person), model.delete(person));
        else if (!model.has(person)) {
          roster.add(person);
          model.add(person);
        }
        assert.equal(roster.size, model.size);
        assert.deepEqual(new Set(roster.filter(() => true)), model);
        const shown: unknown[] = [];
        roster.forEach((one) => shown.push(one));
        assert.deepEqual(
          shown,
          roster.filter(() => true),
        );
      }
    }),
  );
});

test("roster: who is in another one is not taken out", () => {
  const [one, other] = [new Roster<Placed>(), new Roster<Placed>()];
  const [mine, theirs] = [{ at: -1 }, { at: -1 }];
  one.add(mine);
  other.add(theirs);
  assert.equal(one.remove(theirs), false);
  assert.equal(other.size, 1);
});
