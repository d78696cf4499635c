// WireGuard as a part of the kernel's reconciliation: with a fake device, and with what this machine really has.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { openWireguardKey } from "../../../src/kernel/wireguard/key.ts";
import { openWireguard } from "../../../src/kernel/wireguard/wireguard.ts";
import { runApart, whyNotApart } from "../../support/apart.ts";
import { openFolder } from "../../support/folder.ts";
import { CONTRACT } from "./contract.ts";
import { FakeDevice } from "./fake.ts";
import { keyOf } from "./cluster.ts";

const NOTHING = { device: null, problems: [] };
const WANTED = { device: { port: 51_820, mtu: 1420, addresses: ["10.160.1.0/32"], peers: [] }, problems: [] };

describe("wireguard with a fake device", () => {
  for (const [sentence, keeps] of Object.entries(CONTRACT)) {
    it(sentence, async (t) => {
      const dataDir = await openFolder(t);
      await keeps({ dataDir, device: new FakeDevice((await openWireguardKey(dataDir)).publicKey) });
    });
  }

  it("a host that could not encrypt is looked at again each time it is asked", async (t) => {
    const device = new FakeDevice(keyOf(1));
    device.can = { works: false, way: null, reason: 'program "wg" is not installed' };
    const part = await openWireguard({ dataDir: await openFolder(t), device });
    assert.equal((await part.ability()).works, false);
    device.can = { works: true, way: "kernel", reason: "WireGuard of the kernel" };
    assert.ok((await part.ability()).works, "it may be installed by now");
  });

  it("a host that could is looked at again once it failed, for a module or a program may be gone", async (t) => {
    const device = new FakeDevice(keyOf(1));
    const part = await openWireguard({ dataDir: await openFolder(t), device });
    assert.ok((await part.ability()).works);
    device.can = { works: false, way: null, reason: "the module is gone" };
    assert.ok((await part.ability()).works, "not asked for as long as it works");
    device.make = async () => await Promise.reject(new Failure("invalid", "ip failed: Unknown device type"));
    await assert.rejects(part.apply(WANTED, { mayRemove: true }), /Unknown device type/);
    assert.deepEqual(await part.ability(), device.can);
  });

  it("a host without encrypted networks is left alone", async (t) => {
    const device = new FakeDevice(keyOf(1));
    const part = await openWireguard({ dataDir: await openFolder(t), device });
    assert.deepEqual(await part.apply(NOTHING, { mayRemove: true }), { changes: 0, problems: [] });
    assert.deepEqual([device.made, device.changed], [0, 0]);
  });
});

describe("wireguard of this machine", { skip: await whyNotApart(["wg", "wireguard-go"]) }, () => {
  it("keeps to the same contract, and leaves no device, socket or program behind", async () => {
    await runApart(join(import.meta.dirname, "real.ts"));
  });
});
