// What is kept of one member between two views is found by name, and forgotten as a whole.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Entry } from "../../src/model/log.ts";
import type { MemberState } from "../../src/model/member.ts";
import {
  claimOf,
  forgetLog,
  isHeard,
  isPresent,
  newOwner,
  placedAt,
  placedOf,
  sliceOf,
  type Owner,
} from "../../src/view/owner.ts";
import { replicaOf } from "../../src/view/replica.ts";

import { declare, logOf, member, replica } from "./cluster.ts";

const ENTRY: Entry = { version: 1, body: "{}" };

function ownerOf(...ids: readonly string[]): Owner {
  const owner = newOwner(member("b"), ENTRY);
  owner.log = logOf("b", []);
  owner.placed = ids.map((id) => {
    const { reason, stack, declaration, startedAtMs, ...copy } = replica(id);
    const circumstances = { reason, owner: owner.member, observer: "a", last: null, nowMs: 0 };
    const shown = replicaOf({ ...copy, ports: declaration.ports }, circumstances);
    const rest = { entry: ENTRY, reason, stack, declaration: declare(), startedAtMs, replica: shown };
    return placedAt(owner, "default/web", rest);
  });
  owner.claims = ["default/db", "default/web"].map((key) => {
    return { key, address: "10.96.5.5", order: 1, settled: true };
  });
  owner.slices = [{ kind: "subnet", network: "blue", index: 1, order: 1, settled: true }];
  owner.malformedKeys = new Set(["replica/bad"]);
  return owner;
}

test("owner: replicas are found by id, claims by service, slices by network; what is not there is not found", () => {
  const owner = ownerOf("r1", "r2", "r4");
  for (const id of ["r1", "r2", "r4"]) assert.equal(placedOf(owner, id)?.replica.id, id);
  for (const id of ["", "r3", "r5"]) assert.equal(placedOf(owner, id), undefined);
  assert.equal(claimOf(owner, "default/web")?.key, "default/web");
  assert.equal(claimOf(owner, "default/mail"), undefined);
  assert.equal(sliceOf(owner, "blue")?.index, 1);
  assert.equal(sliceOf(owner, "green"), undefined);
});

test("owner: forgetting its log leaves the member and nothing of its records", () => {
  const owner = ownerOf("r1");
  forgetLog(owner);
  assert.deepEqual(owner, newOwner(member("b"), ENTRY));
});

test("owner: one that is away is there and is heard; one that does not answer is there and is not heard", () => {
  const states: readonly MemberState[] = ["alive", "suspect", "dead", "away", "left"];
  assert.deepEqual(states.filter(isPresent), ["alive", "suspect", "away"]);
  assert.deepEqual(states.filter(isHeard), ["alive", "away"]);
});
