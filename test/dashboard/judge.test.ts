// Judge: what is ill is seen as ill, and the worst is told first.

import assert from "node:assert/strict";
import { test } from "node:test";

import { boardOf } from "../../src/dashboard/board.ts";
import {
  concernsOf,
  linksNow,
  linkVerdict,
  memberVerdict,
  nameOf,
  replicaVerdict,
  serviceState,
  serviceVerdict,
} from "../../src/dashboard/judge.ts";

import { linksOf, member, network, picture, replica, report, service, status, T0 } from "./pictures.ts";

test("a service is ready, partly, down or empty by its replicas", () => {
  const states = [
    { replicas: 0, ready: 0 },
    { replicas: 2, ready: 0 },
    { replicas: 2, ready: 1 },
    { replicas: 2, ready: 2 },
  ];
  assert.deepEqual(states.map(serviceState), ["empty", "down", "partly", "ready"]);
});

test("a ready service with a problem is not wholly well", () => {
  assert.equal(serviceVerdict(service("a")).tone, "good");
  assert.equal(serviceVerdict(service("a", { problems: ["bad label"] })).tone, "fair");
  assert.equal(serviceVerdict(service("a", { ready: 0, problems: ["bad label"] })).tone, "poor");
});

test("a host that is reached through another, settles or drains is not wholly well", () => {
  assert.equal(memberVerdict(member("a")).tone, "good");
  assert.equal(memberVerdict(member("a", { via: "b" })).tone, "fair");
  assert.deepEqual(memberVerdict(member("a", { settlesAtMs: T0 })), { tone: "fair", word: "settling" });
  assert.deepEqual(memberVerdict(member("a", { draining: true })), { tone: "fair", word: "draining" });
  assert.deepEqual(memberVerdict(member("a", { state: "dead" })), { tone: "poor", word: "dead" });
  assert.deepEqual(memberVerdict(member("a", { state: "away" })), { tone: "idle", word: "away" });
});

test("a replica is in, out, draining or ejected", () => {
  const ejected = { reason: "refused", untilMs: T0 };
  const words = [
    replica("a"),
    replica("a", { eligible: false, tier: "never" }),
    replica("a", { eligible: false, tier: "draining", state: "draining" }),
    replica("a", { ejected }),
  ].map((one) => replicaVerdict(one).word);
  assert.deepEqual(words, ["in", "out", "draining", "ejected"]);
});

test("a link's tone follows its state", () => {
  const tones = (["open", "via", "broken", "none"] as const).map((state) => linkVerdict(state).tone);
  assert.deepEqual(tones, ["good", "fair", "poor", "idle"]);
});

test("a cluster that is well has nothing that needs a look", () => {
  assert.deepEqual(concernsOf(boardOf(picture()), report(T0)), []);
});

test("what serves nobody is told before what merely costs something", () => {
  const board = boardOf(
    picture({
      members: [member("host-1"), member("host-2", { via: "host-1" }), member("host-3", { state: "dead" })],
      services: [
        service("a", { problems: ["bad label"] }),
        service("b", { ready: 0 }),
        service("c", { ready: 1 }),
      ],
      networks: [network("app", { sound: false, problems: ["range is taken"] })],
      status: status({
        sources: [{ name: "docker", endpoints: 3, stale: "no answer" }],
        problems: [{ area: "label", subject: "x", text: "unknown" }],
        warnings: ["low on files"],
      }),
    }),
  );
  const tones = concernsOf(board, null).map((one) => one.tone);
  assert.deepEqual(
    tones,
    tones.toSorted((a, b) => ["poor", "fair"].indexOf(a) - ["poor", "fair"].indexOf(b)),
  );
  const told = concernsOf(board, null).map((one) => `${one.tone} ${one.subject}: ${one.text}`);
  assert.deepEqual(told.slice(0, 3), [
    "poor host-3: host is dead",
    "poor default/b: no replica is ready",
    "poor app: range is taken",
  ]);
  assert.equal(told.length, 9);
});

test("a broken link between living hosts is told once; to a dead one it goes without saying", () => {
  const members = [member("host-1"), member("host-2"), member("host-3", { state: "dead" })];
  const links = linksOf(["host-1", "host-2", "host-3"], { state: "broken", rttMs: null });
  const told = concernsOf(boardOf(picture({ members })), report(T0, { links })).map((one) => one.subject);
  assert.deepEqual(told, ["host-3", "host-1 and host-2"]);
});

test("a host that is away for a moment breaks no link, whatever the others say", () => {
  const members = [member("host-1"), member("host-2", { state: "away" }), member("host-3")];
  const links = linksOf(["host-1", "host-2", "host-3"], { state: "broken", rttMs: null });
  const board = boardOf(picture({ members }));
  const broken = linksNow(board, report(T0, { links })).filter((one) => one.state === "broken");
  assert.deepEqual(
    broken.map(({ from, to }) => `${from} ${to}`),
    ["host-1 host-3", "host-3 host-1"],
  );
  assert.deepEqual(linksNow(board, null), []);
});

test("hosts with one name are told apart", () => {
  const twin = member("host-1", { id: "other", state: "dead" });
  const board = boardOf(picture({ members: [member("host-1"), twin, member("host-2")] }));
  assert.deepEqual(
    board.members.map(({ id }) => nameOf(board, id)),
    ["host-1 (id-host-1)", "host-1 (other)", "host-2"],
  );
  const [first] = concernsOf(board, null);
  assert.deepEqual([first?.subject, first?.address], ["host-1 (other)", "#/hosts/host-1%20(other)"]);
});

test("replicas that a proxy keeps out are told with their service", () => {
  const services = report(T0).services.map((one) => ({ ...one, ejected: 2 }));
  const [first] = concernsOf(boardOf(picture()), report(T0, { services }));
  assert.deepEqual([first?.subject, first?.text], ["default/web", "2 replicas ejected"]);
});
