// Allow: which clients may have foreign names forwarded.

import assert from "node:assert/strict";
import { test } from "node:test";

import { allowOf } from "../../src/dns/allow.ts";

test("allow: private means what the internet does not route, in either form of an address", () => {
  const isAllowed = allowOf(["private"]);
  for (const address of ["10.1.2.3", "127.0.0.1", "::1", "fd00::1", "::ffff:192.168.0.1"]) {
    assert.equal(isAllowed(address), true, address);
  }
  for (const address of ["8.8.8.8", "2001:db8::1", ""]) assert.equal(isAllowed(address), false, address);
});

test("allow: addresses and prefixes allow just what they name, any allows all, nothing allows none", () => {
  const isAllowed = allowOf(["198.51.100.0/24", "203.0.113.9"]);
  const asked = ["198.51.100.77", "203.0.113.9", "203.0.113.8", "10.0.0.1"];
  assert.deepEqual(asked.map(isAllowed), [true, true, false, false]);
  assert.equal(allowOf(["any"])("8.8.8.8"), true);
  assert.equal(allowOf([])("127.0.0.1"), false);
});

test("allow: IPv6 addresses and prefixes name what they hold, however they are written", () => {
  const isAllowed = allowOf(["2001:DB8:1::/48", "2001:db8:2:0::5", "198.51.100.0/24"]);
  const asked = ["2001:db8:1:2::3", "2001:db8:2::5", "::ffff:198.51.100.7", "2001:db8:2::6", "fd00::1"];
  assert.deepEqual(asked.map(isAllowed), [true, true, true, false, false]);
  assert.equal(allowOf(["fe80::/10"])("fe80::1%eth0"), true);
});
