/**
 * Tests of what is left of a lab after its test process came to a bad end: nothing.
 *
 * Each ends a child process (abandon.ts) that has a lab open with a running container, and looks for the run's
 * traces on this machine.
 *
 * Touches: labs of one host.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { openLab } from "./lab.ts";
import { findLeftovers, removeRun, sweepStaleRuns } from "./removal.ts";
import { skipReason } from "./requirements.ts";
import { newRunId, runOf } from "./run.ts";
import { until } from "../support/wait.ts";

const ABANDON = fileURLToPath(new URL("abandon.ts", import.meta.url));

type End = { readonly runId: string; readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** Runs abandon.ts until its lab is open, then has it end as told; returns how it did. */
async function abandon(how: string, signal: NodeJS.Signals | null = null): Promise<End> {
  const runId = newRunId();
  const child = spawn(process.execPath, [ABANDON, runId, how], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until(() => said.includes("open"), { what: "the abandoned lab is open", deadlineMs: 60_000 });
  if (signal !== null) child.kill(signal);
  const [code, endSignal] = await ended;
  return { runId, code, signal: endSignal };
}

// Of each test, not of the suite: a skipped suite would not tell how many tests did not run.
const skip = skipReason();

describe("removal", { timeout: 300_000 }, () => {
  test("removal: an exception nobody catches leaves nothing behind", { skip }, async () => {
    const end = await abandon("throw");
    assert.equal(end.code, 1);
    assert.deepEqual(findLeftovers(end.runId), []);
  });

  test("removal: process.exit leaves nothing behind and keeps its code", { skip }, async () => {
    const end = await abandon("exit");
    assert.equal(end.code, 3);
    assert.deepEqual(findLeftovers(end.runId), []);
  });

  test("removal: SIGTERM leaves nothing behind and still counts as SIGTERM", { skip }, async () => {
    const end = await abandon("wait", "SIGTERM");
    assert.equal(end.signal, "SIGTERM");
    assert.deepEqual(findLeftovers(end.runId), []);
  });

  test(
    "removal: SIGKILL ends everything that runs, and the next sweep takes the rest",
    { skip },
    async () => {
      const { runId } = await abandon("wait", "SIGKILL");
      const inert = (): boolean => findLeftovers(runId).every((left) => /^(folder|cgroup) /.test(left));
      await until(inert, { what: "the host has ended with its owner" });
      assert.ok((await sweepStaleRuns()).includes(runId));
      assert.deepEqual(findLeftovers(runId), []);
    },
  );

  test("removal: a lab that fails to open halfway leaves nothing behind", { skip }, async () => {
    const runId = newRunId();
    const opening = openLab({ runId, hosts: 2, images: "none", engineArguments: ["--no-such-flag"] });
    await assert.rejects(opening, (error: Error) => /unknown flag/.test(String(error.cause)));
    assert.deepEqual(findLeftovers(runId), []);
  });

  test(
    "removal: a folder whose owner is not written yet is left alone, and one of a dead owner is swept",
    { skip },
    async () => {
      const run = runOf(newRunId());
      mkdirSync(run.folder);
      assert.ok(!(await sweepStaleRuns()).includes(run.id));
      // The pid is ours, but we did not start when the machine did: the pid was used again.
      writeFileSync(join(run.folder, "owner.json"), JSON.stringify({ pid: process.pid, startTicks: "1" }));
      assert.ok((await sweepStaleRuns()).includes(run.id));
      await removeRun(run);
      assert.deepEqual(findLeftovers(run.id), []);
    },
  );
});
