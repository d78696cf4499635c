// What an engine says of itself, whatever it says.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { descriptionFrom } from "../../../src/source/docker/engine-description.ts";

test("engine description: an engine's replies are read field by field", () => {
  const version = { Version: "28.2.2", ApiVersion: "1.50" };
  const told = {
    OperatingSystem: "Debian GNU/Linux 12 (bookworm)",
    FirewallBackend: { Driver: "nftables" },
    LiveRestoreEnabled: false,
    SecurityOptions: ["name=seccomp,profile=builtin", "name=rootless"],
    Swarm: { LocalNodeState: "active" },
    DefaultAddressPools: [{ Base: "10.100.0.0/16", Size: 24 }, { Base: "fd00::/64" }, {}],
  };
  assert.deepEqual(descriptionFrom(version, told), {
    version: "28.2.2",
    api: "1.50",
    operatingSystem: "Debian GNU/Linux 12 (bookworm)",
    firewall: "nftables",
    liveRestore: false,
    isRootless: true,
    inSwarm: true,
    pools: ["10.100.0.0/16"],
  });
});

test("engine description: what is not told is empty, and no reply is an error", () => {
  const { liveRestore, inSwarm, pools } = descriptionFrom({ Version: "20.10.24" }, null);
  assert.deepEqual([liveRestore, inSwarm, pools], [null, false, []]);
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (version, told) => {
      const { operatingSystem, api } = descriptionFrom(version, told);
      assert.ok(operatingSystem.length <= 80 && api.length <= 80);
    }),
  );
});
