// Bounds that rest on one another: what one lets in, the next can carry.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIMITS } from "../../src/model/limits.ts";
import { parseRecord, renderRecord, type ReplicaRecord } from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../src/model/service.ts";

const longLabel = "a".repeat(LIMITS.labelBytes);

test("limits: every bound is a positive whole number", () => {
  for (const [name, bound] of Object.entries(LIMITS)) assert.ok(Number.isInteger(bound) && bound > 0, name);
});

test("limits: a delta frame holds at least one record, even with every character three bytes wide", () => {
  assert.ok(LIMITS.deltaBytes >= LIMITS.recordBytes);
  assert.ok(LIMITS.frameBytes >= 3 * (LIMITS.deltaBytes + LIMITS.recordBytes));
});

test("limits: a replica with every list full fits in a record", () => {
  const routeBytes = Math.floor(LIMITS.routesBytes / LIMITS.namesPerService);
  const record: ReplicaRecord = {
    kind: "replica",
    id: "a".repeat(80),
    name: longLabel,
    slot: 1_000_000,
    network: longLabel,
    service: longLabel,
    stack: longLabel,
    address: "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
    reach: "direct",
    declaration: {
      ports: Array.from({ length: LIMITS.portsPerService }, () => {
        return { name: longLabel, port: 65_535, target: 65_535, protocol: "http" };
      }),
      publish: Array.from({ length: LIMITS.namesPerService }, () => {
        return { published: 65_535, port: 65_535, protocol: "tcp", mode: "ingress" };
      }),
      http: Array.from({ length: LIMITS.namesPerService }, () => {
        return { host: "a".repeat(routeBytes - 1), path: "/" };
      }),
      endpointMode: "dnsrr",
      aliases: Array.from({ length: LIMITS.namesPerService }, () => longLabel),
      passthrough: [],
      traffic: DEFAULT_TRAFFIC,
    },
    delivery: DEFAULT_DELIVERY,
    weight: 100,
    startedAtMs: Number.MAX_SAFE_INTEGER,
    state: "draining",
    reason: "x".repeat(LIMITS.problemTextBytes),
    drainApplied: true,
    drainPending: Array.from({ length: LIMITS.drainPendingMax }, () => longLabel),
  };
  const body = renderRecord(record);
  assert.ok(body.length <= LIMITS.recordBytes, `${body.length} bytes`);
  assert.deepEqual(parseRecord(`replica/${record.id}`, body), { ok: true, value: record });
});

test("limits: an owner's log holds all its replicas, a claim for each, and their tombstones", () => {
  assert.ok(LIMITS.entriesPerOwner >= 4 * LIMITS.replicasPerNode - 1);
});
