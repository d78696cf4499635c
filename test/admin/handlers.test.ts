// Handlers: a snapshot is told in the shapes that scripts rely on, and nothing of the view is decided again.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  eventLine,
  eventsAfter,
  explain,
  memberOf,
  membersOf,
  serviceOf,
  servicesOf,
  statusOf,
} from "../../src/admin/handlers.ts";
import type { Tier } from "../../src/model/view.ts";
import {
  CLUSTER,
  event,
  exampleSnapshot,
  member,
  NOW_MS,
  OTHER,
  replica,
  SELF,
  service,
  snapshot,
  view,
} from "./picture.ts";

const THIRD = "cccccccccccccccccccc";

test("members: the fields of the contract come first, under their names", () => {
  const lines = membersOf(exampleSnapshot());
  const first = Object.keys(lines[0] ?? {}).slice(0, 6);
  assert.deepEqual(first, ["name", "id", "state", "role", "address", "replicas"]);
  const told = lines.map(({ name, state, address, replicas }) => [name, state, address, replicas]);
  assert.deepEqual(told, [
    ["host-1", "alive", "192.0.2.1:7650", 3],
    ["host-2", "suspect", "192.0.2.2:7650", 2],
    ["host-3", "dead", "", 0],
  ]);
});

test("members: an IPv6 address stands in brackets", () => {
  const [line] = membersOf(snapshot({ view: view({ members: [member({ host: "2001:db8::1" })] }) }));
  assert.equal(line?.address, "[2001:db8::1]:7650");
});

test("members: whom this node reaches by way of another is told with the name of that one", () => {
  const members = [member(), member({ id: OTHER, name: "host-2", via: SELF, self: false })];
  assert.deepEqual(
    membersOf(snapshot({ view: view({ members }) })).map(({ via }) => via),
    [null, "host-1"],
  );
  const unknown = [member({ via: THIRD })];
  assert.equal(membersOf(snapshot({ view: view({ members: unknown }) }))[0]?.via, THIRD);
});

test("member: by name or id, with what runs there", () => {
  for (const name of ["host-2", OTHER, OTHER.slice(0, 6)]) {
    const told = memberOf(exampleSnapshot(), name);
    assert.ok(told.ok, name);
    const { replicas, runs, ...line } = told.value;
    assert.equal(line.id, OTHER);
    assert.deepEqual(Object.keys(line).slice(0, 5), ["name", "id", "state", "role", "address"]);
    assert.equal(replicas, runs.length);
    assert.deepEqual(
      runs.map((run) => [run.service, run.name, run.eligible]),
      [
        ["default/web", "web-3", true],
        ["default/web", "web-4", false],
      ],
    );
  }
  const missing = memberOf(exampleSnapshot(), "hots-2");
  assert.ok(!missing.ok && missing.failure.code === "not-found");
  assert.match(missing.failure.message, /did you mean "host-2"/);
});

test("services: the fields of the contract come first, and only eligible replicas are ready", () => {
  const lines = servicesOf(exampleSnapshot(), null);
  const first = Object.keys(lines[0] ?? {}).slice(0, 6);
  assert.deepEqual(first, ["network", "name", "vip", "ports", "replicas", "ready"]);
  const told = lines.map((line) => [line.name, line.vip, line.replicas, line.ready]);
  assert.deepEqual(told, [
    ["db", null, 1, 0],
    ["web", "10.96.0.5", 4, 2],
    ["日志", "10.96.0.6", 0, 0],
  ]);
});

test("services: a network narrows the list, an unknown one to nothing", () => {
  const names = (network: string): readonly string[] =>
    servicesOf(exampleSnapshot(), network).map(({ name }) => name);
  assert.deepEqual(names("back"), ["db"]);
  assert.deepEqual(names("nowhere"), []);
});

test("explain: the fields of the contract come first, in the service and in its replicas", () => {
  const told = explain(exampleSnapshot(), "web", null);
  assert.ok(told.ok);
  assert.deepEqual(Object.keys(told.value).slice(0, 4), ["network", "name", "vip", "replicas"]);
  const first = Object.keys(told.value.replicas[0] ?? {}).slice(0, 6);
  assert.deepEqual(first, ["id", "node", "address", "eligible", "reason", "sinceMs"]);
  assert.deepEqual(told.value.problems, [
    "port 8088 is also wanted by default/api; default/web has it",
    'container web-1: label "skein.port" is "80a"',
  ]);
});

test("explain: what this host found wrong with the service's own copies is told, and nothing of others", () => {
  const replicas = [replica({ name: "web-1" }), replica({ name: "far", local: false })];
  const web = service("default", "web", { replicas });
  const problems = [
    { area: "source", subject: "container web-1", text: 'label "skein.prot" is unknown' },
    { area: "source", subject: "container far", text: "of a container here that is no copy of web" },
    { area: "source", subject: "container web-11", text: "of another" },
    { area: "port", subject: "routes", text: "service default/web: port 53/udp is not carried" },
    { area: "port", subject: "routes", text: "service default/web-2: port 54/udp is not carried" },
  ] as const;
  const told = explain(snapshot({ view: view({ services: [web] }), problems }), "web", null);
  assert.ok(told.ok);
  assert.deepEqual(told.value.problems, [
    'container web-1: label "skein.prot" is unknown',
    "service default/web: port 53/udp is not carried",
  ]);
});

test("explain: a replica is in when the view says so, with the view's reason, time and speaker", () => {
  const tiers: readonly Tier[] = ["eligible", "draining", "panic", "never"];
  const any = fc.record({
    tier: fc.constantFrom(...tiers),
    reason: fc.string(),
    saidBy: fc.string(),
    sinceMs: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(any), (given) => {
      const replicas = given.map((fields, at) => replica({ ...fields, id: `id-${at}` }));
      const picture = snapshot({ view: view({ services: [service("default", "web", { replicas })] }) });
      const told = explain(picture, "web", null);
      assert.ok(told.ok);
      const seen = told.value.replicas.map(({ tier, reason, saidBy, sinceMs }) => {
        return { tier, reason, saidBy, sinceMs };
      });
      assert.deepEqual(
        seen,
        given.map((one) => ({ ...one })),
      );
      for (const one of told.value.replicas) assert.equal(one.eligible, one.tier === "eligible");
    }),
  );
});

test("explain: what this node's proxy thinks of a replica stands beside what the cluster says", () => {
  const told = explain(exampleSnapshot(), "web", null);
  assert.ok(told.ok);
  const ejected = told.value.replicas.filter((one) => one.ejected !== null);
  assert.deepEqual(
    ejected.map(({ name, eligible, ejected }) => ({ name, eligible, ejected })),
    [{ name: "web-3", eligible: true, ejected: { reason: "3 refused connects", untilMs: NOW_MS + 12_000 } }],
  );
});

test("inspect: everything declared is told besides the replicas", () => {
  const told = serviceOf(exampleSnapshot(), "default/web", null);
  assert.ok(told.ok);
  const { stack, endpointMode, aliases, publish, http, ports } = told.value;
  assert.deepEqual([stack, endpointMode, aliases], ["shop", "vip", ["www"]]);
  assert.equal(publish.length + http.length + ports.length, 3);
});

test("inspect, explain: an unknown name is not found", () => {
  for (const told of [serviceOf(snapshot(), "nope", null), explain(snapshot(), "nope", null)]) {
    assert.equal(told.ok ? "ok" : told.failure.code, "not-found");
  }
});

test("status: cluster, view and what is wrong are summed up, problems of services included", () => {
  const status = statusOf(exampleSnapshot());
  const states = { alive: 1, suspect: 1, dead: 1, away: 0, left: 0 };
  assert.deepEqual(status.cluster, { id: CLUSTER, size: 3, states });
  assert.deepEqual(status.view, { version: 42, complete: true, services: 3, replicas: 5, ready: 2 });
  assert.deepEqual(
    status.problems.map(({ area, subject }) => [area, subject]),
    [
      ["label", "container web-1"],
      ["service", "default/web"],
    ],
  );
  assert.equal(status.uptimeMs, 90_000);
  assert.equal(status.node.role, "manager");
});

test("status: a daemon whose view does not know itself yet has its name and id all the same", () => {
  const status = statusOf(snapshot({ view: view({ members: [], complete: false }) }));
  assert.deepEqual(status.node, {
    id: SELF,
    name: "host-1",
    version: "0.1.0",
    role: "manager",
    zone: "",
    address: "",
    healthScore: 0,
  });
});

test("status: a node's certificate is told with its end and who issued it, a member's when it is known", () => {
  const given = exampleSnapshot();
  const { certificate, authorityGeneration } = statusOf(given);
  assert.deepEqual([certificate, authorityGeneration], [given.trust.certificate, 1]);
  const of = (name: string) => {
    const found = memberOf(given, name);
    return found.ok ? found.value.certificate : assert.fail(name);
  };
  assert.deepEqual(of("host-2"), given.trust.certificateOf(OTHER));
  assert.equal(of("host-3"), null);
});

test("status: a daemon that is slow says so, and what it does about it", () => {
  const status = statusOf(snapshot({ healthScore: 2, warnings: ["the first"] }));
  assert.equal(status.node.healthScore, 2);
  assert.equal(status.warnings[0], "the first");
  assert.match(status.warnings[1] ?? "", /this daemon is slow.*2 of 7.*3 times as long/);
  assert.deepEqual(statusOf(snapshot()).warnings, []);
});

test("status: broken links and members that settle are warnings, as long as they last", () => {
  const members = [
    member(),
    member({ id: OTHER, name: "host-2", via: THIRD, self: false }),
    member({ id: THIRD, name: "host-3", self: false, settlesAtMs: NOW_MS + 11_200 }),
    member({ id: "dddddddddddddddddddd", name: "host-4", self: false, settlesAtMs: NOW_MS - 1 }),
  ];
  assert.deepEqual(statusOf(snapshot({ view: view({ members }) })).warnings, [
    "link to host-2 is broken: reached via host-3",
    "host-3 came and went: its replicas are not used for another 12 s",
  ]);
});

test("status: ranges that overlap and networks that are used up are told with where to look", () => {
  const problems = [{ subject: "vip.pool", text: "vip.pool 10.96.0.0/12 overlaps 10.100.0.0/16 of host-2" }];
  const network = {
    name: "front",
    range: "10.160.0.0/25",
    sliceBits: 26,
    vni: 4097,
    encrypted: false,
    slices: [],
    problems: ["no slice left"],
    isSound: true,
  };
  const status = statusOf(snapshot({ view: view({ problems, networks: [network] }) }));
  assert.deepEqual(status.problems, [
    { area: "network", ...problems[0] },
    { area: "network", subject: "network front", text: "no slice left" },
  ]);
});

test("explain: an address that may still be lost, and those that the service had before, are told as such", () => {
  const web = service("default", "web", { vip: "10.96.0.5", vipTentative: true, aliasVips: ["10.96.0.7"] });
  const told = explain(snapshot({ view: view({ services: [web] }) }), "web", null);
  assert.ok(told.ok);
  assert.deepEqual(
    [told.value.vip, told.value.vipTentative, told.value.aliasVips],
    ["10.96.0.5", true, ["10.96.0.7"]],
  );
});

test("status: a clock that went back gives no negative uptime", () => {
  assert.equal(statusOf(snapshot({ startedAtMs: NOW_MS + 5 })).uptimeMs, 0);
});

test("times leave in whole milliseconds, however finely this host's clock tells them", () => {
  const at = NOW_MS + 0.7;
  const members = [member({ sinceMs: at, settlesAtMs: at })];
  const services = [service("default", "web", { replicas: [replica({ sinceMs: at })] })];
  const told = snapshot({ atMs: at + 10.4, startedAtMs: at, view: view({ members, services }) });
  const { startedAtMs, uptimeMs } = statusOf(told);
  const [line] = membersOf(told);
  const times = [
    startedAtMs,
    uptimeMs,
    line?.sinceMs,
    line?.settlesAtMs,
    eventLine({ ...event(1), atMs: at }).atMs,
  ];
  assert.deepEqual(times, [NOW_MS + 1, 10, NOW_MS + 1, NOW_MS + 1, NOW_MS + 1]);
  const explained = explain(told, "web", null);
  assert.ok(explained.ok);
  assert.equal(explained.value.replicas[0]?.sinceMs, NOW_MS + 1);
});

test("events: only those after the given number, in order", () => {
  const events = [event(4), event(5), event(6)];
  const ids = (afterId: number): readonly number[] => eventsAfter(events, afterId).map(({ id }) => id);
  assert.deepEqual([ids(0), ids(5), ids(6), ids(99)], [[4, 5, 6], [6], [], []]);
});

test("members: replicas of a node that is no member count for nobody", () => {
  const stranger = service("default", "web", { replicas: [replica({ node: OTHER })] });
  const [line] = membersOf(snapshot({ view: view({ services: [stranger] }) }));
  assert.equal(line?.replicas, 0);
});

test("explain, status: of several replicas, that Docker answers for their name itself on this host is told", () => {
  const hiderByService = new Map([["app/web", "shop_web_1"]]);
  const told = (replicas: readonly ReturnType<typeof replica>[]) => {
    const seen = snapshot({
      view: view({ services: [service("app", "web", { replicas })] }),
      hiderByService,
    });
    const explained = explain(seen, "web", "app");
    assert.ok(explained.ok);
    return [explained.value.problems, statusOf(seen).problems.map(({ text }) => text)];
  };
  const [inExplain = [], inStatus = []] = told([replica(), replica({ id: "22bb33cc44dd" })]);
  assert.match(inExplain.join(), /Docker itself answers .* for "web", with shop_web_1/);
  assert.deepEqual(inStatus, inExplain);
  assert.deepEqual(told([replica()]), [[], []]);
});
