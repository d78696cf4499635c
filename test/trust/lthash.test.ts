// The sum that seals cover: the same for the same entries, however they came, and for no others.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { LtHash } from "../../src/trust/lthash.ts";

type Entry = readonly [key: string, version: number, body: string];

const text = fc.string({ unit: fc.constantFrom("a", "b", "0", " ", "\0", "é", "\u{1f600}"), maxLength: 6 });
const entry: fc.Arbitrary<Entry> = fc.tuple(text, fc.integer({ min: 1, max: 120 }), text);
const entries = fc.array(entry, { maxLength: 12 });

function sumOf(list: readonly Entry[]): LtHash {
  const sum = new LtHash();
  for (const one of list) sum.add(...one);
  return sum;
}

function digestOf(list: readonly Entry[]): string {
  return Buffer.from(sumOf(list).digest()).toString("hex");
}

/** The sum as the paper has it, by other means: whole numbers, and no lane that wraps by itself. */
function digestBySchoolbook(list: readonly Entry[]): string {
  const lanes = Array.from({ length: 1024 }, () => 0);
  for (const [key, version, body] of list) {
    const said = `skein entry 1 ${version} ${key.length} ${key} ${body}`;
    const bytes = createHash("shake128", { outputLength: 2048 }).update(said).digest();
    for (const [lane, value] of lanes.entries())
      lanes[lane] = (value + bytes.readUInt16LE(2 * lane)) % 65_536;
  }
  const whole = Buffer.alloc(2048);
  for (const [lane, value] of lanes.entries()) whole.writeUInt16LE(value, 2 * lane);
  return createHash("sha256").update(whole).digest("hex");
}

describe("lthash", () => {
  it("the order in which entries came does not matter", () => {
    fc.assert(
      fc.property(
        entries.chain((list) =>
          fc.tuple(
            fc.constant(list),
            fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }),
          ),
        ),
        ([list, shuffled]) => {
          assert.equal(digestOf(list), digestOf(shuffled));
        },
      ),
    );
  });

  it("taking away what was added leaves the sum as it was before", () => {
    fc.assert(
      fc.property(entries, entries, (before, passing) => {
        const sum = sumOf(before);
        for (const one of passing) sum.add(...one);
        for (const one of passing.toReversed()) sum.remove(...one);
        assert.equal(Buffer.from(sum.digest()).toString("hex"), digestOf(before));
      }),
    );
  });

  it("other entries have another sum, also where key, version and body meet elsewhere or one comes twice", () => {
    fc.assert(
      fc.property(entries, entries, (one, other) => {
        const sorted = (list: readonly Entry[]): string =>
          JSON.stringify(list.map((each) => JSON.stringify(each)).toSorted());
        assert.equal(digestOf(one) === digestOf(other), sorted(one) === sorted(other));
      }),
      { numRuns: 500 },
    );
    const near: readonly Entry[] = [
      ["ab", 1, "c"],
      ["a", 1, "bc"],
      ["", 1, "abc"],
      ["abc", 1, ""],
      ["ab", 11, "c"],
      ["ab", 2, "c"],
      ["1 ab", 1, "c"],
    ];
    assert.equal(new Set(near.map((one) => digestOf([one]))).size, near.length);
    assert.notEqual(
      digestOf([["a", 1, "b"]]),
      digestOf([
        ["a", 1, "b"],
        ["a", 1, "b"],
      ]),
    );
  });

  it("a copy goes its own way, and so does what it was copied from", () => {
    fc.assert(
      fc.property(entries, entry, entry, (list, forCopy, forOriginal) => {
        const original = sumOf(list);
        const copy = original.copy();
        copy.add(...forCopy);
        assert.equal(Buffer.from(original.digest()).toString("hex"), digestOf(list));
        original.add(...forOriginal);
        assert.equal(Buffer.from(copy.digest()).toString("hex"), digestOf([...list, forCopy]));
      }),
    );
  });

  it("it is the sum of the paper: each lane by itself modulo 2^16, over what SHAKE128 makes of an entry", () => {
    fc.assert(
      fc.property(entries, (list) => {
        assert.equal(digestOf(list), digestBySchoolbook(list));
      }),
      { numRuns: 30 },
    );
  });

  it("the sums of fixed entries never change: peers of another version must compute the same", () => {
    assert.equal(digestOf([]), createHash("sha256").update(Buffer.alloc(2048)).digest("hex"));
    assert.equal(
      digestOf([["node", 1, "{}"]]),
      "c6395860a7cfb3de2cb008c5142cf28ff7d2842bcf12e541cf1d2d9f22af7645",
    );
    assert.equal(
      digestOf([
        ["node", 1, '{"name":"höst"}'],
        ["replica/web-1", 7, '{"state":"ready"}'],
      ]),
      "486197d6d05d5ea4edfd191d7b9bbb0dace17d21f00bdf2744cc934bb8728cdc",
    );
  });

  it("half of a surrogate pair counts as what stands for it on the wire", () => {
    assert.equal(digestOf([["a\ud800", 1, "\udc00"]]), digestOf([["a\ufffd", 1, "\ufffd"]]));
  });
});
