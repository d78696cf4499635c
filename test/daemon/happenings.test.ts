// What is told of happenings: everything once, and the refusal of a peer that comes back once a minute.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Journal } from "../../src/admin/journal.ts";
import type { Base } from "../../src/daemon/base.ts";
import { openHappenings } from "../../src/daemon/happenings.ts";
import type { Happening } from "../../src/model/event.ts";
import { openSilentLog } from "../support/silence.ts";

function open() {
  const log = openSilentLog();
  const journal = new Journal();
  // The parts of a base that it uses.
  const tell = openHappenings({ options: { log }, journal } as unknown as Base);
  return { tell, lines: () => log.lines.map(({ level, text }) => `${level} ${text}`), journal };
}

const refusal = (subject: string, text: string, atMs: number): Happening => ({
  kind: "member.refused",
  level: "warn",
  subject,
  text,
  atMs,
});

test("happenings: a refused peer that dials anew each second is told of once a minute, from any port", () => {
  const { tell, lines, journal } = open();
  for (let second = 0; second < 120; second += 1)
    tell([refusal(`10.0.0.9:${40_000 + second}`, "old speaks wire version 0; expected 1", second * 1000)]);
  assert.deepEqual(lines(), [
    "warn member.refused 10.0.0.9:40000: old speaks wire version 0; expected 1",
    "warn member.refused 10.0.0.9:40060: old speaks wire version 0; expected 1",
  ]);
  assert.equal(journal.events.length, 2);
});

test("happenings: another peer, another reason and all else are told each time", () => {
  const { tell, lines } = open();
  const alive = { kind: "member.alive", level: "info", subject: "host-1", text: "linked", atMs: 0 } as const;
  tell([
    refusal("10.0.0.9:1", "a", 0),
    refusal("10.0.0.8:1", "a", 0),
    refusal("10.0.0.9:1", "b", 0),
    alive,
    alive,
  ]);
  assert.equal(lines().length, 5);
});

test("happenings: whoever makes up new reasons does not fill the log", () => {
  const { tell, lines } = open();
  for (let count = 0; count < 5000; count += 1) tell([refusal("10.0.0.9:1", `reason ${count}`, count)]);
  assert.ok(lines().length < 500);
});
