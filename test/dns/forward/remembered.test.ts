// Remembered: how long what upstreams said is told again.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";
import packet, { type Answer, type Packet } from "dns-packet";

import { Remembered } from "../../../src/dns/forward/remembered.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { decode, opt, query, reply } from "../fixture.ts";

const NAME = "www.example.com";
const A: Answer = { type: "A", name: NAME, ttl: 60, data: "192.0.2.7" };
const CNAME: Answer = { type: "CNAME", name: NAME, ttl: 60, data: "web.example.net" };

function soa(ttl: number, minimum: number): Answer {
  const times = { serial: 1, refresh: 1, retry: 1, expire: 1, minimum };
  return {
    type: "SOA",
    name: "example.com",
    ttl,
    data: { mname: "ns.example.com", rname: "x.example.com", ...times },
  };
}

function said(more: Partial<Packet>, rcode = 0): Buffer {
  const questions = [{ type: "A" as const, name: NAME, class: "IN" as const }];
  const bytes = packet.encode({ type: "response", id: 1, questions, ...more });
  bytes.writeUInt8((bytes.readUInt8(3) & 0xf0) | rcode, 3);
  return bytes;
}

/** For how many whole seconds a reply is told again. */
function holdsSeconds(bytes: Buffer): number {
  const remembered = new Remembered();
  remembered.put("key", bytes, 0);
  let seconds = 0;
  while (remembered.get("key", seconds * 1000) !== null) seconds += 1;
  return seconds;
}

function ttlsOf(bytes: Buffer | undefined): number[] {
  assert.ok(bytes !== undefined);
  const { answers = [], authorities = [] } = decode(bytes);
  return [...answers, ...authorities].flatMap((record) => ("ttl" in record ? [record.ttl ?? 0] : []));
}

test("remembered: an answer holds as long as its shortest-lived record, with its TTLs counted down", () => {
  const remembered = new Remembered();
  const bytes = said({
    answers: [
      { ...CNAME, ttl: 300 },
      { ...A, name: "web.example.net", ttl: 60 },
    ],
  });
  remembered.put("key", bytes, 1000);
  assert.deepEqual(ttlsOf(remembered.get("key", 1000)?.bytes), [300, 60]);
  assert.deepEqual(ttlsOf(remembered.get("key", 31_000)?.bytes), [270, 30]);
  assert.deepEqual(ttlsOf(remembered.get("key", 60_999)?.bytes), [241, 1]);
  assert.equal(remembered.get("key", 61_000), null);
});

test("remembered: nothing but TTLs is changed, and not the OPT's, whose flags lie there", () => {
  const edns = opt({ flags: 0x8000, flag_do: true, udpPayloadSize: 1400 });
  const bytes = said({ answers: [A], additionals: [edns] });
  const remembered = new Remembered();
  remembered.put("key", bytes, 0);
  const later = decode(remembered.get("key", 5000)?.bytes ?? assert.fail());
  const before = decode(bytes);
  assert.deepEqual(later.additionals, before.additionals);
  assert.deepEqual(later.answers, [{ ...before.answers?.[0], ttl: 55 }]);
});

test("remembered: nothing is held longer than an hour, nor told to hold longer", () => {
  const bytes = said({ answers: [{ ...A, ttl: 604_800 }] });
  assert.equal(holdsSeconds(bytes), 3600);
  const remembered = new Remembered();
  remembered.put("key", bytes, 0);
  assert.deepEqual(ttlsOf(remembered.get("key", 0)?.bytes), [3600]);
});

test("remembered: an absence holds for the lesser of SOA's TTL and minimum, five minutes at most (RFC 2308 5)", () => {
  for (const rcode of [0, 3]) {
    assert.equal(holdsSeconds(said({ authorities: [soa(60, 20)] }, rcode)), 20);
    assert.equal(holdsSeconds(said({ authorities: [soa(20, 60)] }, rcode)), 20);
    assert.equal(holdsSeconds(said({ authorities: [soa(9000, 9000)] }, rcode)), 300);
    assert.equal(holdsSeconds(said({ authorities: [soa(0, 60)] }, rcode)), 0);
    assert.equal(holdsSeconds(said({}, rcode)), 0, "without an SOA it does not hold at all");
  }
  const remembered = new Remembered();
  remembered.put("key", said({ authorities: [soa(60, 20)] }, 3), 0);
  const given = remembered.get("key", 5000);
  assert.equal(given?.rcodeCode, 3);
  assert.deepEqual(ttlsOf(given?.bytes), [15], "whoever keeps it after us keeps it no longer");
});

test("remembered: another name that leads to nothing is an absence, too", () => {
  assert.equal(holdsSeconds(said({ answers: [CNAME], authorities: [soa(30, 30)] })), 30);
  assert.equal(holdsSeconds(said({ answers: [CNAME] })), 0);
});

test("remembered: a failure is told again for some seconds, refusals and other codes not at all", () => {
  const failure = holdsSeconds(said({}, 2));
  assert.ok(failure >= 1 && failure <= 5, `${failure} s`);
  for (const rcode of [1, 4, 5]) assert.equal(holdsSeconds(said({}, rcode)), 0);
});

test("remembered: a failure is told without the records that came with it, but with its EDNS part", () => {
  const edns = opt({ udpPayloadSize: 1400 });
  const more = {
    answers: [{ ...A, ttl: 0 }],
    authorities: [soa(0, 0)],
    additionals: [edns, { ...A, ttl: 0 }],
  };
  for (const bytes of [said(more, 2), said({ ...more, additionals: [{ ...A, ttl: 0 }, edns] }, 2)]) {
    const remembered = new Remembered();
    remembered.put("key", bytes, 0);
    for (const ageMs of [0, 999, 1000, 1999]) {
      const told = decode(remembered.get("key", ageMs)?.bytes ?? assert.fail());
      assert.deepEqual([told.rcode, told.questions?.length], ["SERVFAIL", 1]);
      assert.deepEqual([told.answers, told.authorities], [[], []]);
      assert.deepEqual(told.additionals, decode(said({ additionals: [edns] })).additionals);
    }
  }
});

test("remembered: TTL 0, a TTL beyond 31 bits, and what was truncated are not kept", () => {
  assert.equal(holdsSeconds(said({ answers: [{ ...A, ttl: 0 }] })), 0);
  assert.equal(holdsSeconds(said({ answers: [{ ...A, ttl: 0x8000_0001 }] })), 0);
  assert.equal(holdsSeconds(said({ answers: [A], flags: packet.TRUNCATED_RESPONSE })), 0);
});

test("remembered: whatever the bytes, keeping them never fails; cut or padded ones are not kept", () => {
  const whole = said({ answers: [CNAME, A], authorities: [soa(60, 60)], additionals: [opt()] });
  assert.equal(holdsSeconds(whole), 60);
  for (let size = 0; size < whole.length; size += 1) assert.equal(holdsSeconds(whole.subarray(0, size)), 0);
  assert.equal(holdsSeconds(Buffer.concat([whole, Buffer.alloc(1)])), 0);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255))), (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, byte] of changes) bytes[at] = byte;
      const remembered = new Remembered();
      remembered.put("key", bytes, 0);
      const kept = remembered.get("key", 1000)?.bytes.length ?? bytes.length;
      // Of a failure only the question is kept; all else is kept whole or not at all.
      if ((bytes.readUInt8(3) & 15) === 2) assert.ok(kept <= bytes.length);
      else assert.equal(kept, bytes.length);
    }),
    { examples: [[[[3, 2]]]], numRuns: 1000 },
  );
});

test("remembered: whatever was sent and whenever it is asked for, no TTL below zero or above an hour is told", () => {
  const ttl = fc.constantFrom(0, 1, 2, 3, 60, 3601, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff);
  const record = fc.oneof(
    ttl.map((seconds): Answer => ({ ...A, ttl: seconds })),
    ttl.map((seconds): Answer => ({ ...CNAME, ttl: seconds })),
    fc.tuple(ttl, ttl).map(([seconds, minimum]) => soa(seconds, minimum)),
    fc.constant(opt({ extendedRcode: 0 })),
  );
  const section = fc.array(record, { maxLength: 3 });
  const replies = fc
    .record({ answers: section, authorities: section, additionals: section })
    .chain((more) =>
      fc.tuple(
        fc.constantFrom(0, 0, 1, 2, 2, 3, 5).map((rcode) => said(more, rcode)),
        fc.nat(),
      ),
    )
    // Half of them whole, half cut somewhere: in a name, a TTL, in the middle of what a record says.
    .map(([bytes, cut]) => (cut % 2 === 0 ? bytes : bytes.subarray(0, cut % (bytes.length + 1))));
  const age = fc.constantFrom(
    -5000,
    0,
    999,
    1000,
    1999,
    2000,
    3000,
    59_999,
    3_600_000,
    86_400_000,
    90_000_000,
  );
  fc.assert(
    fc.property(fc.array(replies, { maxLength: 3 }), fc.array(age, { maxLength: 6 }), (put, ages) => {
      const remembered = new Remembered();
      for (const bytes of put) remembered.put("key", bytes, 0);
      for (const nowMs of ages) {
        for (const told of [remembered.get("key", nowMs), remembered.stale("key", nowMs)]) {
          for (const seconds of told === null ? [] : ttlsOf(told.bytes))
            assert.ok(seconds >= 0 && seconds <= 3600);
        }
        remembered.serveStale("key", nowMs + 2000);
      }
      remembered.clear();
      assert.equal(remembered.sizeBytes, 0);
    }),
    { numRuns: 2000 },
  );
});

test("remembered: an answer that is due can be told for a day more, with a TTL of 30 (RFC 8767)", () => {
  const remembered = new Remembered();
  remembered.put("key", said({ answers: [A] }), 0);
  assert.equal(remembered.get("key", 61_000), null);
  assert.deepEqual(ttlsOf(remembered.stale("key", 61_000)?.bytes), [30]);
  remembered.serveStale("key", 90_000);
  assert.deepEqual(ttlsOf(remembered.get("key", 89_000)?.bytes), [30]);
  assert.equal(remembered.get("key", 90_000), null);
  assert.equal(remembered.stale("key", 86_461_000), null);
  assert.equal(remembered.entries, 0);
});

test("remembered: a failure does not replace an answer, an absence does; neither is told once it is due", () => {
  const remembered = new Remembered();
  remembered.put("key", said({ answers: [A] }), 0);
  remembered.put("key", said({}, 2), 61_000);
  assert.equal(remembered.stale("key", 61_000)?.rcodeCode, 0);
  remembered.put("key", said({ authorities: [soa(10, 10)] }, 3), 62_000);
  assert.equal(remembered.get("key", 62_000)?.rcodeCode, 3);
  assert.equal(remembered.stale("key", 62_000), null);
  assert.equal(remembered.get("key", 72_000), null);
  assert.deepEqual([remembered.entries, remembered.sizeBytes], [0, 0]);
});

test("remembered: bounded in number and bytes, and what was asked for longest ago goes first", () => {
  const small = said({ answers: [A] });
  const remembered = new Remembered();
  for (let at = 0; at < LIMITS.dnsRememberedEntries; at += 1) {
    remembered.put(String(at), small, 0);
    remembered.get("0", 0);
  }
  const before = remembered.entries;
  remembered.put("one more", small, 0);
  assert.equal(remembered.entries, before);
  assert.notEqual(remembered.get("0", 0), null);
  assert.equal(remembered.get("1", 0), null);
  const large = said({ answers: Array.from({ length: 2000 }, () => A) });
  for (let at = 0; at < 1000; at += 1) remembered.put(`large ${at}`, large, 0);
  assert.ok(remembered.sizeBytes <= LIMITS.dnsRememberedBytes);
  assert.notEqual(remembered.get("large 999", 0), null);
  remembered.clear();
  assert.deepEqual([remembered.entries, remembered.sizeBytes], [0, 0]);
});

test("remembered: what nobody answered is silent for a second, or until there is an answer; bounded", () => {
  const kept = new Remembered();
  kept.noteSilence("a", 0);
  assert.deepEqual(
    [kept.isSilent("a", 999), kept.isSilent("b", 0), kept.isSilent("a", 1000)],
    [true, false, false],
  );
  kept.noteSilence("a", 2000);
  kept.put("a", reply(query("www.example.com", "A"), { address: "192.0.2.1" }), 2000);
  assert.equal(kept.isSilent("a", 2000), false);
  kept.noteSilence("first", 3000);
  for (let count = 0; count < LIMITS.dnsSilencesMax; count += 1) kept.noteSilence(`name-${count}`, 3000);
  assert.deepEqual([kept.isSilent("first", 3000), kept.isSilent("name-1", 3000)], [false, true]);
});
