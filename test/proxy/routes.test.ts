// Routes: what tells listeners and lives of upstreams apart.

import assert from "node:assert/strict";
import { test } from "node:test";

import { listenerKey, versionOf, wayOf } from "../../src/proxy/routes.ts";

import { upstream } from "./fixtures.ts";

test("listenerKey: TCP and HTTP share a port space, UDP has its own", () => {
  const at = { address: "10.96.0.1", port: 53 };
  assert.equal(listenerKey({ kind: "tcp", ...at }), listenerKey({ kind: "http", ...at }));
  assert.notEqual(listenerKey({ kind: "tcp", ...at }), listenerKey({ kind: "udp", ...at }));
  assert.notEqual(listenerKey({ kind: "tcp", ...at }), listenerKey({ kind: "tcp", ...at, port: 54 }));
});

test("versionOf: a container that came back with another address is not what it was", () => {
  const before = upstream("web-1", 8080);
  assert.equal(versionOf(before), versionOf({ ...before, weight: 5, sinceMs: 7, drainUntilMs: 9 }));
  assert.notEqual(versionOf(before), versionOf({ ...before, address: "172.17.0.9" }));
});

test("wayOf: a replica whose network comes up is what it was, by another way", () => {
  const [relayed, direct] = [upstream("web-1", 80, { via: "stream" }), upstream("web-1", 80)];
  assert.equal(versionOf(relayed), versionOf(direct));
  assert.notEqual(wayOf(relayed), wayOf(direct));
});
