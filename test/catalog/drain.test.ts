// Drains: what is taken out of service, and until when.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  activateReplica,
  drainDaemon,
  drainHost,
  drainReason,
  drainReplica,
  forgetEnded,
  NO_DRAINS,
} from "../../src/catalog/drain.ts";
import { endpoint } from "./fixture.ts";

const WEB = endpoint("web-1");

test("drain: nothing is drained at first", () => {
  assert.equal(drainReason(NO_DRAINS, WEB), null);
});

test("drain: a replica that is drained by command is back when it is started again", () => {
  const drains = drainReplica(NO_DRAINS, WEB);
  assert.equal(drainReason(drains, WEB), "drained by command");
  assert.equal(drainReason(drains, { ...WEB, startedAtMs: 2000 }), null);
  assert.equal(drainReason(drains, endpoint("web-2")), null);
  assert.equal(drainReason(activateReplica(drains, "web-1"), WEB), null);
});

test("drain: a daemon that stops for good drains everything", () => {
  const drains = drainDaemon(NO_DRAINS, "stops");
  for (const reach of ["stream", "direct"] as const)
    assert.equal(drainReason(drains, { ...WEB, reach }), "its daemon is stopping");
});

test("drain: a daemon that stops for a while drains what it relays; what is reached without it goes on", () => {
  const drains = drainDaemon(NO_DRAINS, "stopsForAWhile");
  assert.equal(drainReason(drains, { ...WEB, reach: "stream" }), "its daemon is restarting");
  assert.equal(drainReason(drains, { ...WEB, reach: "direct" }), null);
  const drained = drainReplica(drains, WEB);
  assert.equal(drainReason(drained, { ...WEB, reach: "direct" }), "drained by command");
});

test("drain: a host that is drained drains whatever runs there or starts there, until it is activated", () => {
  const drains = drainHost(NO_DRAINS, true);
  for (const run of [WEB, { ...WEB, startedAtMs: 9000 }, endpoint("later")])
    assert.equal(drainReason(drains, run), "its node is drained by command");
  assert.equal(drainReason(drainHost(drains, false), WEB), null);
  assert.equal(drainHost(drains, true), drains);
});

test("drain: what was drained by itself stays so when its host is activated, and the other way round", () => {
  const both = drainHost(drainReplica(NO_DRAINS, WEB), true);
  assert.equal(drainReason(drainHost(both, false), WEB), "drained by command");
  assert.equal(drainReason(activateReplica(both, "web-1"), WEB), "its node is drained by command");
});

test("drain: a stop signal drains without any command", () => {
  assert.equal(drainReason(NO_DRAINS, { ...WEB, lifecycle: "stopping" }), "docker: stop signal sent");
});

test("drain: what changes nothing gives back the same value", () => {
  const drains = drainDaemon(drainReplica(NO_DRAINS, WEB), "stops");
  assert.equal(drainReplica(drains, WEB), drains);
  assert.equal(drainDaemon(drains, "stops"), drains);
  assert.equal(activateReplica(drains, "web-2"), drains);
  assert.equal(forgetEnded(drains, [WEB]), drains);
});

test("drain: runs that are over are forgotten, so the value does not grow", () => {
  const drains = drainReplica(drainReplica(NO_DRAINS, WEB), endpoint("web-2"));
  const kept = forgetEnded(drains, [{ ...WEB, startedAtMs: 2000 }, endpoint("web-2")]);
  assert.deepEqual([...kept.startedAtMsById.keys()], ["web-2"]);
});
