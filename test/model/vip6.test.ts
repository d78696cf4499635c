// IPv6 VIPs: the same on every host, without a word between them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { numberToIpv6, parsePrefix6, type Prefix6 } from "../../src/base/ip6.ts";
import { isSameVip6, isVip6, vip6Of } from "../../src/model/vip6.ts";

function pool(text: string): Prefix6 {
  const parsed = parsePrefix6(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

const POOL = pool("fd12:3456:789a::/64");
const name = fc.stringMatching(/^[a-z0-9-]{1,20}$/);

test("vip6: a service's address lies in the pool, follows from its name alone, and is nobody else's", () => {
  assert.equal(vip6Of(POOL, "app", "web"), "fd12:3456:789a:0:e130:f759:80ff:c6e3");
  fc.assert(
    fc.property(name, name, name, (network, service, other) => {
      const address = vip6Of(POOL, network, service);
      assert.equal(address, vip6Of(POOL, network, service));
      assert.equal(isVip6(POOL, address), true);
      assert.equal(address === vip6Of(POOL, network, other), service === other);
      assert.equal(address === vip6Of(POOL, other, service), network === other);
    }),
  );
});

test("vip6: half of the pool is left to addresses chosen by hand; others are none of it", () => {
  for (const text of [
    "fd12:3456:789a::1",
    "fd12:3456:789a::53:0:0:0",
    "fd12:3456:789b:0:8000::1",
    "10.0.0.1",
  ])
    assert.equal(isVip6(POOL, text), false, text);
  assert.equal(isVip6(POOL, numberToIpv6(POOL.base + (1n << 63n))), true);
});

test("vip6: rules are the same when they give the same services the same addresses", () => {
  const rule = { pool: POOL, isEvery: false };
  assert.equal(isSameVip6(rule, { pool: pool(POOL.text), isEvery: false }), true);
  assert.equal(isSameVip6(null, null), true);
  assert.equal(isSameVip6(rule, { ...rule, isEvery: true }), false);
  assert.equal(isSameVip6(rule, null), false);
  assert.equal(isSameVip6(rule, { ...rule, pool: pool("fd00::/64") }), false);
});
