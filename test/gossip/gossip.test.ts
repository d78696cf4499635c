// One node and what peers, honest or not, say to it.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { HostPort } from "../../src/base/ip.ts";
import { seededRandom } from "../../src/base/random.ts";
import { Gossip } from "../../src/gossip/gossip.ts";
import { decode, encode, WIRE_VERSION, type Hello, type Message } from "../../src/gossip/message.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { GossipNetwork, idOf } from "../support/gossip-network.ts";

const DAY_MS = 24 * 3_600_000;

/** A node whose links the test holds in its hands. */
function openNode(options: { seeds?: HostPort[]; name?: string } = {}) {
  const name = options.name ?? "m";
  const gossip = new Gossip({
    self: { id: idOf(name), name, host: name, port: 7650 },
    incarnation: 5,
    seeds: options.seeds ?? [],
    random: seededRandom(1),
    nowMs: 0,
  });
  const say = (link: number, message: Message | Uint8Array, nowMs = 0): void => {
    gossip.frame(link, message instanceof Uint8Array ? message : encode(message), nowMs);
  };
  const accept = (link: number, hello: Hello | null, nowMs = 0): void => {
    gossip.linkUp({ id: link, dialled: null, remote: `10.0.0.9:${link}` }, nowMs);
    if (hello !== null) say(link, hello, nowMs);
  };
  const taken = () => {
    const effects = gossip.take();
    const said = effects.send.map(({ link, frame }) => {
      const decoded = decode(frame);
      assert.ok(decoded.ok);
      return { link, message: decoded.value };
    });
    return { ...effects, said, kinds: said.map(({ link, message }) => `${message.kind} ${link}`) };
  };
  const stateOf = (peer: string) => gossip.standings.find(({ id }) => id === idOf(peer))?.state ?? "unknown";
  return { gossip, say, accept, taken, stateOf };
}

function helloOf(name: string, part: Partial<Hello> = {}): Hello {
  const where = { id: idOf(name), name, host: name, port: 7650 };
  return { kind: "hello", wire: WIRE_VERSION, ...where, incarnation: 1, nonce: 1, digest: [], ...part };
}

test("gossip: hello goes first on every link, with all that is held", () => {
  const { gossip, accept, taken } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  accept(1, null);
  const { said } = taken();
  assert.equal(said.length, 1);
  const hello = said[0]?.message;
  assert.ok(hello?.kind === "hello" && hello.id === idOf("m") && hello.incarnation === 5);
  assert.deepEqual(hello.digest, [{ owner: idOf("m"), incarnation: 5, version: 1 }]);
});

test("gossip: a hello is answered with what the peer lacks and with what is applied of it", () => {
  const { gossip, accept, taken, stateOf } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  accept(1, helloOf("a"));
  const { said, happenings } = taken();
  assert.deepEqual(
    said.map(({ message }) => message.kind),
    ["hello", "delta"],
  );
  assert.equal(stateOf("a"), "alive");
  assert.deepEqual(
    happenings.map(({ kind }) => kind),
    ["member.alive", "view.complete"],
  );
});

test("gossip: whatever comes before hello, or hello a second time, closes the link", () => {
  const early: Message[] = [
    { kind: "ping", sequence: 1 },
    { kind: "delta", deltas: [] },
    { kind: "goodbye", incarnation: 1 },
    { kind: "drain", replica: "x", draining: true },
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
  say(1, { kind: "ping", sequence: 1 }, 30);
  const { close, refused, happenings, said } = taken();
  assert.deepEqual([close.map(({ link }) => link), refused, said], [[1], ["frame"], []]);
  assert.deepEqual(
    happenings.map(({ kind, subject }) => `${kind} ${subject}`),
    ["member.refused a"],
  );
  gossip.linkDown(1, "closed", 40);
  assert.deepEqual([stateOf("a"), stateOf("b")], ["suspect", "alive"]);
});

test("gossip: random frames never throw, and never make it hold or say more than its bounds", () => {
  const frame = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
    fc
      .constantFrom<Message[]>(
        {
          kind: "digest",
          digest: [{ owner: idOf("m"), incarnation: 2 ** 53 - 2, version: 5 }],
          wanted: true,
        },
        { kind: "applied", incarnation: 9, version: 2 ** 53 - 1 },
        { kind: "compare", hash: "" },
        { kind: "pong", sequence: 3 },
        { kind: "drain", replica: "\u001b[2J", draining: true },
        {
          kind: "delta",
          deltas: [{ owner: idOf("x"), incarnation: 1, floor: 9, from: 4, to: 5, writes: [] }],
        },
      )
      .map(encode),
  );
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 20 }), (frames) => {
      const { gossip, accept, say, taken } = openNode();
      accept(1, helloOf("a"));
      for (const bytes of frames) say(1, bytes);
      gossip.tick(100);
      assert.ok(
        taken().send.every(({ frame }) => decode(frame).ok),
        "what it says is well-formed",
      );
      assert.ok(gossip.standings.length <= 2);
    }),
    { numRuns: 200 },
  );
});

test("gossip: a link on which nobody says hello is closed after five seconds, and told of once", () => {
  const { gossip, accept, taken } = openNode();
  accept(1, null);
  for (let nowMs = 0; nowMs <= 8000; nowMs += 100) gossip.tick(nowMs);
  const { close, happenings } = taken();
  assert.deepEqual(close, [{ link: 1, reason: "no hello" }]);
  assert.equal(happenings.filter(({ kind }) => kind === "member.refused").length, 1);
});

test("gossip: another wire version is refused by name and is no member", () => {
  const { gossip, accept, taken } = openNode();
  accept(1, helloOf("new", { wire: WIRE_VERSION + 1 }));
  const { close, happenings } = taken();
  assert.match(close[0]?.reason ?? "", /new speaks wire version 2; expected 1/);
  assert.equal(happenings[0]?.kind, "member.refused");
  assert.deepEqual(gossip.standings, []);
});

test("gossip: members past the bound are refused, and those that are known still come back", () => {
  const { gossip, accept, say, taken } = openNode();
  for (let index = 0; index < LIMITS.ownersMax; index += 1) {
    accept(index, helloOf(`p${index}`));
    gossip.take();
  }
  accept(90_000, helloOf("late"));
  assert.equal(taken().close[0]?.link, 90_000);
  gossip.meet([{ id: idOf("later"), name: "later", host: "later", port: 1 }], 0);
  assert.equal(gossip.standings.length, LIMITS.ownersMax);
  gossip.linkDown(7, "reset", 10);
  accept(90_001, helloOf("p7"), 20);
  say(90_001, { kind: "ping", sequence: 1 }, 20);
  assert.deepEqual(taken().close, []);
});

test("gossip: a repair asked for is answered with what the other lacks, and asks in turn", () => {
  const { gossip, accept, say, taken } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  const known = [{ owner: idOf("m"), incarnation: 5, version: 1 }];
  accept(1, helloOf("a", { digest: known }));
  taken();
  say(1, { kind: "compare", hash: "something else" });
  assert.deepEqual(
    taken().said.map(({ message }) => message.kind),
    ["digest"],
  );
  say(1, { kind: "digest", digest: [], wanted: true });
  assert.deepEqual(taken().kinds, ["delta 1", "digest 1"]);
  say(1, { kind: "digest", digest: known, wanted: false });
  assert.deepEqual(taken().kinds, []);
});

test("gossip: equal holdings cost one small frame and no answer", () => {
  const { gossip, accept, say, taken } = openNode();
  accept(1, helloOf("a"));
  taken();
  gossip.tick(1000);
  const compared = taken().said.find(({ message }) => message.kind === "compare")?.message;
  assert.ok(compared?.kind === "compare");
  say(1, compared, 1001);
  assert.deepEqual(taken().kinds, []);
});

test("gossip: lagging are the alive members that have not reported this version", () => {
  const { gossip, accept, say } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  gossip.write(new Map([["node", "me"]]), 0);
  assert.deepEqual(gossip.lagging(1), ["a", "b"]);
  say(1, { kind: "applied", incarnation: 5, version: 1 });
  assert.deepEqual(gossip.lagging(1), ["b"]);
  gossip.linkDown(2, "reset", 10);
  assert.deepEqual(gossip.lagging(1), []);
});

test("gossip: how long a write took is told once, when the last alive member has applied it", () => {
  const { gossip, accept, say, taken } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  gossip.write(new Map([["node", "me"]]), 100);
  say(1, { kind: "applied", incarnation: 5, version: 1 }, 103);
  assert.deepEqual(taken().spreadMs, []);
  say(2, { kind: "applied", incarnation: 5, version: 1 }, 107);
  say(2, { kind: "applied", incarnation: 5, version: 1 }, 109);
  assert.deepEqual(taken().spreadMs, [7]);
});

test("gossip: a peer that started anew has applied nothing until it says so again", () => {
  const { gossip, accept, say, taken } = openNode();
  gossip.write(new Map([["node", "me"]]), 0);
  accept(1, helloOf("a"));
  say(1, { kind: "applied", incarnation: 5, version: 1 });
  assert.deepEqual(gossip.lagging(1), []);
  gossip.linkDown(1, "reset", 10);
  accept(2, helloOf("a", { incarnation: 2, nonce: 2 }), 20);
  assert.deepEqual(gossip.lagging(1), ["a"]);
  assert.ok(taken().kinds.includes("delta 2"));
});

test("gossip: a drain is asked of the owner over its link, and comes out at the owner with who asked", () => {
  const asker = openNode({ name: "asker" });
  asker.accept(1, helloOf("m"));
  asker.taken();
  assert.equal(asker.gossip.askDrain(idOf("m"), "web-1", true), true);
  assert.equal(asker.gossip.askDrain(idOf("nobody"), "web-1", true), false);
  const [asked] = asker.gossip.take().send;
  assert.ok(asked !== undefined);
  const owner = openNode();
  owner.accept(4, helloOf("asker"));
  owner.say(4, asked.frame);
  assert.deepEqual(owner.taken().drains, [{ replica: "web-1", draining: true, by: "asker" }]);
});

test("gossip: after goodbye nothing is sent, dialled or answered", () => {
  const { gossip, accept, say, taken } = openNode({ seeds: [{ host: "seed", port: 1 }] });
  accept(1, helloOf("a"));
  taken();
  gossip.goodbye();
  assert.deepEqual(taken().kinds, ["goodbye 1"]);
  gossip.write(new Map([["node", "late"]]), 10);
  say(1, { kind: "ping", sequence: 1 }, 10);
  gossip.tick(2000);
  accept(2, helloOf("b"), 2010);
  const { send, dial, close } = taken();
  assert.deepEqual([send, dial], [[], []]);
  assert.deepEqual(
    close.map(({ link }) => link),
    [2],
  );
});

test("gossip: forgotten after a day, a member that was only cut off counts again with its old incarnation", () => {
  const network = new GossipNetwork({ seed: 1 });
  const [a, b] = network.startMany(2);
  assert.ok(a !== undefined && b !== undefined);
  network.write(b, { "replica/x": "kept" });
  network.runUntil("agree", 1000, () => network.agrees);
  network.isolate(b);
  network.runFor(5000);
  // A day in which nothing else happens, told to the two as one late tick and a few more.
  for (const host of [a, b]) {
    for (let lateMs = DAY_MS + 1; lateMs < DAY_MS + 5000; lateMs += 500)
      network.act(host, (gossip) => gossip.tick(network.nowMs + lateMs));
    assert.deepEqual(host.gossip.standings, []);
    assert.equal(host.gossip.logs.size, 1);
  }
  network.nowMs += DAY_MS + 5000;
  network.heal();
  network.dial(a, b.address);
  network.runUntil("agree again", 5000, () => network.agrees);
  assert.equal(network.bodyOf(a, b, "replica/x"), "kept");
  assert.equal(b.gossip.incarnation, 10);
});

test("gossip: the address of a member that left is given up when it is forgotten, unless another has it by now", () => {
  const { gossip, accept, say } = openNode();
  accept(1, helloOf("a"));
  accept(2, helloOf("b"));
  for (const link of [1, 2]) say(link, { kind: "goodbye", incarnation: 1 });
  for (const link of [1, 2]) gossip.linkDown(link, "closed", 10);
  accept(3, helloOf("c", { host: "b" }), 20);
  for (let nowMs = DAY_MS; nowMs < DAY_MS + 2000; nowMs += 500) {
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
  const { gossip, accept, say, taken } = openNode({ seeds: [alias] });
  gossip.tick(0);
  assert.deepEqual(taken().dial, [alias]);
  accept(1, helloOf(peer), 10);
  gossip.linkUp({ id: 2, dialled: alias, remote: "10.0.0.9:2" }, 20);
  say(2, helloOf(peer), 20);
  const dialled: HostPort[] = [];
  for (let nowMs = 100; nowMs < 10_000; nowMs += 100) {
    say(1, { kind: "pong", sequence: 0 }, nowMs);
    gossip.tick(nowMs);
    const { close, dial } = taken();
    for (const { link } of close) gossip.linkDown(link, "closed", nowMs);
    dialled.push(...dial);
    assert.ok(
      close.every(({ link }) => link === 2),
      "the spare is closed",
    );
  }
  assert.deepEqual(dialled, []);
});

test("gossip: a member whose link is lost is dialled at once, however often its address had failed before", () => {
  const { gossip, accept, taken } = openNode({ seeds: [{ host: "a", port: 7650 }] });
  let nowMs = 0;
  for (; nowMs < 5000; nowMs += 50) {
    gossip.tick(nowMs);
    for (const address of taken().dial) gossip.dialFailed(address, { refused: false }, nowMs);
  }
  accept(1, helloOf("a"), nowMs);
  gossip.linkDown(1, "reset", nowMs + 1000);
  gossip.tick(nowMs + 1001);
  assert.deepEqual(taken().dial, [{ host: "a", port: 7650 }]);
});

test("gossip: a link that ends as soon as it began is no reason to dial at once", () => {
  const { gossip, accept, taken } = openNode({ seeds: [{ host: "a", port: 7650 }] });
  let dials = 0;
  for (let nowMs = 0; nowMs < 10_000; nowMs += 50) {
    gossip.tick(nowMs);
    const dialled = taken().dial.length;
    dials += dialled;
    if (dialled === 0) continue;
    accept(nowMs + 1, helloOf("a"), nowMs);
    gossip.linkDown(nowMs + 1, "refused", nowMs + 1);
  }
  assert.ok(dials > 0 && dials < 40, `${dials} dials in ten seconds`);
});
