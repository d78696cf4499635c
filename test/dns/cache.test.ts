// The cache: answers by the bytes of the query, bounded, and with turning addresses.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openAnswerCache } from "../../src/dns/cache.ts";
import { decodeQuery, encodeResponse, TCP_BYTES_MAX, type Encoded } from "../../src/dns/packet.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { answersOf, decode, opt, query } from "./fixture.ts";

function encoded(asked: Buffer, addresses: readonly string[]): Encoded {
  const decoded = decodeQuery(asked);
  assert.ok(decoded.kind === "query");
  const { name } = decoded.query.question;
  const records = addresses.map((address) => ({ name, ttlSeconds: 5, type: "A" as const, address }));
  const response = {
    rcode: "NOERROR" as const,
    authoritative: true,
    recursionAvailable: true,
    authority: [],
    additional: [],
  };
  return encodeResponse(decoded.query, { ...response, records }, TCP_BYTES_MAX);
}

test("cache: a hit is the answer under the id of the query that asks now", () => {
  const cache = openAnswerCache();
  const asked = query("web", "A");
  cache.put(cache.keyOf(asked, "host"), {
    encoded: encoded(asked, ["10.0.0.1"]),
    qtype: "A",
    rcode: "NOERROR",
  });
  const again = query("web", "A", { id: 0x9999 });
  const hit = cache.get(cache.keyOf(again, "host"), again);
  assert.deepEqual(hit && [decode(hit.bytes).id, answersOf(hit.bytes), hit.qtype], [
    0x9999,
    ["10.0.0.1"],
    "A",
  ]);
});

test("cache: another case, flag or asker is another query", () => {
  const cache = openAnswerCache();
  const asked = query("web", "A");
  cache.put(cache.keyOf(asked, "host"), { encoded: encoded(asked, []), qtype: "A", rcode: "NOERROR" });
  for (const other of [query("wEb", "A"), query("web", "AAAA"), query("web", "A", { flags: 0 })]) {
    assert.equal(cache.get(cache.keyOf(other, "host"), other), null);
  }
  assert.equal(cache.get(cache.keyOf(asked, "on blue"), asked), null);
});

test("cache: each address comes first equally often, and none is lost on the way", () => {
  const cache = openAnswerCache();
  const asked = query("tasks.web", "A", { additionals: [opt()] });
  const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
  const key = cache.keyOf(asked, "host");
  cache.put(key, { encoded: encoded(asked, addresses), qtype: "A", rcode: "NOERROR" });
  const firsts: (string | undefined)[] = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const hit = cache.get(key, asked);
    assert.ok(hit !== null);
    assert.deepEqual(answersOf(hit.bytes).toSorted(), addresses);
    assert.equal(decode(hit.bytes).additionals?.length, 1);
    firsts.push(answersOf(hit.bytes)[0]);
  }
  for (const address of addresses) {
    assert.equal(firsts.filter((first) => first === address).length, 2);
  }
});

test("cache: is bounded in number, and past the bound the oldest goes", () => {
  const cache = openAnswerCache();
  const asked = query("web", "A");
  const finished = { encoded: encoded(asked, ["10.0.0.1"]), qtype: "A", rcode: "NOERROR" };
  for (let at = 0; at <= LIMITS.dnsCacheEntries; at += 1) cache.put(`key ${at}`, finished);
  assert.ok(cache.entries <= LIMITS.dnsCacheEntries);
  assert.equal(cache.get("key 0", asked), null);
  assert.notEqual(cache.get(`key ${LIMITS.dnsCacheEntries}`, asked), null);
});

test("cache: is bounded in bytes, forgets its count with its entries, and refuses what would fill it alone", () => {
  const cache = openAnswerCache();
  const asked = query("web", "A");
  const big = { encoded: { bytes: Buffer.alloc(60_000), rotation: null }, qtype: "A", rcode: "NOERROR" };
  for (let at = 0; at < 1000; at += 1) cache.put(`key ${at}`, big);
  assert.ok(cache.sizeBytes <= LIMITS.dnsCacheBytes && cache.entries > 50);
  cache.put("same", big);
  const before = cache.sizeBytes;
  cache.put("same", big);
  assert.equal(cache.sizeBytes, before);
  cache.put("huge", { ...big, encoded: { bytes: Buffer.alloc(LIMITS.dnsCacheBytes / 4), rotation: null } });
  assert.equal(cache.get("huge", asked), null);
  cache.clear();
  assert.deepEqual([cache.entries, cache.sizeBytes], [0, 0]);
});
