// The contract with what this machine has: run by wireguard.test.ts in a network of its own.
//
// Twice: as it is, and as if its kernel had WireGuard. For that a program stands before `ip` which makes such a device
// with wireguard-go and calls it the kernel's; all else is as it would be.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { openDevice } from "../../../src/kernel/wireguard/device.ts";
import { run } from "../../../src/runtime/exec.ts";
import { until } from "../../support/wait.ts";
import { CONTRACT } from "./contract.ts";

const DEADLINE = { deadlineMs: 20_000 };

const IP_OF_ANOTHER_KERNEL = `#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
case "$*" in
  *"type wireguard") wireguard-go "$4" >/dev/null 2>&1 && wg show "$4" >/dev/null ;;
  *"address show"*)
    ip "$@" >/run/shown; status=$?
    sed 's/"info_kind":"tun"/"info_kind":"wireguard"/' /run/shown; exit $status ;;
  *) exec ip "$@" ;;
esac
`;

/** All links, addresses, routes and sockets of wireguard-go. */
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

async function keeps(way: "kernel" | "program"): Promise<void> {
  for (const [sentence, kept] of Object.entries(CONTRACT)) {
    console.log(`${way}: ${sentence}`);
    const dataDir = await mkdtemp(join("/run", "skein-test-"));
    const device = await openDevice();
    assert.equal((await device.ability()).way, way);
    await kept({ dataDir, device });
    await rm(dataDir, { recursive: true });
    await until(async () => !(await isRunning()), { what: "wireguard-go has ended" });
    assert.deepEqual(await found(), before, "as it was");
  }
}

/** Where this machine's kernel has WireGuard there is nothing to pretend. */
const own = (await (await openDevice()).ability()).way ?? assert.fail("no WireGuard here");
await until(async () => !(await isRunning()));
await keeps(own);
if (own === "program") {
  const programs = join("/run", "programs");
  await mkdir(programs);
  await writeFile(join(programs, "ip"), IP_OF_ANOTHER_KERNEL, { mode: 0o755 });
  process.env["PATH"] = `${programs}:${process.env["PATH"] ?? ""}`;
  await keeps("kernel");
}

console.log("a device of another kind is not taken, nor removed");
const device = await openDevice();
await run("ip", ["link", "add", "sk-wg", "type", "bridge"], DEADLINE);
await assert.rejects(device.observe(), /sk-wg is of kind bridge/);
assert.equal(await device.remove(), false);
