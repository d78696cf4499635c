// Which device others reach this host by, out of what `ip` tells.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parseUnderlay } from "../../../src/kernel/links/parse-underlay.ts";

function listing(...devices: readonly (readonly [string, number, string])[]): string {
  return JSON.stringify(
    devices.map(([ifname, mtu, local]) => ({ ifname, mtu, addr_info: [{ local, prefixlen: 24 }] })),
  );
}

test("underlay: the device that has the address, and its MTU", () => {
  const text = listing(["eth0", 1500, "172.31.0.1"], ["eth1", 9000, "172.31.9.1"]);
  assert.deepEqual(parseUnderlay(text, "172.31.9.1"), {
    kind: "found",
    address: "172.31.9.1",
    device: "eth1",
    mtu: 9000,
  });
});

test("underlay: an address that the host does not have is none, and the reason says so", () => {
  for (const text of ["", "[]", "[{},{}]", listing(["eth0", 1500, "172.31.0.1"])]) {
    const found = parseUnderlay(text, "203.0.113.7");
    assert.ok(found.kind === "none" && found.reason.includes("203.0.113.7"), text);
  }
});

test("underlay: too small a device is none; what is no listing is none", () => {
  assert.equal(parseUnderlay(listing(["ppp0", 1000, "10.0.0.1"]), "10.0.0.1").kind, "none");
  assert.equal(parseUnderlay("Error", "10.0.0.1").kind, "none");
});
