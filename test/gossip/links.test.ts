// Open links: whose they are, which are silent, which are not needed any more.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Links } from "../../src/gossip/links.ts";
import { Membership } from "../../src/gossip/membership.ts";
import { idOf } from "../support/gossip-network.ts";

const peerOf = (name: string) => new Membership().meet({ id: idOf(name), name, host: name, port: 7650 }, 0);
const accepted = (id: number) => ({ id, dialled: null, remote: "10.0.0.9:5", openedAtMs: 0 });
const dialled = (id: number, host: string) => ({ ...accepted(id), dialled: { host, port: 7650 } });

test("links: one that is open is found by its id, one that was taken out is not", () => {
  const links = new Links();
  links.add(accepted(1));
  assert.equal(links.get(1)?.peer, null);
  assert.equal(links.get(null), undefined);
  assert.equal(links.count, 1);
  assert.equal(links.remove(1)?.id, 1);
  assert.equal(links.remove(1), undefined);
  assert.equal(links.count, 0);
});

test("links: silent are those without a hello for five seconds, unless they are being closed", () => {
  const links = new Links();
  for (const id of [1, 2, 3]) links.add(accepted(id));
  Object.assign(links.get(2) ?? {}, { peer: peerOf("a") });
  Object.assign(links.get(3) ?? {}, { closing: true });
  assert.deepEqual(links.silent(5000), []);
  assert.deepEqual(
    links.silent(5001).map(({ id }) => id),
    [1],
  );
});

test("links: no dial is needed to addresses dialled, and to peers linked either way", () => {
  const links = new Links();
  links.add(dialled(1, "seed.example"));
  links.add(accepted(2));
  const [linked, lost] = [peerOf("a"), peerOf("b")];
  linked.link = 2;
  const { addresses, members } = links.linked([linked, lost]);
  assert.deepEqual([...addresses].toSorted(), ["a:7650", "seed.example:7650"]);
  assert.deepEqual([...members], [idOf("a")]);
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
  links.add(accepted(2));
  links.add(accepted(3));
  for (const id of [1, 2]) Object.assign(links.get(id) ?? {}, { spareSinceMs: 100 });
  const surplus = (nowMs: number) => links.surplus(nowMs).map(({ id }) => id);
  assert.deepEqual([surplus(1099), surplus(1100), surplus(5100)], [[], [1], [1, 2]]);
});
