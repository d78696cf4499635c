// Detect: whether the kernel can be used, tried in a network namespace of its own with and without the right and nft.

import assert from "node:assert/strict";
import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { parsePrefix } from "../../src/base/ip.ts";
import { detectKernel, type Detection } from "../../src/kernel/detect.ts";
import { run } from "../../src/runtime/exec.ts";
import { folderFor } from "../support/daemons.ts";

const HERE = fileURLToPath(new URL("detect-here.ts", import.meta.url));
const PROGRAMS = [
  "/usr/bin/unshare",
  "/usr/bin/setpriv",
  "/usr/sbin/nft",
  "/usr/sbin/ip",
  "/usr/sbin/bridge",
];

/** Namespaces need root, and what is looked for has to be there. */
function skipReason(): string | false {
  if (process.getuid?.() !== 0) return "needs root, to make a network namespace";
  const missing = PROGRAMS.filter((program) => !existsSync(program));
  return missing.length === 0 ? false : `needs ${missing.join(", ")}`;
}

const skip = skipReason();

/** What is found in a network namespace of its own, by a process begun with `words`. */
async function found(...words: readonly string[]): Promise<Detection> {
  const argv = ["--net", ...words, process.execPath, HERE];
  const { status, stdout, stderr } = await run("unshare", argv, { deadlineMs: 30_000 });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Detection;
}

function poolOf(text: string): Parameters<typeof detectKernel>[0]["pool"] {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw parsed.failure;
  return parsed.value;
}

test("detect: a kernel with nftables and the right to use them can be used", { skip }, async () => {
  assert.deepEqual(await found(), { isPossible: true, reason: "NET_ADMIN and nftables are there" });
});

test("detect: without NET_ADMIN it cannot, and that is the reason", { skip }, async () => {
  const { isPossible, reason } = await found("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin");
  assert.deepEqual([isPossible, reason], [false, "no NET_ADMIN"]);
});

/** Runs with these programs alone. @param scripts  texts of programs that stand for real ones */
async function foundWith(
  t: TestContext,
  programs: readonly string[],
  scripts: Readonly<Record<string, string>> = {},
): Promise<Detection> {
  const folder = folderFor(t);
  for (const name of programs) symlinkSync(`/usr/sbin/${name}`, join(folder, name));
  symlinkSync("/usr/bin/env", join(folder, "env"));
  for (const [name, text] of Object.entries(scripts))
    writeFileSync(join(folder, name), text, { mode: 0o755 });
  return await found("env", `PATH=${folder}:${dirname(process.execPath)}`);
}

test("detect: without one of its programs it cannot, and the program is named", { skip }, async (t) => {
  for (const missing of ["nft", "ip", "bridge"]) {
    const { isPossible, reason } = await foundWith(
      t,
      ["nft", "ip", "bridge"].filter((name) => name !== missing),
    );
    assert.equal(isPossible, false);
    assert.equal(reason, `program "${missing}" is not installed, or not on the PATH`);
  }
});

test("detect: a program that is slow once is asked again, for silence is no answer", { skip }, async (t) => {
  const slow = `#!/bin/sh
    [ -e "$0.asked" ] && exec /usr/sbin/nft "$@"
    : > "$0.asked"
    exec /bin/sleep 600`;
  assert.ok((await foundWith(t, ["ip", "bridge"], { nft: slow })).isPossible);
});

test("detect: VIPs of loopback, and those that another daemon serves, are not the kernel's", async () => {
  const loopback = await detectKernel({ pool: poolOf("127.96.0.0/12"), listensOnVips: true });
  assert.deepEqual([loopback.isPossible, loopback.reason.includes("127.96.0.0/12")], [false, true]);
  const other = await detectKernel({ pool: poolOf("10.96.0.0/12"), listensOnVips: false });
  assert.deepEqual([other.isPossible, other.reason.startsWith("vip.listen is off")], [false, true]);
});
