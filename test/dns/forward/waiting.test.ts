// Waiting: who gives way to a newcomer.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Waiting, type Entry } from "../../../src/dns/forward/waiting.ts";

test("waiting: the oldest of whoever has most gives way", () => {
  const waiting = new Waiting<string>();
  const modest = waiting.add("modest", "192.0.2.1", 0);
  for (const name of ["one", "two", "three"]) waiting.add(name, "192.0.2.9", 1);
  assert.equal(waiting.yielding(2)?.item, "one");
  assert.equal(waiting.oldestOf("192.0.2.1"), modest);
  assert.equal(waiting.countOf("192.0.2.9"), 3);
});

test("waiting: what has waited for seconds goes first, whosever it is", () => {
  const waiting = new Waiting<string>();
  waiting.add("old", "192.0.2.1", 0);
  for (const name of ["one", "two", "three"]) waiting.add(name, "192.0.2.9", 1500);
  assert.equal(waiting.yielding(2000)?.item, "old");
});

test("waiting: while anybody waits somebody gives way: of those with most, and of these the oldest", () => {
  const step = fc.record({ network: fc.nat(4), isLeaving: fc.boolean(), which: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const waiting = new Waiting<number>();
      const all: Entry<number>[] = [];
      for (const [at, { network, isLeaving, which }] of steps.entries()) {
        const [leaving] = isLeaving && all.length > 0 ? all.splice(which % all.length, 1) : [];
        if (leaving === undefined) all.push(waiting.add(at, `net-${network}`, 0));
        else waiting.delete(leaving);
        if (leaving !== undefined) waiting.delete(leaving);
        const countOf = (one: string): number => all.filter((entry) => entry.network === one).length;
        const most = Math.max(0, ...all.map((entry) => countOf(entry.network)));
        const given = waiting.yielding(0);
        assert.equal(waiting.size, all.length);
        assert.deepEqual(waiting.all, all);
        if (given === null) return assert.equal(all.length, 0);
        assert.equal(countOf(given.network), most);
        assert.equal(
          given,
          all.find((entry) => entry.network === given.network),
        );
        assert.equal(given, waiting.oldestOf(given.network));
      }
    }),
  );
});
