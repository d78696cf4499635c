// Packets: what bytes mean and what answers look like on the wire, with dns-packet as the oracle.

import assert from "node:assert/strict";
import { test } from "node:test";

import packet from "dns-packet";
import * as fc from "fast-check";

import {
  decodeQuery,
  emptyResponse,
  encodeResponse,
  readReply,
  TCP_BYTES_MAX,
  udpBytesMax,
  type Query,
  type Response,
} from "../../src/dns/packet.ts";
import type { DnsRecord } from "../../src/dns/records.ts";
import { decode, opt, query, reply } from "./fixture.ts";

function understood(bytes: Buffer): Query {
  const decoded = decodeQuery(bytes);
  assert.ok(decoded.kind === "query", decoded.kind);
  return decoded.query;
}

function refusal(bytes: Buffer): Buffer {
  const decoded = decodeQuery(bytes);
  assert.ok(decoded.kind === "refused", decoded.kind);
  return decoded.bytes;
}

function responseOf(records: readonly DnsRecord[], authority: readonly DnsRecord[] = []): Response {
  return {
    rcode: "NOERROR",
    authoritative: true,
    recursionAvailable: true,
    records,
    authority,
    additional: [],
  };
}

const a = (name: string, address: string): DnsRecord => ({ name, ttlSeconds: 5, type: "A", address });

const aaaa = (name: string, address: string): DnsRecord => ({ name, ttlSeconds: 5, type: "AAAA", address });

const SOA: DnsRecord = {
  name: "skein.internal",
  ttlSeconds: 5,
  type: "SOA",
  primary: "host-1.node.skein.internal",
  contact: "hostmaster.skein.internal",
  serial: 4_000_000_000,
  refreshSeconds: 3600,
  retrySeconds: 600,
  expireSeconds: 86_400,
  minimumSeconds: 5,
};

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
  const reasons = [Buffer.alloc(16), Buffer.alloc(1501), answerBytes].map((bytes) => {
    const decoded = decodeQuery(bytes);
    return decoded.kind === "drop" ? decoded.reason : decoded.kind;
  });
  assert.deepEqual(reasons, ["short", "long", "answer"]);
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

test("packet: a broken EDNS option is FORMERR, an unknown one is ignored", () => {
  const unknown = query("web", "A", {
    additionals: [opt({ options: [{ code: 65_001, data: Buffer.from("x") }] })],
  });
  assert.notEqual(understood(unknown).edns, null);
  const broken = Buffer.from(unknown);
  broken.writeUInt16BE(99, broken.length - 3);
  assert.equal(decode(refusal(broken)).rcode, "FORMERR");
});

test("packet: odd bytes in a name come back as they were sent and never look like a name of ours", () => {
  const start = query("x", "A").subarray(0, 12);
  const name = Buffer.from("\x0eskein.internal\x03\xff\x00A\x00", "latin1");
  const read = understood(Buffer.concat([start, name, Buffer.from("00010001", "hex")]));
  assert.equal(read.question.name, "skein\\046internal.\\255\\000A");
  const { bytes } = encodeResponse(read, responseOf([], [SOA]), 512);
  assert.deepEqual(bytes.subarray(12, 12 + name.length), name);
  const soa = decode(bytes).authorities?.[0];
  assert.equal(soa?.name, "skein.internal");
});

test("packet: an answer says what it should to the oracle, in the case that was asked for", () => {
  const read = understood(query("wEb.sKEIN.internal", "A", { flags: 0x0110 }));
  const records = [a("wEb.sKEIN.internal", "10.0.0.1"), a("wEb.sKEIN.internal", "10.0.0.2")];
  const { bytes } = encodeResponse(read, responseOf(records, [SOA]), 512);
  const seen = decode(bytes);
  assert.deepEqual(
    [seen.id, seen.rcode, seen.flag_aa, seen.flag_ra, seen.flag_rd],
    [0x1234, "NOERROR", true, true, true],
  );
  assert.deepEqual([seen.flag_tc, seen.flag_ad, seen.flag_cd], [false, false, true]);
  assert.deepEqual(
    seen.answers?.map((record) => [record.name, "data" in record && record.data]),
    [
      ["wEb.sKEIN.internal", "10.0.0.1"],
      ["wEb.sKEIN.internal", "10.0.0.2"],
    ],
  );
  const soa = seen.authorities?.[0];
  assert.deepEqual(soa?.type === "SOA" && soa.data, {
    mname: "host-1.node.sKEIN.internal",
    rname: "hostmaster.sKEIN.internal",
    serial: 4_000_000_000,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: 5,
  });
});

test("packet: every IPv4 and IPv6 address reaches the oracle as the same address", () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV6(), (v4, v6) => {
      const records = [a("x", v4), aaaa("x", v6)];
      const { bytes } = encodeResponse(understood(query("x", "A")), responseOf(records), TCP_BYTES_MAX);
      const [first, second] = decode(bytes).answers ?? [];
      assert.equal(first?.type === "A" && first.data, v4);
      assert.ok(second?.type === "AAAA");
      assert.equal(canonical(second.data), canonical(v6));
    }),
    { numRuns: 2000 },
  );
});

/** The one text form of an IPv6 address, by the URL parser. */
function canonical(address: string): string {
  return new URL(`http://[${address}]`).hostname;
}

test("packet: the answer has an OPT exactly when the query had one, with DO as it was sent", () => {
  const bare = decode(encodeResponse(understood(query("x", "A")), emptyResponse("REFUSED"), 512).bytes);
  assert.deepEqual(bare.additionals, []);
  const withOpt = understood(query("x", "A", { additionals: [opt({ flag_do: true, flags: 0x8000 })] }));
  const [own, ...rest] =
    decode(encodeResponse(withOpt, emptyResponse("REFUSED"), 512).bytes).additionals ?? [];
  assert.deepEqual(rest, []);
  assert.ok(own?.type === "OPT");
  assert.deepEqual([own.udpPayloadSize, own.flag_do, own.ednsVersion], [1232, true, 0]);
});

test("packet: over UDP a client gets at most what it takes, 512 without EDNS and never more than 1232", () => {
  const sized = (udpPayloadSize: number) =>
    udpBytesMax(understood(query("x", "A", { additionals: [opt({ udpPayloadSize })] })));
  assert.equal(udpBytesMax(understood(query("x", "A"))), 512);
  assert.deepEqual([1, 512, 700, 1232, 4096].map(sized), [512, 512, 700, 1232, 1232]);
});

test("packet: an answer is whole, or has TC and nothing but question and OPT", () => {
  const counts = fc.integer({ min: 0, max: 120 });
  fc.assert(
    fc.property(counts, fc.boolean(), fc.integer({ min: 512, max: 1232 }), (count, hasOpt, sizeMax) => {
      const read = understood(query("web.skein.internal", "A", { additionals: hasOpt ? [opt()] : [] }));
      const records = Array.from({ length: count }, (_, at) => a("web.skein.internal", `10.0.0.${at}`));
      const { bytes } = encodeResponse(read, responseOf(records), sizeMax);
      const seen = decode(bytes);
      const needed = 12 + 24 + count * 16 + (hasOpt ? 11 : 0);
      assert.ok(bytes.length <= sizeMax);
      assert.equal(seen.flag_tc, needed > sizeMax);
      assert.equal(seen.answers?.length, needed > sizeMax ? 0 : count);
      assert.equal(seen.additionals?.length, hasOpt ? 1 : 0);
    }),
  );
});

test("packet: two thousand addresses of either family fit into one message over TCP", () => {
  const records = Array.from({ length: 2000 }, (_, at) => aaaa("x", `fd00::${at.toString(16)}`));
  const long = `${"x".repeat(60)}.`.repeat(4).slice(0, -1);
  const { bytes } = encodeResponse(
    understood(query(long, "AAAA")),
    responseOf(records.map((record) => ({ ...record, name: long }))),
    TCP_BYTES_MAX,
  );
  assert.equal(decode(bytes).answers?.length, 2000);
});

test("packet: a reply counts only for its own query", () => {
  const asked = query("Web.example", "A");
  const good = reply(asked, { address: "10.0.0.1" });
  assert.deepEqual(readReply(good, asked), { rcodeCode: 0, truncated: false });
  const lowered = reply(query("web.example", "A"), { rcode: 3, truncated: true });
  assert.deepEqual(readReply(lowered, asked), { rcodeCode: 3, truncated: true });
  const otherId = Buffer.from(good);
  otherId.writeUInt16BE(0x4321, 0);
  const others = [
    otherId,
    asked,
    reply(query("web.example", "AAAA"), {}),
    reply(query("evil.example", "A"), {}),
  ];
  for (const bytes of others) assert.equal(readReply(bytes, asked), null);
  const bareError = Buffer.from("123480010000000000000000", "hex");
  assert.deepEqual(readReply(bareError, asked), { rcodeCode: 1, truncated: false });
});

test("packet: whatever an upstream sends, reading it never throws", () => {
  const asked = query("web.example", "A");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, hasHeader) => {
      const start = hasHeader ? Buffer.from("123481800001", "hex") : Buffer.alloc(0);
      readReply(Buffer.concat([start, bytes]), asked);
    }),
  );
});

test("packet: the oracle and dns2 agree on what an encoded query is", () => {
  const bytes = packet.encode({ type: "query", id: 1, questions: [{ type: "A", name: "a.b.c" }] });
  assert.equal(understood(bytes).question.name, "a.b.c");
});
