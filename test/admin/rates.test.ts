// Rates: differences of counts, whatever the counts did meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  NO_RATES,
  trafficBetween,
  type Counts,
  type ServiceCounts,
  type TrafficSample,
} from "../../src/admin/rates.ts";
import { LIMITS } from "../../src/model/limits.ts";

const NO_LEVELS = { ejected: [], links: [] };

function sample(atMs: number, services: Readonly<Record<string, Partial<ServiceCounts>>>): TrafficSample {
  const counts = Object.entries(services).map(([key, changes]): readonly [string, ServiceCounts] => {
    return [key, { ...NO_RATES, buckets: [], ...changes }];
  });
  const dns = { byCode: new Map(), bySource: new Map(), buckets: [] };
  return { atMs, services: new Map(counts), replicas: new Map(), dns };
}

test("trafficBetween: a rate is what came in the window, by the time that passed", () => {
  const before = sample(1000, { "a/web": { requests: 100, sentBytes: 5000, buckets: [90, 10] } });
  const after = sample(3000, { "a/web": { requests: 160, sentBytes: 9000, open: 4, buckets: [140, 20] } });
  const { windowMs, services, total, buckets } = trafficBetween(before, after, NO_LEVELS);
  assert.equal(windowMs, 2000);
  const rates = { ...NO_RATES, requests: 30, sentBytes: 2000, open: 4 };
  assert.deepEqual(services, [{ key: "a/web", rates, buckets: [50, 10] }]);
  assert.deepEqual([total, buckets], [rates, [50, 10]]);
});

test("trafficBetween: no count makes a rate negative, and what began anew counts whole", () => {
  const count = fc.nat(1_000_000);
  fc.assert(
    fc.property(count, count, (then, now) => {
      const told = trafficBetween(
        sample(0, { a: { requests: then, buckets: [then] } }),
        sample(1000, { a: { requests: now, buckets: [now] } }),
        NO_LEVELS,
      );
      const expected = now >= then ? now - then : now;
      assert.equal(told.total.requests, expected);
      assert.deepEqual(told.buckets, [expected]);
    }),
  );
});

test("trafficBetween: a service that is new counts from nothing, one that is gone is not told", () => {
  const told = trafficBetween(
    sample(0, { old: { requests: 5 } }),
    sample(1000, { young: { requests: 7 } }),
    NO_LEVELS,
  );
  assert.deepEqual(
    told.services.map(({ key, rates }) => [key, rates.requests]),
    [["young", 7]],
  );
});

test("trafficBetween: idle services are left out, the busiest come first, and the totals are of all", () => {
  const many = Object.fromEntries(
    Array.from({ length: LIMITS.servicesTold + 50 }, (_, at) => [`s/${at}`, { requests: at }]),
  );
  const { services, total } = trafficBetween(sample(0, {}), sample(1000, many), NO_LEVELS);
  assert.equal(services.length, LIMITS.servicesTold);
  assert.equal(services[0]?.key, `s/${LIMITS.servicesTold + 49}`);
  assert.ok(services.every(({ key }) => key !== "s/0"));
  const length = LIMITS.servicesTold + 50;
  assert.equal(total.requests, (length * (length - 1)) / 2);
});

test("trafficBetween: replicas and questions for names are told by the second too", () => {
  const counts: Counts = { ...NO_RATES, connections: 4, receivedBytes: 10, open: 1 };
  const dnsOf = (count: number): TrafficSample["dns"] => ({
    byCode: new Map([["NOERROR", count]]),
    bySource: new Map([["cache", count]]),
    buckets: [count],
  });
  const before = { ...sample(0, {}), dns: dnsOf(10) };
  const after = { ...sample(500, {}), replicas: new Map([["r1", counts]]), dns: dnsOf(30) };
  const { replicas, dns } = trafficBetween(before, after, NO_LEVELS);
  assert.deepEqual(replicas, [
    { id: "r1", rates: { ...NO_RATES, connections: 8, receivedBytes: 20, open: 1 } },
  ]);
  assert.deepEqual(dns, { byCode: { NOERROR: 40 }, bySource: { cache: 40 }, buckets: [20] });
});
