// Askers: who stands behind an address, and of whom that is not known yet.

import assert from "node:assert/strict";
import type { NetworkInterfaceInfo } from "node:os";
import { test } from "node:test";

import { Discoveries } from "../../src/catalog/discoveries.ts";
import { Askers } from "../../src/daemon/askers.ts";
import type { LocalClient } from "../../src/model/endpoint.ts";

const STRANGER = { kind: "unknown", isolated: false };
const SEALED_STRANGER = { kind: "unknown", isolated: true };
const HOST = { kind: "host" };

const place = (cidr: string): NetworkInterfaceInfo => {
  const [address = ""] = cidr.split("/");
  return { address, netmask: "", mac: "", internal: false, cidr, family: "IPv4" };
};
const INTERFACES = {
  lo: [place("127.0.0.1/8")],
  eth0: [place("192.0.2.7/24")],
  docker0: [place("172.17.0.1/16")],
  "br-0123456789ab": [place("172.18.0.1/16")],
  "br-lan": [place("198.51.100.1/24")],
};
const NETWORKS = {
  gateways: ["172.17.0.1", "172.30.0.1"],
  internalByName: new Map(),
  bridgeRanges: ["172.17.0.0/16", "172.30.0.0/16", "fd00:1::/64"],
  internalRanges: ["172.30.0.0/16"],
  overlays: new Set<string>(),
  networks: [],
};
const APP: LocalClient = { address: "172.17.0.2", name: "192.0.2.8", networks: ["shop"], isolated: false };

/** Askers of a host whose sources are these, and what Docker has told. */
function opened(sources: readonly string[], told: "nothing" | "a failure" | "all"): Askers {
  const found = new Discoveries(sources);
  const stale = told === "all" ? null : "docker does not answer";
  const rest = { source: "docker", endpoints: [], problems: [], stale };
  if (told !== "nothing") found.take({ ...rest, clients: stale === null ? [APP] : [] }, 1);
  const askers = new Askers(found, () => INTERFACES);
  if (told === "all") askers.networksAre(NETWORKS);
  return askers;
}

test("askers: where Docker has told, who is on its bridges is a known container, the host or a stranger", () => {
  const askers = opened(["static", "docker"], "all");
  const container = { kind: "container", networks: ["shop"], isolated: false };
  for (const [address, asker] of [
    ["172.17.0.2", container],
    ["172.17.0.3", STRANGER],
    ["172.30.0.3", SEALED_STRANGER],
    ["fd00:1::9", STRANGER],
    ["172.18.0.9", SEALED_STRANGER],
    ["fe80::2%docker0", SEALED_STRANGER],
    ["172.17.0.1", HOST],
    ["172.30.0.1", HOST],
    ["172.18.0.1", HOST],
    ["127.0.0.1", HOST],
    ["::1", HOST],
    ["192.0.2.7", HOST],
    ["192.0.2.8", HOST],
    ["198.51.100.9", HOST],
    ["fe80::2%eth0", HOST],
    ["10.9.9.9", HOST],
  ] as const)
    assert.deepEqual(askers.askerOf(address), asker, address);
});

test("askers: until Docker has told, whoever is not the host may be a container of it", () => {
  const askers = opened(["static", "docker"], "nothing");
  for (const address of ["127.0.0.1", "::1", "192.0.2.7", "172.17.0.1"])
    assert.deepEqual(askers.askerOf(address), HOST, address);
  for (const address of ["172.17.0.2", "172.18.0.9", "192.0.2.8", "10.9.9.9", "fd00::1"])
    assert.deepEqual(askers.askerOf(address), SEALED_STRANGER, address);
});

test("askers: an engine that does not answer keeps names from who may be on its bridges, and from nobody else", () => {
  const askers = opened(["static", "docker"], "a failure");
  for (const address of ["172.17.0.2", "172.18.0.9"])
    assert.deepEqual(askers.askerOf(address), SEALED_STRANGER, address);
  for (const address of ["127.0.0.1", "192.0.2.8", "198.51.100.9", "10.9.9.9", "172.17.0.1"])
    assert.deepEqual(askers.askerOf(address), HOST, address);
});

test("askers: without Docker nobody is a stranger", () => {
  const askers = opened(["static"], "nothing");
  for (const address of ["172.17.0.2", "10.9.9.9", "127.0.0.1"])
    assert.deepEqual(askers.askerOf(address), HOST, address);
});

test("askers: on another host's part of an overlay network one sees that network, not all of this host's", () => {
  const askers = opened(["static", "docker"], "all");
  askers.overlaysAre([{ name: "app", range: "10.160.0.0/16", range6: "fd12:3456:789a:4d::/64" }]);
  const guest = { kind: "container", networks: ["app"], isolated: false };
  for (const address of ["10.160.9.2", "fd12:3456:789a:4d:9::2"])
    assert.deepEqual(askers.askerOf(address), guest, address);
  assert.deepEqual(askers.askerOf("10.161.0.2"), HOST);
  askers.overlaysAre([]);
  assert.deepEqual(askers.askerOf("10.160.9.2"), HOST, "the network is gone");
});

test("askers: an unknown container on this host's own part of an overlay network is a stranger", () => {
  const askers = opened(["static", "docker"], "all");
  askers.overlaysAre([{ name: "app", range: "172.16.0.0/12" }]);
  assert.deepEqual(askers.askerOf("172.17.0.3"), STRANGER);
  assert.deepEqual(askers.askerOf("172.17.0.1"), HOST);
});
