// The plan of WireGuard: who is a peer, by which addresses, and who is refused.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { isWireguardKey, planWireguard } from "../../../src/kernel/wireguard/plan.ts";
import { keyOf, memberOf, networkOf, overlayOfHost, ownOverlay, viewOf } from "./cluster.ts";

const THREE = [memberOf(1), memberOf(2), memberOf(3)];

test("wireguard plan: every other host of an encrypted network is a peer, with its slice's first address alone", () => {
  const view = viewOf(THREE, [networkOf("app", 160, [1, 2, 3]), networkOf("db", 161, [1, 2])]);
  const { device, problems } = planWireguard({ view, overlay: ownOverlay() });
  assert.deepEqual(device, {
    port: 51_820,
    mtu: 1420,
    addresses: ["10.160.1.0/32", "10.161.1.0/32"],
    peers: [
      { key: keyOf(2), endpoint: "192.0.2.2:51820", allowed: ["10.160.2.0/32", "10.161.2.0/32"] },
      { key: keyOf(3), endpoint: "192.0.2.3:51820", allowed: ["10.160.3.0/32"] },
    ],
  });
  assert.deepEqual(problems, []);
});

test("wireguard plan: no device without an encrypted network that is this host's for good", () => {
  const tentative = networkOf("app", 160, [1, 2]);
  const slices = tentative.slices.map((slice) => ({ ...slice, tentative: true }));
  const without = [
    networkOf("app", 160, [1, 2], { encrypted: false }),
    networkOf("app", 160, [1, 2], { isSound: false }),
    networkOf("app", 160, [2, 3]),
    { ...tentative, slices },
  ];
  for (const network of without) {
    const plan = planWireguard({ view: viewOf(THREE, [network]), overlay: ownOverlay() });
    assert.deepEqual(plan, { device: null, problems: [] });
  }
});

test("wireguard plan: a host that cannot encrypt has no device, whatever networks there are", () => {
  const open = networkOf("open", 162, [1, 2], { encrypted: false });
  const view = viewOf(THREE, [networkOf("app", 160, [1, 2]), open]);
  for (const overlay of [null, ownOverlay({ encrypts: false })]) {
    assert.deepEqual(planWireguard({ view, overlay }), { device: null, problems: [] });
  }
});

test("wireguard plan: a member that says it is all of a LAN, or this host, is no peer, and named", () => {
  for (const address of ["192.0.2.255", "255.255.255.255", "192.0.2.1"]) {
    const liar = memberOf(2, { overlay: overlayOfHost(2, { address }) });
    const self = { ...memberOf(1), prefixes: ["192.0.2.0/24"] };
    const view = viewOf([self, liar], [networkOf("app", 160, [1, 2])]);
    const { device, problems } = planWireguard({ view, overlay: ownOverlay() });
    assert.deepEqual(device?.peers, [], address);
    assert.match(problems.join(), /no usable WireGuard key, address and port/);
  }
});

test("wireguard plan: a member that cannot encrypt is no peer, and named", () => {
  const plain = { address: "192.0.2.2", mtu: 1500 };
  const view = viewOf(
    [memberOf(1), memberOf(2, { overlay: plain }), memberOf(3)],
    [networkOf("app", 160, [1, 2, 3])],
  );
  const { device, problems } = planWireguard({ view, overlay: ownOverlay() });
  assert.deepEqual(
    device?.peers.map(({ key }) => key),
    [keyOf(3)],
  );
  assert.deepEqual(problems, [
    "network app is encrypted, and no packet of it is sent to who cannot encrypt: host-2",
  ]);
});

test("wireguard plan: a member that says another's key, or ours, is left out and named", () => {
  for (const [stolen, holder] of [
    [2, "host-2"],
    [1, "host-1"],
  ] as const) {
    const thief = memberOf(3, {
      overlay: overlayOfHost(3, { wireguard: { key: keyOf(stolen), port: 51_820 } }),
    });
    const view = viewOf([memberOf(1), memberOf(2), thief], [networkOf("app", 160, [1, 2, 3])]);
    const { device, problems } = planWireguard({ view, overlay: ownOverlay() });
    assert.deepEqual(
      device?.peers.map(({ endpoint }) => endpoint),
      ["192.0.2.2:51820"],
    );
    assert.deepEqual(problems, [`host-3 says that it has the WireGuard key of ${holder}; it is left out`]);
  }
});

test("wireguard plan: whatever a member says, only keys, addresses and ports get into the plan", () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("127.0.0.1", "0.0.0.0", "-h", "a\tb", keyOf(0), keyOf(9)),
  );
  fc.assert(
    fc.property(text, text, fc.integer(), (key, address, port) => {
      const odd = memberOf(2, { overlay: { address, mtu: 1500, wireguard: { key, port } } });
      const view = viewOf([memberOf(1), odd, memberOf(3)], [networkOf("app", 160, [1, 2, 3])]);
      const { device, problems } = planWireguard({ view, overlay: ownOverlay() });
      const peers = device?.peers ?? [];
      for (const peer of peers) {
        assert.ok(isWireguardKey(peer.key));
        assert.match(peer.endpoint, /^(?!0\.|127\.)\d+\.\d+\.\d+\.\d+:[1-9]\d{0,4}$/);
      }
      assert.equal(peers.length + problems.length, 2, "each is a peer, or told");
      assert.ok(
        peers.some((peer) => peer.key === keyOf(3)),
        "its neighbours are peers all the same",
      );
    }),
  );
});

test("wireguard plan: a key is 32 bytes in base64, and not nothing", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const isZero = bytes.every((byte) => byte === 0);
      assert.equal(isWireguardKey(Buffer.from(bytes).toString("base64")), !isZero);
    }),
  );
  fc.assert(
    fc.property(fc.base64String(), (text) => {
      const isOne = Buffer.from(text, "base64").length === 32 && !/^A*=$/.test(text);
      const isExact = Buffer.from(text, "base64").toString("base64") === text;
      assert.equal(isWireguardKey(text), isOne && isExact);
    }),
  );
});
