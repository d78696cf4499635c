// Packets from clients: what their bytes mean, with dns-packet as the oracle.

import assert from "node:assert/strict";
import { test } from "node:test";

import packet from "dns-packet";
import * as fc from "fast-check";

import { decodeQuery, framed } from "../../src/dns/packet.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { decode, opt, query, reply, understood } from "./fixture.ts";

function refusal(bytes: Buffer): Buffer {
  const decoded = decodeQuery(bytes);
  assert.ok(decoded.kind === "refused", decoded.kind);
  return decoded.bytes;
}

test("packet: a query is understood as the oracle wrote it", () => {
  const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
  const names = fc.array(label, { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(names, fc.constantFrom("A", "AAAA", "SRV", "TXT"), fc.boolean(), (labels, type, hasOpt) => {
      const additionals = hasOpt ? [opt({ udpPayloadSize: 1400, flag_do: true, flags: 0x8000 })] : [];
      const read = understood(query(labels.join("."), type, { additionals }));
      assert.equal(read.question.name, labels.join("."));
      assert.equal(read.question.classCode, 1);
      assert.equal(read.recursionDesired, true);
      assert.deepEqual(read.edns, hasOpt ? { payloadBytes: 1400, dnssecOk: true } : null);
    }),
  );
});

test("packet: whatever bytes arrive, reading them never throws", () => {
  const header = fc.constantFrom("", "123401000001000000000000", "123401000001000000000002");
  fc.assert(
    fc.property(header, fc.uint8Array({ maxLength: 1600 }), (start, rest) => {
      const decoded = decodeQuery(Buffer.concat([Buffer.from(start, "hex"), rest]));
      if (decoded.kind === "refused") decode(decoded.bytes);
    }),
    { numRuns: 5000 },
  );
});

test("packet: a damaged query is read, refused or dropped, and never throws", () => {
  const good = query("web.default.skein.internal", "A", { additionals: [opt()] });
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(damage, fc.nat(good.length), (changes, size) => {
      const bytes = Buffer.from(good);
      for (const [at, value] of changes) bytes.writeUInt8(value, at);
      decodeQuery(bytes);
      decodeQuery(bytes.subarray(0, size));
    }),
    { numRuns: 5000 },
  );
});

test("packet: too short, too long and answers are not worth an answer", () => {
  const answerBytes = reply(query("web", "A"), { address: "10.0.0.1" });
  const reasons = [Buffer.alloc(11), Buffer.alloc(LIMITS.dnsQueryBytes + 1), answerBytes].map((bytes) => {
    const decoded = decodeQuery(bytes);
    return decoded.kind === "drop" ? decoded.reason : decoded.kind;
  });
  assert.deepEqual(reasons, ["short", "long", "answer"]);
});

test("packet: a header alone is FORMERR, or NOTIMP with another opcode", () => {
  const header = query("web", "A").subarray(0, 12);
  assert.equal(decode(refusal(header)).rcode, "FORMERR");
  const update = Buffer.from(header);
  update.writeUInt8(5 << 3, 2);
  assert.equal(decode(refusal(update)).rcode, "NOTIMP");
});

test("packet: another opcode is NOTIMP, with opcode and id kept", () => {
  const bytes = query("web", "A", { flags: 4 << 11 });
  const out = refusal(bytes);
  assert.equal(out.length, 12);
  assert.equal(out.readUInt16BE(0), 0x1234);
  assert.equal((out.readUInt8(2) >> 3) & 15, 4);
  assert.equal(decode(out).rcode, "NOTIMP");
});

test("packet: no question, two questions, records in a query and three additionals are FORMERR", () => {
  const question = { name: "web", type: "A" as const };
  const record = { name: "web", type: "A" as const, ttl: 1, data: "10.0.0.1" };
  const bad = [
    query("web", "A", { questions: [], additionals: [opt()] }),
    query("web", "A", { questions: [question, question] }),
    query("web", "A", { answers: [record] }),
    query("web", "A", { authorities: [record] }),
    query("web", "A", { additionals: [record, record, record] }),
  ];
  for (const bytes of bad) assert.equal(decode(refusal(bytes)).rcode, "FORMERR");
});

test("packet: a compressed, overlong or cut question is FORMERR", () => {
  const whole = query("web", "A");
  const compressed = Buffer.from("12340100000100000000000003776562c00c00010001", "hex");
  const label = Buffer.from(`04${"61".repeat(4)}`, "hex");
  const long = Buffer.concat([
    whole.subarray(0, 12),
    ...Array.from({ length: 51 }, () => label),
    Buffer.from("0000010001", "hex"),
  ]);
  for (const bytes of [compressed, long, whole.subarray(0, -1)]) {
    assert.equal(decode(refusal(bytes)).rcode, "FORMERR");
  }
});

test("packet: two OPTs are FORMERR and another EDNS version is BADVERS, each with exactly one OPT", () => {
  const two = decode(refusal(query("web", "A", { additionals: [opt(), opt()] })));
  assert.equal(two.rcode, "FORMERR");
  assert.equal(two.additionals?.length, 1);
  const raw = refusal(query("web", "A", { additionals: [opt({ ednsVersion: 1 })] }));
  const [badVersion] = decode(raw).additionals ?? [];
  assert.ok(badVersion?.type === "OPT");
  assert.deepEqual([badVersion.extendedRcode, badVersion.ednsVersion, raw.readUInt8(3) & 15], [1, 0, 0]);
});

test("packet: an OPT that has an owner is FORMERR", () => {
  const plain = query("web", "A", { additionals: [opt()] });
  const owned = Buffer.concat([plain.subarray(0, -11), Buffer.from("\x01x", "latin1"), plain.subarray(-11)]);
  assert.equal(decode(refusal(owned)).rcode, "FORMERR");
});

test("packet: a broken EDNS option is FORMERR, an unknown one is ignored", () => {
  const unknown = query("web", "A", {
    additionals: [opt({ options: [{ code: 65_001, data: Buffer.from("x") }] })],
  });
  assert.notEqual(understood(unknown).edns, null);
  const broken = Buffer.from(unknown);
  broken.writeUInt16BE(99, broken.length - 3);
  assert.equal(decode(refusal(broken)).rcode, "FORMERR");
});

test("packet: the oracle and dns2 agree on what an encoded query is", () => {
  const bytes = packet.encode({ type: "query", id: 1, questions: [{ type: "A", name: "a.b.c" }] });
  assert.equal(understood(bytes).question.name, "a.b.c");
});

test("packet: over TCP a message has its length in front", () => {
  assert.deepEqual(framed(Buffer.from("abc")), Buffer.from("\0\x03abc", "latin1"));
});
