// Services: what a config entry leaves out is filled in.

import assert from "node:assert/strict";
import { test } from "node:test";

import { loadConfig } from "../../src/config/load.ts";
import { probeTimesOf, staticServicesOf } from "../../src/config/services.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../src/model/service.ts";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Config } from "../../src/config/schema.ts";

function configOf(t: TestContext, tree: object): Config {
  const dir = mkdtempSync(join(tmpdir(), "skein-test-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "skein.yaml");
  writeFileSync(file, JSON.stringify(tree));
  return loadConfig({ surroundings: { env: {}, isRoot: false }, file, flags: {} }).config;
}

test("services: a port is named after its protocol and leads to itself, unless told otherwise", (t) => {
  const config = configOf(t, {
    services: [
      {
        name: "web",
        ports: [{ port: 80 }, { name: "api", port: 81, target: 8081, protocol: "http" }],
        replicas: [],
      },
    ],
  });
  assert.deepEqual(staticServicesOf(config)[0]?.ports, [
    { name: "tcp-80", port: 80, target: 80, protocol: "tcp" },
    { name: "api", port: 81, target: 8081, protocol: "http" },
  ]);
});

test("services: a check has the times of the health section, and its own where it has them", (t) => {
  const config = configOf(t, {
    health: { interval: "2s", timeout: "300ms", rise: 3, fall: 4 },
    services: [
      { name: "web", replicas: ["127.0.0.1:9001"] },
      { name: "api", replicas: ["127.0.0.1:9002"], health: { http: "/up", interval: "5s" } },
    ],
  });
  const times = { intervalMs: 2000, timeoutMs: 300, rise: 3, fall: 4 };
  assert.deepEqual(probeTimesOf(config), times);
  const [web, api] = staticServicesOf(config);
  assert.deepEqual(web?.health, { kind: "tcp", path: "", ...times });
  assert.deepEqual(api?.health, { kind: "http", path: "/up", ...times, intervalMs: 5000 });
});

test("services: what an entry says of its traffic is taken, and shared objects stand for what it leaves out", (t) => {
  const config = configOf(t, {
    services: [
      { name: "web", replicas: [] },
      {
        name: "api",
        replicas: [],
        weight: 0,
        lb: "p2c",
        prefer: "local",
        slowStart: "30s",
        firstByte: "off",
        proxyProtocol: "v2",
        drain: "1m",
        udp: { mode: "datagram", idle: "5s" },
        source: "masquerade",
        passthrough: ["DB.example.com"],
      },
    ],
  });
  const [web, api] = staticServicesOf(config);
  assert.equal(web?.traffic, DEFAULT_TRAFFIC);
  assert.equal(web?.delivery, DEFAULT_DELIVERY);
  assert.deepEqual([web?.weight, web?.passthrough], [1, []]);
  assert.deepEqual(api?.traffic, {
    balance: "p2c",
    prefer: "local",
    slowStartMs: 30_000,
    firstByteMs: 0,
    udpMode: "datagram",
    udpIdleMs: 5000,
    source: "masquerade",
  });
  assert.deepEqual(api?.delivery, { proxyProtocol: "v2", drainMs: 60_000 });
  assert.deepEqual([api?.weight, api?.passthrough], [0, ["db.example.com"]]);
});
