// Answers on the wire, with dns-packet as the oracle.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Answer } from "dns-packet";
import * as fc from "fast-check";

import {
  emptyResponse,
  encodeResponse,
  encodeTruncated,
  TCP_BYTES_MAX,
  udpBytesMax,
  type Response,
} from "../../src/dns/encode.ts";
import type { DnsRecord } from "../../src/dns/names/records.ts";
import { decode, opt, query, understood } from "./fixture.ts";

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

test("encode: odd bytes in a name come back as they were sent and never look like a name of ours", () => {
  const start = query("x", "A").subarray(0, 12);
  const name = Buffer.from("\x0eskein.internal\x03\xff\x00A\x00", "latin1");
  const read = understood(Buffer.concat([start, name, Buffer.from("00010001", "hex")]));
  assert.equal(read.question.name, "skein\\046internal.\\255\\000A");
  const { bytes } = encodeResponse(read, responseOf([], [SOA]), 512);
  assert.deepEqual(bytes.subarray(12, 12 + name.length), name);
  const soa = decode(bytes).authorities?.[0];
  assert.equal(soa?.name, "skein.internal");
});

test("encode: an answer says what it should to the oracle, in the case that was asked for", () => {
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

test("encode: every IPv4 and IPv6 address reaches the oracle as the same address", () => {
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

test("encode: the answer has an OPT exactly when the query had one, with DO as it was sent", () => {
  const bare = decode(encodeResponse(understood(query("x", "A")), emptyResponse("REFUSED"), 512).bytes);
  assert.deepEqual(bare.additionals, []);
  const withOpt = understood(query("x", "A", { additionals: [opt({ flag_do: true, flags: 0x8000 })] }));
  const [own, ...rest] =
    decode(encodeResponse(withOpt, emptyResponse("REFUSED"), 512).bytes).additionals ?? [];
  assert.deepEqual(rest, []);
  assert.ok(own?.type === "OPT");
  assert.deepEqual([own.udpPayloadSize, own.flag_do, own.ednsVersion], [1232, true, 0]);
});

test("encode: over UDP a client gets at most what it takes, 512 without EDNS and never more than 1232", () => {
  const sized = (udpPayloadSize: number) =>
    udpBytesMax(understood(query("x", "A", { additionals: [opt({ udpPayloadSize })] })));
  assert.equal(udpBytesMax(understood(query("x", "A"))), 512);
  assert.deepEqual([1, 512, 700, 1232, 4096].map(sized), [512, 512, 700, 1232, 1232]);
});

test("encode: an answer is whole, or has TC and the records that fit, with nothing behind them but the OPT", () => {
  const counts = fc.integer({ min: 0, max: 120 });
  fc.assert(
    fc.property(counts, fc.boolean(), fc.integer({ min: 512, max: 1232 }), (count, hasOpt, sizeMax) => {
      const read = understood(query("web.skein.internal", "A", { additionals: hasOpt ? [opt()] : [] }));
      const records = Array.from({ length: count }, (_, at) => a("web.skein.internal", `10.0.0.${at}`));
      const response = { ...responseOf(records, [SOA]), additional: [a("x", "10.0.0.1")] };
      const { bytes, rotation } = encodeResponse(read, response, sizeMax);
      const seen = decode(bytes);
      const others = 12 + 24 + (hasOpt ? 11 : 0);
      const fitting = Math.min(count, Math.floor((sizeMax - others) / 16));
      const { length: wholeBytes } = encodeResponse(read, response, TCP_BYTES_MAX).bytes;
      assert.ok(bytes.length <= sizeMax);
      // The address behind all of it, which is never a reason: its name, and 14 bytes.
      assert.equal(seen.flag_tc, wholeBytes - 17 > sizeMax);
      assert.deepEqual(
        seen.answers?.map(dataOf),
        records.slice(0, fitting).map((record) => "address" in record && record.address),
      );
      assert.equal(seen.authorities?.length, seen.flag_tc ? 0 : 1);
      if (seen.flag_tc) assert.equal(seen.additionals?.length, hasOpt ? 1 : 0);
      assert.equal(rotation?.isSample ?? false, fitting < count);
    }),
  );
});

const label = fc.stringMatching(/^[a-z0-9_-]{1,15}$/);
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join("."));
const short = fc.integer({ min: 0, max: 65_535 });
const long = fc.integer({ min: 0, max: 0x7fff_ffff });

/** A record of any type, and its data as the oracle tells it. */
const anyContent = fc.oneof(
  fc.ipV4().map((address) => [{ type: "A" as const, address }, address] as const),
  fc.ipV6().map((address) => [{ type: "AAAA" as const, address }, canonical(address)] as const),
  fc.tuple(fc.constantFrom("NS" as const, "PTR" as const), name).map(([type, target]) => {
    return [{ type, target }, target] as const;
  }),
  fc.record({ priority: short, weight: short, port: short, target: name }).map((data) => {
    return [{ type: "SRV" as const, ...data }, { ...data }] as const;
  }),
  fc.array(fc.string({ unit: "binary", maxLength: 40 }), { minLength: 1, maxLength: 4 }).map((texts) => {
    return [{ type: "TXT" as const, texts }, texts] as const;
  }),
  fc
    .tuple(name, name, fc.record({ serial: long, refresh: long, retry: long, expire: long, minimum: long }))
    .map(([primary, contact, { serial, refresh, retry, expire, minimum }]) => {
      const seconds = {
        refreshSeconds: refresh,
        retrySeconds: retry,
        expireSeconds: expire,
        minimumSeconds: minimum,
      };
      const data = { mname: primary, rname: contact, serial, refresh, retry, expire, minimum };
      return [{ type: "SOA" as const, primary, contact, serial, ...seconds }, data] as const;
    }),
);

/** What the oracle reads of a record, in the form of `anyContent`. */
function dataOf(record: Answer): unknown {
  if (record.type === "AAAA") return canonical(record.data);
  if (record.type === "TXT") return [record.data].flat().map(String);
  return "data" in record ? record.data : null;
}

test("encode: the oracle reads every record as it was meant, in every section", () => {
  const records = fc.array(fc.tuple(name, long, anyContent), { maxLength: 6 });
  fc.assert(
    fc.property(name, fc.boolean(), records, records, records, (asked, hasOpt, ...sections) => {
      const read = understood(query(asked, "ANY", { additionals: hasOpt ? [opt()] : [] }));
      const [answers = [], authority = [], additional = []] = sections.map((list) =>
        list.map(([owner, ttlSeconds, [content]]): DnsRecord => ({ name: owner, ttlSeconds, ...content })),
      );
      const response = { ...responseOf(answers, authority), additional };
      const seen = decode(encodeResponse(read, response, TCP_BYTES_MAX).bytes);
      const added = (seen.additionals ?? []).filter(({ type }) => type !== "OPT");
      const told = [seen.answers ?? [], seen.authorities ?? [], added].map((list) =>
        list.map((record) => [record.name, "ttl" in record && record.ttl, dataOf(record)]),
      );
      const meant = sections.map((list) => list.map(([owner, ttl, [, data]]) => [owner, ttl, data]));
      assert.deepEqual(told, meant);
      assert.equal((seen.additionals ?? []).length - added.length, hasOpt ? 1 : 0);
    }),
  );
});

const srv = (owner: string, target: string): DnsRecord => {
  return { name: owner, ttlSeconds: 5, type: "SRV", priority: 0, weight: 1, port: 8080, target };
};

test("encode: the target of an SRV record is written out, also where it could point to the question", () => {
  const asked = "_http._tcp.web.default.skein.internal";
  const target = "web-1.web.default.skein.internal";
  const { bytes } = encodeResponse(understood(query(asked, "SRV")), responseOf([srv(asked, target)]), 512);
  const written = Buffer.from("\x05web-1\x03web\x07default\x05skein\x08internal\0", "latin1");
  assert.ok(bytes.indexOf(written) > 12 + asked.length);
});

test("encode: answers stay whole when their order is turned, with what comes after them", () => {
  const asked = "_http._tcp.web.default.skein.internal";
  const targets = ["a.web.default.skein.internal", "b2.web.default.skein.internal", "c.web.x.org"];
  const additional = targets.map((target, at) => a(target, `10.0.0.${at}`));
  const response = { ...responseOf(targets.map((target) => srv(asked, target))), additional };
  const { bytes, rotation } = encodeResponse(understood(query(asked, "SRV")), response, 512);
  assert.ok(rotation !== null);
  const [from = 0, second = 0] = rotation.offsets;
  const end = rotation.offsets.at(-1) ?? 0;
  const turned = Buffer.concat([
    bytes.subarray(0, from),
    bytes.subarray(second, end),
    bytes.subarray(from, second),
    bytes.subarray(end),
  ]);
  const seen = decode(turned);
  const told = (seen.answers ?? []).map((record) => record.type === "SRV" && record.data.target);
  assert.deepEqual(told, [...targets.slice(1), targets[0]]);
  assert.deepEqual(
    seen.additionals?.map((record) => [record.name, dataOf(record)]),
    targets.map((target, at) => [target, `10.0.0.${at}`]),
  );
});

test("encode: there is nothing to turn in one record, unless others could take its place", () => {
  const read = understood(query("x", "TXT"));
  const text = (letter: string): DnsRecord => {
    return { name: "x", ttlSeconds: 5, type: "TXT", texts: [letter.repeat(250)] };
  };
  const rotationOf = (letters: readonly string[]) =>
    encodeResponse(read, responseOf(letters.map(text)), 512).rotation;
  assert.equal(rotationOf(["a"]), null);
  assert.deepEqual([rotationOf(["a", "b"])?.isSample, rotationOf(["a", "b"])?.offsets.length], [true, 2]);
});

test("encode: to ask again over TCP is said in no more bytes than the question took", () => {
  for (const additionals of [[], [opt()]]) {
    const asked = query("tasks.web", "A", { additionals });
    const { bytes, rotation } = encodeTruncated(understood(asked), emptyResponse("NOERROR"));
    const seen = decode(bytes);
    assert.deepEqual([seen.flag_tc, seen.answers, rotation], [true, [], null]);
    assert.equal(bytes.length, asked.length);
  }
});

test("encode: additional addresses fill the room that is left, all of a name or none, and never cause TC", () => {
  const counts = fc.integer({ min: 0, max: 40 });
  const sizes = fc.integer({ min: 512, max: 1232 });
  fc.assert(
    fc.property(counts, sizes, fc.boolean(), (count, sizeMax, hasOpt) => {
      const read = understood(query("x", "A", { additionals: hasOpt ? [opt()] : [] }));
      const owners = Array.from({ length: count }, (_, at) => `replica-${at}.web.default.skein.internal`);
      const additional = owners.flatMap((owner) => [a(owner, "10.0.0.1"), aaaa(owner, "fd00::1")]);
      const response = { ...responseOf([a("x", "10.0.0.9")]), additional };
      const { bytes } = encodeResponse(read, response, sizeMax);
      const seen = decode(bytes);
      assert.ok(bytes.length <= sizeMax);
      assert.deepEqual([seen.flag_tc, seen.answers?.length], [false, 1]);
      const told = (seen.additionals ?? []).filter(({ type }) => type !== "OPT").map((record) => record.name);
      const whole = additional.map((record) => record.name).slice(0, told.length);
      assert.deepEqual(told, whole);
      assert.equal(told.length % 2, 0);
      const roomForMore = sizeMax - bytes.length > 150;
      assert.ok(told.length === additional.length || !roomForMore);
    }),
  );
});

test("encode: over TCP an answer that no message holds is cut to the records that fit, without TC", () => {
  const asked = `${"x".repeat(60)}.`.repeat(4).slice(0, -1);
  const read = understood(query(asked, "AAAA", { additionals: [opt()] }));
  const records = Array.from({ length: 4000 }, (_, at) => aaaa(asked, `fd00::${at.toString(16)}`));
  const { bytes, rotation } = encodeResponse(read, responseOf(records), TCP_BYTES_MAX);
  const seen = decode(bytes);
  const fitting = Math.floor((TCP_BYTES_MAX - 12 - 249 - 11) / 28);
  assert.deepEqual(
    [seen.flag_tc, seen.answers?.length, rotation?.offsets.length],
    [false, fitting, fitting + 1],
  );
  assert.equal(seen.additionals?.length, 1);
  assert.deepEqual(
    seen.answers?.map(dataOf),
    records.slice(0, fitting).map((record) => "address" in record && canonical(record.address)),
  );
});

test("encode: four thousand IPv4 addresses fit into one message over TCP", () => {
  const records = Array.from({ length: 4000 }, (_, at) => a("x", `10.1.${at >> 8}.${at & 255}`));
  const { bytes } = encodeResponse(understood(query("x", "A")), responseOf(records), TCP_BYTES_MAX);
  assert.deepEqual(
    decode(bytes).answers?.map(dataOf),
    records.map((record) => "address" in record && record.address),
  );
});

test("encode: a question of class CH is answered in class CH", () => {
  const asked = query("id.server", "TXT");
  asked.writeUInt16BE(3, asked.length - 2);
  const id: DnsRecord = { name: "id.server", ttlSeconds: 0, type: "TXT", texts: ["host-1"] };
  const [record] = decode(encodeResponse(understood(asked), responseOf([id]), 512).bytes).answers ?? [];
  assert.ok(record?.type === "TXT");
  assert.deepEqual([record.class, dataOf(record)], ["CH", ["host-1"]]);
});

test("encode: a text of any length comes out as strings of at most 255 bytes that together say the same", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 900 }), (text) => {
      const record: DnsRecord = { name: "x", ttlSeconds: 5, type: "TXT", texts: [text] };
      const { bytes } = encodeResponse(understood(query("x", "TXT")), responseOf([record]), TCP_BYTES_MAX);
      const [seen] = decode(bytes).answers ?? [];
      assert.ok(seen?.type === "TXT");
      const strings = [seen.data].flat().map((part) => Buffer.from(part));
      assert.equal(Buffer.concat(strings).toString(), Buffer.from(text).toString());
      assert.ok(strings.every((part) => part.length <= 255));
    }),
  );
});

test("encode: a record whose name DNS cannot say is left out, and the others remain", () => {
  const asked = "_http._tcp.web";
  const labels = Array.from({ length: 9 }, () => "x".repeat(30)).join(".");
  const records = [srv(asked, `${"x".repeat(64)}.web`), srv(asked, "ok.web"), srv(asked, labels)];
  const seen = decode(encodeResponse(understood(query(asked, "SRV")), responseOf(records), 512).bytes);
  assert.deepEqual(
    seen.answers?.map((record) => record.type === "SRV" && record.data.target),
    ["ok.web"],
  );
});
