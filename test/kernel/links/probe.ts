// Tries for VXLAN, in a network of its own: run by underlay.test.ts.

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";

import { probeVxlan } from "../../../src/kernel/links/underlay.ts";
import { run } from "../../../src/runtime/exec.ts";

const DEADLINE = { deadlineMs: 20_000 };
const before = (await run("ip", ["-oneline", "link"], DEADLINE)).stdout;
assert.equal(await probeVxlan(), null);
// One that an earlier life left in the middle of it.
await run("ip", ["link", "add", "sk-probe", "type", "vxlan", "id", "4095", "dstport", "0"], DEADLINE);
assert.equal(await probeVxlan(), null);
assert.equal((await run("ip", ["-oneline", "link"], DEADLINE)).stdout, before);
assert.deepEqual(Object.keys(networkInterfaces()), ["lo"]);
const unable = "setpriv --bounding-set -net_admin --inh-caps -net_admin";
const call = `import(${JSON.stringify(import.meta.resolve("../../../src/kernel/links/underlay.ts"))})
  .then(({ probeVxlan }) => probeVxlan()).then((reason) => console.log(reason))`;
const told = await run("sh", ["-c", `${unable} "$1" -e "$2"`, "sh", process.execPath, call], DEADLINE);
assert.match(told.stdout, /^no VXLAN: .*not permitted/, `${told.stdout}${told.stderr}`);
