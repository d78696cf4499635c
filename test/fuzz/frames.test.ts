// The decoder against some thousand hostile frames, the same each time and some that are new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import type { Message } from "../../src/gossip/message.ts";

import { checkBounds } from "./bounds.ts";
import { checkFrame, frameFuzzer } from "./frames.ts";
import { Finding, renderFailed, runCases, type Outcomes } from "./fuzzer.ts";

const CASES = 5000;

for (const seed of [1, 0x51ce_0000, randomInt(2 ** 32)]) {
  test(`frames: ${CASES} hostile ones are refused or are just what they say (seed ${seed})`, () => {
    const outcomes: Outcomes = new Map();
    const failed = runCases(frameFuzzer(), seed, { goesOn: (index) => index < CASES, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    // A fuzzer whose frames are all refused at their first byte would find nothing.
    assert.ok((outcomes.get("accepted") ?? 0) > CASES / 20 && (outcomes.get("refused") ?? 0) > CASES / 5);
  });
}

test("frames: the same seed makes the same cases", () => {
  const cases = (): Outcomes => {
    const outcomes: Outcomes = new Map();
    runCases(frameFuzzer(), 7, { goesOn: (index) => index < 300, outcomes });
    return outcomes;
  };
  assert.deepEqual(cases(), cases());
});

test("frames: a case that goes wrong is told with the seed and the bytes that lead there", () => {
  const fuzzer = {
    name: "frames",
    round(_: unknown, seed: number) {
      if (seed === 12) throw new Finding("throws", Uint8Array.of(8, 255), new Error("why"));
      return "refused";
    },
  };
  const failed = runCases(fuzzer, 10, { goesOn: () => true, outcomes: new Map() });
  assert.ok(failed !== null);
  const text = renderFailed(failed);
  for (const part of ["throws", "why", "--only frames --seed 12 --seconds 0", "frame: 08ff"])
    assert.ok(text.includes(part), part);
});

test("frames: what is let in past a bound is found", () => {
  const id = "a".repeat(20);
  const report = { owner: id, incarnation: 1, version: 1, by: [] };
  const who = { owner: id, asker: id, signature: null };
  const ask = { ...who, incarnation: 1, version: 1, replica: "r", draining: true };
  const bad: readonly Message[] = [
    { kind: "ping", sequence: 0.5, suspected: null },
    { kind: "probe", sequence: 1, subject: "A".repeat(20) },
    { kind: "parts", sums: [1] },
    { kind: "digest", digest: [], scope: { kind: "parts", parts: [2, 1] }, wanted: true },
    { kind: "applied", reports: [report, { ...report, version: -1 }], hops: 0 },
    { kind: "drain", ask: { ...ask, replica: "r".repeat(81) }, hops: 0 },
    { kind: "drain", ask: { ...ask, signature: new Uint8Array(63) }, hops: 0 },
  ];
  for (const message of bad) assert.throws(() => checkBounds(message), /past its bounds/, message.kind);
  assert.equal(checkFrame(Uint8Array.of(8, 5, 0)), true);
  assert.equal(checkFrame(Uint8Array.of(8, 5)), false);
});
