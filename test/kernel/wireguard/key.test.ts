// The key in the data dir: kept, readable by wg, private, and made anew where it is no good.

import assert from "node:assert/strict";
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { test } from "node:test";

import { openWireguardKey } from "../../../src/kernel/wireguard/key.ts";
import { isWireguardKey } from "../../../src/kernel/wireguard/plan.ts";
import { run } from "../../../src/runtime/exec.ts";
import { openFolder } from "../../support/folder.ts";

test("wireguard key: made once, for its owner alone, and the same after a restart", async (t) => {
  const folder = await openFolder(t);
  const { path, publicKey } = await openWireguardKey(folder);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.ok(isWireguardKey(publicKey));
  assert.deepEqual(await openWireguardKey(folder), { path, publicKey });
});

test("wireguard key: the program wg finds the same public half", async (t) => {
  const { path, publicKey } = await openWireguardKey(await openFolder(t));
  const asked = await run("wg", ["pubkey"], {
    deadlineMs: 20_000,
    stdin: await readFile(path, "utf8"),
  }).catch(() => null);
  if (asked === null) return t.skip("the program wg is not here");
  assert.equal(asked.stdout.trim(), publicKey);
});

test("wireguard key: one that is damaged, or that others could read, is replaced", async (t) => {
  const folder = await openFolder(t);
  const { path, publicKey } = await openWireguardKey(folder);
  const kept = await readFile(path, "utf8");
  for (const spoilt of ["", "no key\n", kept.slice(0, 20), `${kept.trim()}${kept}`]) {
    await writeFile(path, spoilt);
    const fresh = await openWireguardKey(folder);
    assert.ok(isWireguardKey(fresh.publicKey) && fresh.publicKey !== publicKey, spoilt);
  }
  await writeFile(path, kept);
  assert.equal((await openWireguardKey(folder)).publicKey, publicKey, "put back as it was");
  await chmod(path, 0o644);
  assert.notEqual((await openWireguardKey(folder)).publicKey, publicKey);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});
