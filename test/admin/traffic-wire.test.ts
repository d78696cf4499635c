// Traffic wire: what goes out comes in again; what is anything else is refused whole.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { NO_RATES, RATE_NAMES, type HostTraffic } from "../../src/admin/rates.ts";
import { isNotYet, NOT_YET, readTraffic, trafficWords } from "../../src/admin/traffic-wire.ts";
import type { Rates } from "../../src/admin/contract-live.ts";
import { LIMITS } from "../../src/model/limits.ts";

import { QUIET_HOST } from "./quiet.ts";

const AT_MS = 5000;
const BOUNDS = { requests: [0.1, 1], dns: [0.01] };

const number = fc.integer({ min: 0, max: 60_000_000 }).map((count) => count / 1000);
const rates = fc
  .array(number, { minLength: RATE_NAMES.length, maxLength: RATE_NAMES.length })
  .map(
    (numbers) => Object.fromEntries(RATE_NAMES.map((name, at) => [name, numbers[at]])) as unknown as Rates,
  );
/** No zeros at the end: they are not sent. */
const buckets = fc
  .array(number, { maxLength: 17 })
  .map((counts) => counts.slice(0, counts.findLastIndex((count) => count > 0) + 1));
const id = fc.stringMatching(/^[a-z0-9-]{1,20}$/);
const named = fc.dictionary(fc.constantFrom("NOERROR", "NXDOMAIN", "SERVFAIL"), number);
const sources = fc.dictionary(fc.constantFrom("cache", "zone", "edge"), number);
const traffic: fc.Arbitrary<HostTraffic> = fc.record({
  atMs: fc.constant(AT_MS),
  windowMs: number,
  total: rates,
  buckets,
  services: fc.array(fc.record({ key: id.map((name) => `net/${name}`), rates, buckets }), { maxLength: 5 }),
  replicas: fc.array(fc.record({ id, rates }), { maxLength: 5 }),
  ejected: fc.array(id, { maxLength: 3 }),
  dns: fc.record({ byCode: named, bySource: sources, buckets }),
  links: fc.array(
    fc.record({
      to: fc.stringMatching(/^[a-z2-7]{20}$/),
      state: fc.constantFrom("open", "via", "broken", "none"),
      rttMs: fc.option(number.filter((ms) => ms < 80_000_000)),
    }),
    { maxLength: 4 },
  ),
});

function sent(one: HostTraffic): unknown {
  return JSON.parse(JSON.stringify(trafficWords(one, BOUNDS)));
}

test("readTraffic: what one host tells is what the other reads", () => {
  fc.assert(
    fc.property(traffic, (one) => {
      assert.deepEqual(readTraffic(sent(one), AT_MS, BOUNDS), structuredClone({ ...one }));
    }),
  );
});

test("readTraffic: whatever a peer says, it is a whole report within bounds or nothing", () => {
  const spoilt = fc.tuple(traffic, fc.nat(), fc.jsonValue()).map(([one, at, value]) => {
    const words = sent(one) as Record<string, unknown>;
    const keys = Object.keys(words);
    return { ...words, [keys[at % keys.length] ?? ""]: value };
  });
  fc.assert(
    fc.property(fc.oneof(spoilt, fc.jsonValue()), (words) => {
      const read = readTraffic(words, AT_MS, BOUNDS);
      if (read === null) return;
      for (const rate of [read.total, ...read.services.map((one) => one.rates)])
        for (const name of RATE_NAMES) assert.ok(Number.isFinite(rate[name]) && rate[name] >= 0);
    }),
  );
});

const EMPTY: HostTraffic = { ...QUIET_HOST, atMs: AT_MS };

test("readTraffic: too many of anything, numbers below zero and names of another form are refused", () => {
  const words = sent(EMPTY) as Record<string, unknown>;
  assert.notEqual(readTraffic(words, AT_MS, BOUNDS), null);
  const zeros = RATE_NAMES.map(() => 0);
  const refused: Readonly<Record<string, unknown>> = {
    services: Array.from({ length: LIMITS.servicesTold + 1 }, (_, at) => [`a/${at}`, zeros, []]),
    replicas: [["<b>", zeros]],
    ejected: ["a b"],
    total: zeros.map(() => -1),
    buckets: Array.from({ length: 65 }, () => 0),
    windowMs: 1e300,
    links: [["aaaaaaaaaaaaaaaaaaaa", "odd", null]],
    dns: { byCode: { "<script>": 1 }, bySource: {}, buckets: [] },
  };
  for (const [name, value] of Object.entries(refused))
    assert.equal(readTraffic({ ...words, [name]: value }, AT_MS, BOUNDS), null, name);
});

test("readTraffic: more than any host can do, and names that DNS does not have, are not believed", () => {
  const words = sent(EMPTY) as Record<string, unknown>;
  const rates = (changes: Partial<Rates>): readonly number[] =>
    RATE_NAMES.map((name) => ({ ...NO_RATES, ...changes })[name]);
  const dns = (byCode: object, bySource: object): object => ({ byCode, bySource, buckets: [] });
  for (const [name, value] of [
    ["total", rates({ requests: 1e13 })],
    ["total", rates({ open: 1e9 })],
    ["total", rates({ sentBytes: 1e13 })],
    ["windowMs", 3_600_000],
    ["buckets", [1e12]],
    ["dns", dns({ constructor: 1 }, {})],
    ["dns", dns({}, { toString: 1 })],
    ["dns", dns({ NOERROR: 1e9 }, {})],
  ] as const)
    assert.equal(
      readTraffic({ ...words, [name]: value }, AT_MS, BOUNDS),
      null,
      `${name} ${JSON.stringify(value)}`,
    );
  const busy = {
    ...words,
    total: rates({ requests: 1e6, sentBytes: 1e11 }),
    dns: dns({ NXDOMAIN: 9 }, { zone: 9 }),
  };
  assert.equal(readTraffic(busy, AT_MS, BOUNDS)?.total.requests, 1e6);
});

test("isNotYet: a host that only begins to look says so, and has told nothing", () => {
  assert.ok(isNotYet(JSON.parse(JSON.stringify(NOT_YET))));
  assert.equal(readTraffic(NOT_YET, AT_MS, BOUNDS), null);
  assert.ok(!isNotYet(sent(EMPTY)) && !isNotYet(null));
});

test("trafficWords: all that a host may tell, in the longest names and numbers, fits into an answer", () => {
  const many = (count: number): readonly string[] =>
    Array.from({ length: count }, (_, at) => `${at}-`.padEnd(140, "x"));
  const counts = Array.from({ length: 17 }, () => 5_999_999_999);
  const most: Rates = {
    requests: 99_999_999.999,
    connections: 99_999_999.999,
    kernelConnections: 99_999_999.999,
    errors: 99_999_999.999,
    retries: 99_999_999.999,
    receivedBytes: 999_999_999_999.125,
    sentBytes: 999_999_999_999.125,
    open: 99_999_999,
  };
  const named = Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`RCODE${at}`, 99_999_999.999]));
  const largest: HostTraffic = {
    ...EMPTY,
    total: most,
    buckets: counts,
    services: many(LIMITS.servicesTold).map((key) => ({ key, rates: most, buckets: counts })),
    replicas: many(LIMITS.replicasTold).map((replica) => ({ id: replica, rates: most })),
    ejected: many(LIMITS.replicasTold),
    dns: { byCode: named, bySource: { cache: 99_999_999.999 }, buckets: counts },
    links: Array.from({ length: LIMITS.linksTold }, () => {
      return { to: "a".repeat(20), state: "broken", rttMs: 86_399_999.999 } as const;
    }),
  };
  const length = Buffer.byteLength(JSON.stringify(trafficWords(largest, BOUNDS)));
  assert.ok(length <= LIMITS.questionAnswerBytes, `${length} bytes`);
  assert.deepEqual(readTraffic(sent(largest), AT_MS, BOUNDS), largest);
});

test("readTraffic: buckets with other bounds than ours are left out, and all else counts", () => {
  const services = [{ key: "default/web", rates: { ...NO_RATES, requests: 3 }, buckets: [1, 2] }];
  const told = { ...EMPTY, buckets: [1, 2], services, dns: { ...EMPTY.dns, buckets: [4] } };
  assert.deepEqual(readTraffic(sent(told), AT_MS, BOUNDS), told);
  const other = readTraffic(sent(told), AT_MS, { ...BOUNDS, requests: [0.1, 1, 10] });
  assert.deepEqual([other?.buckets, other?.services[0]?.buckets, other?.dns.buckets], [[], [], []]);
  assert.equal(other?.services[0]?.rates.requests, 3);
});
