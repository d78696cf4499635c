// Engine networks: Docker's replies about networks, checked field by field.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { networksFrom } from "../../../src/source/docker/engine-networks.ts";
import { describeNetwork } from "../../../src/source/docker/network-plan.ts";
import { idOf } from "./fixture.ts";

const APP = {
  network: "app",
  device: "sk-app",
  prefix: "10.160.3.0/24",
  prefix6: "fd12:3456:789a:4d:3::/80",
  mtu: 1450,
};

test("networks: no JSON value, and no damage to a good reply, makes reading it throw", () => {
  const good = { Id: idOf("a"), ...describeNetwork(APP, true) };
  const field = fc.constantFrom("Id", "Name", "Driver", "IPAM", "Options", "Labels");
  fc.assert(
    fc.property(fc.jsonValue(), field, fc.jsonValue(), (value, damaged, bad) => {
      networksFrom(value);
      networksFrom([{ ...good, [damaged]: bad }, value]);
    }),
  );
});

test("networks: one that we described is read as what it was made from, and as ours", () => {
  const { networks, overlays } = networksFrom([{ Id: idOf("a"), ...describeNetwork(APP, true) }]);
  assert.deepEqual(networks, [
    {
      id: idOf("a"),
      name: "app",
      driver: "bridge",
      madeFor: "app",
      subnets: [
        { prefix: APP.prefix, gateway: "10.160.3.1" },
        { prefix: APP.prefix6, gateway: "fd12:3456:789a:4d:3::1" },
      ],
      device: "sk-app",
      mtu: 1450,
    },
  ]);
  assert.deepEqual([...overlays], ["app"]);
});

test("networks: only a bridge whose label says its own name is ours", () => {
  const made = describeNetwork(APP, false);
  const { overlays } = networksFrom([
    { ...made, Id: idOf("a"), Labels: {} },
    { ...made, Id: idOf("b"), Labels: { "skein.network": "other" } },
    { ...made, Id: idOf("c"), Driver: "macvlan" },
    { ...made, Id: idOf("d"), Name: "not a label", Labels: { "skein.network": "not a label" } },
    { ...made, Id: "rubbish" },
  ]);
  assert.deepEqual([...overlays], []);
});

test("gateways: of bridge networks only, sorted, the subnet's first address where none is stated", () => {
  const networks = [
    { Driver: "bridge", IPAM: { Config: [{ Subnet: "172.18.0.0/16", Gateway: "172.18.0.1" }] } },
    {
      Driver: "bridge",
      IPAM: { Config: [{ Subnet: "172.17.0.0/16" }, { Gateway: "fd00::1" }, { Subnet: "x" }] },
    },
    { Driver: "overlay", IPAM: { Config: [{ Gateway: "10.0.0.1" }] } },
    { Driver: "bridge", IPAM: null },
    "rubbish",
  ];
  assert.deepEqual(networksFrom(networks).gateways, ["172.17.0.1", "172.18.0.1", "fd00::1"]);
});

test("networks: which are internal is told by name; of two with one name both have to be", () => {
  const network = (Name: string, Internal: unknown) => ({ Name, Internal, Driver: "bridge" });
  const { internalByName } = networksFrom([
    network("sealed", true),
    network("open", false),
    network("odd", "true"),
    network("twice", true),
    network("twice", false),
    network("same", true),
    network("same", true),
  ]);
  assert.deepEqual(Object.fromEntries(internalByName), {
    sealed: true,
    open: false,
    odd: false,
    twice: false,
    same: true,
  });
});

test("networks: the ranges of bridges and of internal ones are told, as far as they are ranges", () => {
  const network = (Driver: string, Internal: boolean, ...subnets: unknown[]) => {
    return { Driver, Internal, IPAM: { Config: subnets.map((Subnet) => ({ Subnet })) } };
  };
  const { bridgeRanges, internalRanges } = networksFrom([
    network("bridge", true, "172.30.0.0/16", "fd00:1::/64"),
    network("bridge", false, "172.31.0.0/16"),
    { ...network("bridge", false, "172.32.0.0/16"), Name: "docker_gwbridge" },
    network("macvlan", true, "192.168.1.0/24"),
    network("bridge", true, "10.0.0.0/33", "10.0.0.0", "fe80::%eth0/64", "/8", "10.0.0.0/8/8", 7, null),
  ]);
  assert.deepEqual(internalRanges, ["172.30.0.0/16", "fd00:1::/64"]);
  assert.deepEqual(bridgeRanges, ["172.30.0.0/16", "fd00:1::/64", "172.31.0.0/16"]);
});
