// May a replica get traffic: every state of a replica on every state of its node.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Member, MemberState } from "../../src/model/member.ts";
import type { ReplicaState } from "../../src/model/record.ts";
import type { Tier } from "../../src/model/view.ts";
import { rule } from "../../src/view/tier.ts";

import { member, replica } from "./cluster.ts";

const TABLE: Readonly<Record<ReplicaState, Readonly<Record<MemberState, Tier>>>> = {
  ready: { alive: "eligible", suspect: "panic", dead: "never", away: "eligible", left: "never" },
  draining: { alive: "draining", suspect: "panic", dead: "never", away: "draining", left: "never" },
  unready: { alive: "panic", suspect: "panic", dead: "never", away: "panic", left: "never" },
  starting: { alive: "never", suspect: "never", dead: "never", away: "never", left: "never" },
};

const owner = (state: MemberState, part: Partial<Member> = {}): Member => {
  return member("host-2", { state, ...part });
};

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
    assert.deepEqual(ruling, {
      tier: "never",
      reason: "weight is 0",
      saidBy: "host-2",
      // Blue and green: what is open goes on, all else goes to the others.
      keepsConnections: true,
    });
  }
});

test("tier: connections to what has died or left lead nowhere; to all else they go on", () => {
  const states = ["alive", "suspect", "away", "dead", "left"] as const;
  const kept = states.filter((state) => rule(replica("web-1"), owner(state), "host-1").keepsConnections);
  assert.deepEqual(kept, ["alive", "suspect", "away"]);
});

test("tier: the owner's reason is passed on; without one the state is the reason", () => {
  const reasons = ["probe: refused", ""].map(
    (reason) => rule(replica("web-1", { state: "unready", reason }), owner("alive"), "").reason,
  );
  assert.deepEqual(reasons, ["probe: refused", "unready"]);
});

test("tier: what a daemon that is away would relay gets nothing, in whatever state it was left", () => {
  for (const state of ["ready", "draining", "unready", "starting"] as const) {
    const ruling = rule(replica("web-1", { state, reach: "stream" }), owner("away"), "host-1");
    const told = { tier: "never", reason: "node host-2 is away", saidBy: "host-1" };
    assert.deepEqual(ruling, { ...told, keepsConnections: true });
  }
});

test("tier: a node that came and went is kept for the emergency until it has settled, away or not", () => {
  const reason = "node host-2 came and went; settling";
  const told = { tier: "panic", reason, saidBy: "host-1", keepsConnections: true };
  for (const state of ["alive", "away"] as const) {
    const settling = owner(state, { settlesAtMs: 99_000 });
    assert.deepEqual(rule(replica("web-1"), settling, "host-1"), told);
    for (const other of ["draining", "unready", "starting"] as const) {
      const record = replica("web-1", { state: other });
      assert.deepEqual(rule(record, settling, "host-1"), rule(record, owner(state), "host-1"), other);
    }
  }
});

test("tier: of a node that does not answer this is told, whether it has settled or not", () => {
  const { tier, reason } = rule(replica("web-1"), owner("suspect", { settlesAtMs: 99_000 }), "host-1");
  assert.deepEqual([tier, reason], ["panic", "node host-2 does not answer"]);
});

test("tier: a replica on an overlay network outlives its daemon's restart where the host itself carries it", () => {
  const overlay = { address: "192.0.2.1", mtu: 1500 };
  const tierOf = (part: Partial<Member>): Tier =>
    rule(replica("web-1", { reach: "overlay" }), owner("away", part), "host-1").tier;
  assert.deepEqual([tierOf({ overlay }), tierOf({})], ["eligible", "never"]);
});
