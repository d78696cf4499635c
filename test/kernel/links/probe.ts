// Tries for VXLAN, in a network of its own: run by underlay.test.ts.

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";

import { probeVxlan } from "../../../src/kernel/links/underlay.ts";
import { bridgeDevice } from "../../../src/kernel/names.ts";
import { openDevice } from "../../../src/kernel/wireguard/device.ts";
import { run } from "../../../src/runtime/exec.ts";

const DEADLINE = { deadlineMs: 20_000 };
const before = (await run("ip", ["-oneline", "link"], DEADLINE)).stdout;
assert.equal(await probeVxlan(), null);
// One that an earlier life left in the middle of it.
await run("ip", ["link", "add", "skein-vx-try", "type", "vxlan", "id", "4095", "dstport", "0"], DEADLINE);
assert.equal(await probeVxlan(), null);
assert.equal((await run("ip", ["-oneline", "link"], DEADLINE)).stdout, before);
// Bridges of networks, whatever these are called, are in nobody's way.
const bridges = ["probe", "wgtry", "vx-try", "wg-try"].map(bridgeDevice);
for (const bridge of bridges) await run("ip", ["link", "add", bridge, "type", "bridge"], DEADLINE);
assert.equal(await probeVxlan(), null);
// Nor is a device of somebody else's that has the very name ever taken away.
for (const name of ["skein-vx-try", "skein-wg-try"]) {
  bridges.push(name);
  await run("ip", ["link", "add", name, "type", "bridge"], DEADLINE);
}
assert.match((await probeVxlan()) ?? "", /^no VXLAN: .*exists/);
const device = await openDevice();
await device.ability();
await device.remove();
for (const bridge of bridges) {
  assert.equal((await run("ip", ["link", "del", bridge, "type", "bridge"], DEADLINE)).status, 0, bridge);
}
assert.deepEqual(Object.keys(networkInterfaces()), ["lo"]);
const unable = "setpriv --bounding-set -net_admin --inh-caps -net_admin";
const call = `import(${JSON.stringify(import.meta.resolve("../../../src/kernel/links/underlay.ts"))})
  .then(({ probeVxlan }) => probeVxlan()).then((reason) => console.log(reason))`;
const told = await run("sh", ["-c", `${unable} "$1" -e "$2"`, "sh", process.execPath, call], DEADLINE);
assert.match(told.stdout, /^no VXLAN: .*not permitted/, `${told.stdout}${told.stderr}`);
