// One node and what peers, honest or not, say to it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { HostPort } from "../../src/base/ip.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { LIFE_KEY, parseLife } from "../../src/gossip/life.ts";
import { WIRE_VERSION, type Message, type Reporter } from "../../src/gossip/message.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { idOf } from "../support/gossip-network.ts";
import { deltaOf, deltas, headOf, helloOf, lifeOf, openNode } from "../support/gossip-node.ts";
import { message } from "../support/messages.ts";

const DAY_MS = 24 * 3_600_000;

/** Who says over a link of his own that he has applied a log. */
function byItself(name: string): Reporter {
  return { id: idOf(name), signature: null };
}

test("gossip: whatever comes before hello, or hello a second time, closes the link", () => {
  const early: Message[] = [
    { kind: "ping", sequence: 1, suspected: null },
    deltas(),
    { kind: "digest", digest: [], scope: { kind: "all" }, wanted: true },
    { kind: "more", owner: idOf("m"), incarnation: 5, floor: 0, version: 0 },
    { kind: "part" },
  ];
  for (const message of early) {
    const { accept, say, taken } = openNode();
    accept(1, null);
    say(1, message);
    const { close, refused, drains } = taken();
    assert.deepEqual(
      close.map(({ link }) => link),
      [1],
      message.kind,
    );
    assert.deepEqual([refused, drains], [["frame"], []]);
  }
  const { gossip, accept, say, taken } = openNode();
  accept(1, helloOf("a"));
  for (let index = 0; index < 50; index += 1) say(1, helloOf(`stranger${index}`));
  assert.equal(gossip.standings.length, 1);
  assert.equal(taken().close.length, 1);
});

test("gossip: a damaged frame costs its link, once, and nothing else", () => {
  const { gossip, accept, say, taken, stateOf } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  taken();
  say(1, Buffer.from("{"), 10);
  say(1, Buffer.from("{"), 20);
  say(1, { kind: "ping", sequence: 1, suspected: null }, 30);
  const { close, refused, happenings, said } = taken();
  assert.deepEqual([close.map(({ link }) => link), refused, said], [[1], ["frame"], []]);
  assert.deepEqual(
    happenings.map(({ kind, subject }) => `${kind} ${subject}`),
    ["member.refused a"],
  );
  gossip.linkDown(1, "closed", 40);
  assert.deepEqual([stateOf("a"), stateOf("b")], ["alive", "alive"], "it may dial again");
});

test("gossip: frames of any kind and content never throw, nor make it say what is not well-formed", () => {
  const frame = fc.oneof(fc.uint8Array({ maxLength: 100 }), message.map(encode));
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 20 }), (frames) => {
      const { gossip, accept, say, tickTo, taken } = openNode();
      accept(1, helloOf("a"));
      accept(2, helloOf("b"));
      for (const bytes of frames) {
        say(1, bytes);
        tickTo(400);
        say(2, { kind: "pong", sequence: 1 });
      }
      tickTo(2000);
      assert.ok(taken().said.length > 0);
      assert.ok(gossip.standings.length <= 2 + 100 * frames.length);
    }),
    { numRuns: 300 },
  );
});

test("gossip: a link on which nobody says hello is closed after five seconds, and told of once", () => {
  const { accept, tickTo, taken } = openNode();
  accept(1, null);
  tickTo(8000);
  const { close, happenings } = taken();
  assert.deepEqual(close, [{ link: 1, reason: "no hello" }]);
  assert.equal(happenings.filter(({ kind }) => kind === "member.refused").length, 1);
});

test("gossip: another wire version is refused by name and is no member", () => {
  const { gossip, taken } = openNode();
  // No codec of ours writes such a hello whole; what all versions have in common is enough to be refused by.
  const frame = encode(helloOf("new"));
  const other = frame.map((byte, index) => (index === 1 ? WIRE_VERSION + 1 : byte));
  gossip.linkUp({ id: 1, dialled: null, remote: "10.0.0.9:1", peer: idOf("new") }, 0);
  gossip.frame(1, other, 0);
  const { close, happenings } = taken();
  assert.match(close[0]?.reason ?? "", /new.* speaks wire version 3; expected 2/);
  assert.equal(happenings[0]?.kind, "member.refused");
  assert.deepEqual(gossip.standings, []);
});

test("gossip: members past the bound are refused, and those that are known still come back", () => {
  const { gossip, accept, say, taken } = openNode();
  for (let index = 0; index < LIMITS.ownersMax; index += 1) {
    accept(index, helloOf(`p${index}`, { wanted: false }));
    gossip.linkDown(index, "closed", 0);
    gossip.take();
  }
  accept(90_000, helloOf("late"));
  assert.equal(taken().close[0]?.link, 90_000);
  gossip.meet([{ id: idOf("later"), name: "later", host: "later", port: 1 }], 0);
  assert.equal(gossip.standings.length, LIMITS.ownersMax);
  accept(90_001, helloOf("p7", { wanted: false }), 20);
  say(90_001, { kind: "ping", sequence: 1, suspected: null }, 20);
  assert.deepEqual(taken().close, []);
});

test("gossip: in a small cluster lagging are the members that have not reported this version", () => {
  const { gossip, accept, say } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  gossip.write(new Map([["node", "me"]]), 0);
  const applied = { owner: idOf("m"), incarnation: 5, version: 2 };
  assert.deepEqual(gossip.lagging(2).toSorted(), ["a", "b"]);
  say(1, { kind: "applied", reports: [{ ...applied, by: [byItself("a")] }], hops: 0 });
  assert.deepEqual(gossip.lagging(2), ["b"]);
  say(1, {
    kind: "applied",
    reports: [{ ...applied, incarnation: 4, version: 9, by: [byItself("b")] }],
    hops: 0,
  });
  assert.deepEqual(gossip.lagging(2), ["b"], "of an earlier life");
  say(1, { kind: "applied", reports: [{ ...applied, by: [byItself("b")] }], hops: 0 });
  assert.deepEqual(gossip.lagging(2), ["b"], "in another's name");
  say(2, deltas(lifeOf("b", { said: "left" })));
  assert.deepEqual(gossip.lagging(2), [], "who has left sends no traffic here");
});

test("gossip: how long a write took is told once, when the last member has applied it", () => {
  const { gossip, accept, say, taken } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  gossip.write(new Map([["node", "me"]]), 100);
  const report = (name: string): Message => {
    return {
      kind: "applied",
      reports: [{ ...headOf("m", { incarnation: 5, version: 2 }), by: [byItself(name)] }],
      hops: 0,
    };
  };
  say(1, report("a"), 103);
  assert.deepEqual(taken().spreadMs, []);
  say(2, report("b"), 107);
  say(2, report("b"), 109);
  assert.deepEqual(taken().spreadMs, [7]);
});

test("gossip: a member that died before it applied a write does not make later writes look slow", () => {
  const { gossip, accept, say, tickTo, taken } = openNode();
  const report = (version: number): Message => {
    return {
      kind: "applied",
      reports: [{ ...headOf("m", { incarnation: 5, version }), by: [byItself("a")] }],
      hops: 0,
    };
  };
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  gossip.write(new Map([["node", "me"]]), 0);
  say(1, report(2), 3);
  say(2, deltas(lifeOf("b", { said: "left" })), 10);
  taken();
  tickTo(10_000, (nowMs) => say(1, { kind: "pong", sequence: 0 }, nowMs));
  gossip.write(new Map([["node", "changed"]]), 10_000);
  say(1, report(3), 10_004);
  const { spreadMs } = taken();
  assert.ok(spreadMs.length <= 2 && spreadMs.every((ms) => ms <= 10), `told as ${spreadMs.join(" and ")} ms`);
});

test("gossip: a peer that started anew has applied nothing until it says so again", () => {
  const { gossip, accept, say, taken } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  accept(1, helloOf("a"));
  const applied = { ...headOf("m", { incarnation: 5, version: 2 }), by: [byItself("a")] };
  say(1, { kind: "applied", reports: [applied], hops: 0 });
  assert.deepEqual(gossip.lagging(2), []);
  gossip.linkDown(1, "reset", 10);
  accept(2, helloOf("a", { incarnation: 2, nonce: 2 }), 20);
  assert.deepEqual(gossip.lagging(2), ["a"]);
  assert.ok(taken().kinds.includes("delta 2"));
});

test("gossip: a drain is asked of the owner over its link, and comes out at the owner with who asked", () => {
  const asker = openNode({ name: "asker" });
  asker.accept(1, helloOf("m"));
  asker.say(1, deltas(deltaOf("m", 2, { incarnation: 5 })));
  asker.taken();
  assert.equal(asker.gossip.askDrain(idOf("m"), "web-1", true), true);
  assert.equal(openNode().gossip.askDrain(idOf("nobody"), "web-1", true), false);
  const [asked] = asker.gossip.take().send;
  assert.ok(asked !== undefined);
  const owner = openNode();
  owner.gossip.write(new Map([["node", "me"]]), 0);
  owner.accept(4, helloOf("asker"));
  owner.say(4, deltas(deltaOf("asker", 2)));
  owner.say(4, asked.frame);
  assert.deepEqual(owner.taken().drains, [{ replica: "web-1", draining: true, by: "asker" }]);
});

test("gossip: after a farewell nothing is sent, dialled or answered", () => {
  const { gossip, accept, say, taken } = openNode({ seeds: [{ host: "seed", port: 1 }] });
  accept(1, helloOf("a"));
  taken();
  gossip.farewell("away", 7000, 5);
  const { said } = taken();
  assert.deepEqual(
    said.map(({ link, message }) => `${message.kind} ${link}`),
    ["delta 1"],
  );
  const own = gossip.logs.get(idOf("m"));
  assert.deepEqual(parseLife(own?.entryByKey.get(LIFE_KEY)?.body), {
    refutation: 1,
    said: "away",
    forMs: 7000,
  });
  gossip.write(new Map([["node", "late"]]), 10);
  say(1, { kind: "ping", sequence: 1, suspected: null }, 10);
  gossip.tick(2000);
  accept(2, helloOf("b"), 2010);
  const { send, dial, close } = taken();
  assert.deepEqual([send, dial], [[], []]);
  assert.deepEqual(
    close.map(({ link }) => link),
    [2],
  );
});

test("gossip: the address of a forgotten member that left is given up, unless another has it by now", () => {
  const { gossip, accept, say, tickTo } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  for (const [link, name] of [
    [1, "a"],
    [2, "b"],
  ] as const)
    say(link, deltas(lifeOf(name, { said: "left" })));
  for (const link of [1, 2]) gossip.linkDown(link, "closed", 10);
  accept(3, helloOf("c", { host: "b" }), 20);
  tickTo(1000);
  for (let nowMs = DAY_MS; nowMs < DAY_MS + 2000; nowMs += 50) {
    say(3, { kind: "pong", sequence: 0 }, nowMs);
    gossip.tick(nowMs);
  }
  assert.deepEqual(
    gossip.addresses.map(({ host }) => host),
    ["b"],
  );
});

test("gossip: another address of a member who is linked is dialled once, found to be his, and then let be", () => {
  const alias = { host: "seed.example", port: 7650 };
  // A peer whose dial wins against this node's own: of crossed links the one dialled by the smaller id stays.
  const peer = ["a", "b", "c", "d"].find((name) => idOf(name) < idOf("m")) ?? assert.fail("ids are spread");
  const { gossip, accept, say, tickTo, taken } = openNode({ seeds: [alias] });
  tickTo(50);
  assert.deepEqual(taken().dial, [alias]);
  accept(1, helloOf(peer), 60);
  gossip.linkUp({ id: 2, dialled: alias, remote: "10.0.0.9:2", peer: idOf(peer) }, 70);
  say(2, helloOf(peer), 70);
  const dialled: HostPort[] = [];
  tickTo(10_000, (nowMs) => {
    say(1, { kind: "pong", sequence: 0 }, nowMs);
    const { close, dial } = taken();
    for (const { link } of close) gossip.linkDown(link, "closed", nowMs);
    dialled.push(...dial);
    assert.ok(
      close.every(({ link }) => link === 2),
      "the spare is closed",
    );
  });
  assert.deepEqual(dialled, []);
});

test("gossip: a member whose link is lost is dialled at once, however often its address had failed before", () => {
  const { gossip, accept, say, tickTo, taken } = openNode({ seeds: [{ host: "a", port: 7650 }] });
  tickTo(5000, (nowMs) => {
    for (const address of taken().dial) gossip.dialFailed(address, { refused: false }, nowMs);
  });
  accept(1, helloOf("a"));
  tickTo(6500, (nowMs) => say(1, { kind: "pong", sequence: 0 }, nowMs));
  taken();
  gossip.linkDown(1, "reset", 6501);
  assert.deepEqual(taken().dial, [{ host: "a", port: 7650 }]);
});

test("gossip: a link that ends as soon as it began is no reason to dial at once", () => {
  const { gossip, accept, tickTo, taken } = openNode({ seeds: [{ host: "a", port: 7650 }] });
  let dials = 0;
  tickTo(10_000, (nowMs) => {
    const dialled = taken().dial.length;
    dials += dialled;
    if (dialled === 0) return;
    accept(nowMs + 1, helloOf("a"), nowMs);
    gossip.linkDown(nowMs + 1, "refused", nowMs + 1);
  });
  assert.ok(dials > 0 && dials < 40, `${dials} dials in ten seconds`);
});

test("gossip: where a record says a member is, it is dialled; its own hello outranks the record", () => {
  const { gossip, accept, say, tickTo, taken } = openNode();
  const record = { id: idOf("b"), name: "b-host", host: "b.example", port: 9 };
  accept(1, helloOf("a"));
  gossip.meet([record], 0);
  assert.equal(gossip.standings.length, 1, "who is not known is no member");
  say(1, deltas(deltaOf("b", 1)));
  gossip.meet([record, { id: idOf("m"), name: "m", host: "elsewhere", port: 1 }], 0);
  tickTo(50);
  assert.deepEqual(taken().dial, [{ host: "b.example", port: 9 }]);
  accept(2, helloOf("b"));
  gossip.meet([record], 50);
  assert.deepEqual(
    gossip.addresses.map(({ host }) => host).toSorted(),
    ["a", "b"],
    "the address of its earlier life is dropped",
  );
});

test("gossip: the revision rises and names who changed, and nobody else", () => {
  const { gossip, accept, say } = openNode();
  accept(1, helloOf("a"));
  gossip.takeChanged();
  const { revision } = gossip;
  say(1, deltas(deltaOf("a", 1), deltaOf("b", 1)));
  assert.ok(gossip.revision > revision);
  const changed = gossip.takeChanged();
  assert.deepEqual([...changed.keys()].toSorted(), [idOf("a"), idOf("b")].toSorted());
  assert.equal(changed.get(idOf("b"))?.state, "alive", "with its standing");
  const before = gossip.revision;
  say(1, deltas(deltaOf("a", 1)));
  say(1, { kind: "ping", sequence: 1, suspected: null });
  assert.equal(gossip.revision, before, "old news changes nothing");
  assert.equal(gossip.takeChanged().size, 0);
  gossip.write(new Map([["x", "1"]]), 0);
  assert.deepEqual([...gossip.takeChanged()], [[idOf("m"), null]], "oneself has none");
});

test("gossip: what it says is what others can read", () => {
  const { gossip, accept, tickTo } = openNode();
  accept(1, helloOf("a"));
  gossip.write(new Map([["x", "1"]]), 0);
  tickTo(3000);
  assert.ok(gossip.take().send.every(({ frame, kind }) => decode(frame).ok && kind !== "part"));
});
