// By which device others reach this host: asked of the machine itself.

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { observeUnderlay } from "../../../src/kernel/links/underlay.ts";
import { runApart, whyNotApart } from "../../support/apart.ts";

const own = Object.entries(networkInterfaces()).flatMap(([device, addresses = []]) =>
  addresses.flatMap(({ family, address, internal }) =>
    family === "IPv4" && !internal ? [{ device, address }] : [],
  ),
)[0];

test(
  "underlay: an address of this machine is found with its device",
  {
    skip: own === undefined ? "this machine has no address but loopback" : false,
  },
  async () => {
    const found = await observeUnderlay(own?.address ?? "");
    assert.ok(found.kind === "found" && found.device === own?.device && found.mtu >= 1280);
  },
);

test("underlay: loopback, IPv6, a name and another host's address are none, with the reason", async () => {
  for (const address of ["127.0.0.1", "fd00::1", "host-2", "", "203.0.113.7"]) {
    const found = await observeUnderlay(address);
    assert.ok(found.kind === "none" && found.reason !== "", address);
  }
});

test(
  "underlay: whether the kernel makes VXLAN devices is tried without leaving one",
  {
    skip: await whyNotApart([]),
  },
  async () => {
    await runApart(join(import.meta.dirname, "probe.ts"));
  },
);
