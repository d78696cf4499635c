// May a replica get traffic: every state of a replica on every state of its node.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Member, MemberState } from "../../src/model/member.ts";
import type { ReplicaState } from "../../src/model/record.ts";
import type { Tier } from "../../src/model/view.ts";
import { rule } from "../../src/view/tier.ts";

import { replica } from "./cluster.ts";

const TABLE: Readonly<Record<ReplicaState, Readonly<Record<MemberState, Tier>>>> = {
  ready: { alive: "eligible", suspect: "panic", dead: "never", left: "never" },
  draining: { alive: "draining", suspect: "panic", dead: "never", left: "never" },
  unready: { alive: "panic", suspect: "panic", dead: "never", left: "never" },
  starting: { alive: "never", suspect: "never", dead: "never", left: "never" },
};

function owner(state: MemberState): Member {
  const said = {
    name: "host-2",
    host: "host-2",
    port: 7650,
    zone: "",
    labels: {},
    role: "worker",
    software: "",
  } as const;
  return { ...said, id: "x", state, incarnation: 1, sinceMs: 0, rttMs: null, self: false };
}

for (const [state, row] of Object.entries(TABLE)) {
  for (const [member, tier] of Object.entries(row)) {
    test(`tier: a ${state} replica on a node that is ${member} is ${tier}`, () => {
      const record = replica("web-1", { state: state as ReplicaState });
      const ruling = rule(record, owner(member as MemberState), "host-1");
      assert.equal(ruling.tier, tier);
      assert.notEqual(ruling.reason, "");
      const isOurs = member === "dead" || member === "left" || (member === "suspect" && state !== "starting");
      assert.equal(ruling.saidBy, isOurs ? "host-1" : "host-2");
    });
  }
}

test("tier: weight 0 gets no traffic in any state, and says so", () => {
  for (const state of ["ready", "draining", "unready", "starting"] as const) {
    const ruling = rule(replica("web-1", { state, weight: 0 }), owner("alive"), "host-1");
    assert.deepEqual(ruling, { tier: "never", reason: "weight is 0", saidBy: "host-2" });
  }
});

test("tier: the owner's reason is passed on; without one the state is the reason", () => {
  const reasons = ["probe: refused", ""].map(
    (reason) => rule(replica("web-1", { state: "unready", reason }), owner("alive"), "").reason,
  );
  assert.deepEqual(reasons, ["probe: refused", "unready"]);
});
