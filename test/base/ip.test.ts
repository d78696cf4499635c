// Addresses, prefixes and host:port pairs: what goes in comes out, and what could mean two things is refused.

import assert from "node:assert/strict";
import { BlockList, isIPv6 } from "node:net";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  canonicalIpv6,
  contains,
  ipv4ToNumber,
  isIpv4,
  isIpv6,
  isLocalToHost,
  isLoopback,
  isPrivate,
  isSamePlace,
  isWildcard,
  networkOf,
  numberToIpv4,
  overlaps,
  parseHostPort,
  parsePrefix,
  renderHostPort,
  unmapped,
  type Prefix,
} from "../../src/base/ip.ts";

const address = fc.nat({ max: 0xffff_ffff });
const prefix = fc.record({ address, bits: fc.integer({ min: 0, max: 32 }) }).map(({ address, bits }) => {
  const size = 2 ** (32 - bits);
  return read(`${numberToIpv4(address - (address % size))}/${bits}`);
});

function read(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

test("ipv4: a number and its text are two forms of one address", () => {
  fc.assert(
    fc.property(address, (value) => {
      const text = numberToIpv4(value);
      assert.ok(isIpv4(text));
      assert.equal(ipv4ToNumber(text), value);
    }),
  );
  assert.equal(numberToIpv4(0xffff_ffff), "255.255.255.255");
});

test("ipv4: forms that other programs read in another base are no addresses", () => {
  for (const text of ["010.0.0.1", "1.2.3", "1.2.3.4.5", "0x7f.0.0.1", "127.1", "1.2.3.256", " 1.2.3.4", ""])
    assert.equal(isIpv4(text), false, text);
});

test("prefix: holds exactly its addresses, and its text comes back", () => {
  fc.assert(
    fc.property(prefix, address, (range, value) => {
      assert.equal(
        contains(range, numberToIpv4(value)),
        value >= range.base && value < range.base + range.size,
      );
      assert.ok(contains(range, numberToIpv4(range.base)));
      assert.ok(contains(range, numberToIpv4(range.base + range.size - 1)));
      assert.deepEqual(read(range.text), range);
      assert.equal(range.text, `${numberToIpv4(range.base)}/${range.bits}`);
    }),
  );
});

test("prefix: two overlap when one holds the other's first address", () => {
  fc.assert(
    fc.property(prefix, prefix, (one, other) => {
      const shares = contains(one, numberToIpv4(other.base)) || contains(other, numberToIpv4(one.base));
      assert.equal(overlaps(one, other), shares);
      assert.equal(overlaps(other, one), shares);
    }),
  );
});

test("prefix: neighbours do not overlap, and the whole of IPv4 holds both its ends", () => {
  assert.equal(overlaps(read("10.0.0.0/9"), read("10.128.0.0/9")), false);
  const all = read("0.0.0.0/0");
  assert.ok(contains(all, "0.0.0.0") && contains(all, "255.255.255.255"));
  assert.equal(contains(all, "::1"), false);
  assert.equal(contains(all, "nonsense"), false);
});

test("prefix: what is not one is refused, and set host bits are answered with the address meant", () => {
  const bad = ["", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/8 "];
  for (const text of [...bad, "10.0.0.0/1e1", "10.0.0/8", "fd00::/8", "010.0.0.0/8", "10.0.0.0/08"]) {
    const parsed = parsePrefix(text);
    assert.ok(!parsed.ok && parsed.failure.code === "invalid", text);
  }
  const parsed = parsePrefix("10.99.3.4/12");
  assert.ok(!parsed.ok && parsed.failure.message.includes("10.96.0.0/12"));
});

test("prefix: any text is parsed or refused, never thrown at", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parsePrefix(text);
      parseHostPort(text);
      parseHostPort(text, 7650);
    }),
  );
});

test("host:port: rendered and parsed comes back, names, IPv4 and IPv6 alike", () => {
  const name = fc.domain();
  const host = fc.oneof(name, fc.ipV4(), fc.ipV6().filter(isIpv6), fc.constant("fe80::1%eth0"));
  fc.assert(
    fc.property(host, fc.integer({ min: 1, max: 65_535 }), (host, port) => {
      const parsed = parseHostPort(renderHostPort({ host, port }));
      assert.deepEqual(parsed, { ok: true, value: { host, port } });
    }),
  );
});

test("host:port: a bare host takes the default port, and only where there is one", () => {
  for (const host of ["seed", "10.0.0.1", "fd00::1"])
    assert.deepEqual(parseHostPort(host, 7650), { ok: true, value: { host, port: 7650 } });
  assert.deepEqual(parseHostPort("[fd00::1]", 7650), { ok: true, value: { host: "fd00::1", port: 7650 } });
  for (const host of ["seed", "10.0.0.1", "fd00::1", "[fd00::1]"])
    assert.equal(parseHostPort(host).ok, false);
});

test("host:port: what is no pair is refused", () => {
  const bad = [
    "",
    ":80",
    "a:",
    "a:0",
    "a:65536",
    "a:99999",
    "a:8o",
    "a b:80",
    "[seed]:80",
    "[::1:80",
    "::1]:80",
  ];
  for (const text of [...bad, "http://a:80", "a:80:80", "[::1]80", "[1.2.3.4]:80", "a:-1", "a: 80", "a:80\n"])
    assert.equal(parseHostPort(text, 7650).ok, false, text);
});

test("host:port: digits and dots that are no IPv4 address are refused, not looked up as a name", () => {
  for (const text of [
    "010.0.0.1:80",
    "256.1.1.1:80",
    "1.2.3:80",
    "127.1:80",
    "0:80",
    "1.2.3.4.5:80",
    "0x7f.1:80",
  ])
    assert.equal(parseHostPort(text).ok, false, text);
  for (const text of ["10-0-0-1:80", "h1:80", "1.2.3.4.nip.io:80", "3com:80"])
    assert.equal(parseHostPort(text).ok, true, text);
});

test("unmapped: IPv4 clients of a dual-stack socket look like IPv4 clients", () => {
  assert.equal(unmapped("::ffff:10.0.0.1"), "10.0.0.1");
  for (const text of ["10.0.0.1", "fd00::1", "::ffff:nonsense", "::ffff:7f00:1"])
    assert.equal(unmapped(text), text);
});

test("private: IPv4 agrees with the ranges of RFC 1918, 3927, 6598 and 1122 at and around every border", () => {
  const list = new BlockList();
  const ranges = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
  ];
  for (const range of ranges.map(read)) list.addSubnet(numberToIpv4(range.base), range.bits);
  const border = fc.constantFrom(
    ...ranges.map(read).flatMap(({ base, size }) => [base - 1, base, base + size - 1, base + size]),
  );
  fc.assert(
    fc.property(fc.oneof(border, address), (value) => {
      const text = numberToIpv4(value);
      assert.equal(isPrivate(text), list.check(text), text);
      assert.equal(isPrivate(`::ffff:${text}`), list.check(text), text);
    }),
  );
});

test("private: IPv6 is private by its first bits, not by its first letters", () => {
  for (const text of ["::1", "fc00::1", "fd12:3456::1", "FD00::1", "fe80::1", "fe80::1%eth0", "febf::1"])
    assert.ok(isPrivate(text), text);
  // Not fc00::/7: these are 00fc::1, 00fd::1, 0fe8::1, which may be anybody's.
  for (const text of ["fc::1", "fd::1", "fe8::1", "fcd::1", "2001:db8::1", "fec0::1", "ff02::1", "nonsense"])
    assert.equal(isPrivate(text), false, text);
});

test("loopback: 127/8 and ::1, mapped or not", () => {
  for (const text of ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"])
    assert.ok(isLoopback(text), text);
  for (const text of ["128.0.0.1", "127.nonsense", "fd00::1", "::", "12.7.0.1"])
    assert.equal(isLoopback(text), false, text);
});

test("network: two IPv6 addresses count as one when their first 64 bits are equal, in any spelling", () => {
  const group = fc.nat(0xffff);
  const eight = fc.array(group, { minLength: 8, maxLength: 8 });
  const full = (groups: readonly number[]): string =>
    groups.map((one) => one.toString(16).padStart(4, "0")).join(":");
  const short = (groups: readonly number[]): string =>
    new URL(`http://[${full(groups)}]/`).hostname.slice(1, -1);
  fc.assert(
    fc.property(eight, eight, (one, other) => {
      fc.pre(one.slice(0, 5).some((part) => part !== 0));
      assert.ok(isIPv6(short(one)));
      assert.equal(networkOf(full(one)), networkOf(short(one).toUpperCase()));
      const neighbour = [...one.slice(0, 4), ...other.slice(4)];
      fc.pre(neighbour.slice(0, 5).some((part) => part !== 0));
      assert.equal(networkOf(short(one)), networkOf(short(neighbour)));
      const stranger = [...other.slice(0, 4), ...one.slice(4)];
      const same = one.slice(0, 4).join() === other.slice(0, 4).join();
      assert.equal(networkOf(full(one)) === networkOf(full(stranger)), same);
    }),
  );
  assert.equal(networkOf("fe80::1%eth0"), "fe80:0:0:0::/64");
  assert.equal(networkOf("64:ff9b::192.0.2.1"), "64:ff9b:0:0::/64");
  assert.equal(networkOf("::1"), "0:0:0:0::/64");
});

test("ip: an address that means the host itself, or its own link, is known in whatever form it is written", () => {
  const local = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "169.254.169.254", "::", "::1", "0::1"];
  const written = ["0:0:0:0:0:0:0:1", "0000::0001", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:0.0.0.0"];
  const mapped = [
    "0:0:0:0:0:ffff:7f00:1",
    "::FFFF:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::7f00:1",
  ];
  for (const address of [...local, ...written, ...mapped, "::ffff:0:127.0.0.1", "fe80::1", "FEBF::1%eth0"])
    assert.ok(isLocalToHost(address), address);
  for (const address of ["224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "ff02::1", "FF0E::5"])
    assert.ok(isLocalToHost(address), `${address} is no single host`);
  const others = [
    "223.255.255.254",
    "22.4.0.1",
    "fe00::1",
    "10.0.0.1",
    "192.168.169.254",
    "128.0.0.1",
    "2001:db8::1",
    "fd00::7f00:1",
    "64:ff9b::7f00:1",
  ];
  for (const address of [...others, "fec0::1", "1::", "::1:0:0:0:0:0", "web", ""])
    assert.ok(!isLocalToHost(address), address);
});

test("ip: the canonical form of an IPv6 address is one text for all its forms (RFC 5952)", () => {
  const forms = {
    "2001:db8::1": ["2001:DB8:0:0::0001", "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::0:1"],
    "::": ["0:0:0:0:0:0:0:0", "0::0"],
    "::1": ["0::1"],
    "1::": ["1:0:0:0:0:0:0:0"],
    "2001:db8:0:1:1:1:1:1": ["2001:db8::1:1:1:1:1"],
    "2001:0:0:1::1": ["2001:0:0:1:0:0:0:1"],
    "2001:db8::1:0:0:1": ["2001:db8:0:0:1:0:0:1"],
    "64:ff9b::c000:201": ["64:ff9b::192.0.2.1"],
    "fe80::1": ["fe80::1%eth0"],
  };
  for (const [canonical, others] of Object.entries(forms)) {
    for (const text of [canonical, ...others]) assert.equal(canonicalIpv6(text), canonical, text);
  }
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const canonical = canonicalIpv6(text);
      assert.ok(isIPv6(canonical), canonical);
      assert.equal(canonicalIpv6(canonical), canonical);
      const host = new URL(`http://[${text}]/`).hostname;
      assert.equal(`[${canonical}]`, host);
    }),
  );
});

test("ip: the unspecified address of either kind is a wildcard, and nothing else is", () => {
  for (const host of ["0.0.0.0", "::"]) assert.ok(isWildcard(host), host);
  for (const host of ["127.0.0.1", "::1", "0.0.0.1", "*", ""]) assert.ok(!isWildcard(host), host);
});

test("ip: a place is a host and a port", () => {
  const place = { host: "192.0.2.1", port: 53 };
  assert.ok(isSamePlace(place, { ...place }));
  assert.ok(!isSamePlace(place, { ...place, port: 54 }));
  assert.ok(!isSamePlace(place, { ...place, host: "192.0.2.2" }));
});
