// Draining all of a host, at the daemon that is asked: what it answers where things do not go straight.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { drainMember, type DrainParts } from "../../src/daemon/departure.ts";
import type { Member } from "../../src/model/member.ts";
import { member, OTHER, replica, service, view } from "../admin/picture.ts";

function drains(one: Member, draining: boolean): Member {
  const { draining: _, ...rest } = one;
  return draining ? { ...rest, draining } : rest;
}

/** A cluster of this host and another; each order is given on, and each look at the view is told of. */
function scene(
  onLook: (looks: number, other: Member) => Member,
): DrainParts & { readonly orders: unknown[] } {
  const orders: unknown[] = [];
  const draining = replica({ node: OTHER, nodeName: "host-2", state: "draining", drainPending: ["host-1"] });
  let other = member({ id: OTHER, name: "host-2", self: false });
  let looks = 0;
  const parts = {
    orders,
    node: {},
    driver: {
      feed(order: { readonly draining: boolean }) {
        orders.push(order);
        other = drains(other, order.draining);
      },
    },
    view() {
      looks += 1;
      other = onLook(looks, other);
      return view({
        members: [member(), other],
        services: [service("default", "web", { replicas: [draining] })],
      });
    },
    expectRight({ local }: { readonly local: boolean }, what: string) {
      if (!local) throw new Failure("not-allowed", what);
    },
  };
  return parts as unknown as DrainParts & { readonly orders: unknown[] };
}

const allowed = { expectRight: () => undefined };

test("node drain: without the right nothing is ordered, and it is said what was wanted", async () => {
  const parts = scene((_looks, other) => other);
  for (const [draining, what] of [
    [true, /draining another host/],
    [false, /activating another host/],
  ] as const) {
    await assert.rejects(drainMember(parts, OTHER, { draining, waits: true }), (thrown: Failure) => {
      return thrown.code === "not-allowed" && what.test(thrown.message);
    });
  }
  assert.deepEqual(parts.orders, []);
});

test("node drain: one that somebody else takes back meanwhile is not told as done", async () => {
  const parts = { ...scene((looks, other) => (looks < 5 ? other : drains(other, false))), ...allowed };
  await assert.rejects(drainMember(parts, OTHER, { draining: true, waits: true }), (thrown: Failure) => {
    return thrown.code === "invalid" && /host-2 was activated meanwhile/.test(thrown.message);
  });
});

test("node drain: without --wait it is told at once who has not applied it", async () => {
  const parts = { ...scene((_looks, other) => other), ...allowed };
  const result = await drainMember(parts, OTHER, { draining: true, waits: false });
  assert.deepEqual([result.applied, result.pending, result.replicas], [false, ["host-1"], 1]);
});
