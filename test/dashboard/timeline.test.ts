// Timeline: events are found by their words, newest first, and fall into their minutes.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { chosenEvents, minutesOf } from "../../src/dashboard/timeline.ts";

import { event, T0 } from "./pictures.ts";

const EVENTS = [
  event(1, { subject: "host-2", kind: "member-dead", level: "warn", text: "is dead" }),
  event(2, { subject: "default/web/web-1", text: "is in" }),
];

test("events are found by all the words asked for, newest first", () => {
  const ids = (text: string, isGrave = false): readonly number[] =>
    chosenEvents(EVENTS, { text, isGrave }).map(({ id }) => id);
  assert.deepEqual(ids(""), [2, 1]);
  assert.deepEqual(ids("HOST dead"), [1]);
  assert.deepEqual(ids("host in"), []);
  assert.deepEqual(ids("", true), [1]);
});

test("minutes hold all events in their order, each in its own minute", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(600_000)), (times) => {
      const events = times.map((ms, at) => event(at, { atMs: T0 + ms }));
      const minutes = minutesOf(events);
      assert.deepEqual(
        minutes.flatMap((minute) => minute.events),
        events,
      );
      for (const { atMs, events: own } of minutes) {
        assert.ok(own.length > 0);
        for (const one of own) assert.ok(one.atMs >= atMs && one.atMs < atMs + 60_000);
      }
    }),
  );
});
