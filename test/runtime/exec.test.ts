// Running programs: arguments as they are, bounds on time and output, failures with codes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { Failure } from "../../src/base/failure.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { run } from "../../src/runtime/exec.ts";
import { openFolder } from "../support/folder.ts";
import { until } from "../support/wait.ts";

const DEADLINE = { deadlineMs: 20_000 };
const withCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

/** True while a process runs; a killed one that nobody has reaped yet (a zombie) no longer does. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

describe("exec", () => {
  it("arguments reach the program as they are, whatever a shell would make of them", async () => {
    const argument = fc
      .string({ unit: "binary" })
      .filter((text) => !text.includes("\0") && text.isWellFormed());
    await fc.assert(
      fc.asyncProperty(fc.array(argument, { minLength: 1, maxLength: 4 }), async (args) => {
        const { stdout, status } = await run("printf", ["%s\\0", ...args], DEADLINE);
        assert.equal(stdout, args.map((text) => `${text}\0`).join(""));
        assert.equal(status, 0);
      }),
      { numRuns: 20 },
    );
    const { stdout } = await run("echo", ["$(id)", "`id`", "; id", "*", "$HOME"], DEADLINE);
    assert.equal(stdout, "$(id) `id` ; id * $HOME\n");
  });

  it("input goes in, output and errors come out apart, with the status", async () => {
    const ran = await run("sh", ["-c", "cat; echo oops >&2; exit 7"], {
      ...DEADLINE,
      stdin: "table inet skein",
    });
    assert.deepEqual(ran, { status: 7, stdout: "table inet skein", stderr: "oops\n" });
  });

  it("a program that is told its environment has nothing of ours", async () => {
    process.env["SKEIN_TEST_SECRET"] = "token";
    const ours = await run("env", [], DEADLINE);
    const { stdout } = await run("env", [], { ...DEADLINE, env: { PATH: process.env["PATH"] } });
    delete process.env["SKEIN_TEST_SECRET"];
    assert.match(ours.stdout, /^SKEIN_TEST_SECRET=token$/m);
    assert.deepEqual(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split("=")[0] ?? "")
        .toSorted((one, other) => (one < other ? -1 : 1)),
      ["LC_ALL", "PATH"],
    );
  });

  it("a program that does not read its input is no error", async () => {
    const ran = await run("true", [], { ...DEADLINE, stdin: "x".repeat(1_000_000) });
    assert.equal(ran.status, 0);
  });

  it("a program ended by a signal has 128 plus its number as status", async () => {
    assert.equal((await run("sh", ["-c", "kill -TERM $$"], DEADLINE)).status, 143);
  });

  it("past its deadline a program and what it started are killed", async (t) => {
    const path = join(await openFolder(t), "pids");
    const script = 'sleep 600 & echo "$! $$" > "$1"; wait';
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const timedOut = assert.rejects(
      run("sh", ["-c", script, "sh", path], { deadlineMs: 2000 }),
      withCode("timeout"),
    );
    const line = await until(async () => {
      const text = await readFile(path, "utf8");
      return text.endsWith("\n") ? text : null;
    });
    t.mock.timers.tick(2000);
    await timedOut;
    const pids = line.trim().split(" ").map(Number);
    assert.equal(pids.length, 2);
    await until(() => !pids.some(isRunning));
  });

  it("more output than the bound kills the program", async () => {
    await assert.rejects(run("sh", ["-c", "exec cat /dev/zero"], DEADLINE), withCode("invalid"));
    await assert.rejects(run("sh", ["-c", "exec cat /dev/zero >&2"], DEADLINE), withCode("invalid"));
    const atBound = await run("head", ["-c", `${LIMITS.programOutputBytes}`, "/dev/zero"], DEADLINE);
    assert.equal(atBound.stdout.length, LIMITS.programOutputBytes);
  });

  it("a program that is not there is not-found, one that may not be run not-allowed", async (t) => {
    await assert.rejects(run("no-such-program-anywhere", [], DEADLINE), withCode("not-found"));
    const path = join(await openFolder(t), "plain");
    await writeFile(path, "#!/bin/sh\n", { mode: 0o600 });
    await assert.rejects(run(path, [], DEADLINE), withCode("not-allowed"));
  });
});
