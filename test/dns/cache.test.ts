// The cache: answers by the bytes of the query, bounded, and with turning addresses.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { AnswerCache, bytesFor } from "../../src/dns/cache.ts";
import { encodeResponse, TCP_BYTES_MAX, type Encoded } from "../../src/dns/encode.ts";
import { decodeQuery } from "../../src/dns/packet.ts";
import type { DnsRecord } from "../../src/dns/names/records.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { answersOf, decode, opt, query } from "./fixture.ts";

const WEB = query("web", "A");

function encoded(asked: Buffer, recordsOf: (name: string) => readonly DnsRecord[]): Encoded {
  const decoded = decodeQuery(asked);
  assert.ok(decoded.kind === "query");
  const records = recordsOf(decoded.query.question.name);
  const flags = { rcode: "NOERROR", authoritative: true, recursionAvailable: true } as const;
  return encodeResponse(decoded.query, { ...flags, records, authority: [], additional: [] }, TCP_BYTES_MAX);
}

/** What is put into a cache for a query: an answer with these addresses. */
function finished(asked: Buffer, addresses: readonly string[]) {
  const records = (name: string) =>
    addresses.map((address) => ({ name, ttlSeconds: 5, type: "A" as const, address }));
  return { encoded: encoded(asked, records), basis: null, generation: 0, label: addresses.join(" ") };
}

function opened(): AnswerCache<string> {
  return new AnswerCache(0x51ce);
}

test("cache: a hit is the answer under the id of the query that asks now", () => {
  const cache = opened();
  cache.put(WEB, 1, finished(WEB, ["10.0.0.1"]));
  const again = query("web", "A", { id: 0x9999 });
  const hit = cache.find(again, 1);
  assert.ok(hit !== null);
  const bytes = bytesFor(hit, again);
  assert.deepEqual([decode(bytes).id, answersOf(bytes), hit.label], [0x9999, ["10.0.0.1"], "10.0.0.1"]);
});

test("cache: two queries find each other's answer only when they differ in the id alone", () => {
  const bytes = fc.uint8Array({ minLength: 12, maxLength: 40 });
  const change = fc.tuple(fc.nat(39), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(bytes, change, fc.nat(3), fc.nat(3), (one, [at, flip], variant, other) => {
      const cache = opened();
      const asked = Buffer.from(one);
      cache.put(asked, variant, finished(WEB, []));
      const changed = Buffer.from(one);
      changed[at % changed.length] = (changed[at % changed.length] ?? 0) ^ flip;
      const isSame = at % changed.length < 2 && variant === other;
      assert.equal(cache.find(changed, other) !== null, isSame);
      assert.equal(cache.find(Buffer.concat([changed, Buffer.of(0)]), other), null);
      assert.notEqual(cache.find(Buffer.from(one), variant), null);
    }),
  );
});

test("cache: a query's buffer may be used for the next one, and answers given out stay as they are", () => {
  const cache = opened();
  const received = Buffer.from(WEB);
  cache.put(received, 1, finished(WEB, ["10.0.0.1"]));
  received.fill(0);
  const entry = cache.find(WEB, 1) ?? assert.fail();
  const first = bytesFor(entry, WEB);
  bytesFor(entry, query("web", "A", { id: 7 })).fill(0);
  assert.deepEqual([decode(first).id, answersOf(first)], [0x1234, ["10.0.0.1"]]);
});

test("cache: each address comes first equally often, and none is lost on the way", () => {
  const cache = opened();
  const asked = query("tasks.web", "A", { additionals: [opt()] });
  const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
  cache.put(asked, 1, finished(asked, addresses));
  const firsts: (string | undefined)[] = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const bytes = bytesFor(cache.find(asked, 1) ?? assert.fail(), asked);
    assert.deepEqual(answersOf(bytes).toSorted(), addresses);
    assert.equal(decode(bytes).additionals?.length, 1);
    firsts.push(answersOf(bytes)[0]);
  }
  for (const address of addresses) {
    assert.equal(firsts.filter((first) => first === address).length, 2);
  }
});

test("cache: what holds some of the addresses is sent till each came first once, and has then to be made anew", () => {
  const cache = opened();
  const { encoded: whole, ...rest } = finished(WEB, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  const rotation = { ...(whole.rotation ?? assert.fail()), isSample: true };
  cache.put(WEB, 1, { ...rest, encoded: { ...whole, rotation } });
  const firsts: (string | undefined)[] = [];
  for (let entry = cache.find(WEB, 1); entry !== null; entry = cache.find(WEB, 1))
    firsts.push(answersOf(bytesFor(entry, WEB))[0]);
  assert.deepEqual(firsts, ["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
  cache.put(WEB, 1, finished(WEB, ["10.0.0.4"]));
  assert.deepEqual([cache.find(WEB, 1)?.label, cache.entries], ["10.0.0.4", 1]);
});

test("cache: records of different sizes are turned as well, with what comes behind them", () => {
  const cache = opened();
  const asked = query("_http._tcp.web", "SRV", { additionals: [opt()] });
  const targets = ["a.web", "longer.web", "the-longest-of-all.web"];
  const srv = (name: string) =>
    targets.map((target) => {
      return { name, ttlSeconds: 5, type: "SRV" as const, priority: 0, weight: 1, port: 80, target };
    });
  cache.put(asked, 1, { ...finished(asked, []), encoded: encoded(asked, srv) });
  for (let turn = 1; turn <= 3; turn += 1) {
    const { answers = [], additionals } = decode(bytesFor(cache.find(asked, 1) ?? assert.fail(), asked));
    const told = answers.map((record) => (record.type === "SRV" ? record.data.target : ""));
    assert.deepEqual(told, [...targets.slice(turn % 3), ...targets.slice(0, turn % 3)]);
    assert.equal(additionals?.length, 1);
  }
});

/** Some thousands of different queries. */
function numbered(at: number): Buffer {
  const asked = Buffer.from(WEB);
  return Buffer.concat([asked, Buffer.of(at & 255, (at >> 8) & 255, at >> 16)]);
}

test("cache: is bounded in number, and past the bound the oldest goes", () => {
  const cache = opened();
  const given = finished(WEB, ["10.0.0.1"]);
  const total = LIMITS.dnsCacheEntries + 100;
  for (let at = 0; at < total; at += 1) cache.put(numbered(at), 1, given);
  assert.ok(cache.entries <= LIMITS.dnsCacheEntries && cache.entries > LIMITS.dnsCacheEntries / 2);
  assert.equal(cache.find(numbered(0), 1), null);
  assert.notEqual(cache.find(numbered(total - 1), 1), null);
});

test("cache: is bounded in bytes, counts an answer once, and refuses what would fill it alone", () => {
  const cache = opened();
  const sized = (bytes: number) => {
    return { ...finished(WEB, []), encoded: { bytes: Buffer.alloc(bytes), rotation: null, serialAt: null } };
  };
  for (let at = 0; at < 1000; at += 1) cache.put(numbered(at), 1, sized(60_000));
  assert.ok(cache.sizeBytes <= LIMITS.dnsCacheBytes && cache.entries > 50);
  cache.put(numbered(5000), 1, sized(60_000));
  const before = cache.sizeBytes;
  cache.put(numbered(5000), 1, sized(60_000));
  assert.equal(cache.sizeBytes, before);
  cache.put(numbered(6000), 1, sized(LIMITS.dnsCacheBytes / 4));
  assert.equal(cache.find(numbered(6000), 1), null);
});

test("cache: queries with one hash cost each other their place and nothing else", () => {
  const cache = opened();
  const given = finished(WEB, []);
  // Enough queries that some share a 32-bit hash.
  const total = LIMITS.dnsCacheEntries;
  for (let at = 0; at < total; at += 1) {
    cache.put(numbered(at), 1, { ...given, label: String(at) });
    assert.equal(cache.find(numbered(at), 1)?.label, String(at));
  }
  for (let at = 0; at < total; at += 1) {
    const found = cache.find(numbered(at), 1);
    assert.ok(found === null || found.label === String(at));
  }
});
