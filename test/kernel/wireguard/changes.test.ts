// From what is there to what should be: only what differs is touched, and nothing is taken away before its time.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  changesBetween,
  renderBatch,
  renderSet,
  type Change,
  type DiffOptions,
  type Observed,
} from "../../../src/kernel/wireguard/changes.ts";
import type { WireguardDevice } from "../../../src/kernel/wireguard/plan.ts";
import { keyOf } from "./cluster.ts";
import { carriedOut } from "./fake.ts";

const OWN = keyOf(1);
const EMPTY: Observed = { key: null, port: 0, mtu: 1420, isUp: false, addresses: [], peers: [] };
const OPTIONS: DiffOptions = { key: OWN, toldByKey: new Map(), mayRemove: true };

const host = fc.integer({ min: 2, max: 9 });
const slice = fc.integer({ min: 0, max: 12 }).map((at) => `10.160.${at}.0/32`);
const slices = fc.uniqueArray(slice, { minLength: 1, maxLength: 3 }).map((list) => [...list].sort());

/** Devices as a plan has them: each address is allowed to one peer at most. */
const device: fc.Arbitrary<WireguardDevice> = fc
  .record({
    mtu: fc.constantFrom(1420, 8920),
    addresses: slices,
    hosts: fc.uniqueArray(fc.tuple(host, slices, fc.constantFrom(51_820, 51_821)), {
      selector: ([number]) => number,
      maxLength: 5,
    }),
  })
  .map(({ mtu, addresses, hosts }) => {
    const given = new Set<string>();
    const peers = hosts
      .map(([number, wanted, port]) => {
        const allowed = wanted.filter((address) => !given.has(address));
        for (const address of allowed) given.add(address);
        return { key: keyOf(number), endpoint: `192.0.2.${number}:${port}`, allowed };
      })
      .filter(({ allowed }) => allowed.length > 0);
    return { port: 51_820, mtu, addresses, peers };
  });

const asObserved = (plan: WireguardDevice): Observed =>
  carriedOut(EMPTY, changesBetween(EMPTY, plan, OPTIONS), OWN);

test("wireguard changes: carried out they make any device what the plan says, and then there is nothing to do", () => {
  fc.assert(
    fc.property(device, device, (before, after) => {
      const observed = carriedOut(
        asObserved(before),
        changesBetween(asObserved(before), after, OPTIONS),
        OWN,
      );
      assert.deepEqual(new Set(observed.addresses), new Set(after.addresses));
      const byKey = (one: { readonly key: string }, other: { readonly key: string }): number =>
        one.key < other.key ? -1 : 1;
      assert.deepEqual([...observed.peers].sort(byKey), [...after.peers].sort(byKey));
      assert.deepEqual([observed.mtu, observed.isUp, observed.key], [after.mtu, true, OWN]);
      assert.deepEqual(changesBetween(observed, after, OPTIONS), []);
    }),
  );
});

test("wireguard changes: a peer that is as it should be is not touched by a change of others", () => {
  fc.assert(
    fc.property(device, device, (before, after) => {
      const touched = changesBetween(asObserved(before), after, OPTIONS).flatMap((change) =>
        change.kind === "peer" ? [change.peer.key] : [],
      );
      for (const peer of after.peers) {
        const same = before.peers.some((one) => JSON.stringify(one) === JSON.stringify(peer));
        if (same) assert.ok(!touched.includes(peer.key));
      }
    }),
  );
});

test("wireguard changes: while the picture is incomplete nothing is taken away", () => {
  fc.assert(
    fc.property(device, device, (before, after) => {
      const observed = asObserved(before);
      const changes = changesBetween(observed, after, { ...OPTIONS, mayRemove: false });
      const found = carriedOut(observed, changes, OWN);
      for (const address of before.addresses) assert.ok(found.addresses.includes(address));
      const kept = new Set(found.peers.flatMap(({ allowed }) => allowed));
      for (const { key, allowed } of before.peers) {
        assert.ok(found.peers.some((peer) => peer.key === key));
        for (const address of allowed) assert.ok(kept.has(address), "whoever has it now");
      }
      for (const { key, allowed } of after.peers) {
        const peer = found.peers.find((one) => one.key === key);
        for (const address of allowed) assert.ok(peer?.allowed.includes(address));
      }
    }),
  );
});

test("wireguard changes: where a peer roamed to is left to WireGuard, until the plan says another endpoint", () => {
  const peer = { key: keyOf(2), endpoint: "192.0.2.2:51820", allowed: ["10.160.2.0/32"] };
  const desired: WireguardDevice = { port: 51_820, mtu: 1420, addresses: ["10.160.1.0/32"], peers: [peer] };
  const roamed: Observed = {
    ...desired,
    key: OWN,
    isUp: true,
    peers: [{ ...peer, endpoint: "198.51.100.7:4500" }],
  };
  const told = { ...OPTIONS, toldByKey: new Map([[peer.key, peer.endpoint]]) };
  assert.deepEqual(changesBetween(roamed, desired, told), []);
  const moved = { ...desired, peers: [{ ...peer, endpoint: "192.0.2.9:51820" }] };
  assert.deepEqual(changesBetween(roamed, moved, told), [{ kind: "peer", peer: moved.peers[0] }]);
  assert.deepEqual(
    changesBetween(roamed, desired, OPTIONS),
    [{ kind: "peer", peer }],
    "told by nobody of this run",
  );
});

test("wireguard changes: wg gets the path of the key and never the key, and many peers in several calls", () => {
  const peers = Array.from({ length: 100 }, (_, at): Change => {
    const peer = { key: keyOf(at + 1), endpoint: `192.0.2.${at}:51820`, allowed: [`10.160.${at}.0/32`] };
    return { kind: "peer", peer };
  });
  const changes: readonly Change[] = [
    { kind: "identity", port: 51_820 },
    { kind: "forget", key: keyOf(200) },
    ...peers,
  ];
  const calls = renderSet("sk-wg", changes, "/data/wireguard.key");
  assert.deepEqual(calls[0], ["set", "sk-wg", "private-key", "/data/wireguard.key", "listen-port", "51820"]);
  assert.deepEqual(calls[1]?.slice(0, 5), ["set", "sk-wg", "peer", keyOf(200), "remove"]);
  const told = calls.flat().filter((word) => word === "endpoint").length;
  assert.equal(told, 100);
  for (const call of calls) assert.ok(call.length < 600);
  assert.deepEqual(renderSet("sk-wg", [{ kind: "up" }], "/data/wireguard.key"), []);
});

test("wireguard changes: addresses, MTU and state are lines for ip", () => {
  const changes: readonly Change[] = [
    { kind: "drop-address", address: "10.160.1.0/32" },
    { kind: "add-address", address: "10.161.1.0/32" },
    { kind: "mtu", mtu: 1420 },
    { kind: "up" },
    { kind: "identity", port: 51_820 },
  ];
  assert.deepEqual(renderBatch("sk-wg", changes), [
    "address delete 10.160.1.0/32 dev sk-wg",
    "address add 10.161.1.0/32 dev sk-wg",
    "link set dev sk-wg mtu 1420",
    "link set dev sk-wg up",
  ]);
});
