// Settings of devices: what is changed, what is left as it was, and what is told where they are read-only.

import assert from "node:assert/strict";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";

import { openSettings } from "../../../src/kernel/links/settings.ts";
import { openFolder } from "../../support/folder.ts";

const DEVICE = "sk-vx4711";

/** A folder as Linux shows its settings. */
async function settingsWith(
  t: TestContext,
  values: Readonly<Record<string, string>>,
): Promise<{ readonly root: string; readonly read: (path: string) => Promise<string> }> {
  const root = await openFolder(t);
  for (const [path, text] of Object.entries(values)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), `${text}\n`);
  }
  return { root, read: async (path) => (await readFile(join(root, path), "utf8")).trim() };
}

test("settings: a strict check of sources is made loose on the device, whoever made it strict", async (t) => {
  for (const [ofAll, own, expected] of [
    ["0", "1", "2"],
    ["1", "0", "2"],
    ["1", "1", "2"],
    ["0", "0", "0"],
    ["2", "1", "1"],
    ["1", "2", "2"],
  ] as const) {
    const { root, read } = await settingsWith(t, {
      "ipv4/conf/all/rp_filter": ofAll,
      [`ipv4/conf/${DEVICE}/rp_filter`]: own,
    });
    assert.deepEqual(await openSettings(root).apply([DEVICE], []), []);
    assert.equal(await read(`ipv4/conf/${DEVICE}/rp_filter`), expected, `all ${ofAll}, own ${own}`);
    assert.equal(await read("ipv4/conf/all/rp_filter"), ofAll, "that of the host is its owner's");
  }
});

test("settings: IPv6 is switched on for devices that carry it", async (t) => {
  const { root, read } = await settingsWith(t, { [`ipv6/conf/${DEVICE}/disable_ipv6`]: "1" });
  assert.deepEqual(await openSettings(root).apply([], [DEVICE]), []);
  assert.equal(await read(`ipv6/conf/${DEVICE}/disable_ipv6`), "0");
});

test("settings: a device that is gone, or a host without IPv6, is no problem", async (t) => {
  const root = await openFolder(t);
  assert.deepEqual(await openSettings(root).apply([DEVICE], [DEVICE]), []);
});

test("settings: one that cannot be written is told with its effect and what to set", async (t) => {
  const root = await openFolder(t);
  const path = join(root, `ipv4/conf/${DEVICE}`);
  await mkdir(path, { recursive: true });
  await mkdir(join(root, "ipv4/conf/all"), { recursive: true });
  await writeFile(join(root, "ipv4/conf/all/rp_filter"), "1\n");
  // Not even root can write what the kernel tells of itself.
  await symlink("/proc/version", join(path, "rp_filter"));
  const [problem = ""] = await openSettings(root).apply([DEVICE], []);
  assert.match(problem, /^net\.ipv4\.conf\.sk-vx4711\.rp_filter cannot be set \(E\w+\)/);
  assert.match(problem, /set net\.ipv4\.conf\.sk-vx4711\.rp_filter=2 on the host$/);
});
