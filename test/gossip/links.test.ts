// Open links: whose they are, where they stand on the ring, which are silent, which are not needed any more.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Links } from "../../src/gossip/links.ts";
import { Watch } from "../../src/gossip/watch.ts";
import { Awareness } from "../../src/gossip/awareness.ts";
import { linkedTo, peerOf } from "../support/gossip-peers.ts";

const accepted = (id: number) => ({ id, dialled: null, identity: "x", remote: "10.0.0.9:5", openedAtMs: 0 });
const dialled = (id: number, host: string) => ({ ...accepted(id), dialled: { host, port: 7650 } });

test("links: one that is open is found by its id, one that was taken out is not", () => {
  const links = new Links();
  links.add(accepted(1));
  assert.equal(links.get(1)?.peer, null);
  assert.equal(links.get(null), undefined);
  assert.equal(links.count, 1);
  assert.deepEqual(
    [...links.all].map(({ id }) => id),
    [1],
  );
  assert.equal(links.remove(1)?.id, 1);
  assert.equal(links.remove(1), undefined);
  assert.equal(links.count, 0);
});

test("links: links that carry gossip stand in the order of the ring, one a peer, however they came", () => {
  const name = fc.string({ minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.uniqueArray(name, { maxLength: 20 }), (names) => {
      const { links } = linkedTo("me", ...names);
      const positions = links.seats.map(({ position }) => position);
      assert.deepEqual(
        positions,
        positions.toSorted((one, other) => one - other),
      );
      assert.deepEqual(links.seats.map(({ peer }) => peer.name).toSorted(), names.toSorted());
      assert.ok(links.seats.every(({ peer, link }) => peer.link === link));
    }),
  );
});

test("links: a link that is nobody's yet, or a spare, has no seat", () => {
  const { links, peer } = linkedTo("me", "a");
  links.add(accepted(2));
  links.add(accepted(3));
  Object.assign(links.get(3) ?? {}, { peer: peer("a") });
  links.changed();
  assert.deepEqual(
    links.seats.map(({ link }) => link),
    [1],
  );
});

test("links: once the peer's own link is gone its seat is, until a spare takes its place", () => {
  const { links, peer } = linkedTo("me", "a");
  links.add(accepted(2));
  Object.assign(links.get(2) ?? {}, { peer: peer("a") });
  links.remove(1);
  assert.deepEqual(links.seats, []);
  peer("a").link = 2;
  links.changed();
  assert.deepEqual(
    links.seats.map(({ link }) => link),
    [2],
  );
});

test("links: a seat is doubtful while its peer misses pings, and is told so at once", () => {
  const { links, peer } = linkedTo("me", "a");
  const [seat] = links.seats;
  assert.equal(seat?.doubtful, false);
  const watch = new Watch(new Awareness(), () => 0);
  watch.linked(peer("a"), 0);
  assert.equal(seat?.doubtful, false);
  Object.assign(peer("a").pulse ?? {}, { misses: 1 });
  assert.equal(seat?.doubtful, true);
  watch.heard(peer("a"), 10);
  assert.equal(seat?.doubtful, false);
});

test("links: silent are those without a hello for five seconds, unless they are being closed", () => {
  const links = new Links();
  for (const id of [1, 2, 3]) links.add(accepted(id));
  Object.assign(links.get(2) ?? {}, { peer: peerOf("a") });
  Object.assign(links.get(3) ?? {}, { closing: true });
  assert.deepEqual(links.overdue(5000).silent, []);
  assert.deepEqual(
    links.overdue(5001).silent.map(({ id }) => id),
    [1],
  );
});

test("links: no dial is needed to addresses dialled, and to peers linked either way", () => {
  const links = new Links();
  links.add(dialled(1, "seed.example"));
  links.add(accepted(2));
  assert.deepEqual([...links.addresses], ["seed.example:7650"]);
  Object.assign(links.get(2) ?? {}, { peer: peerOf("a", { link: 2 }) });
  links.changed();
  assert.deepEqual([...links.addresses].toSorted(), ["a:7650", "seed.example:7650"]);
  links.remove(1);
  assert.deepEqual([...links.addresses], ["a:7650"]);
});

test("links: a peer's links are those that are not being closed", () => {
  const links = new Links();
  const peer = peerOf("a");
  for (const id of [1, 2, 3]) links.add(accepted(id));
  for (const id of [1, 2]) Object.assign(links.get(id) ?? {}, { peer });
  Object.assign(links.get(1) ?? {}, { closing: true });
  assert.deepEqual(
    links.of(peer).map(({ id }) => id),
    [2],
  );
});

test("links: a spare is closed by its dialler after a second, by the other side only much later", () => {
  const links = new Links();
  links.add(dialled(1, "a"));
  for (const id of [2, 3]) links.add(accepted(id));
  for (const id of [1, 2]) Object.assign(links.get(id) ?? {}, { spareSinceMs: 100, peer: peerOf("a") });
  const surplus = (nowMs: number) => links.overdue(nowMs).surplus.map(({ id }) => id);
  assert.deepEqual([surplus(1099), surplus(1100), surplus(5100)], [[], [1], [1, 2]]);
});
