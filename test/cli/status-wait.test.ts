// `skein status --wait`: until the daemon answers with a whole view, and no longer than it says.

import assert from "node:assert/strict";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { folder, openDoors, type FakeDaemon } from "../admin/doors.ts";
import { exampleSnapshot, NOW_MS } from "../admin/picture.ts";
import { until } from "../support/wait.ts";
import { run } from "./terminal.ts";

/** Has the daemon tell whether its view is whole. @returns how often it was asked since */
function tells(daemon: FakeDaemon, complete: boolean): () => number {
  let asked = 0;
  const snapshot = exampleSnapshot();
  Object.defineProperty(daemon, "snapshot", {
    configurable: true,
    get() {
      asked += 1;
      return { ...snapshot, view: { ...snapshot.view, complete } };
    },
  });
  return () => asked;
}

/** A clock on which each look takes so long, in milliseconds. */
function clock(stepMs: number): () => number {
  let at = NOW_MS;
  return () => (at += stepMs);
}

test("status: --wait asks again while the view is not complete, and ends when it is", async (t) => {
  const { daemon, socketPath } = await openDoors(t);
  const asked = tells(daemon, false);
  let isOver = false;
  const ran = run(["status", "--wait", "--socket", socketPath]).finally(() => (isOver = true));
  await until(() => asked() > 2 || isOver);
  assert.equal(isOver, false, "not with the first answer");
  tells(daemon, true);
  const { status, out, err } = await ran;
  assert.deepEqual([status, err], [0, ""]);
  assert.match(out, /host-1/);
});

test("status: without --wait one answer is enough", async (t) => {
  const { daemon, socketPath } = await openDoors(t);
  tells(daemon, false);
  const { status } = await run(["status", "--socket", socketPath]);
  assert.equal(status, 0);
});

test("status: --wait gives up after 30 s of a view that stays incomplete, with 4 and the next step", async (t) => {
  const { daemon, socketPath } = await openDoors(t);
  tells(daemon, false);
  const { status, out, err } = await run(["status", "--wait", "--socket", socketPath], {
    nowMs: clock(16_000),
  });
  assert.deepEqual([status, out], [4, ""]);
  assert.equal(err, "skein: view is not complete after 30 s; skein doctor says why\n");
});

test("status: --wait waits for a daemon that is not there yet, and not for ever", async (t) => {
  const doors = await openDoors(t);
  const socketPath = join(await folder(t), "late.sock");
  const asked = tells(doors.daemon, true);
  const ran = run(["status", "--wait", "--socket", socketPath]);
  await symlink(doors.socketPath, socketPath);
  assert.equal((await ran).status, 0);
  assert.ok(asked() > 0);
  const none = await run(["status", "--wait", "--socket", "/nowhere/skein.sock"], { nowMs: clock(16_000) });
  assert.deepEqual([none.status, none.out], [4, ""]);
  assert.match(none.err, /^skein: socket "\/nowhere\/skein.sock" does not exist/);
});
