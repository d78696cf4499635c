// Plans from plans: a zone planned from the one before is the zone planned from nothing, and an answer whose basis is
// still there is the answer that would be given.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import { answer, basisOf, type Answer, type Question } from "../../src/dns/names/answer.ts";
import { TYPE, typeNameOf } from "../../src/dns/codes.ts";
import type { Asker } from "../../src/dns/names/lookup.ts";
import { openResponder, type Responder } from "../../src/dns/responder.ts";
import { planZone, type Zone } from "../../src/dns/names/zone.ts";
import type { Member, MemberState } from "../../src/model/member.ts";
import type { Replica, Service, View } from "../../src/model/view.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { decode, drawOf, member, OPTIONS, query, replica, service, view } from "./fixture.ts";
import { HOST, on } from "./names.ts";

const NODES = ["host-1", "host-2", "host-3"];
const PORTS = [{ name: "http", port: 80, target: 80, protocol: "tcp" }] as const;

const replicaArb: fc.Arbitrary<Replica> = fc
  .record({
    id: fc.constantFrom("a", "b", "c", "d"),
    name: fc.constantFrom("x-1", "x-2", "web"),
    slot: fc.constantFrom(null, 1, 2),
    address: fc.constantFrom("10.0.0.1", "10.0.0.2", "fd00::1", "host.example"),
    node: fc.constantFrom(...NODES),
    tier: fc.constantFrom("eligible", "eligible", "draining", "never"),
    reach: fc.constantFrom("direct", "stream"),
    weight: fc.constantFrom(1, 5),
    ports: fc.constantFrom([...PORTS], [{ ...PORTS[0], target: 8080 }]),
    reason: fc.constantFrom("ready", "otherwise"),
  })
  .map(({ name, address, node, ...more }) =>
    replica(name, address, { ...more, node: `id-${node}`, nodeName: node }),
  );

const serviceArb: fc.Arbitrary<Service> = fc
  .record({
    network: fc.constantFrom("default", "blue"),
    name: fc.constantFrom("web", "api", "shop"),
    stack: fc.constantFrom(null, "shop", "web"),
    vip: fc.constantFrom(null, "10.96.0.1", "10.96.0.2"),
    vipTentative: fc.boolean(),
    aliases: fc.constantFrom([], ["www"], ["web"]),
    endpointMode: fc.constantFrom("vip", "vip", "dnsrr"),
    ports: fc.constantFrom([...PORTS], []),
    replicas: fc.uniqueArray(replicaArb, { selector: ({ id }) => id, maxLength: 4 }),
  })
  .map(({ network, name, replicas, ...more }) =>
    service(network, name, {
      ...more,
      replicas: replicas.sort((one, other) => (one.id < other.id ? -1 : 1)),
    }),
  );

const memberArb = (name: string): fc.Arbitrary<Member> =>
  fc
    .record({
      state: fc.constantFrom<MemberState[]>("alive", "alive", "suspect", "away", "dead"),
      host: fc.constantFrom("192.0.2.1", "fd00::9", "host.example"),
      zone: fc.constantFrom("", "z1"),
      rttMs: fc.constantFrom(1, 2),
    })
    .map((more) => member(name, { self: name === "host-1", ...more }));

/** One change: services put in or taken out, members replaced, the picture complete or not. */
const changeArb = fc.record({
  put: fc.uniqueArray(serviceArb, { selector: ({ key }) => key, maxLength: 2 }),
  gone: fc.constantFrom("", "", "default/web", "blue/api"),
  members: fc.oneof(fc.constant(null), fc.tuple(...NODES.map(memberArb))),
  complete: fc.constantFrom(true, true, true, false),
});

type Change = typeof changeArb extends fc.Arbitrary<infer T> ? T : never;

/** The next view: what a change does not touch stays the same object, as in the daemon. */
function changed(before: View, { put, gone, members, complete }: Change): View {
  const serviceByKey = new Map(before.services.map((one) => [one.key, one]));
  for (const one of put) serviceByKey.set(one.key, one);
  serviceByKey.delete(gone);
  return {
    ...view([...serviceByKey.values()], { networks: before.networks }),
    version: before.version + 1,
    members: members ?? before.members,
    complete,
  };
}

/** What a zone tells; its serial and what it was planned from aside. */
function told({ planned: _planned, serial: _serial, ...rest }: Zone): unknown {
  return rest;
}

const changes = fc.array(changeArb, { minLength: 1, maxLength: 8 });
const FIRST = view([], { members: NODES.map((name) => member(name, { self: name === "host-1" })) });

test("basis: a zone planned from the one before tells what one planned from nothing tells", () => {
  fc.assert(
    fc.property(changes, (all) => {
      let now = FIRST;
      let zone = planZone(now, OPTIONS);
      for (const change of all) {
        now = changed(now, change);
        zone = planZone(now, OPTIONS, zone);
        assert.deepEqual(told(zone), told(planZone(now, OPTIONS)));
      }
    }),
    { numRuns: 500 },
  );
});

const NAMES = [
  "web",
  "www",
  "shop",
  "tasks.web",
  "x-1.web",
  "web.shop",
  "1.web",
  "a.web",
  "shop_web",
].flatMap((name) => [name, `${name}.blue`, `${name}.default.skein.internal`]);
const OTHERS = [
  "_http._tcp.web",
  "_tcp.web",
  "_http._tcp.shop.blue",
  "host-2.node.skein.internal",
  "skein.internal",
];
const REVERSE = ["1.0.0.10.in-addr.arpa", "1.0.96.10.in-addr.arpa", "7.0.96.10.in-addr.arpa"];
const ASKERS: readonly Asker[] = [HOST, on("default"), on("blue", "default")];
const TYPES = [TYPE.A, TYPE.AAAA, TYPE.SRV, TYPE.TXT, TYPE.PTR, TYPE.ANY];

const questions: readonly Question[] = [...NAMES, ...OTHERS, ...REVERSE].flatMap((name) =>
  TYPES.map((typeCode) => ({ name, typeCode, classCode: 1 })),
);

test("basis: it is found without making the answer, and while it stays, so does the answer", () => {
  const asked = fc.uniqueArray(fc.constantFrom(...questions), { minLength: 10, maxLength: 30 });
  fc.assert(
    fc.property(changes, asked, fc.constantFrom(...ASKERS), (all, some, asker) => {
      let now = FIRST;
      let zone = planZone(now, OPTIONS);
      for (const change of all) {
        const before = zone;
        now = changed(now, change);
        zone = planZone(now, OPTIONS, before);
        for (const question of some) {
          const was = answer(before, question, asker, drawOf(1));
          const is = answer(zone, question, asker, drawOf(1));
          const basis = basisOf(zone, question, asker);
          assert.equal(basis, is.kind === "own" ? is.basis : null);
          if (was.kind === "own" && was.basis !== null && was.basis === basis)
            assert.deepEqual(withSerial(is, 0), withSerial(was, 0));
        }
      }
    }),
    { numRuns: 500 },
  );
});

/** The answer as a zone of another serial would give it. */
function withSerial(given: Answer, serial: number): Answer {
  if (given.kind !== "own") return given;
  return { ...given, authority: given.authority.map((record) => ({ ...record, serial })) };
}

test("basis: an answer that is kept over changes says what one that was never kept would, its serial too", () => {
  const asked = fc.uniqueArray(fc.constantFrom(...questions), { minLength: 5, maxLength: 15 });
  fc.assert(
    fc.property(changes, asked, fc.constantFrom(...ASKERS), (all, some, asker) => {
      let now = FIRST;
      let zone = planZone(now, OPTIONS);
      const kept = openedFor(zone, asker);
      for (const change of all) {
        now = changed(now, change);
        zone = planZone(now, OPTIONS, zone);
        kept.setZone(zone);
        const fresh = openedFor(zone, asker);
        for (const { name, typeCode } of some) {
          const bytes = query(name, typeNameOf(typeCode));
          const was = said(fresh, bytes);
          // Made or looked at again, and then recalled.
          assert.deepEqual(said(kept, bytes), was);
          assert.deepEqual(said(kept, bytes), was);
        }
      }
    }),
    { numRuns: 200 },
  );
});

function openedFor(zone: Zone, asker: Asker): Responder {
  return openResponder({
    zone,
    askerOf: () => asker,
    isAllowed: () => true,
    forwarder: null,
    metrics: openMetrics(),
    random: seededRandom(1),
  });
}

/** What an answer says, whatever the order of its records. */
function said(responder: Responder, bytes: Buffer): unknown {
  const replies: (Buffer | null)[] = [responder.recall(bytes, "127.0.0.1", "udp")];
  if (replies[0] === null)
    responder.serve(bytes, { address: "127.0.0.1", transport: "udp" }, (out) => replies.push(out));
  const { answers, additionals, ...rest } = decode(replies.at(-1) ?? assert.fail());
  const sorted = (records: readonly unknown[] = []): readonly string[] =>
    records.map((record) => JSON.stringify(record)).toSorted();
  return { ...rest, answers: sorted(answers), additionals: sorted(additionals) };
}

test("basis: a change of one service leaves the answers about others, and a change of nobody leaves the zone", () => {
  const web = service("default", "web", { vip: "10.96.0.1", replicas: [replica("x-1", "10.0.0.1")] });
  const api = service("default", "api", { vip: "10.96.0.2" });
  const first = view([web, api]);
  const zone = planZone(first, OPTIONS);
  const next = planZone(view([web, { ...api, vip: "10.96.0.3" }], { version: 8 }), OPTIONS, zone);
  for (const [name, typeCode] of [
    ["web", TYPE.A],
    ["tasks.web", TYPE.A],
    ["x-1.web", TYPE.A],
    ["x-1.web", TYPE.TXT],
    ["_web._tcp.web", TYPE.SRV],
    ["web", TYPE.TXT],
    ["web", TYPE.AAAA],
    ["tasks.web", TYPE.AAAA],
    ["x-1.web", TYPE.AAAA],
    ["web", 65],
    ["nobody.skein.internal", TYPE.A],
  ] as const) {
    const question = { name, typeCode, classCode: 1 };
    const basis = basisOf(zone, question, HOST);
    assert.notEqual(basis, null, name);
    assert.equal(basisOf(next, question, HOST), basis, name);
  }
  const question = { name: "api", typeCode: TYPE.A, classCode: 1 };
  assert.notEqual(basisOf(next, question, HOST), basisOf(zone, question, HOST));

  const slower = first.members.map((one) => ({ ...one, rttMs: 9 }));
  const unchanged = {
    ...first,
    version: 9,
    members: slower,
    services: [api, { ...web, problems: ["said"] }],
  };
  assert.equal(planZone(unchanged, OPTIONS, zone), zone);
});

test("basis: targets of SRV are told anew when a stack comes that makes a copy's name mean something else", () => {
  const web = service("default", "web", { replicas: [replica("api", "10.0.0.1", { id: "aaa" })] });
  const question = { name: "_web._tcp.web", typeCode: TYPE.SRV, classCode: 1 };
  const target = (of: Zone) => {
    const given = answer(of, question, HOST, drawOf(1));
    return given.kind === "own" && given.records[0]?.type === "SRV" ? given.records[0].target : null;
  };
  const zone = planZone(view([web]), OPTIONS);
  const basis = basisOf(zone, question, HOST);
  assert.equal(target(zone), "api.web.default.skein.internal");
  const next = planZone(view([web, service("default", "api", { stack: "web" })]), OPTIONS, zone);
  assert.equal(target(next), "aaa.web.default.skein.internal");
  assert.ok(basis !== null && basisOf(next, question, HOST) !== basis);
});

test("basis: another object of options plans from nothing", () => {
  const first = view([service("default", "web", { vip: "10.96.0.1" })]);
  const zone = planZone(first, OPTIONS);
  const slower = planZone(first, { ...OPTIONS, ttlSeconds: 60 }, zone);
  assert.equal(slower.services[0]?.addresses.ttlSeconds, 60);
});
