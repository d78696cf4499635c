// Messages meet the links: each linked peer gets one copy with its part of the ring, and one for a member finds it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { Message, Until } from "../../src/gossip/message.ts";
import { RING_SIZE } from "../../src/gossip/ring.ts";
import { idOf } from "../support/gossip-network.ts";
import { alongRing, linkedTo, placeOf, quiet } from "../support/gossip-peers.ts";

const NAMES = ["a", "b", "c", "d", "e", "f"];
const message = (until: Until): Message => ({ kind: "rumor", rumors: [], until });

function untilOf(message: Message): Until {
  assert.ok(message.kind === "rumor");
  return message.until;
}

/** How far it is from one place to another, upwards and round. */
function arc(from: number, to: number): number {
  return to > from ? to - from : to - from + RING_SIZE;
}

test("carrier: in a mesh everybody is sent to by the origin, and nobody has anybody to serve", () => {
  const { carrier, sent } = linkedTo("self", ...NAMES);
  carrier.broadcast(message);
  const order = alongRing(NAMES, placeOf("self"));
  for (const { to, message } of sent()) {
    const next = order[order.indexOf(to) + 1] ?? "self";
    assert.equal(untilOf(message), placeOf(next), `${to} serves nobody between itself and ${next}`);
  }
});

test("carrier: without a link to its successor an origin's message goes past it from the other side", () => {
  const linked = linkedTo("self", ...NAMES);
  const order = alongRing(NAMES, placeOf("self"));
  const [first, second] = order;
  const last = order.at(-1);
  assert.ok(first !== undefined && second !== undefined && last !== undefined);
  linked.links.remove(linked.linkOf(first).id);
  linked.carrier.broadcast(message);
  const copies = linked.sent();
  assert.ok(!copies.some(({ to }) => to === first));
  assert.equal(untilOf(copies.find(({ to }) => to === last)?.message ?? message(null)), placeOf(second));
});

test("carrier: a broadcast goes to every linked peer once, and their parts of the ring do not overlap", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 12 }),
      (names) => {
        const { carrier, sent } = linkedTo("self", ...names);
        carrier.broadcast(message);
        const copies = sent();
        assert.deepEqual(copies.map(({ to }) => to).toSorted(), names.toSorted());
        const arcs = copies.map(({ to, message }) => {
          const until = untilOf(message);
          return until === null ? 0 : arc(placeOf(to), until);
        });
        assert.ok(arcs.reduce((sum, length) => sum + length, 0) <= RING_SIZE);
      },
    ),
  );
});

test("carrier: without a link a broadcast goes nowhere", () => {
  const { carrier, sent } = linkedTo("self");
  carrier.broadcast(message);
  assert.deepEqual(sent(), []);
});

test("carrier: what is passed on goes to linked peers in the part to be served, not back where it came from", () => {
  const { carrier, linkOf, sent } = linkedTo("self", ...NAMES);
  const [first, second, third, fourth] = alongRing(NAMES, placeOf("self"));
  assert.ok(first !== undefined && second !== undefined && third !== undefined && fourth !== undefined);
  carrier.forward(message, placeOf(fourth), linkOf(second).id);
  const copies = sent();
  assert.deepEqual(copies.map(({ to }) => to).toSorted(), [first, third].toSorted());
  assert.equal(untilOf(copies.find(({ to }) => to === third)?.message ?? message(null)), placeOf(fourth));
  assert.deepEqual(carrier.forward(message, null, 0), [], "what is for this node alone goes no further");
});

test("carrier: it tells over which links it passed something on", () => {
  const { carrier, links } = linkedTo("self", ...NAMES);
  const all = new Set(links.seats.map(({ link }) => link));
  assert.deepEqual(new Set(carrier.forward(message, placeOf("self"), 0)), all);
});

test("carrier: a peer that misses pings gets its copy, but serves nobody: its part falls to another", () => {
  const { carrier, peer, sent } = linkedTo("self", ...NAMES);
  const [, second, third, fourth] = alongRing(NAMES, placeOf("self"));
  assert.ok(second !== undefined && third !== undefined && fourth !== undefined);
  quiet(peer(third));
  carrier.broadcast(message);
  const untilByName = new Map(sent().map(({ to, message }) => [to, untilOf(message)]));
  assert.equal(untilByName.get(third), null);
  assert.equal(untilByName.get(second), placeOf(fourth), "up to the one behind it, and so through it");
});

test("carrier: a first peer that misses pings is served by the last one, round the ring", () => {
  const { carrier, peer, sent } = linkedTo("self", ...NAMES);
  const [first, second] = alongRing(NAMES, placeOf("self"));
  const last = alongRing(NAMES, placeOf("self")).at(-1);
  assert.ok(first !== undefined && second !== undefined && last !== undefined);
  quiet(peer(first));
  carrier.broadcast(message);
  const served = sent().find(({ to }) => to === last);
  assert.equal(untilOf(served?.message ?? message(null)), placeOf(second));
});

test("carrier: a member is reached over its own link, else over one that is nearer to it than this node", () => {
  const { carrier } = linkedTo("self", ...NAMES);
  for (const name of NAMES) assert.equal(carrier.linkTowards(idOf(name))?.peer.name, name);
  const seat = carrier.linkTowards(idOf("somebody else"));
  const place = placeOf("somebody else");
  const apart = (from: number): number => Math.min(arc(from, place), arc(place, from));
  if (seat !== null) assert.ok(apart(seat.position) < apart(placeOf("self")));
  assert.equal(linkedTo("self").carrier.linkTowards(idOf("a")), null);
});

test("carrier: towards a member whose own link is doubtful another way is taken, if one leads nearer", () => {
  const { carrier, peer } = linkedTo("self", ...NAMES);
  quiet(peer("c"));
  const way = carrier.linkTowards(idOf("c"));
  assert.ok(way !== null);
  const apart = (from: number): number => Math.min(arc(from, placeOf("c")), arc(placeOf("c"), from));
  assert.ok(way.peer.name === "c" || apart(way.position) < apart(placeOf("self")));
  const alone = linkedTo("self", "c");
  quiet(alone.peer("c"));
  assert.equal(alone.carrier.linkTowards(idOf("c"))?.peer.name, "c", "there is no other");
});
