// Describe: ports read as they are typed, replicas tell in or out first.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { ReplicaReport } from "../../src/admin/contract.ts";
import { explain } from "../../src/admin/handlers.ts";
import {
  portText,
  publishText,
  replicaTable,
  routeText,
  servicePath,
  trafficTexts,
  vipTexts,
} from "../../src/cli/describe.ts";
import { DEFAULT_TRAFFIC, parsePublishedPort, parseServicePort } from "../../src/model/service.ts";
import { exampleSnapshot, NOW_MS } from "../admin/picture.ts";

const STYLE = { wide: false, columnsMax: null, shortensIds: true, colors: false, nowMs: NOW_MS };

test("ports: what is shown parses to what was declared", () => {
  for (const text of ["80", "80:8080/tcp", "53/udp", "80:8080/http"]) {
    const parsed = parseServicePort("port", text);
    assert.ok(parsed.ok);
    assert.deepEqual(parseServicePort("port", portText(parsed.value)), parsed);
  }
  for (const text of ["8088:80/tcp", "5353:53/udp", "host:8088:80"]) {
    const parsed = parsePublishedPort("publish", text);
    assert.ok(parsed.ok);
    assert.deepEqual(parsePublishedPort("publish", publishText(parsed.value)), parsed);
  }
  assert.equal(routeText({ host: "a.example", path: "/x" }), "a.example/x");
});

test("addresses: a tentative one and those of before are told with what that means, none as the caller says", () => {
  const told = explain(exampleSnapshot(), "web", null);
  assert.ok(told.ok);
  assert.deepEqual(vipTexts(told.value, "none"), ["10.96.0.5"]);
  assert.deepEqual(vipTexts({ ...told.value, vip: null }, "none (dnsrr)"), ["none (dnsrr)"]);
  assert.deepEqual(vipTexts({ ...told.value, vipTentative: true, aliasVips: ["10.96.0.7"] }, "none"), [
    "10.96.0.5 (tentative: not every host has heard of it)",
    "10.96.0.7 (kept for a while: it had this one before)",
  ]);
  const vip6 = "fd12::8000:0:0:9";
  assert.deepEqual(vipTexts({ ...told.value, vip6 }, "none"), ["10.96.0.5", vip6]);
  assert.deepEqual(vipTexts({ ...told.value, vip: null, vip6 }, "none yet"), ["none yet", vip6]);
});

test("traffic: how it is spread is always told, the rest where it is not as usual", () => {
  assert.deepEqual(trafficTexts(DEFAULT_TRAFFIC), ["round-robin"]);
  const waits = { slowStartMs: 90_000, firstByteMs: 2000, udpIdleMs: 5000 };
  const words = { balance: "p2c", prefer: "local", udpMode: "datagram", source: "masquerade" } as const;
  assert.deepEqual(trafficTexts({ ...words, ...waits }), [
    "p2c",
    "prefers replicas of the same host, then of its zone",
    "slow start over 90s",
    "leaves a replica that is silent for 2s",
    "each UDP datagram to the next replica",
    "a UDP flow ends after 5s of silence",
    "replicas see the address of the host that a client came through",
  ]);
  assert.deepEqual(trafficTexts({ ...DEFAULT_TRAFFIC, firstByteMs: 0 }), [
    "round-robin",
    "waits for a slow replica",
  ]);
});

test("replicas: each tells in or out, why, since when, on whose word", () => {
  const told = explain(exampleSnapshot(), "web", null);
  assert.ok(told.ok);
  const rows = replicaTable(told.value.replicas, STYLE)
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {3,}/));
  assert.deepEqual(
    rows.map((cells) => [cells[0], cells[3]]),
    [
      ["REPLICA", "TRAFFIC"],
      ["web-1", "in"],
      ["web-2", "out"],
      ["web-3", "out here"],
      ["web-4", "draining"],
    ],
  );
  assert.equal(rows[3]?.at(-1), "3 refused connects (this node's proxy, for 12s)");
  assert.equal(rows[4]?.at(-1), "stop signal (not applied everywhere)");
});

test("replicas: what keeps one out for all is told before what this proxy met; one past its time must answer", () => {
  const told = explain(exampleSnapshot(), "web", null);
  assert.ok(told.ok);
  const [first] = told.value.replicas;
  assert.ok(first !== undefined);
  const why = (fields: Partial<ReplicaReport>): string | undefined =>
    replicaTable([{ ...first, ...fields }], STYLE)
      .split("\n")[1]
      ?.split(/ {3,}/)
      .at(-1);
  const ejected = { reason: "3 refused connects", untilMs: STYLE.nowMs };
  assert.equal(why({ ejected }), "3 refused connects (this node's proxy, until it answers)");
  assert.equal(why({ ejected, eligible: false, tier: "never", reason: "docker: paused" }), "docker: paused");
});

test("replicas: the address has its port where there is one only, and brackets where it is IPv6", () => {
  const told = explain(exampleSnapshot(), "web", null);
  assert.ok(told.ok);
  const [first] = told.value.replicas;
  assert.ok(first !== undefined);
  const shown = (fields: Partial<ReplicaReport>): string | undefined =>
    replicaTable([{ ...first, ...fields }], STYLE)
      .split("\n")[1]
      ?.split(/ {3,}/)[2];
  assert.equal(shown({}), "172.18.0.2:8080");
  assert.equal(shown({ address: "2001:db8::1" }), "[2001:db8::1]:8080");
  assert.equal(shown({ ports: [] }), "172.18.0.2");
});

test("paths: any name stays one part of the path", () => {
  assert.equal(servicePath("explain", "a/b ?#", null), "/api/v1/explain/a%2Fb%20%3F%23");
  assert.equal(servicePath("services", "web", "a&b"), "/api/v1/services/web?network=a%26b");
});
