// On a ring of any size each member gets one copy within a few hops, and a message for one member finds it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { below, pick, seededRandom, type Random } from "../../src/base/random.ts";
import {
  MESH_MAX,
  positionOf,
  Ring,
  RING_SIZE,
  spread,
  spreadAround,
  towards,
  type RingLink,
} from "../../src/gossip/ring.ts";

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const seeds = fc.integer({ min: 0, max: 2 ** 31 });

interface Link extends RingLink {
  readonly node: Node;
}

interface Node {
  readonly id: string;
  readonly position: number;
  links: readonly Link[];
}

type IsOpen = (one: string, other: string) => boolean;

function randomId(random: Random): string {
  return Array.from({ length: 20 }, () => BASE32.charAt(below(random, 32))).join("");
}

/** Nodes, in the order of their ids' making, linked to those they want where the link is open. */
function network(size: number, random: Random, isOpen: IsOpen = () => true): Node[] {
  const ids = Array.from({ length: size }, () => randomId(random));
  const nodes = ids.map((id): Node => ({ id, position: positionOf(id), links: [] }));
  const nodeById = new Map(nodes.map((node) => [node.id, node]));
  const peersById = new Map(ids.map((id) => [id, new Set<Node>()]));
  const ring = new Ring(ids);
  for (const node of nodes) {
    for (const peer of ring.wanted(node.id).flatMap((id) => nodeById.get(id) ?? [])) {
      if (!isOpen(node.id, peer.id)) continue;
      peersById.get(node.id)?.add(peer);
      peersById.get(peer.id)?.add(node);
    }
  }
  for (const node of nodes) node.links = linksTo([...(peersById.get(node.id) ?? [])]);
  return nodes;
}

function linksTo(peers: readonly Node[]): Link[] {
  const links = peers.map((node): Link => ({ node, position: node.position, doubtful: false }));
  return links.sort((one, other) => one.position - other.position);
}

interface Reach {
  /** Copies that each reached node got; the origin's own are in here too. */
  readonly copies: ReadonlyMap<Node, number>;
  readonly depth: number;
}

/** Sends a message from `origin`; each receiver passes it on, though not over the link it came by. */
function broadcast(origin: Node, around = false): Reach {
  const copies = new Map<Node, number>();
  const first = around ? spreadAround(origin.position, origin.links) : null;
  let shares = (first ?? spread(origin.position, origin.position, origin.links)).map((share) => ({
    ...share,
    by: origin,
  }));
  let depth = 0;
  while (shares.length > 0) {
    depth += 1;
    shares = shares.flatMap(({ link: { node }, until, by }) => {
      copies.set(node, (copies.get(node) ?? 0) + 1);
      const onwards = spread(node.position, until, node.links).filter(({ link }) => link.node !== by);
      return onwards.map((share) => ({ ...share, by: node }));
    });
  }
  return { copies, depth };
}

function reachesAllOnce(nodes: readonly Node[], origin: Node, { copies }: Reach): void {
  for (const node of nodes) assert.equal(copies.get(node) ?? 0, node === origin ? 0 : 1);
}

test("ring: a position is the first 50 bits of an id, and any text has one", () => {
  assert.equal(positionOf("aaaaaaaaaazzzzzzzzzz"), 0);
  assert.equal(positionOf("7777777777aaaaaaaaaa"), RING_SIZE - 1);
  assert.equal(positionOf("aaaaaaaabcaaaaaaaaaa"), 32 + 2);
  fc.assert(
    fc.property(fc.string(), (text) => {
      const position = positionOf(text);
      assert.ok(Number.isInteger(position) && position >= 0 && position < RING_SIZE);
    }),
  );
});

test("ring: up to 24 members each wants all others, beyond it about log n, its successors first", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), seeds, (size, seed) => {
      const random = seededRandom(seed);
      const ids = Array.from({ length: size }, () => randomId(random));
      const ring = new Ring(ids);
      const self = pick(random, ids) ?? "";
      const wanted = ring.wanted(self);
      assert.equal(new Set(wanted).size, wanted.length);
      assert.ok(!wanted.includes(self));
      const clockwise = ids
        .map((id) => ({ id, apart: (positionOf(id) - positionOf(self) + RING_SIZE) % RING_SIZE }))
        .sort((one, other) => one.apart - other.apart)
        .map(({ id }) => id);
      if (size <= MESH_MAX) assert.deepEqual(wanted, clockwise.slice(1));
      else assert.deepEqual(wanted.slice(0, 2), clockwise.slice(1, 3));
      if (size > MESH_MAX) assert.ok(wanted.length <= 4 + 2 * Math.log2(size));
    }),
    { numRuns: 40 },
  );
});

test("ring: beyond 24 members a node wants exactly the successors of its position plus powers of two", () => {
  fc.assert(
    fc.property(fc.integer({ min: MESH_MAX + 1, max: 200 }), seeds, (size, seed) => {
      const random = seededRandom(seed);
      const ids = Array.from({ length: size }, () => randomId(random));
      const sorted = ids.toSorted((one, other) => positionOf(one) - positionOf(other));
      const self = pick(random, ids) ?? "";
      const at = sorted.indexOf(self);
      const expected = new Set([1, 2].map((step) => sorted[(at + step) % size] ?? ""));
      for (let finger = 0; finger < 50; finger += 1) {
        const point = (positionOf(self) + 2 ** finger) % RING_SIZE;
        expected.add(sorted.find((id) => positionOf(id) >= point) ?? sorted[0] ?? "");
      }
      expected.delete(self);
      assert.deepEqual(new Set(new Ring(ids).wanted(self)), expected);
    }),
    { numRuns: 40 },
  );
});

test("ring: members added and removed one by one make the ring that would be built at once", () => {
  // Ids that share their first ten characters share a position.
  const ids = fc.stringMatching(/^[a7]{8}aa[a7][a7]$/);
  fc.assert(
    fc.property(fc.array(ids, { maxLength: 60 }), fc.array(ids, { maxLength: 60 }), (added, removed) => {
      const ring = new Ring();
      const expected = new Set<string>();
      for (const id of [...added, ...removed]) {
        assert.equal(ring.add(id), !expected.has(id));
        expected.add(id);
      }
      for (const id of removed) assert.equal(ring.delete(id), expected.delete(id));
      assert.equal(ring.size, expected.size);
      const built = new Ring(expected);
      for (const id of [...added, ...removed]) assert.deepEqual(ring.wanted(id), built.wanted(id));
    }),
  );
});

test("broadcast: on an intact ring every member gets one copy, within 3 log2 n hops", () => {
  fc.assert(
    fc.property(fc.integer({ min: MESH_MAX + 1, max: 2000 }), seeds, (size, seed) => {
      const random = seededRandom(seed);
      const nodes = network(size, random);
      for (let run = 0; run < 5; run += 1) {
        const origin = pick(random, nodes) as Node;
        const reach = broadcast(origin);
        reachesAllOnce(nodes, origin, reach);
        assert.ok(reach.depth <= 3 * Math.log2(size), `depth ${reach.depth} of ${size}`);
      }
    }),
    { numRuns: 25 },
  );
});

test("broadcast: in a full mesh every member gets its copy from the origin, and nobody forwards", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: MESH_MAX }), seeds, (size, seed) => {
      const nodes = network(size, seededRandom(seed));
      for (const origin of nodes) {
        const reach = broadcast(origin);
        reachesAllOnce(nodes, origin, reach);
        assert.equal(reach.depth, 1);
      }
    }),
    { numRuns: 50 },
  );
});

test("broadcast: where one link of a mesh is missing, that member alone gets its copy through another", () => {
  fc.assert(
    fc.property(fc.integer({ min: 3, max: MESH_MAX }), seeds, (size, seed) => {
      const random = seededRandom(seed);
      const pair = [0, 1].map(() => new Set<string>());
      const isOpen: IsOpen = (one, other) => !pair.every((side) => side.has(one) || side.has(other));
      // The same ids twice: first to know whom to cut apart, then without their link.
      const [one, other] = network(size, seededRandom(seed)).map(({ id }) => id);
      pair[0]?.add(one ?? "");
      pair[1]?.add(other ?? "");
      const nodes = network(size, seededRandom(seed), isOpen);
      const origin = nodes[below(random, 2)] as Node;
      const lost = nodes.find(({ id }) => id === (origin.id === one ? other : one)) as Node;
      const successor = new Ring(nodes.map(({ id }) => id)).wanted(origin.id)[0];
      const reach = broadcast(origin, successor === lost.id);
      reachesAllOnce(nodes, origin, reach);
      assert.equal(reach.depth, 2);
      assert.equal(origin.links.length, size - 2);
    }),
    { numRuns: 200 },
  );
});

test("broadcast: with one link in twenty missing nobody gets two copies, and nine in ten get theirs", () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 1000 }), seeds, (size, seed) => {
      const random = seededRandom(seed);
      // A pair's link is wanted from one side or both; it is missing as a whole.
      const isOpenByPair = new Map<string, boolean>();
      const isOpen: IsOpen = (one, other) => {
        const pair = one < other ? one + other : other + one;
        const open = isOpenByPair.get(pair) ?? random() >= 0.05;
        isOpenByPair.set(pair, open);
        return open;
      };
      const nodes = network(size, random, isOpen);
      const runs = Array.from({ length: 10 }, () => broadcast(pick(random, nodes) as Node));
      for (const { copies } of runs) assert.ok([...copies.values()].every((count) => count === 1));
      const reached = runs.reduce((sum, { copies }) => sum + copies.size, 0) / runs.length;
      assert.ok(reached >= 0.9 * (size - 1), `${reached} of ${size - 1}`);
    }),
    { numRuns: 15 },
  );
});

test("broadcast: an origin without its successor's link reaches all others, and itself at most once", () => {
  fc.assert(
    fc.property(fc.integer({ min: MESH_MAX + 1, max: 300 }), seeds, (size, seed) => {
      const nodes = network(size, seededRandom(seed));
      const origin = nodes[0] as Node;
      const successor = new Ring(nodes.map(({ id }) => id)).wanted(origin.id)[0];
      const lost = nodes.find(({ id }) => id === successor) as Node;
      origin.links = origin.links.filter(({ node }) => node !== lost);
      lost.links = lost.links.filter(({ node }) => node !== origin);
      const { copies } = broadcast(origin, true);
      for (const node of nodes) {
        if (node === origin) assert.ok((copies.get(node) ?? 0) <= 1);
        else assert.equal(copies.get(node), 1);
      }
    }),
    { numRuns: 50 },
  );
});

test("broadcast: the arcs handed on are disjoint, and cover the arc from the first link that serves", () => {
  const link = fc.record({ position: fc.integer({ min: 0, max: 60 }), doubtful: fc.boolean() });
  const places = fc.nat(60);
  fc.assert(
    fc.property(fc.array(link, { maxLength: 30 }), places, places, (unsorted, self, until) => {
      const links = unsorted.toSorted((one, other) => one.position - other.position);
      const clockwise = (position: number): number => (position - self + RING_SIZE) % RING_SIZE;
      const length = until === self ? RING_SIZE : clockwise(until);
      const shares = spread(self, until, links);
      const within = ({ position }: RingLink): boolean =>
        clockwise(position) > 0 && clockwise(position) < length;
      assert.deepEqual(new Set(shares.map(({ link }) => link)), new Set(links.filter(within)));
      assert.equal(shares.length, new Set(shares.map(({ link }) => link)).size);
      let end = until;
      for (const share of shares.filter(({ until }) => until !== null)) {
        assert.equal(share.until, end);
        assert.equal(share.link.doubtful, false);
        end = share.link.position;
      }
      const firm = links.filter((one) => within(one) && !one.doubtful).map((one) => clockwise(one.position));
      if (firm.length > 0) assert.equal(clockwise(end), Math.min(...firm));
    }),
  );
});

test("broadcast: a doubtful member gets its copy, and its arc is served by the link before it", () => {
  const links = [10, 20, 30].map((position) => ({ position, doubtful: position === 20 }));
  const untils = (self: number, until: number | null): (number | null)[][] =>
    spread(self, until, links).map(({ link, until }) => [link.position, until]);
  assert.deepEqual(untils(0, 0), [
    [30, 0],
    [20, null],
    [10, 30],
  ]);
  assert.deepEqual(untils(15, 25), [[20, null]]);
  assert.deepEqual(untils(25, 15), [
    [10, 15],
    [30, 10],
  ]);
  assert.deepEqual(untils(0, null), []);
  assert.deepEqual(spread(0, 0, []), []);
  assert.deepEqual(spreadAround(0, []), []);
});

/** Hops from one node to another, or null when the message gets stuck on its way. */
function hops(from: Node, owner: Node): number | null {
  let node = from;
  let count = 0;
  for (; node !== owner; count += 1) {
    const next = towards(owner.position, node.position, node.links);
    if (next === null) return null;
    node = next.node;
  }
  return count;
}

test("routing: on an intact ring a message reaches its owner within 2 log2 n hops", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 2000 }), seeds, (size, seed) => {
      const random = seededRandom(seed);
      const nodes = network(size, random);
      for (let run = 0; run < 100; run += 1) {
        const taken = hops(pick(random, nodes) as Node, pick(random, nodes) as Node);
        assert.ok(taken !== null && taken <= 2 * Math.log2(size), `${taken} hops of ${size}`);
      }
    }),
    { numRuns: 15 },
  );
});

test("routing: a doubtful link is taken only when no other leads nearer", () => {
  const firm = { position: 80, doubtful: false };
  const doubtful = { position: 95, doubtful: true };
  for (const links of [
    [firm, doubtful],
    [doubtful, firm],
  ]) {
    assert.equal(towards(100, 0, links), firm);
    assert.equal(towards(100, 80, links), doubtful);
    assert.equal(towards(0, RING_SIZE - 80, links), null);
  }
});
