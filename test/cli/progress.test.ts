// A line that moves while a command waits, on a terminal only.

import assert from "node:assert/strict";
import { test } from "node:test";

import { runCli } from "../../src/cli/cli.ts";
import { openDoors } from "../admin/doors.ts";
import { exampleSnapshot } from "../admin/picture.ts";
import { until } from "../support/wait.ts";
import { Paper, surroundings } from "./terminal.ts";

const ENV = { TERM: "xterm", LANG: "C.UTF-8" };
const ERASED = "\r\u001B[K";

/** Runs `drain web-1` on a daemon that answers when it is told to. */
async function draining(
  t: Parameters<typeof openDoors>[0],
  given: Partial<Parameters<typeof surroundings>[0]>,
  ...flags: readonly string[]
) {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  const answer = Promise.withResolvers<void>();
  doors.daemon.drainResult = async (replica) => {
    await answer.promise;
    return { replica, applied: true, pending: [] };
  };
  const [stdout, stderr] = [new Paper(), new Paper()];
  const argv = ["drain", "web-1", "--wait", ...flags, "--socket", doors.socketPath];
  const nowMs = (): number => Date.now();
  const ended = runCli(argv, surroundings({ stdout, stderr, nowMs, env: ENV, ...given }));
  return { doors, stdout, stderr, ended, answer: answer.resolve };
}

test("progress: on a terminal it moves, fits the line, and is gone when the command is done", async (t) => {
  const { stdout, stderr, ended, answer } = await draining(t, { stderrColumns: 30 });
  await until(() => stderr.text.split(ERASED).length > 4, { what: "the line moves" });
  answer();
  assert.equal(await ended, 0);
  const frames = stderr.text.split(ERASED);
  assert.deepEqual([frames[0], frames.at(-1)], ["", ""]);
  const shown = frames.slice(1, -1);
  assert.ok(
    shown.every((frame) => frame.length < 30),
    shown[0],
  );
  assert.match(shown[0] ?? "", /^⠋ waiting for every/);
  assert.ok(new Set(shown).size > 1);
  assert.equal(stdout.text, "0123456789ab drains, applied by every live member\n");
});

test("progress: nothing of it when piped, with --quiet, or on a dumb terminal", async (t) => {
  const cases = [
    await draining(t, {}),
    await draining(t, { stderrColumns: 80 }, "-q"),
    await draining(t, { stderrColumns: 80, env: { TERM: "dumb" } }),
    await draining(t, { stderrColumns: 80 }),
  ];
  // The last one shows when a line would have come.
  await until(() => cases.at(-1)?.stderr.text !== "", { what: "a terminal shows it" });
  for (const { answer, ended } of cases) {
    answer();
    assert.equal(await ended, 0);
  }
  assert.deepEqual(
    cases.slice(0, -1).map(({ stderr }) => stderr.text),
    ["", "", ""],
  );
});

test("progress: plain characters where the locale knows no others; what is quick shows nothing", async (t) => {
  const { stderr, ended, answer } = await draining(t, {
    stderrColumns: 80,
    env: { TERM: "xterm", LANG: "C" },
  });
  await until(() => stderr.text !== "");
  answer();
  await ended;
  assert.ok(stderr.text.startsWith(`${ERASED}- waiting`));
  const quick = await draining(t, { stderrColumns: 80 });
  quick.answer();
  await quick.ended;
  assert.equal(quick.stderr.text, "");
});
