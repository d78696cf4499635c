// A host without a daemon: what is in the way of one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { judgeStart, type StartFacts } from "../../../src/admin/checks/start.ts";
import { parsePrefix, type Prefix } from "../../../src/base/ip.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

const START: StartFacts = {
  host: {
    rights: null,
    programs: [],
    modules: [],
    rpFilter: null,
    bridgeFirewall: null,
    conntrack: null,
    files: null,
    delayMs: null,
    dataDir: { path: "/state", failure: null, mode: null, isRootGroup: false, freeBytes: null },
  },
  needs: { kernel: false, lowPorts: [] },
  engine: { kind: "none", reason: "docker.socket is off", isMeant: true },
  dataPlane: { mode: "proxy", reason: "configured" },
  places: [
    { key: "mesh.listen", place: "0.0.0.0:7650/tcp", holder: null, isVital: true },
    { key: "ingress.http", place: "0.0.0.0:8080/tcp", holder: null, isVital: false },
  ],
  ranges: {
    vipPool: prefix("10.96.0.0/12"),
    overlayPool: prefix("10.160.0.0/11"),
    enginePools: [],
    members: [],
    networks: [],
    tellsVips: true,
  },
};
const WHY = 'socket "/run/skein/skein.sock" does not exist';
const ABSENCE = { why: WHY, remedy: null };

function illOf(start: StartFacts | null, mistakes: string | null = null): readonly string[] {
  const { checks } = judgeStart({ absence: ABSENCE, file: "/etc/skein.yaml", mistakes, start });
  return checks
    .filter(({ state }) => state !== "ok")
    .map(({ id, subject, state }) => `${state} ${id} ${subject}`);
}

const ABSENT = "fail daemon.answers skein";

test("start: where nothing is in the way only the daemon is missing, and its own words say why", () => {
  assert.deepEqual(illOf(START), [ABSENT]);
  const { checks } = judgeStart({ absence: ABSENCE, file: null, mistakes: null, start: START });
  assert.equal(checks[0]?.text, `no daemon answers: ${WHY}`);
  assert.match(checks[0].remedy ?? "", /^start it/);
});

test("start: where something else is to be done than to start a daemon, that is the remedy", () => {
  const absence = { why: "what listens there answered 404", remedy: "name the socket" };
  const { checks } = judgeStart({ absence, file: null, mistakes: null, start: START });
  assert.equal(checks[0]?.remedy, "name the socket");
});

test("start: mistakes in the configuration are told in its own words, and then nothing else is judged", () => {
  const { checks } = judgeStart({
    absence: ABSENCE,
    file: "/a.yaml",
    mistakes: "a.yaml:3: dns.ttl",
    start: null,
  });
  assert.deepEqual(
    checks.map(({ id, state, text }) => [id, state, text.startsWith("no daemon") ? "" : text]),
    [
      ["daemon.answers", "fail", ""],
      ["config.valid", "fail", "a.yaml:3: dns.ttl"],
    ],
  );
});

test("start: a port that somebody has fails where the daemon cannot do without, else it is a warning", () => {
  const held = START.places.map((place) => ({ ...place, holder: "nginx (pid 812)" }));
  assert.deepEqual(illOf({ ...START, places: held }), [
    ABSENT,
    "fail port.free mesh.listen 0.0.0.0:7650/tcp",
    "warn port.free ingress.http 0.0.0.0:8080/tcp",
  ]);
});

test("start: what a missing right costs is told as of a daemon that runs", () => {
  const dataPlane = { mode: "proxy", reason: "no NET_ADMIN" } as const;
  assert.deepEqual(illOf({ ...START, dataPlane }), [ABSENT, "warn kernel.data-plane data plane"]);
});
