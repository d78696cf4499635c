// Carried: which overlay networks this host may send packets of over the underlay.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bridgedNetworks, carriedNetworks } from "../../src/kernel/carried.ts";
import type { Network } from "../../src/model/network.ts";

import { bridgeOf, givenOf, networkOf } from "./pictures.ts";

const APP = networkOf("app");
const OVERLAY = { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: false };

const carried = (network: Network, given: Parameters<typeof givenOf>[0] = {}): readonly string[] => [
  ...carriedNetworks(givenOf({ networks: [network], ...given })).keys(),
];

test("carried: a sound network with a bridge on this host's own slice", () => {
  assert.deepEqual(carried(APP), ["app"]);
  const found = carriedNetworks(givenOf({ networks: [APP] })).get("app");
  assert.equal(found?.network, APP);
  assert.equal(found?.bridge.device, "sk-app");
});

test("carried: none without a bridge, without links, or when the network is not sound", () => {
  assert.deepEqual(carried(APP, { bridges: [] }), []);
  assert.deepEqual(carried(APP, { overlay: null }), []);
  assert.deepEqual(carried(APP, { forwards: { v4: false, v6: true } }), []);
  assert.deepEqual(carried(APP, { broken: new Set(["app"]) }), []);
  assert.deepEqual(carried({ ...APP, isSound: false }), []);
});

test("carried: none while the bridge is on a slice that is somebody else's by now", () => {
  const bridges = [{ ...bridgeOf("app"), prefix: "10.160.9.0/24" }];
  assert.deepEqual(carried(APP, { bridges }), []);
});

test("carried: an encrypted network only where WireGuard works", () => {
  const secret = { ...APP, encrypted: true };
  assert.deepEqual(carried(secret), []);
  assert.deepEqual(carried(secret, { overlay: { ...OVERLAY, encrypts: true } }), ["app"]);
});

test("bridged: every bridge that is there, with its network while that is known", () => {
  const given = givenOf({ networks: [{ ...APP, isSound: false }], broken: new Set(["app"]), overlay: null });
  assert.deepEqual(
    bridgedNetworks(given).map(({ bridge, network }) => [bridge.device, network?.name]),
    [["sk-app", "app"]],
  );
  assert.deepEqual(bridgedNetworks(givenOf({ bridges: [bridgeOf("app")] })), [
    { bridge: bridgeOf("app"), network: null },
  ]);
});
