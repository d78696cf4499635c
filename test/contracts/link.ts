// The contract of a Link: one suite that the wire and the fake both pass, so that tests may use the fake.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { Link, LinkEnd, SendOutcome } from "../../src/mesh/link.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { until } from "../support/wait.ts";

/** A fresh pair of links, not started. */
export interface LinkPair {
  readonly dialled: Link;
  readonly accepted: Link;
}

/** Two daemons and the links between them: the dialled ends share what one has, the accepted ends the other. */
export interface LinkedDaemons {
  readonly openPair: () => Promise<LinkPair>;
  readonly close: () => Promise<void> | void;
}

/** What one end saw. */
interface Seen {
  readonly frames: Buffer[];
  end: LinkEnd | null;
  endings: number;
  framesAfterEnd: number;
}

function record(link: Link): Seen {
  const seen: Seen = { frames: [], end: null, endings: 0, framesAfterEnd: 0 };
  link.start({
    frame(frame) {
      if (seen.end !== null) seen.framesAfterEnd += 1;
      seen.frames.push(Buffer.from(frame));
    },
    closed(end) {
      seen.end = end;
      seen.endings += 1;
    },
  });
  return seen;
}

const frameOf = (text: string): Buffer => Buffer.from(text);

/** Runs the suite over an implementation. */
export function linkContract(name: string, open: () => Promise<LinkedDaemons>): void {
  const withPairs = async (count: number, check: (pairs: LinkPair[]) => Promise<void>): Promise<void> => {
    const daemons = await open();
    try {
      const pairs: LinkPair[] = [];
      while (pairs.length < count) pairs.push(await daemons.openPair());
      await check(pairs);
      for (const { dialled } of pairs) dialled.close("the test is over");
    } finally {
      await daemons.close();
    }
  };
  const withPair = (check: (pair: LinkPair) => Promise<void>): Promise<void> =>
    withPairs(1, async ([pair]) => {
      assert.ok(pair !== undefined);
      await check(pair);
    });

  describe(`link contract: ${name}`, () => {
    it("frames of any content arrive whole and in order, both ways, whatever is sent between", async () => {
      const step = fc.record({
        way: fc.constantFrom("dialled" as const, "accepted" as const),
        frame: fc.oneof(
          { weight: 8, arbitrary: fc.uint8Array({ maxLength: 200 }) },
          { weight: 2, arbitrary: fc.nat({ max: 70_000 }).map((size) => new Uint8Array(size).fill(size)) },
        ),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) =>
          withPair(async ({ dialled, accepted }) => {
            const ends = { dialled: record(dialled), accepted: record(accepted) };
            const links = { dialled, accepted };
            for (const { way, frame } of steps) assert.equal(links[way].send(frame), "sent");
            const sentBy = (way: "dialled" | "accepted"): Buffer[] =>
              steps.filter((one) => one.way === way).map(({ frame }) => Buffer.from(frame));
            await until(() => ends.accepted.frames.length === sentBy("dialled").length);
            await until(() => ends.dialled.frames.length === sentBy("accepted").length);
            assert.deepEqual(ends.accepted.frames, sentBy("dialled"));
            assert.deepEqual(ends.dialled.frames, sentBy("accepted"));
          }),
        ),
        { numRuns: 30 },
      );
    });

    it("the largest frame allowed arrives, a larger one is not sent and harms nothing", () =>
      withPair(async ({ dialled, accepted }) => {
        const seen = record(accepted);
        record(dialled);
        assert.equal(dialled.send(new Uint8Array(LIMITS.frameBytes + 1)), "oversize");
        assert.equal(dialled.send(new Uint8Array(LIMITS.frameBytes).fill(7)), "sent");
        await until(() => seen.frames.length === 1);
        assert.equal(seen.frames[0]?.byteLength, LIMITS.frameBytes);
        assert.equal(seen.end, null);
      }));

    it("nothing is delivered before start, and nothing is lost by starting late", () =>
      withPair(async ({ dialled, accepted }) => {
        record(dialled);
        dialled.send(frameOf("one"));
        dialled.send(frameOf("two"));
        dialled.close("done");
        await until(() => dialled.send(frameOf("three")) === "closed");
        const seen = record(accepted);
        assert.equal(seen.frames.length, 0);
        await until(() => seen.end !== null);
        assert.deepEqual(seen.frames.map(String), ["one", "two"]);
        assert.equal(seen.end?.kind, "goodbye");
      }));

    it("frames arrive one in a turn of the event loop", () =>
      withPair(async ({ dialled, accepted }) => {
        record(dialled);
        let inThisTurn = 0;
        let mostInOneTurn = 0;
        let frames = 0;
        accepted.start({
          frame() {
            if (inThisTurn === 0) setImmediate(() => (inThisTurn = 0));
            inThisTurn += 1;
            frames += 1;
            mostInOneTurn = Math.max(mostInOneTurn, inThisTurn);
          },
          closed: () => undefined,
        });
        for (let count = 0; count < 200; count += 1) dialled.send(frameOf(`frame ${count}`));
        await until(() => frames === 200);
        assert.equal(mostInOneTurn, 1);
      }));

    it("a link has spoken from its first frame on", () =>
      withPair(async ({ dialled, accepted }) => {
        assert.deepEqual([dialled.hasSpoken, accepted.hasSpoken], [false, false]);
        const seen = record(accepted);
        dialled.send(frameOf("hello"));
        await until(() => seen.frames.length === 1);
        assert.deepEqual([dialled.hasSpoken, accepted.hasSpoken], [false, true]);
      }));

    it("a small frame goes before the large ones of other links, though they came before it", () =>
      withPairs(9, async (pairs) => {
        const order: string[] = [];
        const [quiet, ...flooding] = pairs.toReversed();
        assert.ok(quiet !== undefined);
        for (const [at, { dialled }] of flooding.entries()) {
          for (let count = 0; count < 5; count += 1) dialled.send(new Uint8Array(200_000).fill(at));
        }
        quiet.dialled.send(frameOf("ping"));
        for (const { accepted } of flooding)
          accepted.start({ frame: () => order.push("large"), closed: () => undefined });
        quiet.accepted.start({ frame: () => order.push("small"), closed: () => undefined });
        await until(() => order.length === flooding.length * 5 + 1);
        assert.equal(order[0], "small");
      }));

    it("what many peers leave unread is bounded over all of them, and a peer that reads gets it all", () =>
      withPairs(10, async (pairs) => {
        const [reader, ...silent] = pairs;
        assert.ok(reader !== undefined);
        const frame = new Uint8Array(256 * 1024);
        const seen = record(reader.accepted);
        const unsent = (): number => silent.reduce((sum, { dialled }) => sum + dialled.bufferedBytes, 0);
        let sent = 0;
        const roundOf = async (whenBehind: "skip" | "queue"): Promise<SendOutcome[]> => {
          const outcomes = silent.map(({ dialled }) => dialled.send(frame, whenBehind));
          assert.equal(reader.dialled.send(frame), "sent");
          sent += 1;
          await until(() => reader.dialled.bufferedBytes === 0, { everyMs: 1 });
          return outcomes;
        };
        const untilAll = (wanted: SendOutcome, whenBehind: "skip" | "queue"): Promise<unknown> =>
          until(async () => (await roundOf(whenBehind)).every((outcome) => outcome === wanted), {
            everyMs: 1,
          });
        await untilAll("skipped", "skip");
        assert.ok(unsent() > LIMITS.linksBufferedBytes / 2, `${unsent()} bytes`);
        assert.ok(unsent() <= LIMITS.linksBufferedBytes + frame.byteLength, `${unsent()} bytes`);
        assert.ok(silent.every(({ dialled }) => dialled.bufferedBytes < LIMITS.linkBufferedBytes));
        const ends = silent.map(({ dialled }) => record(dialled));
        await untilAll("closed", "queue");
        await until(() => ends.every(({ end }) => end?.kind === "overfull"));
        await until(() => seen.frames.length === sent);
      }));

    for (const closer of ["dialled", "accepted"] as const) {
      it(`a close by the ${closer} end is "ours" there and a goodbye at the other, told once each`, () =>
        withPair(async (pair) => {
          const other = closer === "dialled" ? "accepted" : "dialled";
          const [here, there] = [record(pair[closer]), record(pair[other])];
          pair[closer].close("no longer needed");
          pair[closer].close("again");
          await until(() => here.end !== null && there.end !== null);
          assert.deepEqual(here.end, { kind: "ours", text: "no longer needed" });
          assert.equal(there.end?.kind, "goodbye");
          assert.match(there.end?.text ?? "", /no longer needed/);
          assert.equal(pair[other].send(frameOf("late")), "closed");
          assert.deepEqual([here.endings, there.endings], [1, 1]);
        }));
    }

    it("both ends closing at once end once each, without a frame after the end", () =>
      withPair(async ({ dialled, accepted }) => {
        const ends = [record(dialled), record(accepted)];
        dialled.close("here");
        accepted.close("there");
        await until(() => ends.every(({ end }) => end !== null));
        assert.deepEqual(
          ends.map(({ end, endings }) => [end?.kind, endings]),
          [
            ["ours", 1],
            ["ours", 1],
          ],
        );
      }));

    it("a close right behind many frames: all of them arrive first", () =>
      withPair(async ({ dialled, accepted }) => {
        const seen = record(accepted);
        record(dialled);
        for (let count = 0; count < 50; count += 1) dialled.send(frameOf(`${count}`));
        dialled.close("done");
        assert.equal(dialled.send(frameOf("late")), "closed");
        await until(() => seen.end !== null);
        assert.deepEqual(
          seen.frames.map(String),
          Array.from({ length: 50 }, (_, count) => `${count}`),
        );
      }));

    it("closing amid arriving frames stops them at once", () =>
      withPair(async ({ dialled, accepted }) => {
        record(dialled);
        const seen: string[] = [];
        let end: LinkEnd | null = null;
        accepted.start({
          frame(frame) {
            seen.push(Buffer.from(frame).toString());
            if (seen.length === 3) accepted.close("enough");
          },
          closed: (how) => {
            end = how;
          },
        });
        for (let count = 0; count < 20; count += 1) dialled.send(frameOf(`${count}`));
        await until(() => end !== null);
        assert.deepEqual(seen, ["0", "1", "2"]);
      }));

    it("a peer that does not read is skipped past one bound and cut off past the other", () =>
      withPair(async ({ dialled }) => {
        // `accepted` is never started: it reads nothing.
        const seen = record(dialled);
        const frame = new Uint8Array(256 * 1024);
        const sendUntil = async (wanted: SendOutcome, whenBehind: "skip" | "queue"): Promise<void> => {
          // Kernel buffers take some of it first; 400 frames are 100 MiB, far above any of them.
          for (let count = 0; count < 400; count += 1) {
            const outcome = dialled.send(frame, whenBehind);
            if (outcome === wanted) return;
            assert.equal(outcome, "sent");
            await new Promise((resolve) => setImmediate(resolve));
          }
          assert.fail(`never ${wanted}`);
        };
        await sendUntil("skipped", "skip");
        assert.ok(dialled.bufferedBytes > LIMITS.linkBufferedBytes);
        assert.ok(dialled.bufferedBytes <= LIMITS.linkBufferedBytes + 2 * frame.byteLength);
        assert.equal(seen.endings, 0);
        await sendUntil("closed", "queue");
        await until(() => seen.end !== null);
        assert.equal(seen.end?.kind, "overfull");
      }));

    it("a reader that catches up gets pushes again", () =>
      withPair(async ({ dialled, accepted }) => {
        record(dialled);
        const frame = new Uint8Array(256 * 1024);
        let sent = 0;
        const outcomes = (): SendOutcome => {
          const outcome = dialled.send(frame);
          if (outcome === "sent") sent += 1;
          return outcome;
        };
        await until(() => outcomes() === "skipped", { everyMs: 1, deadlineMs: 30_000 });
        const seen = record(accepted);
        await until(() => outcomes() === "sent");
        await until(() => seen.frames.length === sent);
      }));
  });
}
