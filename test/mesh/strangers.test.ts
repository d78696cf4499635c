// Who waits at the mesh port, who gives way, and whose handshake is begun.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { Strangers } from "../../src/mesh/strangers.ts";
import { LIMITS } from "../../src/model/limits.ts";

/** Lets `count` strangers from an address come; their numbers begin at `from`. */
function crowd(strangers: Strangers, address: string, from: number, count: number): number[] {
  const gaveWay: number[] = [];
  for (let id = from; id < from + count; id += 1) gaveWay.push(...strangers.enter(id, address, 0));
  return gaveWay;
}

describe("strangers", () => {
  it("who comes from many addresses of one IPv6 network meets the bounds of one", () => {
    const strangers = new Strangers(0);
    const gaveWay: number[] = [];
    for (let id = 0; id < LIMITS.meshStrangersPerAddress + 3; id += 1)
      gaveWay.push(...strangers.enter(id, `2001:db8:0:1:${id.toString(16)}::1`, 0));
    assert.deepEqual(gaveWay, [0, 1, 2]);
    assert.deepEqual(strangers.enter(-1, "2001:db8:0:2::1", 0), []);
    assert.equal(strangers.addresses, 2);
  });

  it("the bounds hold whatever comes, speaks, goes and is let in, and nobody who went is named again", () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant("enter" as const), address: fc.nat({ max: 8 }) }),
      },
      { weight: 6, arbitrary: fc.record({ kind: fc.constant("spoke" as const), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("admitted" as const), at: fc.nat() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("grant" as const), ms: fc.nat({ max: 2000 }) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 200, maxLength: 600 }), (steps) => {
        const strangers = new Strangers(0);
        const present = new Set<number>();
        const begun = new Set<number>();
        let nowMs = 0;
        let lastId = 0;
        const went = (ids: readonly number[]): void => {
          for (const id of ids) assert.ok(present.delete(id), `${id} had gone`);
        };
        for (const one of steps) {
          const ids = [...present];
          const id = "at" in one && ids.length > 0 ? (ids[one.at % ids.length] ?? 0) : 0;
          // Crowds, so that the bounds are met.
          const times = one.kind === "enter" ? 10 : 1;
          for (let count = 0; count < times && one.kind === "enter"; count += 1) {
            lastId += 1;
            went(strangers.enter(lastId, `a${one.address}`, nowMs));
            present.add(lastId);
          }
          if (one.kind === "spoke") for (const each of ids.slice(0, id + 1)) strangers.spoke(each);
          if (one.kind === "leave") {
            strangers.leave(id);
            present.delete(id);
          }
          if (one.kind === "admitted") strangers.admitted(id);
          if (one.kind === "grant") {
            nowMs += one.ms;
            const { begin, giveWay } = strangers.grant(nowMs);
            went(giveWay);
            for (const each of begin) {
              assert.ok(!begun.has(each), `${each} begins twice`);
              begun.add(each);
            }
          }
          assert.equal(strangers.size, present.size);
          assert.ok(present.size <= LIMITS.meshStrangersMax);
          assert.ok([...begun].filter((each) => present.has(each)).length <= LIMITS.meshHandshakesMax);
        }
        for (const each of present) strangers.leave(each);
        strangers.grant(nowMs + 60_000);
        assert.deepEqual([strangers.size, strangers.addresses], [0, 0]);
      }),
      { numRuns: 60 },
    );
  });

  it("one address has a part of the places; past it its own oldest gives way", () => {
    const strangers = new Strangers(0);
    strangers.enter(1, "other", 0);
    assert.deepEqual(crowd(strangers, "flood", 2, LIMITS.meshStrangersPerAddress), []);
    assert.deepEqual(crowd(strangers, "flood", 5000, 2), [2, 3]);
  });

  it("when all places are taken, the oldest of the address that has most gives way, not a lone one", () => {
    const strangers = new Strangers(0);
    strangers.enter(1, "lone", 0);
    let next = 2;
    for (let address = 0; strangers.size < LIMITS.meshStrangersMax; address += 1) {
      const count = Math.min(LIMITS.meshStrangersPerAddress, LIMITS.meshStrangersMax - strangers.size);
      crowd(strangers, `flood ${address}`, next, count);
      next += count;
    }
    assert.deepEqual(strangers.enter(9000, "newcomer", 0), [2]);
  });

  it("who is silent gets no handshake; who has spoken gets one at once while there is credit", () => {
    const strangers = new Strangers(0);
    crowd(strangers, "here", 1, 3);
    strangers.spoke(2);
    assert.deepEqual(strangers.grant(0), { begin: [2], giveWay: [] });
    assert.deepEqual(strangers.grant(0), { begin: [], giveWay: [] });
    assert.equal(strangers.againInMs(0), null);
  });

  it("an address that begins many handshakes and ends none waits for more; another does not wait for it", () => {
    const strangers = new Strangers(0);
    const begunOf = (): number => strangers.grant(0).begin.length;
    let begun = 0;
    for (let id = 1; id <= 1000; id += 1) {
      strangers.enter(id, "flood", 0);
      strangers.spoke(id);
      begun += begunOf();
    }
    assert.ok(begun < 300, `${begun} were begun`);
    strangers.enter(2000, "member", 0);
    strangers.spoke(2000);
    assert.deepEqual(strangers.grant(0).begin, [2000]);
    const againInMs = strangers.againInMs(0);
    assert.ok(againInMs !== null && againInMs <= 100, `${againInMs} ms`);
    // The newest of the flood goes first: those before it have given up more likely.
    assert.equal(strangers.grant(againInMs).begin[0], 1000);
  });

  it("handshakes that end with one of us cost nothing: ten thousand in a row all begin at once", () => {
    const strangers = new Strangers(0);
    for (let id = 1; id <= 10_000; id += 1) {
      strangers.enter(id, "member", 0);
      strangers.spoke(id);
      assert.deepEqual(strangers.grant(0).begin, [id]);
      strangers.admitted(id);
      strangers.leave(id);
    }
  });

  it("a flood from ever new addresses does not keep out an address that a member came from before", () => {
    const strangers = new Strangers(0);
    strangers.enter(0, "member", 0);
    strangers.spoke(0);
    strangers.grant(0);
    strangers.admitted(0);
    strangers.leave(0);
    const flood = (from: number): void => {
      for (let id = from; id < from + 500; id += 1) {
        strangers.enter(id, `flood ${id}`, 0);
        strangers.spoke(id);
      }
    };
    flood(1);
    strangers.grant(0);
    strangers.enter(5000, "member", 0);
    strangers.spoke(5000);
    // Newer ones, each of an address that has all its credit.
    flood(6000);
    const againInMs = strangers.againInMs(0);
    assert.ok(againInMs !== null);
    assert.equal(strangers.grant(againInMs).begin[0], 5000);
  });
});
