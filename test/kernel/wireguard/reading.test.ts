// What wg and ip print, as values; and their secrets nowhere.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { parseDump, parseLink } from "../../../src/kernel/wireguard/reading.ts";
import { keyOf } from "./cluster.ts";

const SECRET = keyOf(77);

test("wireguard reading: a dump is the public key, the port and the peers, without any secret", () => {
  const text = [
    [SECRET, keyOf(1), "51820", "off"],
    [keyOf(2), "(none)", "192.0.2.2:51820", "10.161.2.0/32,10.160.2.0/32", "1763751000", "1", "2", "off"],
    [keyOf(3), SECRET, "(none)", "(none)", "0", "0", "0", "off"],
  ];
  const found = parseDump(`${text.map((words) => words.join("\t")).join("\n")}\n`);
  assert.deepEqual(found, {
    key: keyOf(1),
    port: 51_820,
    peers: [
      { key: keyOf(2), endpoint: "192.0.2.2:51820", allowed: ["10.160.2.0/32", "10.161.2.0/32"] },
      { key: keyOf(3), endpoint: null, allowed: [] },
    ],
  });
  assert.ok(!JSON.stringify(found).includes(SECRET));
});

test("wireguard reading: a device that has just been made has neither key nor peers", () => {
  assert.deepEqual(parseDump("(none)\t(none)\t0\toff\n"), { key: null, port: 0, peers: [] });
});

test("wireguard reading: a link is its kind, MTU, state and IPv4 addresses", () => {
  const link = {
    ifname: "sk-wg",
    flags: ["POINTOPOINT", "NOARP", "UP", "LOWER_UP"],
    mtu: 1420,
    linkinfo: { info_kind: "tun", info_data: { type: "tun" } },
    addr_info: [
      { family: "inet", local: "10.160.3.0", prefixlen: 32, scope: "global" },
      { family: "inet6", local: "fe80::1", prefixlen: 64, scope: "link" },
    ],
  };
  const expected = { kind: "tun", mtu: 1420, isUp: true, addresses: ["10.160.3.0/32"] };
  assert.deepEqual(parseLink(JSON.stringify([{}, link])), expected);
  const { linkinfo: _, ...bare } = link;
  assert.equal(parseLink(JSON.stringify([bare]))?.kind, "");
});

test("wireguard reading: any other text is no link, and never throws", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      parseDump(text);
      assert.equal(parseLink(text), null);
    }),
  );
});
