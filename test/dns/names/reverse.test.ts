// Reverse names: whose an address is, which zones are ours, and what is none of our business.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { answer, type Answer } from "../../../src/dns/names/answer.ts";
import { TYPE } from "../../../src/dns/codes.ts";
import type { Asker } from "../../../src/dns/names/lookup.ts";
import { lookUpReverse, reverseNameOf } from "../../../src/dns/names/reverse.ts";
import { planZone, type Zone } from "../../../src/dns/names/zone.ts";
import { drawOf, member, OPTIONS, replica, service, view } from "../fixture.ts";
import { HOST, on, said } from "../names.ts";

const RANGE = {
  sliceBits: 24,
  vni: 5000,
  encrypted: false,
  slices: [],
  problems: [],
  isSound: true,
};

const zone = planZone(
  view(
    [
      service("default", "web", {
        vip: "10.96.0.9",
        aliasVips: ["10.96.0.7", "10.96.0.10"],
        replicas: [
          replica("web-1", "10.0.0.1", { id: "aaa" }),
          replica("web-1", "10.0.0.2", { id: "bbb" }),
          replica("web-2", "fd00::12ab", { id: "ccc" }),
          replica("far", "172.17.0.5", { reach: "stream", local: false }),
          replica("near", "172.17.0.6", { reach: "stream" }),
          replica("loop", "127.0.0.1"),
          replica("hosted", "192.0.2.1", { id: "ddd" }),
        ],
      }),
      service("default", "new", { vip: "10.96.0.10", vipTentative: true }),
      service("blue", "api", { vip: "10.97.1.2", replicas: [replica("api-1", "10.160.3.4")] }),
      service("blue", "one", { replicas: [replica("one-1", "10.0.0.1")] }),
    ],
    {
      members: [
        member("host-1", { self: true }),
        member("host-2", { host: "FD00::2" }),
        member("host-3", { host: "127.0.0.1" }),
      ],
      networks: [
        { name: "blue", range: "10.160.0.0/20", ...RANGE },
        { name: "tiny", range: "10.170.1.128/25", ...RANGE },
      ],
    },
  ),
  OPTIONS,
);

const ask = (name: string, asker: Asker = HOST, typeCode: number = TYPE.PTR, of: Zone = zone): Answer =>
  answer(of, { name, typeCode, classCode: 1 }, asker, drawOf(1));

const ptr = (address: string, asker: Asker = HOST): string => said(ask(reverseNameOf(address) ?? "", asker));

/** The owner of the SOA in an answer without records. */
function soaOf(given: Answer): string | undefined {
  return given.kind === "own" ? given.authority[0]?.name : undefined;
}

test("reverse: a VIP leads to its service, a replica to its own name, a node to its name", () => {
  assert.equal(ptr("10.96.0.9"), "web.default.skein.internal");
  assert.equal(ptr("10.97.1.2"), "api.blue.skein.internal");
  assert.equal(ptr("10.160.3.4"), "api-1.api.blue.skein.internal");
  assert.equal(ptr("fd00::12ab"), "web-2.web.default.skein.internal");
  assert.equal(ptr("fd00::2"), "host-2.node.skein.internal");
  assert.equal(ptr("172.17.0.6"), "near.web.default.skein.internal");
});

test("reverse: several names of one address are all told; copies that share a name by their ids", () => {
  assert.equal(ptr("10.0.0.1"), "aaa.web.default.skein.internal one-1.one.blue.skein.internal");
  assert.equal(ptr("10.0.0.2"), "bbb.web.default.skein.internal");
  assert.equal(ptr("192.0.2.1"), "host-1.node.skein.internal hosted.web.default.skein.internal");
});

test("reverse: names are read in any letter case", () => {
  assert.equal(said(ask("9.0.96.10.IN-ADDR.arpa")), "web.default.skein.internal");
  const upper = (reverseNameOf("fd00::12ab") ?? "").toUpperCase();
  assert.equal(said(ask(upper)), "web-2.web.default.skein.internal");
});

test("reverse: an address that a service had is told as its own, until another has it", () => {
  assert.equal(ptr("10.96.0.7"), "web.default.skein.internal");
  assert.equal(ptr("10.96.0.10"), "new.default.skein.internal");
});

test("reverse: whose VIP is tentative nobody is to remember", () => {
  const given = ask("10.0.96.10.in-addr.arpa");
  assert.ok(given.kind === "own");
  assert.deepEqual(
    given.records.map(({ ttlSeconds }) => ttlSeconds),
    [0],
  );
});

test("reverse: only what the asker sees is told; the rest is NXDOMAIN and never forwarded", () => {
  for (const address of ["10.96.0.9", "fd00::12ab", "172.17.0.6"]) {
    assert.equal(ptr(address, on("blue")), "NXDOMAIN", address);
  }
  assert.equal(ptr("10.0.0.1", on("blue")), "one-1.one.blue.skein.internal");
  assert.equal(ptr("192.0.2.1", on("blue")), "host-1.node.skein.internal");
});

test("reverse: addresses of a range of ours are ours although nobody has them, others are asked for upstream", () => {
  for (const address of ["10.96.0.1", "10.111.255.255", "10.160.15.9", "10.170.1.200"]) {
    assert.equal(ptr(address), "NXDOMAIN", address);
    assert.equal(ptr(address, on()), "NXDOMAIN", address);
  }
  for (const address of [
    "10.112.0.1",
    "10.95.255.255",
    "10.160.16.1",
    "10.170.1.127",
    "10.0.0.9",
    "fd00::9",
  ]) {
    assert.equal(ptr(address), "forward", address);
  }
});

test("reverse: what means another machine on each host is not told: foreign bridges, loopback", () => {
  assert.equal(ptr("172.17.0.5"), "forward");
  assert.equal(ptr("127.0.0.1"), "forward");
});

test("reverse: negative answers have the SOA of a zone that begins at a whole octet and encloses the name", () => {
  const cases = [
    ["1.0.96.10.in-addr.arpa", "96.10.in-addr.arpa"],
    ["x.1.111.10.in-addr.arpa", "111.10.in-addr.arpa"],
    ["9.15.160.10.in-addr.arpa", "15.160.10.in-addr.arpa"],
    ["200.1.170.10.in-addr.arpa", "1.170.10.in-addr.arpa"],
  ] as const;
  for (const [name, apex] of cases) assert.equal(soaOf(ask(name)), apex);
  assert.equal(soaOf(ask("1.0.0.10.in-addr.arpa", HOST, TYPE.A)), "0.0.10.in-addr.arpa");
  const v6 = ask(reverseNameOf("fd00::12ab") ?? "", on("blue"));
  assert.equal(soaOf(v6), "0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa");
});

test("reverse: each zone of a range has SOA and NS, and its names between exist", () => {
  for (const apex of ["96.10.in-addr.arpa", "111.10.in-addr.arpa", "3.160.10.in-addr.arpa"]) {
    assert.equal(said(ask(apex, HOST, TYPE.SOA)), "SOA", apex);
    assert.equal(said(ask(apex, HOST, TYPE.NS)), "host-1.node.skein.internal", apex);
    assert.equal(said(ask(apex, HOST, TYPE.PTR)), "nodata", apex);
  }
  assert.equal(said(ask("0.96.10.in-addr.arpa")), "nodata");
  assert.equal(said(ask("1.97.10.in-addr.arpa")), "nodata");
  assert.equal(said(ask("1.97.10.in-addr.arpa", on("default"))), "NXDOMAIN");
  assert.equal(said(ask("2.97.10.in-addr.arpa")), "NXDOMAIN");
  for (const name of ["10.in-addr.arpa", "in-addr.arpa", "ip6.arpa", "arpa"]) {
    assert.equal(said(ask(name)), "forward", name);
  }
});

test("reverse: another type at an address that somebody has is NODATA", () => {
  for (const type of [TYPE.A, TYPE.AAAA, TYPE.TXT, TYPE.SOA, 43]) {
    assert.equal(said(ask("9.0.96.10.in-addr.arpa", HOST, type)), "nodata");
  }
  assert.equal(said(ask("9.0.96.10.in-addr.arpa", HOST, TYPE.ANY)), "web.default.skein.internal");
});

test("reverse: malformed names are no error: NXDOMAIN below our ranges, elsewhere whatever upstream says", () => {
  const ours = [
    "abc.0.96.10",
    "256.0.96.10",
    "01.0.96.10",
    "-1.0.96.10",
    "1.9.0.96.10",
    "1..96.10",
    "0/25.96.10",
  ];
  for (const name of ours) assert.equal(said(ask(`${name}.in-addr.arpa`)), "NXDOMAIN", name);
  const foreign = ["abc", "300.1.1.1", "1.2.3.4.5", "", "a.b.c.d", "1.1.1.096.10"];
  for (const name of foreign) assert.equal(said(ask(`${name}.in-addr.arpa`)), "forward", name);
  for (const name of ["g", "1.2", "10.0.0.1", `${"0.".repeat(32)}0`, `${"x.".repeat(31)}x`]) {
    assert.equal(said(ask(`${name}.ip6.arpa`)), "forward", name);
  }
});

test("reverse: while the picture is incomplete nobody is told that an address of ours is nobody's", () => {
  const young = planZone(view([], { complete: false }), OPTIONS);
  assert.equal(said(ask("1.0.96.10.in-addr.arpa", HOST, TYPE.PTR, young)), "SERVFAIL");
});

test("reverse: an address goes to its next owner with the zone", () => {
  for (const name of ["first", "second", "third"]) {
    const now = planZone(view([service("default", name, { vip: "10.96.0.1" })]), OPTIONS);
    assert.equal(said(ask("1.0.96.10.in-addr.arpa", HOST, TYPE.PTR, now)), `${name}.default.skein.internal`);
  }
});

test("reverse: the name of an address reads as that address", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      const name = reverseNameOf(address);
      assert.ok(name !== null);
      const having = planZone(
        view([service("default", "x", { replicas: [replica("x-1", address)] })]),
        OPTIONS,
      );
      const copy = having.services[0]?.instances[0];
      const meaning = lookUpReverse(having, name, HOST);
      if (copy?.reversible === true) assert.deepEqual(meaning?.names, ["x-1.x.default.skein.internal"]);
    }),
  );
  for (const text of ["web", "", "1.2.3"]) assert.equal(reverseNameOf(text), null);
});

test("reverse: no name makes it throw, and what it says is ours has an apex that encloses the name", () => {
  const label = fc.oneof(
    fc.constantFrom("10", "96", "0", "160", "170", "1", "9", "x", "", "256", "00", "f"),
    fc.string({ maxLength: 4 }),
  );
  const names = fc.array(label, { maxLength: 34 }).map((labels) => labels.join("."));
  fc.assert(
    fc.property(names, fc.constantFrom(".in-addr.arpa", ".ip6.arpa", ".10.in-addr.arpa"), (start, end) => {
      const name = (start + end).toLowerCase();
      const meaning = lookUpReverse(zone, name, HOST);
      if (meaning !== null) assert.ok(name === meaning.apex || name.endsWith(`.${meaning.apex}`), name);
    }),
    { numRuns: 3000 },
  );
});

test("reverse: ranges of IPv6 are ours as those of IPv4 are, nibble for nibble", () => {
  const six = planZone(
    view(
      [
        service("app", "web", {
          vip: "10.96.0.9",
          vip6: "fd12:3456:789a:0:8000::9",
          replicas: [
            replica("web-1", "10.160.1.2", { address6: "fd12:3456:789a:4d:1::2", reach: "overlay" }),
          ],
        }),
      ],
      { networks: [{ name: "app", range: "10.160.0.0/16", range6: "fd12:3456:789a:4d::/64", ...RANGE }] },
    ),
    { ...OPTIONS, reverseRanges: ["10.96.0.0/12", "fd12:3456:789a::/64"] },
  );
  const told = (name: string, asker: Asker = HOST, typeCode: number = TYPE.PTR): Answer =>
    ask(name, asker, typeCode, six);
  const at = (address: string): string => reverseNameOf(address) ?? "";
  assert.equal(said(told(at("fd12:3456:789a:0:8000::9"))), "web.app.skein.internal");
  assert.equal(said(told(at("fd12:3456:789a:4d:1::2"))), "web-1.web.app.skein.internal");
  assert.equal(said(told(at("fd12:3456:789a:4d:1::2"), on("other"))), "NXDOMAIN");
  assert.equal(said(told(at("fd12:3456:789a:4d:7::7"))), "NXDOMAIN");
  assert.equal(said(told(at("fd12:3456:789a:4e::1"))), "forward");
  const apex = "d.4.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa";
  assert.equal(soaOf(told(at("fd12:3456:789a:4d:7::7"))), apex);
  assert.equal(said(told(apex, HOST, TYPE.NS)), "host-1.node.skein.internal");
  assert.equal(said(told(`1.0.0.0.${apex}`)), "nodata", "a slice with somebody in it");
  assert.equal(said(told(`2.0.0.0.${apex}`)), "NXDOMAIN", "a slice without anybody");
  assert.equal(said(told(`x.${apex}`)), "NXDOMAIN");
  assert.equal(said(told(apex.slice(2))), "forward", "a range wider than ours");
});
