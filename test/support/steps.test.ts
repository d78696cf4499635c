// How far a long run is: a line that moves on a terminal, few plain lines elsewhere.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Paper } from "../cli/terminal.ts";

import { roundOf, withSteps } from "./steps.ts";
import { until } from "./wait.ts";

const PLAIN = [
  ["in a pipe", { stderrColumns: 0, env: {} }],
  ["where nothing can move", { stderrColumns: 60, env: { TERM: "dumb" } }],
] as const;

for (const [what, where] of PLAIN) {
  test(`steps: ${what} each is a line, but for those of the same second`, async () => {
    const stderr = new Paper();
    let nowMs = 0;
    const surroundings = { ...where, stderr, nowMs: () => nowMs };
    const given = await withSteps({ surroundings, quiet: false }, "dns (1 of 2)", (onStep) => {
      for (const [text, atMs] of [
        [roundOf(0, 2), 0],
        [roundOf(1, 2), 1000],
        ["more of it", 1999],
        ["the end", 2500],
      ] as const) {
        nowMs = atMs;
        onStep(text);
      }
      return Promise.resolve(7);
    });
    assert.equal(given, 7);
    assert.equal(stderr.text, "dns (1 of 2) ...\n  round 2 of 2\n  the end\n");
  });
}

test("steps: on a terminal the line tells the last one, with the seconds, and is gone at the end", async () => {
  const stderr = new Paper();
  const surroundings = { stderr, stderrColumns: 60, env: { TERM: "xterm" }, nowMs: () => performance.now() };
  await withSteps({ surroundings, quiet: false }, "dns", async (onStep) => {
    onStep(roundOf(0, 3, { warmsUp: true }));
    onStep(roundOf(1, 3, { warmsUp: true }));
    await until(() => /round 1 of 3 {2}\d+s/.test(stderr.text), { what: "the step is told" });
  });
  assert.match(stderr.text, /^dns \.\.\.\n/);
  assert.ok(stderr.text.endsWith("\r\u001B[K"), "the line is gone");
});
