// Networks: which replicas are reached by their address, and which members can be sent packets.

import assert from "node:assert/strict";
import { test } from "node:test";

import { carriesFor, overlayOf, type Network } from "../../src/model/network.ts";

const BLUE: Network = {
  name: "blue",
  range: "10.160.0.0/16",
  sliceBits: 24,
  vni: 5000,
  encrypted: false,
  slices: [
    { node: "a", nodeName: "host-1", index: 3, prefix: "10.160.3.0/24", tentative: false },
    { node: "b", nodeName: "host-2", index: 4, prefix: "10.160.4.0/24", tentative: false },
  ],
  problems: [],
  isSound: true,
};

const CARRYING = new Map(["a", "b", "c"].map((id) => [id, { overlay: { address: "192.0.2.1", mtu: 1500 } }]));

const nameOf = (network: Network, replica: Parameters<typeof overlayOf>[1], name = "blue") =>
  overlayOf({ networkByName: new Map([[network.name, network]]), memberById: CARRYING }, replica, name)
    ?.name ?? null;

test("network: a replica is reached by its address where that lies in its owner's own slice", () => {
  const replica = { reach: "overlay", node: "a", address: "10.160.3.7" } as const;
  assert.equal(nameOf(BLUE, replica), "blue");
  assert.equal(nameOf(BLUE, { ...replica, address: "10.160.4.7" }), null, "another's slice");
  assert.equal(nameOf(BLUE, { ...replica, address: "192.168.1.1" }), null);
  assert.equal(nameOf(BLUE, { ...replica, node: "c" }), null, "a node without a slice");
  assert.equal(nameOf(BLUE, { ...replica, reach: "stream" }), null);
  assert.equal(nameOf(BLUE, replica, "green"), null);
  assert.equal(nameOf({ ...BLUE, isSound: false }, replica), null);
  assert.equal(nameOf({ ...BLUE, encrypted: true }, replica), null, "its host has no WireGuard");
  const networkByName = new Map([["blue", BLUE]]);
  assert.equal(overlayOf({ networkByName, memberById: new Map([["a", {}]]) }, replica, "blue"), null);
});

test("network: a member is sent packets where it carries overlays, of an encrypted one where it encrypts", () => {
  const overlay = { address: "192.0.2.1", mtu: 1500 };
  const wireguard = { key: `${"A".repeat(42)}E=`, port: 51_820 };
  const [open, sealed] = [{ encrypted: false }, { encrypted: true }];
  assert.deepEqual([carriesFor({}, open), carriesFor({}, sealed)], [false, false]);
  assert.deepEqual([carriesFor({ overlay }, open), carriesFor({ overlay }, sealed)], [true, false]);
  assert.ok(carriesFor({ overlay: { ...overlay, wireguard } }, sealed));
});
