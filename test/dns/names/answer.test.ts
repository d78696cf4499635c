// Answers: every form of a name, seen by every kind of asker, and every type of record.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { answer, type Answer } from "../../../src/dns/names/answer.ts";
import { TYPE } from "../../../src/dns/codes.ts";
import { planZone } from "../../../src/dns/names/zone.ts";
import { seededRandom } from "../../../src/base/random.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import { drawOf, member, OPTIONS, replica, replicas, service, view } from "../fixture.ts";
import { ask, HOST, on, said, zone } from "../names.ts";

test("answer: every form of a service's name leads to its VIP, in any letter case", () => {
  const forms = [
    "web",
    "web.default",
    "web.skein.internal",
    "web.default.skein.internal",
    "www",
    "www.default.skein.internal",
    "web.shop",
    "shop_web",
    "web.shop.skein.internal",
    "web.shop.default.skein.internal",
    "shop_web.default",
    "WEB.Default.sKein.INTERNAL",
  ];
  for (const name of forms) assert.equal(said(ask(name)), "10.1.255.1", name);
});

test("answer: tasks, replica and slot work below every form of the service's name", () => {
  for (const form of ["web", "www", "web.default", "web.shop", "web.default.skein.internal", "shop_web"]) {
    assert.equal(said(ask(`tasks.${form}`)), "10.1.0.0 10.1.0.1 10.1.0.2", form);
    assert.equal(said(ask(`web-2.${form}`)), "10.1.0.1", form);
    assert.equal(said(ask(`3.${form}`)), "10.1.0.2", form);
  }
});

test("answer: dnsrr answers the eligible replicas by the plain name", () => {
  assert.equal(said(ask("robin")), "10.1.0.0 10.1.0.1");
});

test("answer: a service without a ready replica keeps its VIP and its copy's name; its tasks are NODATA", () => {
  assert.equal(said(ask("quiet")), "10.1.255.2");
  assert.equal(said(ask("quiet-1.quiet")), "10.1.9.9");
  assert.equal(said(ask("tasks.quiet")), "nodata");
});

test("answer: a missing family is NODATA with an SOA that encloses it, never NXDOMAIN", () => {
  for (const [name, type] of [
    ["web", TYPE.AAAA],
    ["six", TYPE.A],
    ["web", TYPE.MX],
    ["web.default.skein.internal", TYPE.SRV],
    ["web.default.skein.internal", 43],
    ["web.default.skein.internal", 48],
    ["web.default.skein.internal", TYPE.HTTPS],
    ["skein.internal", 43],
  ] as const) {
    const given = ask(name, HOST, type);
    assert.ok(given.kind === "own");
    assert.equal(said(given), "nodata");
    const [soa] = given.authority;
    // RFC 2308 3: of a zone that the name is in; a short name is one by itself.
    const owner = name.endsWith("skein.internal") ? "skein.internal" : name;
    assert.deepEqual([soa?.type, soa?.name, soa?.ttlSeconds], ["SOA", owner, 5]);
  }
});

test("answer: both families of one service are answered each by its type", () => {
  assert.equal(said(ask("dual")), "10.1.8.1");
  assert.equal(said(ask("dual", HOST, TYPE.AAAA)), "fd01::1");
});

test("answer: the apex has SOA and NS, and NODATA for the rest", () => {
  assert.equal(said(ask("skein.internal", HOST, TYPE.SOA)), "SOA");
  assert.equal(said(ask("Skein.Internal", on("green"), TYPE.NS)), "host-1.node.skein.internal");
  assert.equal(said(ask("skein.internal")), "nodata");
});

test("answer: a node's name leads to its address, below the domain only", () => {
  assert.equal(said(ask("host-1.node.skein.internal")), "192.0.2.1");
  assert.equal(said(ask("host-2.node.skein.internal", on("green"), TYPE.AAAA)), "fd00::2");
  assert.equal(said(ask("host-2.node.skein.internal")), "nodata");
  assert.equal(said(ask("host-3.node.skein.internal")), "NXDOMAIN");
  assert.equal(said(ask("host-1.node")), "forward");
});

test("answer: ANY gets one record set, other classes and transfers are refused", () => {
  assert.equal(said(ask("dual", HOST, TYPE.ANY)), "10.1.8.1");
  assert.equal(said(ask("six", HOST, TYPE.ANY)), "fd01::6");
  assert.equal(said(ask("skein.internal", HOST, TYPE.ANY)), "SOA");
  assert.equal(said(ask("skein.internal", HOST, 252)), "REFUSED");
  assert.equal(said(ask("awaiting.skein.internal", HOST, TYPE.ANY)), "NXDOMAIN");
  assert.equal(said(ask("tasks.quiet", HOST, TYPE.ANY)), "nodata");
  assert.equal(said(answer(zone, { name: "web", typeCode: 1, classCode: 4 }, HOST, drawOf(1))), "REFUSED");
});

test("answer: the owner is the name as it was asked", () => {
  const given = ask("wEb.DEFAULT");
  assert.ok(given.kind === "own");
  assert.equal(given.records[0]?.name, "wEb.DEFAULT");
});

test("answer: containers of one name on several hosts are all answered", () => {
  const twins = service("default", "web", {
    vip: "10.1.255.1",
    replicas: [
      replica("shop-web-1", "10.1.0.1", { slot: 1 }),
      replica("shop-web-1", "10.1.0.2", { slot: 1, id: "other" }),
    ],
  });
  const twinZone = planZone(view([twins]), OPTIONS);
  for (const name of ["shop-web-1.web", "1.web"]) {
    const given = answer(twinZone, { name, typeCode: TYPE.A, classCode: 1 }, HOST, drawOf(1));
    assert.equal(said(given), "10.1.0.1 10.1.0.2");
  }
});

test("answer: more replicas than one message holds give a random part of them", () => {
  const big = service("default", "big", { replicas: replicas("big", 5000, 1) });
  const bigZone = planZone(view([big]), OPTIONS);
  const of = (seed: number) => {
    const question = { name: "tasks.big", typeCode: TYPE.A, classCode: 1 };
    const given = answer(bigZone, question, HOST, drawOf(seed));
    return given.kind === "own" ? given.records : [];
  };
  assert.equal(of(1).length, LIMITS.dnsRecordsMax);
  assert.notDeepEqual(of(1), of(2));
});

const OTHER_WEB = { name: "http", port: 80, target: 8080, protocol: "http" } as const;
const DNS_PORTS = [
  { name: "dns", port: 53, target: 53, protocol: "udp" },
  { name: "dns", port: 53, target: 1053, protocol: "tcp" },
] as const;

/** SRV data and additional records of an answer, sorted. */
function srvOf(given: Answer): readonly [readonly string[], readonly string[]] {
  assert.ok(given.kind === "own");
  const targets = given.records.map((record) => {
    assert.ok(record.type === "SRV");
    return `${record.priority} ${record.weight} ${record.port} ${record.target}`;
  });
  const additional = given.additional.map(
    (record) => `${record.name} ${"address" in record ? record.address : ""}`,
  );
  return [targets.sort(), additional.sort()];
}

test("answer: SRV tells each eligible copy of a port with its weight and its own target, addresses beside it", () => {
  const ports = [OTHER_WEB, ...DNS_PORTS];
  const web = service("blue", "web", {
    vip: "10.96.0.1",
    stack: "shop",
    ports,
    replicas: [
      replica("a", "10.0.0.1", { ports, weight: 3 }),
      replica("b", "fd00::2", { ports: [{ ...OTHER_WEB, target: 9090 }] }),
      replica("c", "10.0.0.3", { ports, tier: "draining" }),
    ],
  });
  const zoneOf = planZone(view([web]), OPTIONS);
  const of = (name: string, typeCode: number = TYPE.SRV) =>
    answer(zoneOf, { name, typeCode, classCode: 1 }, HOST, drawOf(1));
  const parent = "web.blue.skein.internal";
  for (const form of ["web", "web.blue", "web.shop", "shop_web.blue", "WEB.blue.skein.INTERNAL"]) {
    assert.deepEqual(
      srvOf(of(`_http._TCP.${form}`)),
      [
        [`0 1 9090 b.${parent}`, `0 3 8080 a.${parent}`],
        [`a.${parent} 10.0.0.1`, `b.${parent} fd00::2`],
      ],
      form,
    );
  }
  assert.deepEqual(srvOf(of("_dns._udp.web", TYPE.ANY))[0], [`0 3 53 a.${parent}`]);
  assert.deepEqual(srvOf(of("_dns._tcp.web"))[0], [`0 3 1053 a.${parent}`]);
  for (const name of ["_tcp.web", "_udp.web.blue", "_http._tcp.web"])
    assert.equal(said(of(name, TYPE.A)), "nodata");
  assert.equal(said(of("_tcp.web")), "nodata");
  assert.equal(said(of("_smtp._tcp.web.skein.internal")), "NXDOMAIN");
  assert.equal(said(of("_http._udp.web.skein.internal")), "NXDOMAIN");
  assert.equal(said(of("_http._tcp.unknown.example")), "forward");
});

test("answer: SRV of a port without an eligible copy is NODATA", () => {
  assert.equal(said(ask("_web._tcp.quiet", HOST, TYPE.SRV)), "nodata");
  assert.equal(said(ask("_web._tcp.both", HOST, TYPE.SRV)), "NXDOMAIN");
});

test("answer: a target of SRV is one copy, though hosts share names and a stack is called like the service", () => {
  const ports = [OTHER_WEB];
  const copies = [
    replica("shop-web-1", "10.0.0.1", { id: "aaa", ports, slot: 1 }),
    replica("shop-web-1", "10.0.0.2", { id: "bbb", ports: [{ ...OTHER_WEB, target: 9 }], slot: 1 }),
    replica("tasks", "10.0.0.3", { id: "ccc", ports }),
    replica("other", "10.0.0.4", { id: "ddd", ports }),
    replica("plain", "10.0.0.5", { id: "eee", ports }),
  ];
  const zoneOf = planZone(
    view([
      service("default", "web", { vip: "10.96.0.1", ports, replicas: copies }),
      service("default", "other", { vip: "10.96.0.2", stack: "web" }),
    ]),
    OPTIONS,
  );
  const of = (name: string, typeCode: number) =>
    answer(zoneOf, { name, typeCode, classCode: 1 }, HOST, drawOf(1));
  const [targets, additional] = srvOf(of("_http._tcp.web", TYPE.SRV));
  assert.deepEqual(targets.map((text) => text.split(" ")[3]?.split(".")[0] ?? "").sort(), [
    "aaa",
    "bbb",
    "ccc",
    "ddd",
    "plain",
  ]);
  for (const text of additional) {
    const [name = "", address] = text.split(" ");
    assert.equal(said(of(name, TYPE.A)), address);
  }
});

test("answer: a name too long for a record is not told as a target, and the others are", () => {
  const long = "n".repeat(63);
  const web = service(long, long, {
    vip: "10.96.0.1",
    replicas: [replica(long, "10.0.0.1", { id: "i".repeat(63) }), replica("short", "10.0.0.2")],
  });
  const options = { ...OPTIONS, domain: `${"d".repeat(63)}.internal` };
  const given = (name: string, typeCode: number) =>
    answer(planZone(view([web]), options), { name, typeCode, classCode: 1 }, HOST, drawOf(1));
  assert.equal(srvOf(given(`_web._tcp.${long}.${long}`, TYPE.SRV))[0].length, 1);
  assert.equal(said(given("1.0.0.10.in-addr.arpa", TYPE.PTR)), "NXDOMAIN");
});

test("answer: TXT tells of a copy where it runs, of a service its network and stack", () => {
  const members = [member("host-1", { self: true, zone: "z1" }), member("host-2")];
  const web = service("default", "web", {
    vip: "10.96.0.1",
    stack: "shop",
    replicas: [
      replica("web-1", "10.0.0.1", { slot: 1 }),
      replica("web-1", "10.0.0.2", { slot: 1, node: "id-host-2", nodeName: "host-2" }),
      replica("web-2", "10.0.0.3"),
    ],
  });
  const zoneOf = planZone(view([web, service("blue", "api")], { members }), OPTIONS);
  const of = (name: string) =>
    said(answer(zoneOf, { name, typeCode: TYPE.TXT, classCode: 1 }, HOST, drawOf(1)));
  assert.equal(of("web"), '"network=default" "stack=shop"');
  assert.equal(of("api.blue"), '"network=blue"');
  assert.equal(of("web-2.web"), '"node=host-1" "zone=z1"');
  assert.equal(of("1.web"), '"node=host-1" "zone=z1" "slot=1" "node=host-2" "slot=1"');
  assert.equal(of("tasks.web"), "nodata");
});

test("answer: in the class CH the server tells its node and its software, and nothing else", () => {
  const of = (name: string, typeCode: number = TYPE.TXT) =>
    said(answer(zone, { name, typeCode, classCode: 3 }, on("green"), drawOf(1)));
  for (const name of ["id.server", "hostname.bind", "ID.Server"]) assert.equal(of(name), '"host-1"');
  for (const name of ["version.server", "version.bind"]) assert.equal(of(name), '"skein test"');
  assert.equal(of("id.server", TYPE.A), "nodata");
  assert.equal(of("id.server", 252), "REFUSED");
  for (const name of ["authors.bind", "web", "skein.internal", ""]) assert.equal(of(name), "REFUSED");
});

test("answer: the name server comes with its address", () => {
  const given = ask("skein.internal", HOST, TYPE.NS);
  assert.ok(given.kind === "own");
  assert.deepEqual(given.additional, [
    { name: "host-1.node.skein.internal", ttlSeconds: 5, type: "A", address: "192.0.2.1" },
  ]);
});

const LABELS = [
  "web",
  "www",
  "both",
  "app",
  "api",
  "tasks",
  "1",
  "web-1",
  "shop",
  "back",
  "app-1",
  "_web",
  "_tcp",
];
const NETWORKS = ["default", "blue", "green"];
const PARTS = [...LABELS, ...NETWORKS, "shop_web", "back_api", "host-1", "com", "x"];

test("answer: no name, type or asker gets an address of a network the asker is not on", () => {
  const names = fc.tuple(
    fc.array(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 5 }),
    fc.constantFrom("", ".skein.internal", ".SKEIN.internal"),
  );
  const askers = fc.uniqueArray(fc.constantFrom(...NETWORKS), { maxLength: 2 });
  const types = fc.constantFrom(TYPE.A, TYPE.AAAA, TYPE.ANY, TYPE.SRV, TYPE.TXT);
  fc.assert(
    fc.property(names, askers, types, ([labels, suffix], networks, type) => {
      const given = ask(labels.join(".") + suffix, on(...networks), type);
      const allowed = new Set(["192", ...networks.map((network) => String(1 + NETWORKS.indexOf(network)))]);
      for (const record of given.kind === "own" ? [...given.records, ...given.additional] : []) {
        if (!("address" in record)) continue;
        const octets = /^(?:fd0(\d)::|192\.|10\.(\d+)\.)/.exec(record.address);
        assert.ok(allowed.has(octets?.[1] ?? octets?.[2] ?? "192"), `${labels.join(".")} ${record.address}`);
      }
    }),
    { numRuns: 3000 },
  );
});

test("answer: below the domain nothing is forwarded, and names outside of it only when nobody here sees them", () => {
  const text = fc.string({ unit: "binary-ascii", maxLength: 40 });
  fc.assert(
    fc.property(text, fc.boolean(), (prefix, isHost) => {
      const given = ask(`${prefix}.skein.internal`, isHost ? HOST : on("blue"));
      assert.equal(given.kind, "own");
    }),
  );
});

test("answer: a name that exists has no ancestor below the domain that does not", () => {
  const labels = fc.array(fc.constantFrom(...PARTS), { minLength: 2, maxLength: 4 });
  fc.assert(
    fc.property(labels, fc.constantFrom(HOST, on("default"), on("blue", "green")), (parts, asker) => {
      const of = (from: number) => said(ask(`${parts.slice(from).join(".")}.skein.internal`, asker));
      if (of(0) !== "NXDOMAIN") assert.notEqual(of(1), "NXDOMAIN", parts.join("."));
    }),
    { numRuns: 3000 },
  );
});

test("answer: while the picture is incomplete an unknown name is SERVFAIL; known ones are answered", () => {
  const services = [service("default", "web", { vip: "10.1.255.1" })];
  const young = planZone(view(services, { complete: false }), OPTIONS);
  const asked = (name: string): Answer => {
    return answer(young, { name, typeCode: TYPE.A, classCode: 1 }, HOST, drawOf(1));
  };
  assert.equal(said(asked("web.default.skein.internal")), "10.1.255.1");
  assert.equal(said(asked("api.default.skein.internal")), "SERVFAIL");
});

test("answer: that a service awaits its VIP and has no replica is not to be kept", () => {
  const waiting = planZone(view([service("default", "web", { vip: null })]), OPTIONS);
  const question = { name: "web.default.skein.internal", typeCode: TYPE.A, classCode: 1 };
  const given = answer(waiting, question, HOST, drawOf(1));
  assert.equal(said(given), "nodata");
  assert.ok(given.kind === "own");
  assert.deepEqual(
    given.authority.map(({ type, ttlSeconds }) => [type, ttlSeconds]),
    [["SOA", 0]],
  );
});

test("answer: of many copies hardly more records are made than fit, each copy equally often, and it is told", () => {
  const copies = replicas("big", 600, 1);
  const bigZone = planZone(
    view([service("default", "big", { endpointMode: "dnsrr", replicas: copies })]),
    OPTIONS,
  );
  const random = seededRandom(3);
  for (const [name, typeCode] of [
    ["_web._tcp.big", TYPE.SRV],
    ["big", TYPE.A],
    ["tasks.big", TYPE.A],
  ] as const) {
    const times = new Map<string, number>();
    let drawn = 0;
    for (let round = 0; round < 3000; round += 1) {
      const question = { name, typeCode, classCode: 1 };
      const given = answer(bigZone, question, HOST, { random, sizeBytesMax: 1232 });
      assert.ok(given.kind === "own" && given.isSample && given.additional.length === 0);
      assert.ok(given.records.length * 12 <= 1232, `${given.records.length} records`);
      drawn += given.records.length;
      for (const record of given.records) {
        const which = record.type === "SRV" ? record.target : record.type === "A" ? record.address : "";
        times.set(which, (times.get(which) ?? 0) + 1);
      }
    }
    const expected = drawn / copies.length;
    assert.equal(times.size, copies.length, name);
    for (const count of times.values())
      assert.ok(Math.abs(count - expected) < expected / 2, `${name}: ${count}`);
  }
});

test("answer: what fits is told whole, over UDP as over TCP, and is no sample", () => {
  const small = planZone(view([service("default", "few", { replicas: replicas("few", 5, 1) })]), OPTIONS);
  for (const sizeBytesMax of [512, 65_535]) {
    const question = { name: "_web._tcp.few", typeCode: TYPE.SRV, classCode: 1 };
    const given = answer(small, question, HOST, { random: seededRandom(1), sizeBytesMax });
    assert.ok(given.kind === "own" && !given.isSample);
    assert.deepEqual([given.records.length, given.additional.length], [5, 5]);
  }
});

test("answer: a service of both families has A and AAAA, by its name, its tasks', its copies' and its ports'", () => {
  const both = planZone(
    view([
      service("app", "web", {
        vip: "10.96.0.9",
        vip6: "fd12::8000:0:0:9",
        replicas: [replica("web-1", "10.160.1.2", { address6: "fd12::4d:1:0:0:2", reach: "overlay" })],
      }),
    ]),
    OPTIONS,
  );
  const told = (name: string, typeCode: number): Answer =>
    answer(both, { name, typeCode, classCode: 1 }, on("app"), drawOf(1));
  assert.equal(said(told("web", TYPE.A)), "10.96.0.9");
  assert.equal(said(told("web", TYPE.AAAA)), "fd12::8000:0:0:9");
  assert.equal(said(told("tasks.web", TYPE.AAAA)), "fd12::4d:1:0:0:2");
  assert.equal(said(told("web-1.web", TYPE.A)), "10.160.1.2");
  assert.equal(said(told("web-1.web", TYPE.AAAA)), "fd12::4d:1:0:0:2");
  const srv = told("_web._tcp.web", TYPE.SRV);
  assert.deepEqual(srv.kind === "own" && srv.additional.map((record) => `${record.name} ${record.type}`), [
    "web-1.web.app.skein.internal A",
    "web-1.web.app.skein.internal AAAA",
  ]);
});
