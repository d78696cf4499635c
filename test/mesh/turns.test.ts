// Whose turn it is: quiet links pass floods, floods share alike, nobody waits for ever, and places are few.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { Turns } from "../../src/mesh/turns.ts";
import { LIMITS } from "../../src/model/limits.ts";

const SMALL = 50;
const LARGE = LIMITS.frameBytes;

/** A peer that has always more to say: so much a frame, each of which takes so long. */
interface Flood {
  readonly id: number;
  readonly bytes: number;
  readonly costMs: number;
}

/** What a run did: which frames were handed over and when, and how long each waited. */
interface Ran {
  readonly handed: { readonly id: number; readonly atMs: number; readonly waitedMs: number }[];
  readonly largeMost: number;
  readonly longestTurnMs: number;
  readonly spentMs: (id: number) => number;
}

/** Lets time pass as the daemon would: turns of some tenths of a millisecond, and what handing over takes. */
function run(
  turns: Turns,
  floods: readonly Flood[],
  pings: { id: number; everyMs: number } | null,
  forMs: number,
): Ran {
  const handed: { id: number; atMs: number; waitedMs: number }[] = [];
  const spent = new Map<number, number>();
  const sinceMs = new Map<number, number>();
  let nowMs = 0;
  let largeMost = 0;
  let longestTurnMs = 0;
  let nextPingMs = 0;
  const offer = ({ id, bytes }: Pick<Flood, "id" | "bytes">): void => {
    sinceMs.set(id, nowMs);
    if (bytes > LIMITS.smallFrameBytes) turns.wants(id, bytes, nowMs);
    else turns.ready(id, bytes, nowMs);
  };
  for (const flood of floods) offer(flood);
  while (nowMs < forMs) {
    if (pings !== null && nowMs >= nextPingMs && !sinceMs.has(pings.id)) {
      offer({ id: pings.id, bytes: SMALL });
      nextPingMs = nowMs + pings.everyMs;
    }
    const turnStartMs = nowMs;
    const { release, admit } = turns.next(nowMs);
    for (const id of release) {
      if (!turns.begins(id)) continue;
      const flood = floods.find((one) => one.id === id);
      handed.push({ id, atMs: nowMs, waitedMs: nowMs - (sinceMs.get(id) ?? nowMs) });
      sinceMs.delete(id);
      const costMs = flood?.costMs ?? 0.05;
      nowMs += costMs;
      spent.set(id, (spent.get(id) ?? 0) + costMs);
      turns.spent(id, costMs);
      if (flood !== undefined) offer(flood);
    }
    // A large frame is read within the turn: the worst case for what is held.
    for (const id of admit) turns.ready(id, LARGE, nowMs);
    largeMost = Math.max(largeMost, turns.counts.large);
    longestTurnMs = Math.max(longestTurnMs, nowMs - turnStartMs);
    nowMs += 0.2;
    const againInMs = turns.againInMs(nowMs);
    const untilPingMs = pings === null ? Infinity : Math.max(0, nextPingMs - nowMs);
    nowMs += Math.min(againInMs ?? Infinity, untilPingMs, 1000);
  }
  return { handed, largeMost, longestTurnMs, spentMs: (id) => spent.get(id) ?? 0 };
}

/** Turns with links 0 to count - 1 in them. */
function turnsOf(count: number): Turns {
  const turns = new Turns(0);
  for (let id = 0; id < count; id += 1) turns.enter(id);
  return turns;
}

const release = (turns: Turns, nowMs: number): number[] =>
  turns.next(nowMs).release.filter((id) => turns.begins(id));

describe("turns: order", () => {
  it("small frames go before large ones that came first", () => {
    const turns = turnsOf(4);
    turns.ready(0, LARGE, 0);
    turns.ready(1, LARGE / 8, 0);
    turns.ready(2, SMALL, 0);
    turns.ready(3, SMALL, 0);
    assert.deepEqual(release(turns, 0), [2, 3, 0]);
    assert.deepEqual(release(turns, 0), [1]);
  });

  it("of equals the one goes first that has waited longest, and each gives one frame a turn", () => {
    const turns = turnsOf(3);
    for (const id of [2, 0, 1]) turns.ready(id, SMALL, 0);
    turns.ready(2, SMALL, 1);
    assert.deepEqual(release(turns, 1), [2, 0, 1]);
    assert.deepEqual(release(turns, 1), []);
    turns.ready(1, SMALL, 0);
    assert.deepEqual(release(turns, 0), [1]);
  });

  it("of large frames the link goes first that has used least", () => {
    const turns = turnsOf(3);
    turns.spent(0, 6);
    turns.spent(1, 2);
    for (const id of [0, 1, 2]) turns.ready(id, LARGE, 0);
    assert.deepEqual([release(turns, 0), release(turns, 0), release(turns, 0)], [[2], [1], [0]]);
  });

  it("several large frames go in one turn while they are short together", () => {
    const turns = turnsOf(4);
    for (const id of [0, 1, 2, 3]) turns.ready(id, 100_000, 0);
    assert.deepEqual(release(turns, 0), [0, 1]);
    assert.deepEqual(release(turns, 0), [2, 3]);
  });

  it("a turn ends when its time is over, and the rest goes in the next", () => {
    const turns = turnsOf(3);
    for (const id of [0, 1, 2]) turns.ready(id, SMALL, 0);
    const { release: planned } = turns.next(0);
    assert.deepEqual(planned, [0, 1, 2]);
    assert.equal(turns.begins(0), true);
    turns.spent(0, 20);
    assert.equal(turns.begins(1), false);
    assert.equal(turns.againInMs(20), 1);
    assert.deepEqual(release(turns, 21), [1, 2]);
  });

  it("who is gone, or has nothing, is not released; unknown numbers are ignored", () => {
    const turns = turnsOf(2);
    turns.ready(0, SMALL, 0);
    turns.ready(7, SMALL, 0);
    turns.spent(7, 10);
    turns.leave(0);
    assert.deepEqual(turns.next(0), { release: [], admit: [], evict: [] });
    assert.equal(turns.begins(0), false);
    assert.equal(turns.againInMs(0), null);
  });
});

describe("turns: floods", () => {
  it("one flood gets a quarter of the time, whatever its frames are", () => {
    for (const flood of [
      { id: 0, bytes: LARGE, costMs: 15 },
      { id: 0, bytes: SMALL, costMs: 1 },
    ]) {
      const { spentMs } = run(turnsOf(1), [flood], null, 20_000);
      // What it began with comes on top.
      assert.ok(spentMs(0) > 4500 && spentMs(0) < 6000, `${spentMs(0)} ms of ${flood.bytes} bytes`);
    }
  });

  it("forty floods together get two fifths of the time, and each as much as any other", () => {
    const floods = Array.from({ length: 40 }, (_, id) => ({ id, bytes: LARGE, costMs: 15 }));
    const { spentMs, largeMost } = run(turnsOf(40), floods, null, 30_000);
    const each = floods.map(({ id }) => spentMs(id));
    const all = each.reduce((sum, one) => sum + one, 0);
    assert.ok(all > 11_000 && all < 12_500, `${all} ms`);
    assert.ok(Math.max(...each) - Math.min(...each) <= 60, `${Math.min(...each)} to ${Math.max(...each)} ms`);
    assert.ok(largeMost <= LIMITS.largeFramesMax);
  });

  it("a quiet link's ping goes with the next turn under any floods", () => {
    const flood = fc.record({
      bytes: fc.constantFrom(SMALL, LIMITS.smallFrameBytes + 1, LARGE / 4, LARGE),
      costMs: fc.double({ min: 0.01, max: 40, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(flood, { minLength: 1, maxLength: 40 }), (kinds) => {
        const floods = kinds.map((kind, at) => ({ id: at + 1, ...kind }));
        const turns = turnsOf(floods.length + 1);
        // It has been there for a while.
        turns.next(1);
        turns.next(1000);
        const quiet = run(turns, floods, { id: 0, everyMs: 100 }, 3000);
        const waits = quiet.handed.filter(({ id }) => id === 0).map(({ waitedMs }) => waitedMs);
        assert.ok(waits.length >= 20);
        // A turn's time, and what a small and a large frame take past it; then the calm frames that came before.
        assert.ok(quiet.longestTurnMs <= 101, `${quiet.longestTurnMs} ms`);
        assert.ok(Math.max(...waits) <= 101 + 61, `${Math.max(...waits)} ms`);
      }),
      { numRuns: 30 },
    );
  });

  it("nobody waits for ever: among forty floods each is heard every few seconds", () => {
    const floods = Array.from({ length: 40 }, (_, id) => ({
      id,
      bytes: id % 2 === 0 ? LARGE : SMALL,
      costMs: id % 4 < 2 ? 20 : 2,
    }));
    const { handed } = run(turnsOf(40), floods, null, 30_000);
    for (const { id } of floods) {
      const times = [0, ...handed.filter((one) => one.id === id).map(({ atMs }) => atMs), 30_000];
      const gaps = times.slice(1).map((atMs, at) => atMs - (times[at] ?? 0));
      assert.ok(Math.max(...gaps) < 5000, `link ${id}: ${Math.max(...gaps)} ms`);
    }
  });

  it("a link without credit still gives a small frame, once all together have some again", () => {
    const turns = turnsOf(1);
    turns.next(1000);
    turns.ready(0, SMALL, 1000);
    assert.deepEqual(release(turns, 1000), [0]);
    turns.spent(0, 1400);
    turns.ready(0, SMALL, 1000);
    assert.deepEqual(release(turns, 1000), []);
    assert.equal(turns.againInMs(1000), 100);
    assert.deepEqual(release(turns, 1099), []);
    assert.deepEqual(release(turns, 1101), [0]);
    turns.ready(0, LARGE, 1101);
    assert.deepEqual(release(turns, 1500), []);
  });

  it("calm frames are few: who sends many small ones, or comes again, waits like all others", () => {
    const turns = turnsOf(2);
    turns.next(1000);
    turns.leave(1);
    turns.enter(1);
    // All have spent what they had together.
    turns.spent(7, 200);
    const isHeard = (id: number): boolean => {
      turns.ready(id, SMALL, 1000);
      return release(turns, 1000).includes(id);
    };
    assert.equal(isHeard(1), false);
    let calm = 0;
    while (isHeard(0)) {
      turns.spent(0, 0.05);
      calm += 1;
    }
    assert.ok(calm >= 99 && calm <= 101, `${calm} frames in the second that it was there`);
  });

  it("a frame that took for ever, as in a host that was suspended, is no debt for ever", () => {
    const turns = turnsOf(2);
    turns.spent(0, 3_600_000);
    turns.ready(0, LARGE, 0);
    turns.ready(1, LARGE, 0);
    assert.deepEqual(release(turns, 201), [1]);
    assert.deepEqual(release(turns, 4001), [0]);
  });
});

describe("turns: places for large frames", () => {
  it("there are so many, and the next is admitted when one is free", () => {
    const count = LIMITS.largeFramesMax + 2;
    const turns = turnsOf(count);
    for (let id = 0; id < count; id += 1) turns.wants(id, LARGE, 0);
    const first = turns.next(0).admit;
    assert.deepEqual(
      first,
      Array.from({ length: LIMITS.largeFramesMax }, (_, id) => id),
    );
    assert.deepEqual(turns.next(1).admit, []);
    turns.ready(3, LARGE, 1);
    assert.deepEqual(turns.next(1).admit, []);
    assert.equal(turns.begins(3), true);
    assert.deepEqual(turns.next(2).admit, [LIMITS.largeFramesMax]);
    turns.leave(0);
    assert.deepEqual(turns.next(2).admit, [LIMITS.largeFramesMax + 1]);
  });

  it("a frame that does not come loses its place after five seconds, but only to one that waits", () => {
    const count = LIMITS.largeFramesMax + 1;
    const turns = turnsOf(count);
    for (let id = 0; id < count - 1; id += 1) turns.wants(id, LARGE, 0);
    turns.next(0);
    assert.deepEqual(turns.next(60_000).evict, []);
    turns.wants(count - 1, LARGE, 60_000);
    const { evict } = turns.next(60_000);
    assert.equal(evict.length, LIMITS.largeFramesMax);
    assert.deepEqual(turns.next(60_000).admit, [count - 1]);
  });

  it("who waits for a place is looked at again when one may be taken away", () => {
    const count = LIMITS.largeFramesMax + 1;
    const turns = turnsOf(count);
    for (let id = 0; id < count; id += 1) turns.wants(id, LARGE, 0);
    turns.next(0);
    assert.equal(turns.againInMs(1000), 4000);
  });

  it("a link without credit gets no place", () => {
    const turns = turnsOf(1);
    turns.spent(0, 700);
    turns.wants(0, LARGE, 0);
    assert.deepEqual(turns.next(0).admit, []);
    assert.equal(turns.againInMs(0), 800);
    assert.deepEqual(turns.next(801).admit, [0]);
  });
});
