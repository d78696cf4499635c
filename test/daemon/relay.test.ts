// By way of whom a stream goes: straight, unless this node's own link is broken and another member has one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { addressIn, routeTo, wayTo, type StreamRoute } from "../../src/daemon/relay.ts";
import type { Member } from "../../src/model/member.ts";
import { plainMember } from "../support/view.ts";

function memberOf(id: string, over: Partial<Member> = {}): Member {
  return plainMember(id, `host-${id}`, { host: `${id}.example`, role: "manager", rttMs: 1, ...over });
}

const self = memberOf("self", { self: true });
const near = memberOf("near");
const cut = memberOf("cut", { via: "near" });
const at = ({ host, port }: Member): { host: string; port: number } => ({ host, port });
/** Whoever else answers at that address is not the member that is meant. */
const peer = (member: Member): StreamRoute["peer"] => ({ id: member.id, address: at(member) });

test("relay: a stream goes straight to its host while this node has a link to it", () => {
  assert.deepEqual(routeTo(near, [self, near, cut]), { peer: peer(near) });
});

test("relay: with a broken link it goes through the member that has one, and names whose replica it is", () => {
  const owner = { node: "cut", hop: 0 };
  assert.deepEqual(routeTo(cut, [self, near, cut]), { peer: peer(near), owner });
});

test("relay: a relay that is gone, dead, cut off itself or this node is none: then straight", () => {
  const straight = { peer: peer(cut) };
  assert.deepEqual(routeTo(cut, [self, cut]), straight);
  const unfit: readonly Partial<Member>[] = [
    { state: "dead" },
    { state: "away" },
    { via: "cut" },
    { host: "" },
  ];
  for (const over of unfit) assert.deepEqual(routeTo(cut, [self, memberOf("near", over), cut]), straight);
  assert.deepEqual(routeTo(memberOf("cut", { via: "self" }), [self, cut]), straight);
});

test("relay: a node passes on to members that it reaches itself, to itself, and to nobody else", () => {
  const members = [self, near, cut, memberOf("dead", { state: "dead" }), memberOf("left", { state: "left" })];
  assert.deepEqual(wayTo("near", members), { kind: "peer", address: at(near) });
  assert.deepEqual(wayTo("self", members), { kind: "self" });
  for (const id of ["cut", "dead"]) assert.deepEqual(wayTo(id, members), { kind: "unlinked" });
  for (const id of ["left", "nobody"]) assert.deepEqual(wayTo(id, members), { kind: "unknown" });
});

test("relay: where a member listens is known also while this node does not reach it, but not of one that left", () => {
  const dead = memberOf("dead", { state: "dead" });
  const members = [
    self,
    cut,
    dead,
    memberOf("left", { state: "left" }),
    memberOf("new", { host: "", port: 0 }),
  ];
  assert.deepEqual([addressIn("cut", members), addressIn("dead", members)], [at(cut), at(dead)]);
  for (const id of ["left", "new", "nobody"]) assert.equal(addressIn(id, members), null, id);
});
