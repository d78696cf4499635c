// The systemd unit: understood by systemd, starting what is installed, with the image's rights and no others.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";

const ROOT = join(import.meta.dirname, "../..");
const UNIT = readFileSync(join(ROOT, "config/skein.service"), "utf8");
/** Of 10; systemd calls below 5 "OK" or better. What is left is what the daemon is for: this host's network. */
const EXPOSURE_MAX = 3;

const dir = mkdtempSync(join(tmpdir(), "skein-unit-"));
after(() => rmSync(dir, { recursive: true, force: true }));

/** All values of a key, in order; what stands on several lines counts as several. */
function valuesOf(key: string): readonly string[] {
  return [...UNIT.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map((match) => match[1] ?? "");
}

const analyze = spawnSync("systemd-analyze", ["--version"], { encoding: "utf8" });
const skip = analyze.status === 0 ? false : "there is no systemd-analyze here";

/** The unit with a program that is there, as systemd wants to see it before it says anything else. */
function installed(): string {
  const path = join(dir, "skein.service");
  writeFileSync(path, UNIT.replaceAll("/usr/local/bin/skein", process.execPath));
  return path;
}

test("unit: systemd understands every line of it", { skip }, () => {
  const { status, stderr, stdout } = spawnSync("systemd-analyze", ["verify", installed()], {
    encoding: "utf8",
  });
  assert.equal(`${stdout}${stderr}`, "");
  assert.equal(status, 0);
});

test("unit: systemd rates its exposure at 3 of 10 or less", { skip }, () => {
  const threshold = `--threshold=${EXPOSURE_MAX * 10}`;
  const args = ["security", "--offline=true", "--no-pager", threshold, installed()];
  const { status, stdout, stderr } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
  assert.match(stdout, /Overall exposure level/, stderr);
  assert.equal(status, 0, stdout);
});

test("unit: it may do what the image may, and no more", () => {
  const added = /cap_add: \[(?<names>[^\]]+)\]/.exec(readFileSync(join(ROOT, "compose.yaml"), "utf8"));
  const expected = (added?.groups?.["names"] ?? "").split(", ").map((name) => `CAP_${name}`);
  assert.deepEqual(valuesOf("CapabilityBoundingSet")[0]?.split(" ").toSorted(), expected.toSorted());
  assert.deepEqual(valuesOf("NoNewPrivileges"), ["yes"]);
  assert.deepEqual(valuesOf("ProtectSystem"), ["strict"]);
});

test("unit: what another start would not mend is not started again", () => {
  assert.deepEqual(valuesOf("Restart"), ["on-failure"]);
  // Usage, not found, not allowed; unreachable (4) heals by itself.
  assert.deepEqual(valuesOf("RestartPreventExitStatus"), ["2 3 5"]);
});

test("unit: it starts what the package installs, and has its places where the daemon looks for them", () => {
  const { bin } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { bin: object };
  assert.deepEqual(Object.keys(bin), ["skein"]);
  assert.deepEqual(valuesOf("ExecStart"), ["/usr/local/bin/skein run"]);
  const config = readFileSync(join(ROOT, "config/skein.yaml"), "utf8");
  assert.match(config, /dataDir: \/var\/lib\/skein/);
  assert.deepEqual(valuesOf("StateDirectory"), ["skein"]);
  assert.deepEqual(valuesOf("RuntimeDirectory"), ["skein"]);
});

test("unit: settings of the process are those of the image", () => {
  const image = readFileSync(join(ROOT, "Dockerfile"), "utf8");
  const settings = valuesOf("Environment").flatMap((line) => line.split(" "));
  for (const setting of settings.filter((one) => one.startsWith("MALLOC_"))) {
    assert.ok(image.includes(setting), `${setting} is in the Dockerfile`);
  }
  assert.equal(settings.filter((one) => one.startsWith("MALLOC_")).length, 2);
});
