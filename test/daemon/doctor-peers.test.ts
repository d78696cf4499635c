// The look at other members: who is asked, for how long, and what their answers come to.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { peerFacts } from "../../src/daemon/doctor-peers.ts";
import type { AskMember } from "../../src/mesh/questions.ts";
import type { Member } from "../../src/model/member.ts";
import { member } from "../admin/picture.ts";
import { until } from "../support/wait.ts";

function other(number: number, over: Partial<Member> = {}): Member {
  return member({
    id: `node-${number}`,
    name: `host-${number}`,
    host: `192.0.2.${number}`,
    self: false,
    ...over,
  });
}

/** A member that answers at once. */
const answers =
  (answer: unknown): AskMember =>
  (_peer, { onConnected }) => {
    onConnected?.();
    return Promise.resolve(answer);
  };

/** One that takes no connection until the deadline. */
const silent: AskMember = (_peer, { deadlineMs }) =>
  new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Failure("timeout", "took no connection")), deadlineMs);
  });

test("doctor peers: this host, those that left and those without an address are not asked", async () => {
  const members = [
    member(),
    other(2),
    other(3, { state: "left" }),
    other(4, { host: "" }),
    other(5, { state: "dead" }),
  ];
  const facts = await peerFacts(
    members,
    answers({ clockMs: Date.now(), address: "192.0.2.1:7650", failure: null }),
  );
  assert.deepEqual(
    facts.map(({ name, there, back }) => [name, there.kind, back.kind]),
    [
      ["host-2", "reached", "reached"],
      ["host-5", "reached", "reached"],
    ],
  );
  assert.ok(facts.every(({ clock }) => Math.abs(clock?.aheadMs ?? Number.NaN) < 60_000));
});

test("doctor peers: a clock that is ahead is told as ahead", async () => {
  const [fact] = await peerFacts(
    [other(2)],
    answers({ clockMs: Date.now() + 3_600_000, address: null, failure: null }),
  );
  assert.ok(Math.abs((fact?.clock?.aheadMs ?? 0) - 3_600_000) < 60_000);
  assert.equal(fact?.back.kind, "unknown", "it did not know whom to dial");
});

test("doctor peers: a clock is known no better than the handshake was quick", async () => {
  const waitMs = 80;
  const slow: AskMember = async (_peer, { onConnected }) => {
    const startedMs = performance.now();
    await until(() => performance.now() - startedMs >= waitMs);
    onConnected?.();
    return { clockMs: Date.now(), address: "192.0.2.1:7650", failure: null };
  };
  const [fact] = await peerFacts([other(2)], slow);
  assert.ok((fact?.clock?.errorMs ?? 0) >= waitMs / 2, `${fact?.clock?.errorMs} ms`);
});

test("doctor peers: a clock is known as well as the handshake was quick, and no better", async () => {
  let at = 5000;
  const clock = mock.method(performance, "now", () => at);
  const slow: AskMember = (_peer, { onConnected }) => {
    at += 4000;
    onConnected?.();
    return Promise.resolve({ clockMs: Date.now(), address: null, failure: null });
  };
  const [fact] = await peerFacts([other(2, { via: "node-3" }), other(3)], slow);
  clock.mock.restore();
  assert.equal(fact?.clock?.errorMs, 2000, "half of it");
  assert.equal(fact?.via, "host-3");
});

test("doctor peers: what fails after the connection stands is not the way there", async () => {
  const old: AskMember = (_peer, { onConnected }) => {
    onConnected?.();
    return Promise.reject(new Failure("not-found", "no such question"));
  };
  const [fact] = await peerFacts([other(2)], old);
  assert.deepEqual(
    [fact?.there.kind, fact?.back],
    ["reached", { kind: "unknown", reason: "its version is older than this question" }],
  );
  const [junk] = await peerFacts([other(2)], answers({ clockMs: "late" }));
  assert.deepEqual([junk?.there.kind, junk?.back.kind, junk?.clock], ["reached", "unknown", null]);
});

test("doctor peers: a hundred dead hosts cost those that live nothing, and the answer is in time", async () => {
  const members = Array.from({ length: 100 }, (_, at) =>
    other(at + 2, { state: at < 97 ? "dead" : "alive" }),
  );
  const well = answers({ clockMs: Date.now(), address: "192.0.2.1:7650", failure: null });
  const ask: AskMember = (peer, question) => {
    const found = members.find(({ id }) => id === peer.id);
    return (found?.state === "alive" ? well : silent)(peer, question);
  };
  const facts = await peerFacts(members, ask, { askMs: 100, allMs: 250 });
  assert.equal(facts.length, 100);
  const of = (kind: string): readonly string[] =>
    facts.filter(({ there }) => there.kind === kind).map(({ name }) => name);
  assert.deepEqual(of("reached"), ["host-99", "host-100", "host-101"]);
  assert.ok(of("untried").length > 0, "there was no time for all");
  assert.ok(of("failed").length > 0);
});
