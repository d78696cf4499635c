// Probe plans: the checks that services get when they ask for none, and what a probe may ask for.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { ServicePort } from "../../src/model/service.ts";
import { defaultHealth, firstTcpPort, isProbePath, pickTimes } from "../../src/source/probe-plan.ts";

const TIMES = { intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 };
const UDP: ServicePort = { name: "dns", port: 53, target: 5353, protocol: "udp" };
const HTTP: ServicePort = { name: "web", port: 80, target: 8080, protocol: "http" };

test("probe plan: without a wish the first TCP port is connected to, at its target", () => {
  const health = defaultHealth([UDP, HTTP], TIMES);
  assert.deepEqual(health, { kind: "probe", probe: { kind: "tcp", port: 8080, path: "", ...TIMES } });
});

test("probe plan: a service with UDP ports only, or none, is ready while it runs", () => {
  assert.deepEqual(defaultHealth([UDP], TIMES), { kind: "none" });
  assert.deepEqual(defaultHealth([], TIMES), { kind: "none" });
  assert.equal(firstTcpPort([UDP]), null);
});

test("probe plan: only the four times are taken over from a wider object", () => {
  const wider = { ...TIMES, kind: "http", path: "/" };
  assert.deepEqual(pickTimes(wider), TIMES);
});

test("probe plan: a probe's path may hold a query, but no fragment, no space and nothing to be escaped", () => {
  for (const path of ["/", "/healthz", "/a/b?full=1&x=%20"]) assert.ok(isProbePath(path), path);
  for (const path of ["", "healthz", "/a b", "/a#b", "/ü", "/a\r\nX: y", `/${"a".repeat(600)}`]) {
    assert.ok(!isProbePath(path), path);
  }
});
