// The contract with what this machine has: run by wireguard.test.ts in a network of its own.

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { openDevice } from "../../../src/kernel/wireguard/device.ts";
import { run } from "../../../src/runtime/exec.ts";
import { until } from "../../support/wait.ts";
import { CONTRACT } from "./contract.ts";

const DEADLINE = { deadlineMs: 20_000 };

/** All links, addresses, routes, sockets of wireguard-go, and how many of it run. */
async function found(): Promise<readonly string[]> {
  const [links, routes] = await Promise.all([
    run("ip", ["-oneline", "address"], DEADLINE),
    run("ip", ["route", "show", "table", "all"], DEADLINE),
  ]);
  const sockets = await readdir("/run/wireguard").catch(() => []);
  return [links.stdout, routes.stdout, sockets.join()];
}

async function isRunning(): Promise<boolean> {
  const { stdout } = await run("ps", ["-eo", "stat=,comm="], DEADLINE);
  return stdout.split("\n").some((line) => line.endsWith("wireguard-go") && !line.startsWith("Z"));
}

const before = await found();
for (const [sentence, keeps] of Object.entries(CONTRACT)) {
  const dataDir = await mkdtemp(join("/run", "skein-test-"));
  console.log(sentence);
  await keeps({ dataDir, device: await openDevice() });
  await rm(dataDir, { recursive: true });
  assert.deepEqual(await found(), before, "as it was");
  await until(async () => !(await isRunning()), { what: "wireguard-go has ended" });
}

const device = await openDevice();
const dataDir = await mkdtemp(join("/run", "skein-test-"));
await run("ip", ["link", "add", "sk-wg", "type", "bridge"], DEADLINE);
await assert.rejects(device.observe(), /sk-wg is of kind bridge/, "a device that is not ours is not taken");
assert.equal(await device.remove(), false, "nor removed");
await run("ip", ["link", "delete", "sk-wg"], DEADLINE);
await rm(dataDir, { recursive: true });
