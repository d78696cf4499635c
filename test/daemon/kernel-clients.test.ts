// What the kernel's rules are told of containers: who may use which network, and whose questions are led here.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { askersOf, guestsOf, markLed } from "../../src/daemon/kernel-clients.ts";
import type { LocalClient, NamePath } from "../../src/model/endpoint.ts";
import type { Bridge } from "../../src/model/network.ts";
import { networksFrom } from "../../src/source/docker/engine-networks.ts";
import { idOf } from "../source/docker/fixture.ts";

const APP: Bridge = {
  network: "app",
  device: "sk-app",
  prefix: "10.160.3.0/24",
  gateway: "10.160.3.1",
  prefix6: "fd12:0:0:4d:3::/80",
  gateway6: "fd12:0:0:4d:3::1",
};

const client = (address: string, ...networks: string[]): LocalClient => {
  return { address, name: "web-1", networks, isolated: false };
};

const { networks: NETWORKS } = networksFrom([
  { Id: idOf("a"), Name: "bridge", Driver: "bridge", IPAM: { Config: [{ Subnet: "172.17.0.0/16" }] } },
  { Id: idOf("b"), Name: "lan", Driver: "macvlan", IPAM: { Config: [{ Subnet: "192.168.1.0/24" }] } },
]);

const on53 = (gateway: string): HostPort | null => ({ host: gateway, port: 53 });

test("guests: who may use a network and is not on its bridge, in either family", () => {
  const clients = [
    client("10.160.3.2", "app"),
    client("fd12:0:0:4d:3::2", "app"),
    client("172.17.0.2", "default", "app"),
    client("10.160.3.3", "app", "back"),
    client("fd00::9", "app"),
  ];
  assert.deepEqual(guestsOf(clients, [APP]), [
    { address: "172.17.0.2", network: "app" },
    { address: "10.160.3.3", network: "back" },
    { address: "fd00::9", network: "app" },
  ]);
});

test("askers: all behind our bridges, and containers with labels of ours on Docker's other bridges", () => {
  const clients = [
    client("172.17.0.2", "default"),
    { ...client("172.17.0.3", "default"), labelled: true as const },
    { ...client("10.160.3.2", "app"), labelled: true as const },
    { ...client("192.168.1.9", "default"), labelled: true as const },
    { ...client("fd00::3", "default"), labelled: true as const },
  ];
  assert.deepEqual(askersOf(clients, [APP], { networks: NETWORKS, placeOf: on53 }), [
    { kind: "bridge", device: "sk-app", to: "10.160.3.1:53", to6: "[fd12:0:0:4d:3::1]:53" },
    { kind: "address", address: "172.17.0.3", to: "172.17.0.1:53" },
  ]);
});

test("askers: nobody is led to where DNS is not answered; where it is answered elsewhere, there", () => {
  const labelled = [{ ...client("172.17.0.3", "default"), labelled: true as const }];
  assert.deepEqual(askersOf(labelled, [APP], { networks: NETWORKS, placeOf: () => null }), []);
  const placeOf = (gateway: string): HostPort | null =>
    gateway === APP.gateway ? { host: gateway, port: 5300 } : null;
  assert.deepEqual(askersOf(labelled, [APP], { networks: NETWORKS, placeOf }), [
    { kind: "bridge", device: "sk-app", to: "10.160.3.1:5300" },
  ]);
});

test("name paths: who asks from our bridges or has a label is led here, where DNS is answered for him", () => {
  const path = (address: string): NamePath => ({
    name: "web-1",
    addresses: [{ address, sinceMs: 1 }],
    gateways: [],
    stack: "own",
    isolated: false,
    embedded: true,
    servers: null,
  });
  const paths = ["10.160.3.2", "172.17.0.3", "172.17.0.2"].map(path);
  const labelled = [{ ...client("172.17.0.3", "default"), labelled: true as const }];
  const led = (placeOf: typeof on53) =>
    markLed(paths, [APP], askersOf(labelled, [APP], { networks: NETWORKS, placeOf })).map((one) => one.led);
  assert.deepEqual(led(on53), [true, true, undefined]);
  assert.deepEqual(
    led(() => null),
    [undefined, undefined, undefined],
  );
});
