// IPv6 prefixes: what goes in comes out, what lies in one is found as Node finds it, and a cluster's own never meet.

import assert from "node:assert/strict";
import { BlockList, isIPv6 } from "node:net";
import { test } from "node:test";

import * as fc from "fast-check";

import { canonicalIpv6 } from "../../src/base/ip.ts";
import {
  addressAt6,
  contains6,
  gateway6,
  ipv6ToNumber,
  numberToIpv6,
  overlaps6,
  parsePrefix6,
  slicePrefix6,
  ulaPrefix,
  type Prefix6,
} from "../../src/base/ip6.ts";

const number = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
const prefix = fc.record({ number, bits: fc.integer({ min: 0, max: 128 }) }).map(({ number, bits }) => {
  const hostBits = BigInt(128 - bits);
  return read(`${numberToIpv6((number >> hostBits) << hostBits)}/${bits}`);
});

function read(text: string): Prefix6 {
  const parsed = parsePrefix6(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

function holdsByNode({ text, bits }: Prefix6, address: string): boolean {
  const list = new BlockList();
  list.addSubnet(text.slice(0, text.indexOf("/")), bits, "ipv6");
  return list.check(address, "ipv6");
}

test("ip6: a number becomes one canonical text, and that the number again", () => {
  fc.assert(
    fc.property(number, (value) => {
      const text = numberToIpv6(value);
      assert.ok(isIPv6(text), text);
      assert.equal(text, canonicalIpv6(text));
      assert.equal(ipv6ToNumber(text), value);
    }),
  );
  assert.equal(numberToIpv6(1n), "::1");
  assert.equal(ipv6ToNumber("64:ff9b::10.0.0.1"), ipv6ToNumber("64:ff9b::a00:1"));
});

test("parsePrefix6: text is made canonical; host bits, zones and what is no prefix are refused by name", () => {
  assert.equal(read("FD12:3456:789A:0::/64").text, "fd12:3456:789a::/64");
  assert.equal(read("::/0").bits, 0);
  for (const text of [
    "fd00::1/64",
    "fd00::/129",
    "fd00::",
    "fe80::%eth0/64",
    "10.0.0.0/8",
    "fd00::/064",
    "x/64",
  ]) {
    const parsed = parsePrefix6(text);
    assert.ok(!parsed.ok, text);
    assert.ok(parsed.failure.message.includes(`"${text}"; expected`), parsed.failure.message);
  }
  const parsed = parsePrefix6("fd00::1:0:0:0:1/64");
  assert.match(parsed.ok ? "" : parsed.failure.message, /its first address, fd00:0:0:1::\/64$/);
});

test("contains6: an address lies in a prefix as Node has it; other text, zones and IPv4 in none", () => {
  fc.assert(
    fc.property(prefix, number, (range, value) => {
      const address = numberToIpv6(value);
      const hostBits = BigInt(128 - range.bits);
      const inside = numberToIpv6(range.base + (value & ((1n << hostBits) - 1n)));
      assert.equal(contains6(range, address), holdsByNode(range, address));
      assert.equal(contains6(range, inside), true);
    }),
  );
  for (const text of ["10.0.0.1", "", "x", "fe80::1%eth0"])
    assert.equal(contains6(read("::/0"), text), false, text);
});

test("overlaps6: two prefixes share an address exactly when one holds the other's first", () => {
  fc.assert(
    fc.property(prefix, prefix, (one, other) => {
      const share = contains6(one, numberToIpv6(other.base)) || contains6(other, numberToIpv6(one.base));
      assert.equal(overlaps6(one, other), share);
      assert.equal(overlaps6(one, one), true);
    }),
  );
});

test("ulaPrefix: a private /64 that is the same for a cluster and a subnet, and another for any other", () => {
  const one = ulaPrefix("cluster-a", 0x1234);
  assert.equal(one, ulaPrefix("cluster-a", 0x1234));
  assert.match(one, /^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}:1234::\/64$/);
  assert.notEqual(one.slice(0, 12), ulaPrefix("cluster-b", 0x1234).slice(0, 12));
  fc.assert(
    fc.property(fc.string(), fc.nat(0xffff), fc.nat(0xffff), (id, subnet, other) => {
      const range = read(ulaPrefix(id, subnet));
      assert.equal(contains6(read("fd00::/8"), numberToIpv6(range.base)), true);
      assert.equal(overlaps6(range, read(ulaPrefix(id, other))), subnet === other);
    }),
  );
});

test("slicePrefix6: slices are /80s of their network's /64, apart from each other, with the host at ::1", () => {
  assert.equal(slicePrefix6("fd12:3456:789a:4d::/64", 3), "fd12:3456:789a:4d:3::/80");
  assert.equal(gateway6("fd12:3456:789a:4d:3::/80"), "fd12:3456:789a:4d:3::1");
  const range = read("fd12:3456:789a:4d::/64");
  fc.assert(
    fc.property(fc.nat(8191), fc.nat(8191), (index, other) => {
      const slice = read(slicePrefix6(range.text, index));
      assert.equal(contains6(range, numberToIpv6(slice.base)), true);
      assert.equal(contains6(slice, gateway6(slice.text)), true);
      assert.equal(overlaps6(slice, read(slicePrefix6(range.text, other))), index === other);
    }),
  );
});

test("addressAt6: addresses of a prefix are counted from its first", () => {
  assert.equal(addressAt6(read("fd00::/64"), 0n), "fd00::");
  assert.equal(addressAt6(read("fd00::/64"), (1n << 64n) - 1n), "fd00::ffff:ffff:ffff:ffff");
});
