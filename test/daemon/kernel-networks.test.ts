// Kernel networks: which overlay networks Docker is told of on this host, and why not of the others.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isPlaced, refusalOf, wishesOf, type NetworkGround } from "../../src/daemon/kernel-networks.ts";
import type { Network } from "../../src/model/network.ts";
import type { View } from "../../src/model/view.ts";
import { bridgeOf, givenOf, memberOf, networkOf, SELF } from "../kernel/pictures.ts";

const GROUND: NetworkGround = {
  underlayMtu: 1500,
  lack: "",
  encryption: { works: true, reason: "WireGuard of the kernel" },
  bridges: [],
};
const APP = networkOf("app");

function viewOf(network: Network, prefixes: readonly string[] = []): View {
  return { ...givenOf({ networks: [network] }).view, members: [memberOf(SELF, { self: true, prefixes })] };
}

function wanted(network: Network, ground: Partial<NetworkGround> = {}, prefixes: readonly string[] = []) {
  return wishesOf(viewOf(network, prefixes), { ...GROUND, ...ground }).networks;
}

test("kernel networks: a slice that is settled is wanted, with what the tunnels leave of a packet", () => {
  assert.deepEqual(wanted(APP), [
    { network: "app", device: "sk-app", prefix: "10.160.3.0/24", prefix6: null, mtu: 1450 },
  ]);
  assert.equal(wanted({ ...APP, encrypted: true })[0]?.mtu, 1370);
});

test("kernel networks: an unsettled slice is not wanted yet, and what is there is left alone", () => {
  const slices = APP.slices.map((slice) => ({ ...slice, tentative: true }));
  const { networks, known } = wishesOf(viewOf({ ...APP, slices }), GROUND);
  assert.deepEqual([networks, [...(known ?? [])]], [[], ["app"]]);
});

test("kernel networks: while the picture is not whole, none is known to be gone", () => {
  const view = { ...viewOf(APP), complete: false };
  assert.equal(wishesOf(view, GROUND).known, null);
});

test("kernel networks: an unsound network, or one without a slice of this host, is not made", () => {
  assert.deepEqual(wanted({ ...APP, isSound: false }), []);
  assert.deepEqual(wanted({ ...APP, slices: [] }), []);
});

test("kernel networks: without a way for others' packets none is made, and it is told why", () => {
  const ground = { ...GROUND, underlayMtu: null, lack: "no VXLAN in this kernel" };
  assert.deepEqual(wanted(APP, ground), []);
  assert.equal(refusalOf(viewOf(APP), APP, ground), "not made on this host: no VXLAN in this kernel");
});

test("kernel networks: an encrypted one is not made without WireGuard, a plain one is", () => {
  const encryption = { works: false, reason: "no wg" };
  const secret = { ...APP, encrypted: true };
  assert.deepEqual(wanted(secret, { encryption }), []);
  assert.match(refusalOf(viewOf(secret), secret, { ...GROUND, encryption }) ?? "", /never in clear: no wg/);
  assert.equal(wanted(APP, { encryption }).length, 1);
});

test("kernel networks: a host whose own LAN lies in the range does not make it, and names the LAN", () => {
  const lan = ["192.168.1.0/24", "10.160.44.0/24"];
  assert.deepEqual(wanted(APP, {}, lan), []);
  assert.equal(
    refusalOf(viewOf(APP, lan), APP, GROUND),
    "not made on this host: its range 10.160.0.0/16 overlaps 10.160.44.0/24, to which this host has a route",
  );
});

test("kernel networks: one that has its bridge goes on, whatever route came later", () => {
  assert.equal(wanted(APP, { bridges: [bridgeOf("app")] }, ["10.160.44.0/24"]).length, 1);
});

test("kernel networks: a bridge is placed when its slice is this host's, or its network is gone", () => {
  assert.equal(isPlaced(viewOf(APP), bridgeOf("app")), true);
  assert.equal(isPlaced(viewOf({ ...APP, slices: [] }), bridgeOf("app")), false);
  assert.equal(isPlaced(viewOf(APP), bridgeOf("gone")), true);
});
