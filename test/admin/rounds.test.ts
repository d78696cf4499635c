// Rounds: who is asked when, over seconds that a test makes pass.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Rounds } from "../../src/admin/rounds.ts";
import { LIMITS } from "../../src/model/limits.ts";

import { QUIET_HOST } from "./quiet.ts";

/** Members that stop looking ten seconds after they were asked last. */
class Members {
  readonly rounds = new Rounds();
  readonly ids: string[];
  readonly #wantedAtMs = new Map<string, number>();
  readonly #begunAtMs = new Map<string, number>();
  nowMs = 0;
  /** The most that were asked within a second. */
  most = 0;
  readonly #askedAtMs: number[] = [];

  constructor(count: number) {
    this.ids = Array.from({ length: count }, (_, at) => `m${at}`);
  }

  pass(seconds: number): void {
    const endMs = this.nowMs + seconds * 1000;
    for (; this.nowMs < endMs; this.nowMs += 250) {
      for (const id of this.rounds.due(this.ids, this.nowMs)) this.#answer(id);
    }
  }

  #answer(id: string): void {
    const { nowMs } = this;
    this.#askedAtMs.push(nowMs);
    this.most = Math.max(this.most, this.#askedAtMs.filter((atMs) => nowMs - atMs < 950).length);
    const isCold = nowMs - (this.#wantedAtMs.get(id) ?? -Infinity) > 10_000;
    if (isCold) this.#begunAtMs.set(id, nowMs);
    this.#wantedAtMs.set(id, nowMs);
    const hasLooked = nowMs - (this.#begunAtMs.get(id) ?? 0) >= 1000;
    this.rounds.answered(id, hasLooked ? QUIET_HOST : "not yet", nowMs + 5);
  }
}

test("rounds: of a few members each has told within two seconds, and goes on to", () => {
  const members = new Members(9);
  members.pass(2);
  assert.equal(members.rounds.isBeginning, false);
  for (let second = 0; second < 20; second += 1) {
    members.pass(1);
    const { hosts, silent } = members.rounds.told(members.nowMs);
    assert.deepEqual([hosts.size, silent], [9, []]);
  }
});

for (const count of [40, 300]) {
  test(`rounds: of ${count} members each is told of in the end, and never too many are asked`, () => {
    const members = new Members(count);
    const seconds = Math.ceil((2 * count) / LIMITS.trafficAskedPerSecond) + 5;
    members.pass(seconds);
    for (let second = 0; second < 30; second += 1) {
      members.pass(1);
      assert.equal(members.rounds.told(members.nowMs).hosts.size, count);
    }
    assert.ok(members.most <= LIMITS.trafficAskedPerSecond);
  });
}

test("rounds: who does not answer is silent until it does, and what it told before does not count", () => {
  const rounds = new Rounds();
  assert.deepEqual(rounds.due(["a"], 0), ["a"]);
  assert.deepEqual(rounds.due(["a"], 2000), [], "while it is being asked it is not asked again");
  rounds.answered("a", QUIET_HOST, 2000);
  assert.deepEqual([...rounds.told(2000).hosts.keys()], ["a"]);
  assert.deepEqual(rounds.due(["a"], 3000), ["a"]);
  rounds.answered("a", "silent", 3800);
  assert.deepEqual(rounds.told(3800), { hosts: new Map(), silent: ["a"] });
});

test("rounds: who has left is forgotten, also when its answer comes after that", () => {
  const rounds = new Rounds();
  rounds.due(["a", "b"], 0);
  rounds.due(["b"], 250);
  rounds.answered("a", QUIET_HOST, 300);
  assert.equal(rounds.told(300).hosts.size, 0);
});
