// What answers DNS, against some ten thousand hostile queries, the same each time and some that are new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { emptyResponse, encodeResponse } from "../../src/dns/encode.ts";
import { query, understood } from "../dns/fixture.ts";

import { Finding, renderFailed, runCases, type Outcomes } from "./fuzzer.ts";
import { checkAnswer, queryFuzzer } from "./queries.ts";

/** Enough, by the seed that is the same each time, that what each case leaves adds up; then some that are new. */
const RUNS = [
  [1, 60_000],
  [randomInt(2 ** 32), 20_000],
] as const;
/** What may still be held after so many cases, besides the cache: what is bounded, and what V8 keeps for itself. */
const GROWN_BYTES_MAX = 6 * 1024 * 1024;

function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  assert.ok(typeof collect === "function");
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

for (const [seed, cases] of RUNS) {
  test(`queries: ${cases} hostile ones get one answer that fits, or none, and leave nothing (seed ${seed})`, () => {
    const fuzzer = queryFuzzer();
    const outcomes: Outcomes = new Map();
    const run = (from: number): void => {
      const failed = runCases(fuzzer, seed + from, { goesOn: (index) => index < cases / 2, outcomes });
      assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    };
    run(0);
    const beforeBytes = heldBytes() - fuzzer.keptBytes();
    run(cases / 2);
    const grownBytes = heldBytes() - fuzzer.keptBytes() - beforeBytes;
    assert.ok(grownBytes < GROWN_BYTES_MAX, `${grownBytes} bytes more are held`);
    // A fuzzer whose queries are all refused at the first look would find nothing.
    for (const outcome of ["answered", "nothing there", "error", "dropped", "forwarded", "tcp answers"])
      assert.ok((outcomes.get(outcome) ?? 0) > cases / 100, `${outcome}: ${outcomes.get(outcome)}`);
  });
}

test("queries: the same seed makes the same cases", () => {
  const cases = (): Outcomes => {
    const outcomes: Outcomes = new Map();
    runCases(queryFuzzer(), 7, { goesOn: (index) => index < 300, outcomes });
    return outcomes;
  };
  assert.deepEqual(cases(), cases());
});

test("queries: an answer that breaks a rule is found", () => {
  const asked = query("web", "A");
  const record = { name: "web", ttlSeconds: 5, type: "A" as const, address: "10.0.0.1" };
  const response = { ...emptyResponse("NOERROR"), records: [record] };
  const good = encodeResponse(understood(asked), response, 512).bytes;
  checkAnswer(asked, good, "udp");
  checkAnswer(asked, null, "udp");
  const cut = { ...response, records: Array.from({ length: 40 }, () => record) };
  const partial = encodeResponse(understood(asked), cut, 512).bytes;
  checkAnswer(asked, partial, "udp");
  assert.throws(() => checkAnswer(asked, partial, "tcp"), /^Finding: TC is wrong: /);
  const changed = (at: number, value: number, from = good): Buffer => {
    const bytes = Buffer.from(from);
    bytes.writeUInt8(value, at);
    return bytes;
  };
  const bad: readonly (readonly [string, Buffer])[] = [
    ["the answer has no header", good.subarray(0, 11)],
    ["the answer has another id", changed(0, 0)],
    ["the header is wrong", changed(2, 1)],
    ["the header is wrong", changed(2, 0xa9)],
    ["TC is wrong", changed(9, 1, partial)],
    ["TC is wrong", changed(11, 1, partial)],
    ["the answer has 600 bytes", Buffer.concat([good, Buffer.alloc(600 - good.length)])],
    ["the question is another one", changed(13, 0x57)],
  ];
  for (const [text, answer] of bad) {
    assert.throws(
      () => checkAnswer(asked, answer, "udp"),
      (thrown) => {
        return thrown instanceof Finding && thrown.message.startsWith(`${text}: `);
      },
      text,
    );
  }
  assert.throws(() => checkAnswer(good, good, "udp"), /is no query/);
});
