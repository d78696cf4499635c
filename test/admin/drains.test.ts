// Drains: replicas that are draining, whoever's they are, with what their owner tells of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { drainsOf } from "../../src/admin/drains.ts";
import { NOW_MS, replica, service, view } from "./picture.ts";

test("drains: each replica that is draining is told, with who has not applied it; others are not", () => {
  const draining = replica({
    id: "d1",
    name: "web-2",
    nodeName: "host-2",
    state: "draining",
    tier: "draining",
    reason: "drained by command",
    drainPending: ["host-3"],
    sinceMs: NOW_MS,
  });
  const services = [
    service("back", "db", { replicas: [replica({ id: "d0", state: "draining", drainApplied: true })] }),
    service("default", "web", { replicas: [replica(), draining] }),
  ];
  const [first, second, ...more] = drainsOf(view({ services }));
  assert.deepEqual([first?.replica, first?.applied, first?.pending], ["d0", true, []]);
  assert.deepEqual(second, {
    replica: "d1",
    name: "web-2",
    service: "default/web",
    node: "host-2",
    reason: "drained by command",
    sinceMs: NOW_MS,
    applied: false,
    pending: ["host-3"],
  });
  assert.deepEqual(more, []);
});
