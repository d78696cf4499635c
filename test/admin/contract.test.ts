// Contract: problems carry what decides an exit status, and both sides agree on where the socket is.

import assert from "node:assert/strict";
import { test } from "node:test";

import { defaultSocketPath, failureFrom, INTERNAL, problemOf } from "../../src/admin/contract.ts";
import { CODES, type FailureCode } from "../../src/base/failure.ts";

test("problem: every code survives the way to a client, with its text", () => {
  for (const code of Object.keys(CODES) as FailureCode[]) {
    const problem = problemOf(code, `text of ${code}`);
    assert.equal(problem.status, CODES[code].http);
    assert.notEqual(problem.title, "Error");
    const failure = failureFrom(JSON.parse(JSON.stringify(problem)));
    assert.deepEqual([failure?.code, failure?.message], [code, `text of ${code}`]);
  }
});

test("problem: our own bug and a code of a later version are plain failures to a client", () => {
  assert.equal(failureFrom(INTERNAL)?.code, "invalid");
  assert.equal(failureFrom({ code: "toString", detail: "later" })?.code, "invalid");
});

test("problem: what is no problem of ours is none", () => {
  for (const value of [null, 1, "x", [], {}, { code: "usage" }, { code: 1, detail: "x" }, { detail: "x" }]) {
    assert.equal(failureFrom(value), null);
  }
});

test("socket: root has it in /run, others in their runtime directory, else beside their state", () => {
  const place = { runtimeDir: "/run/user/7", dataDir: "/home/a/.local/state/skein" };
  assert.equal(defaultSocketPath({ ...place, root: true }), "/run/skein/skein.sock");
  assert.equal(defaultSocketPath({ ...place, root: false }), "/run/user/7/skein.sock");
  const without = defaultSocketPath({ ...place, root: false, runtimeDir: null });
  assert.equal(without, "/home/a/.local/state/skein/skein.sock");
});
