// What iproute2 prints becomes the things of ours that are in it. The texts are those of iproute2 6.1.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { parseAddresses, parseDevices, parseEntries } from "../../../src/kernel/links/parse.ts";
import { parseNeighbours, parseRoutes, parseRules } from "../../../src/kernel/links/parse.ts";
import type { Result } from "../../../src/base/failure.ts";

function value<T>(result: Result<T>): T {
  if (!result.ok) throw result.failure;
  return result.value;
}

const LINK = {
  ifname: "sk-vx5000",
  flags: ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
  mtu: 1450,
  address: "02:aa:bb:cc:dd:ee",
  linkinfo: {
    info_kind: "vxlan",
    info_data: { id: 5000, local: "10.0.0.1", port: 4789, learning: false, ttl: 0, ageing: 300 },
  },
};

test("parse: a device of ours", () => {
  assert.deepEqual(value(parseDevices(JSON.stringify([{}, LINK, { ...LINK, ifname: "flannel.1" }]))), [
    {
      kind: "device",
      name: "sk-vx5000",
      vni: 5000,
      mac: "02:aa:bb:cc:dd:ee",
      local: "10.0.0.1",
      lower: null,
      port: 4789,
      mtu: 1450,
      learning: false,
      hasDefault: false,
      isUp: true,
    },
  ]);
});

test("parse: a device within WireGuard, one that is down, one that somebody gave a group", () => {
  const about = { ...LINK.linkinfo.info_data, link: "sk-wg", group: "239.0.0.1" };
  const [device] = value(
    parseDevices(JSON.stringify([{ ...LINK, flags: [], linkinfo: { info_data: about } }])),
  );
  assert.deepEqual([device?.lower, device?.hasDefault, device?.isUp], ["sk-wg", true, false]);
});

test("parse: addresses, entries and neighbours on devices of ours alone", () => {
  const addresses = [
    { ifname: "sk-vx5000", addr_info: [{ family: "inet", local: "10.160.3.0" }] },
    { ifname: "eth0" },
  ];
  assert.deepEqual(value(parseAddresses(JSON.stringify(addresses))), [
    { kind: "address", device: "sk-vx5000", address: "10.160.3.0" },
  ]);
  const entries = [
    { mac: "02:00:00:00:00:01", ifname: "sk-vx5000", dst: "10.0.0.2", flags: ["self"], state: "permanent" },
    { mac: "33:33:00:00:00:01", ifname: "sk-app", flags: ["self"], state: "permanent" },
    { mac: "02:00:00:00:00:02", ifname: "vxlan7", dst: "10.0.0.9", flags: ["self"], state: "permanent" },
  ];
  assert.deepEqual(value(parseEntries(JSON.stringify(entries))), [
    { kind: "entry", device: "sk-vx5000", mac: "02:00:00:00:00:01", to: "10.0.0.2" },
  ]);
  const neighbours = [
    { dst: "10.160.4.0", dev: "sk-vx5000", lladdr: "02:00:00:00:00:01", state: ["PERMANENT"] },
    { dst: "192.0.2.7", dev: "eth0", lladdr: "02:00:00:00:00:07", state: ["PERMANENT"] },
  ];
  assert.deepEqual(value(parseNeighbours(JSON.stringify(neighbours))), [
    { kind: "neighbour", device: "sk-vx5000", address: "10.160.4.0", mac: "02:00:00:00:00:01" },
  ]);
});

test("parse: routes: to a slice, back to a host, a refusal, to one address", () => {
  const routes = value(
    parseRoutes(
      JSON.stringify([
        { dst: "default", gateway: "10.160.4.0", dev: "sk-vx5000", table: "536870912", flags: ["onlink"] },
        { type: "unreachable", dst: "10.160.0.0/16", metric: 2_147_483_647, flags: [] },
        {
          dst: "10.160.4.0/24",
          gateway: "10.160.4.0",
          dev: "sk-vx5000",
          prefsrc: "10.160.3.1",
          metrics: [{ mtu: 1400 }],
        },
        { dst: "10.160.4.0", dev: "sk-wg", scope: "link", flags: [] },
      ]),
      4,
    ),
  );
  assert.deepEqual(
    routes.map(({ to, table, leads, via, device, mtu }) => [to, table, leads, via, device, mtu]),
    [
      ["0.0.0.0/0", 536_870_912, true, "10.160.4.0", "sk-vx5000", null],
      ["10.160.0.0/16", null, false, null, null, null],
      ["10.160.4.0/24", null, true, "10.160.4.0", "sk-vx5000", 1400],
      ["10.160.4.0/32", null, true, null, "sk-wg", null],
    ],
  );
});

test("parse: a route that is not ours though it has our number is left out", () => {
  const others = [
    { dst: "10.9.0.0/16", dev: "eth0" },
    { dst: "10.9.0.0/16", gateway: "10.1.1.1", dev: "sk-vx1", table: "100" },
    { dst: "10.9.0.0/16", gateway: "10.1.1.1", dev: "sk-vx1", table: "blue" },
    { type: "unreachable", dst: "10.9.0.0/16" },
  ];
  assert.deepEqual(value(parseRoutes(JSON.stringify(others), 4)), []);
});

test("parse: rules of ours, and nobody else's", () => {
  const rules = [
    { priority: 0, src: "all", table: "255" },
    {
      priority: 5300,
      not: null,
      src: "all",
      fwmark: "0x53000000",
      fwmask: "0xff000000",
      goto: 21_999,
      protocol: "83",
    },
    { priority: 5310, src: "all", fwmark: "0x53000001", iif: "sk-app", table: "536870912", protocol: "83" },
    { priority: 21_999, src: "all", nop: null, protocol: "83" },
    { priority: 5310, src: "all", fwmark: "0x1", table: "100", protocol: "3" },
    { priority: 100, src: "all", fwmark: "0x1", table: "100", protocol: "83" },
  ];
  const ours = { kind: "rule", family: 4, inverts: false, mark: null, device: null };
  assert.deepEqual(value(parseRules(JSON.stringify(rules), 4)), [
    {
      ...ours,
      preference: 5300,
      inverts: true,
      mark: { value: 0x5300_0000, mask: 0xff00_0000 },
      action: { kind: "goto", preference: 21_999 },
    },
    {
      ...ours,
      preference: 5310,
      mark: { value: 0x5300_0001, mask: 0xffff_ffff },
      device: "sk-app",
      action: { kind: "table", table: 536_870_912 },
    },
    { ...ours, preference: 21_999, action: { kind: "nop" } },
  ]);
});

test("parse: nothing at all is an empty listing; what is no listing is a failure", () => {
  assert.deepEqual(value(parseRoutes("", 6)), []);
  for (const text of ["Error: what?", "{}", "[", "null"]) assert.equal(parseDevices(text).ok, false, text);
});

test("parse: whatever a listing holds, it is read or refused, never stumbled over", () => {
  const keys = fc.constantFrom(
    "ifname",
    "dev",
    "dst",
    "linkinfo",
    "addr_info",
    "table",
    "metrics",
    "flags",
    "goto",
    "type",
  );
  const names = fc.constantFrom<unknown>("sk-vx1", "sk-app", "default", "main", null, 7, [null], {
    info_data: 3,
  });
  const lines = fc.array(fc.oneof(fc.jsonValue(), fc.dictionary(keys, names)));
  fc.assert(
    fc.property(lines, (listing) => {
      const text = JSON.stringify(listing);
      for (const parse of [parseDevices, parseAddresses, parseEntries, parseNeighbours])
        assert.ok(parse(text).ok);
      assert.ok(parseRoutes(text, 4).ok && parseRules(text, 6).ok);
    }),
  );
});
