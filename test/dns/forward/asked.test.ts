// Asked: which queries one answer may serve.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";
import packet from "dns-packet";

import { addressTo, onwardQuery, readAsked, type Asked } from "../../../src/dns/forward/asked.ts";
import { decode, opt, query, reply } from "../fixture.ts";

function asked(bytes: Buffer): Asked {
  return readAsked(bytes) ?? assert.fail("no question");
}

const PLAIN = query("www.example.com", "A");

test("asked: another id and another case of the name are the same question", () => {
  const same = asked(query("wWw.eXample.COM", "A", { id: 77 }));
  assert.equal(same.underWayKey, asked(PLAIN).underWayKey);
  assert.equal(same.rememberedKey, asked(PLAIN).rememberedKey);
});

test("asked: name, type, class, RD, CD, AD, EDNS and DO each make another question", () => {
  const ch = Buffer.from(PLAIN);
  ch.writeUInt16BE(3, ch.length - 2);
  const queries = [
    PLAIN,
    ch,
    query("www.example.org", "A"),
    query("www.example.com", "AAAA"),
    query("www.example.com", "A", { flags: 0 }),
    query("www.example.com", "A", { flags: packet.RECURSION_DESIRED | packet.CHECKING_DISABLED }),
    query("www.example.com", "A", { flags: packet.RECURSION_DESIRED | packet.AUTHENTIC_DATA }),
    query("www.example.com", "A", { additionals: [opt()] }),
    query("www.example.com", "A", { additionals: [opt({ flags: 0x8000, flag_do: true })] }),
  ].map(asked);
  for (const key of ["underWayKey", "rememberedKey"] as const) {
    assert.equal(new Set(queries.map((one) => one[key])).size, queries.length, key);
  }
});

test("asked: bytes that case folding would change outside of the name are left alone", () => {
  // Type 65 (HTTPS) is the byte of `A`, type 97 that of `a`.
  assert.notEqual(
    asked(query("x.example", "UNKNOWN_65")).rememberedKey,
    asked(query("x.example", "UNKNOWN_97")).rememberedKey,
  );
  const labelled = (byte: number): Buffer => {
    const bytes = query("x.example", "A");
    bytes[13] = byte;
    return bytes;
  };
  assert.notEqual(asked(labelled(0xc0)).rememberedKey, asked(labelled(0xe0)).rememberedKey);
});

test("asked: how much a client takes over UDP, and what means nothing in a query, makes no other question", () => {
  const junk = Buffer.alloc(9, 7);
  const odd = query("www.example.com", "A", { additionals: [opt()] });
  odd.writeUInt16BE(odd.readUInt16BE(2) | 0x064f, 2);
  odd.writeUInt16BE(odd.readUInt16BE(odd.length - 4) | 0x7fff, odd.length - 4);
  const queries = [
    ...[512, 4096].map((udpPayloadSize) =>
      query("www.example.com", "A", { additionals: [opt({ udpPayloadSize })] }),
    ),
    Buffer.concat([query("www.example.com", "A", { additionals: [opt()] }), junk]),
    odd,
  ];
  assert.equal(new Set(queries.map((bytes) => asked(bytes).underWayKey)).size, 1);
  assert.equal(new Set(queries.map((bytes) => asked(bytes).rememberedKey)).size, 1);
  const onward = queries.map((bytes) => onwardQuery(bytes, asked(bytes)).toString("hex"));
  assert.equal(new Set(onward).size, 1, "they go on as one");
  const plain = asked(Buffer.concat([PLAIN, junk]));
  assert.deepEqual(onwardQuery(Buffer.concat([PLAIN, junk]), plain), PLAIN);
});

test("asked: a query with a signature goes on byte for byte", () => {
  const key = {
    type: "TSIG" as "TXT",
    name: "key.example",
    data: Buffer.alloc(16),
    class: "ANY" as "IN",
    ttl: 0,
  };
  const bytes = query("www.example.com", "A", { flags: 0x0150, additionals: [opt(), key] });
  assert.equal(asked(bytes).rememberedKey, null);
  assert.deepEqual(onwardQuery(bytes, asked(bytes)), bytes);
});

test("asked: additional records that are damaged are no question", () => {
  const bytes = query("www.example.com", "A", { additionals: [opt()] });
  assert.equal(readAsked(bytes.subarray(0, -1)), null);
});

test("asked: with EDNS options nothing is served from memory: client subnets, cookies, what is unknown", () => {
  const subnet = { code: "CLIENT_SUBNET", ip: "192.0.2.0", sourcePrefixLength: 24 };
  const cookie = { code: 10, data: Buffer.from("0123456789abcdef", "hex") };
  const unknown = { code: 65_001, data: Buffer.alloc(0) };
  for (const option of [subnet, cookie, unknown]) {
    const bytes = query("www.example.com", "A", { additionals: [opt({ options: [option] })] });
    assert.equal(asked(bytes).rememberedKey, null);
    assert.equal(asked(bytes).underWayKey, asked(Buffer.from(bytes)).underWayKey);
  }
});

test("asked: no bytes make it throw, and what has no question is nothing", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void readAsked(Buffer.from(bytes))));
  assert.equal(readAsked(Buffer.alloc(12)), null);
  assert.equal(readAsked(PLAIN.subarray(0, 20)), null);
});

test("asked: a shared reply has each client's id and case, and says the same", () => {
  const first = reply(PLAIN, { address: "192.0.2.7" });
  const other = query("WWW.example.cOm", "A", { id: 4711 });
  const given = decode(addressTo(other, Buffer.from(first)));
  assert.equal(given.id, 4711);
  assert.equal(given.questions?.[0]?.name, "WWW.example.cOm");
  assert.equal(given.answers?.length, 1);
  const bare = Buffer.from(reply(PLAIN, { rcode: 1 }).subarray(0, 12));
  bare.writeUInt16BE(0, 4);
  assert.equal(addressTo(other, bare).length, 12, "an error without a question stays without one");
});
