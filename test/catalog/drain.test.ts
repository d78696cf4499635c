// Drains: what is taken out of service, until when, and who has heard of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  activateNode,
  activateReplica,
  drainDaemon,
  drainNode,
  drainReason,
  drainReplica,
  forgetEnded,
  isDrainApplied,
  membersMissing,
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

test("drain: node and daemon drain everything; only the node's can be taken back", () => {
  assert.equal(drainReason(drainNode(NO_DRAINS), WEB), "its node is drained");
  assert.equal(drainReason(activateNode(drainNode(NO_DRAINS)), WEB), null);
  const stopping = drainDaemon(drainNode(NO_DRAINS));
  assert.equal(drainReason(activateNode(stopping), WEB), "its daemon is stopping");
});

test("drain: activating the node leaves a replica drained that was drained by itself", () => {
  const drains = activateNode(drainNode(drainReplica(NO_DRAINS, WEB)));
  assert.equal(drainReason(drains, WEB), "drained by command");
});

test("drain: a stop signal drains without any command", () => {
  assert.equal(drainReason(NO_DRAINS, { ...WEB, lifecycle: "stopping" }), "docker: stop signal sent");
});

test("drain: what changes nothing gives back the same value", () => {
  const drains = drainDaemon(drainNode(drainReplica(NO_DRAINS, WEB)));
  assert.equal(drainReplica(drains, WEB), drains);
  assert.equal(drainNode(drains), drains);
  assert.equal(drainDaemon(drains), drains);
  assert.equal(activateReplica(drains, "web-2"), drains);
  assert.equal(activateNode(NO_DRAINS), NO_DRAINS);
  assert.equal(forgetEnded(drains, [WEB]), drains);
});

test("drain: runs that are over are forgotten, so the value does not grow", () => {
  const drains = drainReplica(drainReplica(NO_DRAINS, WEB), endpoint("web-2"));
  const kept = forgetEnded(drains, [{ ...WEB, startedAtMs: 2000 }, endpoint("web-2")]);
  assert.deepEqual([...kept.startedAtMsById.keys()], ["web-2"]);
});

test("applied: exactly when no member that is alive has yet to apply the version", () => {
  const members = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { maxLength: 8 });
  fc.assert(
    fc.property(members, fc.array(fc.option(fc.nat(9))), fc.nat(9), (ids, applied, version) => {
      const versionById = new Map(ids.map((id, index) => [id, applied[index] ?? null]));
      const audience = {
        version,
        members: ids,
        appliedVersionOf: (id: string) => versionById.get(id) ?? null,
      };
      const missing = membersMissing(audience);
      for (const id of ids) {
        const has = versionById.get(id);
        assert.equal(missing.includes(id), !(typeof has === "number" && has >= version));
      }
      assert.equal(isDrainApplied(audience), missing.length === 0);
    }),
  );
});

test("applied: at once where there is nobody else", () => {
  assert.ok(isDrainApplied({ version: 7, members: [], appliedVersionOf: () => null }));
});
