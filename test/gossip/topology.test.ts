// Whom a node wants links to as members come and go, and which links may be given up.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { OpenLink } from "../../src/gossip/links.ts";
import type { Peer } from "../../src/gossip/peer.ts";
import { MESH_MAX, Ring } from "../../src/gossip/ring.ts";
import { Topology } from "../../src/gossip/topology.ts";
import { idOf } from "../support/gossip-network.ts";
import { peerOf } from "../support/gossip-peers.ts";

const SELF = idOf("self");

function membersOf(count: number): Peer[] {
  return Array.from({ length: count }, (_, index) => peerOf(`n${index}`));
}

function linkTo(peer: Peer | null, part: Partial<OpenLink> = {}): OpenLink {
  const dialled = { host: peer?.host ?? "x", port: 7650 };
  const state = {
    spareSinceMs: null,
    closing: false,
    parted: false,
    askedWholeAtMs: 0,
    answeredAtMs: 0,
    answerBytes: 0,
  };
  return { id: 1, dialled, identity: peer?.id ?? "x", remote: "", openedAtMs: 0, peer, ...state, ...part };
}

/** A ring of this many members beside this node. */
function ringOf(count: number): { topology: Topology; members: Peer[] } {
  const topology = new Topology(SELF);
  const members = membersOf(count);
  for (const peer of members) topology.note(peer);
  return { topology, members };
}

test("topology: up to 24 members all are wanted; with one more, few are", () => {
  const { topology, members } = ringOf(MESH_MAX - 1);
  assert.ok(topology.isMesh);
  assert.deepEqual([...topology.wanted].toSorted(), members.map(({ id }) => id).toSorted());
  topology.note(peerOf("one more"));
  assert.ok(!topology.isMesh);
  assert.ok(topology.wanted.size < 12);
  topology.note(peerOf("one more", { state: "left" }));
  assert.ok(topology.isMesh);
});

test("topology: alone a node wants nobody", () => {
  const topology = new Topology(SELF);
  assert.ok(topology.isMesh);
  assert.equal(topology.wanted.size, 0);
  assert.equal(topology.successor, null);
});

test("topology: suspects and those who are away keep their place, the dead and those who left do not", () => {
  const topology = new Topology(SELF);
  for (const state of ["suspect", "away"] as const) topology.note(peerOf(state, { state }));
  for (const state of ["dead", "left"] as const) topology.note(peerOf(state, { state }));
  assert.deepEqual([...topology.wanted].toSorted(), [idOf("suspect"), idOf("away")].toSorted());
});

test("topology: a change is told once, and only when the ring has changed", () => {
  const topology = new Topology(SELF);
  assert.equal(topology.takeChanged(), false);
  topology.note(peerOf("a"));
  assert.equal(topology.takeChanged(), true);
  assert.equal(topology.takeChanged(), false);
  topology.note(peerOf("a", { state: "suspect" }));
  assert.equal(topology.takeChanged(), false, "it is still there");
  topology.note(peerOf("a", { state: "dead" }));
  assert.equal(topology.takeChanged(), true);
});

test("topology: however members came and went, what is wanted is what the ring of those present says", () => {
  const step = fc.tuple(fc.nat({ max: 40 }), fc.constantFrom("alive", "suspect", "dead", "left", "away"));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const topology = new Topology(SELF);
      const present = new Set([SELF]);
      for (const [index, state] of steps) {
        const peer = peerOf(`n${index}`, { state });
        topology.note(peer);
        if (state === "dead" || state === "left") present.delete(peer.id);
        else present.add(peer.id);
        assert.deepEqual([...topology.wanted], new Ring(present).wanted(SELF));
      }
      assert.equal(topology.successor, new Ring(present).wanted(SELF)[0] ?? null);
    }),
    { numRuns: 50 },
  );
});

test("topology: a link is spare when neither side wants it, this node dialled it, and it is not new", () => {
  const { topology, members } = ringOf(60);
  const ring = new Ring([SELF, ...members.map(({ id }) => id)]);
  const isWanted = ({ id }: Peer): boolean => topology.wanted.has(id) || ring.wanted(id).includes(SELF);
  const spare = members.filter((peer) => topology.isSpare(linkTo(peer), 5000));
  assert.ok(spare.length > 30);
  assert.deepEqual(
    spare,
    members.filter((peer) => !isWanted(peer)),
  );
  const [one] = spare;
  assert.ok(one !== undefined);
  assert.ok(!topology.isSpare(linkTo(one), 4999), "members come and go in bursts");
  assert.ok(!topology.isSpare(linkTo(one, { dialled: null }), 5000), "who dialled gives it up");
  assert.ok(!topology.isSpare(linkTo(one, { closing: true }), 5000));
  assert.ok(!topology.isSpare(linkTo(null), 5000), "nobody's yet");
});

test("topology: in a mesh no link is spare", () => {
  const { topology, members } = ringOf(MESH_MAX - 1);
  assert.ok(members.every((peer) => !topology.isSpare(linkTo(peer), 60_000)));
  assert.ok(!topology.isSpare(linkTo(peerOf("a stranger")), 60_000));
});
