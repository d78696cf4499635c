// Answers: every form of a name, seen by every kind of asker.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import { answer, explainAnswer, type Answer, type Asker } from "../../src/dns/answer.ts";
import { TYPE } from "../../src/dns/codes.ts";
import { planZone } from "../../src/dns/zone.ts";
import { member, OPTIONS, replica, replicas, service, view } from "./fixture.ts";

const HOST: Asker = { kind: "host" };
const on = (...networks: string[]): Asker => ({ kind: "container", networks });

/** Networks tell apart by the second byte: default 10.1, blue 10.2, green 10.3. */
const zone = planZone(
  view(
    [
      service("default", "web", {
        vip: "10.1.255.1",
        stack: "shop",
        aliases: ["www"],
        replicas: replicas("web", 3, 1),
      }),
      service("default", "robin", { endpointMode: "dnsrr", replicas: replicas("robin", 2, 1) }),
      service("default", "quiet", {
        vip: "10.1.255.2",
        replicas: [replica("quiet-1", "10.1.9.9", { tier: "panic" })],
      }),
      service("default", "dual", {
        endpointMode: "dnsrr",
        replicas: [replica("d4", "10.1.8.1"), replica("d6", "fd01::1")],
      }),
      service("default", "six", { endpointMode: "dnsrr", replicas: [replica("six-1", "fd01::6")] }),
      service("blue", "web", { vip: "10.2.255.1", replicas: replicas("web", 1, 2) }),
      service("blue", "api", { vip: "10.2.255.2", stack: "back" }),
      service("blue", "both", { vip: "10.2.255.3" }),
      service("green", "both", { vip: "10.3.255.3" }),
      service("green", "app", { vip: "10.3.255.4", replicas: replicas("app", 1, 3) }),
    ],
    { members: [member("host-1", { self: true }), member("host-2", { host: "fd00::2" })] },
  ),
  OPTIONS,
);

const ask = (name: string, asker: Asker = HOST, typeCode: number = TYPE.A): Answer =>
  answer(zone, { name, typeCode, classCode: 1 }, asker, seededRandom(1));

/** What an answer says, in short: addresses sorted, or what it is instead. */
function said(given: Answer): string {
  if (given.kind === "forward") return "forward";
  if (given.rcode !== "NOERROR") return given.rcode;
  const texts = given.records.map((record) =>
    "address" in record ? record.address : "target" in record ? record.target : record.type,
  );
  return texts.length === 0 ? "nodata" : texts.sort().join(" ");
}

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

test("answer: a missing family is NODATA with the zone's SOA, never NXDOMAIN", () => {
  for (const [name, type] of [
    ["web", TYPE.AAAA],
    ["six", TYPE.A],
    ["web", TYPE.MX],
    ["web.default.skein.internal", TYPE.TXT],
  ] as const) {
    const given = ask(name, HOST, type);
    assert.ok(given.kind === "own");
    assert.equal(said(given), "nodata");
    const [soa] = given.authority;
    assert.deepEqual([soa?.type, soa?.name, soa?.ttlSeconds], ["SOA", "skein.internal", 5]);
  }
});

test("answer: both families of one service are answered each by its type", () => {
  assert.equal(said(ask("dual")), "10.1.8.1");
  assert.equal(said(ask("dual", HOST, TYPE.AAAA)), "fd01::1");
});

test("answer: a container sees its networks only, its own first", () => {
  assert.equal(said(ask("web", on("blue"))), "10.2.255.1");
  assert.equal(said(ask("web", on("blue", "default"))), "10.2.255.1");
  assert.equal(said(ask("web", on("default", "blue"))), "10.1.255.1");
  assert.equal(said(ask("web.default", on("blue", "default"))), "10.1.255.1");
  assert.equal(said(ask("web", on("green"))), "NXDOMAIN");
  assert.equal(said(ask("web.default.skein.internal", on("green"))), "NXDOMAIN");
  assert.equal(said(ask("web", on())), "NXDOMAIN");
});

test("answer: a name in two other networks is ambiguous and NXDOMAIN; with its network it is not", () => {
  assert.equal(said(ask("both")), "NXDOMAIN");
  assert.equal(said(ask("both.skein.internal")), "NXDOMAIN");
  assert.equal(said(ask("both.green")), "10.3.255.3");
  assert.equal(said(ask("both", on("default", "green"))), "10.3.255.3");
  assert.equal(said(ask("both", on("default", "green", "blue"))), "NXDOMAIN");
});

test("answer: a name that one other network has is found there", () => {
  assert.equal(said(ask("api")), "10.2.255.2");
  assert.equal(said(ask("api.back")), "10.2.255.2");
});

test("answer: foreign names go upstream, even below a label that is also a service's", () => {
  for (const name of ["www.example.com", "example.com", "x.app", "localhost", "", "web.nowhere", "a.b.web"]) {
    assert.equal(said(ask(name)), "forward", name);
  }
  assert.equal(said(ask("web.default", on("green"))), "forward");
  assert.equal(said(ask("notskein.internal")), "forward");
});

test("answer: a single label that another network has never leaves the cluster", () => {
  assert.equal(said(ask("app", on("default"))), "NXDOMAIN");
  assert.equal(said(ask("unheard-of", on("default"))), "forward");
});

test("answer: names between the domain and a service exist, for those who see what is below", () => {
  for (const name of ["default", "node", "shop", "shop.default", "blue", "back"]) {
    assert.equal(said(ask(`${name}.skein.internal`)), "nodata", name);
  }
  for (const name of ["blue", "back", "back.blue"]) {
    assert.equal(said(ask(`${name}.skein.internal`, on("default"))), "NXDOMAIN", name);
  }
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
  const chaos = answer(zone, { name: "version.bind", typeCode: 16, classCode: 3 }, HOST, seededRandom(1));
  assert.equal(said(chaos), "REFUSED");
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
    const given = answer(twinZone, { name, typeCode: TYPE.A, classCode: 1 }, HOST, seededRandom(1));
    assert.equal(said(given), "10.1.0.1 10.1.0.2");
  }
});

test("answer: more replicas than one message holds give a random part of them", () => {
  const big = service("default", "big", { replicas: replicas("big", 3000, 1) });
  const bigZone = planZone(view([big]), OPTIONS);
  const of = (seed: number) => {
    const question = { name: "tasks.big", typeCode: TYPE.A, classCode: 1 };
    const given = answer(bigZone, question, HOST, seededRandom(seed));
    return given.kind === "own" ? given.records : [];
  };
  assert.equal(of(1).length, 2000);
  assert.notDeepEqual(of(1), of(2));
});

const LABELS = ["web", "www", "both", "app", "api", "tasks", "1", "web-1", "shop", "back", "app-1", "node"];
const NETWORKS = ["default", "blue", "green"];
const PARTS = [...LABELS, ...NETWORKS, "shop_web", "back_api", "host-1", "com", "x"];

test("answer: no name, type or asker gets an address of a network the asker is not on", () => {
  const names = fc.tuple(
    fc.array(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 5 }),
    fc.constantFrom("", ".skein.internal", ".SKEIN.internal"),
  );
  const askers = fc.uniqueArray(fc.constantFrom(...NETWORKS), { maxLength: 2 });
  const types = fc.constantFrom(TYPE.A, TYPE.AAAA, TYPE.ANY, TYPE.SRV);
  fc.assert(
    fc.property(names, askers, types, ([labels, suffix], networks, type) => {
      const given = ask(labels.join(".") + suffix, on(...networks), type);
      const allowed = new Set(["192", ...networks.map((network) => String(1 + NETWORKS.indexOf(network)))]);
      for (const record of given.kind === "own" ? given.records : []) {
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

test("explain: tells what DNS would answer, in words and numbers", () => {
  const given = explainAnswer(zone, "web.", "a", HOST);
  assert.deepEqual(given.ok && given.value, {
    name: "web",
    type: "A",
    rcode: "NOERROR",
    answers: [{ type: "A", ttl: 5, data: "10.1.255.1" }],
  });
  const foreign = explainAnswer(zone, "example.com", "AAAA", HOST);
  assert.equal(foreign.ok && foreign.value.rcode, "FORWARD");
  const soa = explainAnswer(zone, "skein.internal", "SOA", HOST);
  assert.equal(
    soa.ok && soa.value.answers[0]?.data,
    "host-1.node.skein.internal hostmaster.skein.internal 7 3600 600 86400 5",
  );
});

test("explain: an unknown type and an impossible name are the caller's mistake", () => {
  for (const [name, type] of [
    ["web", "WHAT"],
    ["web", "TYPE70000"],
    ["x".repeat(64), "A"],
  ] as const) {
    const given = explainAnswer(zone, name, type, HOST);
    assert.equal(given.ok ? "ok" : given.failure.code, "usage");
  }
});

test("answer: while the picture is incomplete an unknown name is SERVFAIL; known ones are answered", () => {
  const services = [service("default", "web", { vip: "10.1.255.1" })];
  const young = planZone(view(services, { complete: false }), OPTIONS);
  const asked = (name: string): Answer => {
    return answer(young, { name, typeCode: TYPE.A, classCode: 1 }, HOST, seededRandom(1));
  };
  assert.equal(said(asked("web.default.skein.internal")), "10.1.255.1");
  assert.equal(said(asked("api.default.skein.internal")), "SERVFAIL");
});

test("answer: that a service awaits its VIP and has no replica is not to be kept", () => {
  const waiting = planZone(view([service("default", "web", { vip: null })]), OPTIONS);
  const question = { name: "web.default.skein.internal", typeCode: TYPE.A, classCode: 1 };
  const given = answer(waiting, question, HOST, seededRandom(1));
  assert.equal(said(given), "nodata");
  assert.ok(given.kind === "own");
  assert.deepEqual(
    given.authority.map(({ type, ttlSeconds }) => [type, ttlSeconds]),
    [["SOA", 0]],
  );
});
