// Names: what our things in the kernel are called, so that they are found again and never meet another's.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  bridgeDevice,
  ingressMark,
  MARK_MASK,
  MARK_OURS,
  returnTable,
  vtepMac,
  vxlanDevice,
  WIREGUARD_DEVICE,
} from "../../src/kernel/names.ts";
import { LIMITS } from "../../src/model/limits.ts";

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/);
const vni = fc.integer({ min: 4096, max: 2 ** 24 - 1 });
const index = fc.integer({ min: 0, max: LIMITS.slicesPerNetwork - 1 });

test("names: a device's name fits the kernel, whatever the network is called", () => {
  fc.assert(
    fc.property(label, (name) => {
      assert.match(bridgeDevice(name), /^sk-[a-z0-9-]{1,12}$/);
    }),
  );
  fc.assert(fc.property(vni, (number) => assert.match(vxlanDevice(number), /^sk-vx\d{4,8}$/)));
});

test("names: a bridge is called after its network where that fits, and never like another device of ours", () => {
  assert.equal(bridgeDevice("app"), "sk-app");
  assert.notEqual(bridgeDevice("wg"), WIREGUARD_DEVICE);
  assert.notEqual(bridgeDevice("vx4100"), vxlanDevice(4100));
  const long = "a-network-with-a-long-name";
  assert.notEqual(bridgeDevice(`${long}-1`), bridgeDevice(`${long}-2`));
});

test("names: a node's address on the wire is its own, one host's, and locally administered", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (node) => {
      assert.match(vtepMac(node), /^02(:[0-9a-f]{2}){5}$/);
      assert.equal(vtepMac(node), vtepMac(node));
    }),
  );
  assert.notEqual(vtepMac("one"), vtepMac("other"));
});

test("names: the mark of each slice says that it is ours, and is no other slice's", () => {
  fc.assert(
    fc.property(index, index, (one, other) => {
      // As the kernel does: without a sign.
      assert.equal((ingressMark(one) & MARK_MASK) >>> 0, MARK_OURS);
      assert.notEqual(ingressMark(one), MARK_OURS);
      assert.equal(ingressMark(one) === ingressMark(other), one === other);
    }),
  );
});

test("names: the table of each slice of each network is its own, and a number that the kernel takes", () => {
  fc.assert(
    fc.property(vni, index, vni, index, (one, oneIndex, other, otherIndex) => {
      const table = returnTable(one, oneIndex);
      assert.ok(table >= 2 ** 29 && table < 2 ** 32);
      const isSame = (one & 0xffff) === (other & 0xffff) && oneIndex === otherIndex;
      assert.equal(table === returnTable(other, otherIndex), isSame);
    }),
  );
});
