// Far end: where packets for a member may be sent, whatever it says of itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { farEndFlaw, nearEnd } from "../../src/kernel/far-end.ts";
import { givenOf } from "./links/cluster.ts";

const { view } = givenOf();
const members = view.members.map((member) =>
  member.self ? { ...member, prefixes: ["172.31.0.0/24", "192.0.2.8/31"] } : member,
);
const near = nearEnd({ ...view, members }, "172.31.0.1");

test("far end: another host's address is one, on this LAN and elsewhere", () => {
  for (const address of ["172.31.0.2", "172.31.1.255", "203.0.113.7", "192.0.2.8", "192.0.2.9"])
    assert.equal(farEndFlaw(address, near), null, address);
});

test("far end: this host, all of a LAN, groups, loopback and what lies in a network of ours are none", () => {
  const wrong: Readonly<Record<string, RegExp>> = {
    "172.31.0.1": /is this host's/,
    "172.31.0.255": /means no other host/,
    "172.31.0.0": /means no other host/,
    "255.255.255.255": /means no other host/,
    "224.0.0.1": /means no other host/,
    "127.0.0.1": /means no other host/,
    "10.160.7.1": /lies in the network 10\.160\.0\.0\/16/,
    "fd00::1": /expected an IPv4 address/,
    "": /expected an IPv4 address/,
    "192.0.2.1; drop": /expected an IPv4 address/,
  };
  for (const [address, told] of Object.entries(wrong))
    assert.match(farEndFlaw(address, near) ?? "", told, address);
});
