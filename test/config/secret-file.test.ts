// Secret file: the first line of a file is the secret; what is wrong is told without a word of what it holds.

import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { readSecretFile, secretOf } from "../../src/config/secret-file.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { folderFor, type Ending } from "../support/daemons.ts";

function fileOf(t: Ending, text: string): string {
  const path = join(folderFor(t), "secret");
  writeFileSync(path, text);
  return path;
}

test("secret file: its first line counts, without what surrounds it", async (t) => {
  for (const text of ["abc", "abc\n", " abc \r\nmore\n"])
    assert.equal(await readSecretFile(fileOf(t, text), "token file"), "abc");
});

test("secret file: missing, empty or huge it is told of by its name, never by its content", async (t) => {
  const huge = fileOf(t, "hunter2".repeat(LIMITS.secretBytes));
  const cases = [
    ["/nowhere/token", "not-found"],
    [fileOf(t, "\nhunter2\n"), "invalid"],
    [huge, "invalid"],
    [folderFor(t), "invalid"],
  ] as const;
  for (const [path, code] of cases) {
    await assert.rejects(readSecretFile(path, "token file"), (thrown) => {
      assert.ok(thrown instanceof Failure && thrown.message.includes(path), String(thrown));
      assert.doesNotMatch(thrown.message, /hunter2/);
      return thrown.code === code;
    });
  }
});

test("secret file: one that may not be read is not allowed", async (t) => {
  if (process.getuid?.() === 0) return t.skip("root may read every file");
  const path = fileOf(t, "abc");
  chmodSync(path, 0);
  await assert.rejects(readSecretFile(path, "token file"), { code: "not-allowed" });
});

test("secret file: what the configuration says itself needs no file; without either there is no secret", async (t) => {
  const tokenFile = fileOf(t, "abc");
  assert.equal(await secretOf({ token: "x", tokenFile: "" }, "token file"), "x");
  assert.equal(await secretOf({ token: "", tokenFile }, "token file"), "abc");
  assert.equal(await secretOf({ token: "", tokenFile: "" }, "token file"), null);
});
