// Which services have an IPv6 address.

import assert from "node:assert/strict";
import { test } from "node:test";

import { parsePrefix } from "../../src/base/ip.ts";
import { contains6, parsePrefix6, type Prefix6 } from "../../src/base/ip6.ts";
import type { NetworkRange } from "../../src/model/network.ts";
import { vip6Of } from "../../src/model/vip6.ts";
import { Vip6s } from "../../src/view/vip6.ts";

function pool(text: string): Prefix6 {
  const parsed = parsePrefix6(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

function network(name: string, range6?: string): NetworkRange {
  const range = parsePrefix("10.160.0.0/16");
  assert.ok(range.ok);
  return { name, range: range.value, sliceBits: 24, vni: 5000, encrypted: false, ...(range6 && { range6 }) };
}

const POOL = pool("fd12:3456:789a::/64");

test("vip6: by default only services of networks with an IPv6 range have an address", () => {
  const vip6s = new Vip6s();
  assert.equal(vip6s.of("app", "web"), null);
  vip6s.set({ pool: POOL, isEvery: false }, [network("app", "fd12:3456:789a:4d::/64"), network("old")]);
  assert.equal(vip6s.of("app", "web"), vip6Of(POOL, "app", "web"));
  assert.equal(vip6s.of("old", "web"), null);
  assert.equal(vip6s.of("default", "web"), null);
});

test("vip6: with a pool of one's own every service has an address, and none where there is no pool", () => {
  const vip6s = new Vip6s();
  vip6s.set({ pool: POOL, isEvery: true }, []);
  assert.ok(contains6(POOL, vip6s.of("default", "web") ?? ""));
  vip6s.set(null, [network("app", "fd12:3456:789a:4d::/64")]);
  assert.equal(vip6s.of("app", "web"), null);
});

test("vip6: it is told when services may have other addresses, and not when nothing has changed", () => {
  const vip6s = new Vip6s();
  const rule = { pool: POOL, isEvery: false };
  const app = network("app", "fd12:3456:789a:4d::/64");
  assert.equal(vip6s.set(null, []), false);
  assert.equal(vip6s.set(rule, []), true);
  assert.equal(vip6s.set({ ...rule }, [network("old")]), false);
  assert.equal(vip6s.set(rule, [app]), true);
  assert.equal(vip6s.set(rule, [{ ...app }, network("old")]), false);
  assert.equal(vip6s.set({ ...rule, pool: pool("fd00::/64") }, [app]), true);
  assert.equal(vip6s.set(null, [app]), true);
});
