// Health labels: who says whether a container is ready.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { ServicePort } from "../../../src/model/service.ts";
import { readHealth } from "../../../src/source/docker/health-labels.ts";
import { openReader } from "../../../src/source/docker/label-reader.ts";
import { labels, TIMES } from "./fixture.ts";

const PORTS: readonly ServicePort[] = [
  { name: "dns", port: 53, target: 53, protocol: "udp" },
  { name: "admin", port: 81, target: 8081, protocol: "tcp" },
  { name: "web", port: 80, target: 8080, protocol: "http" },
];

function read(
  entries: Readonly<Record<string, string>>,
  reported: "healthy" | null = null,
  ports: readonly ServicePort[] = PORTS,
) {
  const reader = openReader(labels(entries));
  return { health: readHealth(reader, { ports, reported, times: TIMES }), problems: reader.problems() };
}

test("health: without a label Docker's HEALTHCHECK decides, and without one a TCP connect", () => {
  assert.deepEqual(read({}, "healthy").health, { kind: "reported", status: "healthy" });
  assert.deepEqual(read({}).health, {
    kind: "probe",
    probe: { kind: "tcp", port: 8081, path: "", ...TIMES },
  });
  assert.deepEqual(read({}, null, PORTS.slice(0, 1)).health, { kind: "none" });
});

test("health: a label that asks for a probe wins over the HEALTHCHECK", () => {
  const http = read({ "skein.health.http": "/healthz?full=1" }, "healthy").health;
  assert.deepEqual(http, {
    kind: "probe",
    probe: { kind: "http", port: 8080, path: "/healthz?full=1", ...TIMES },
  });
  const tcp = read({ "skein.health.tcp": "true" }, "healthy").health;
  assert.deepEqual(tcp, { kind: "probe", probe: { kind: "tcp", port: 8081, path: "", ...TIMES } });
});

test("health: a probe may go to a port that is not the service's", () => {
  for (const value of ["9000/live", ":9000/live"]) {
    const { health } = read({ "skein.health.http": value });
    assert.ok(health.kind === "probe" && health.probe.port === 9000 && health.probe.path === "/live");
  }
  const { health } = read({ "skein.health.tcp": "9000" }, null, []);
  assert.ok(health.kind === "probe" && health.probe.port === 9000);
});

test("health: times and thresholds apply to whatever probe there is", () => {
  const { health } = read({
    "skein.health.interval": "5s",
    "skein.health.timeout": "250ms",
    "skein.health.rise": "2",
    "skein.health.fall": "9",
  });
  assert.deepEqual(health, {
    kind: "probe",
    probe: { kind: "tcp", port: 8081, path: "", intervalMs: 5000, timeoutMs: 250, rise: 2, fall: 9 },
  });
});

test("health: a label that changes nothing is reported", () => {
  assert.match(read({ "skein.health.interval": "5s" }, "healthy").problems[0] ?? "", /HEALTHCHECK decides/);
  const both = read({ "skein.health.http": "/", "skein.health.tcp": "80" });
  assert.match(both.problems[0] ?? "", /no effect beside/);
  assert.ok(both.health.kind === "probe" && both.health.probe.kind === "http");
});

test("health: a probe without a port to ask, or with a bad one, falls back to what else there is", () => {
  const lost = read({ "skein.health.http": "/healthz" }, "healthy", PORTS.slice(0, 1));
  assert.deepEqual(lost.health, { kind: "reported", status: "healthy" });
  assert.equal(lost.problems.length, 1);
  for (const value of ["healthz", "99999/x", "/a b", "", "false"]) {
    const { health, problems } = read({ "skein.health.http": value });
    assert.ok(health.kind === "probe" && health.probe.kind === "tcp", value);
    assert.equal(problems.length, 1, value);
  }
  for (const [name, value] of [
    ["skein.health.rise", "0"],
    ["skein.health.fall", "101"],
    ["skein.health.interval", "1ms"],
    ["skein.health.timeout", "2h"],
    ["skein.health.tcp", "no"],
  ] as const) {
    const { health, problems } = read({ [name]: value });
    assert.deepEqual(health, read({}).health, name);
    assert.equal(problems.length, 1, name);
  }
});
