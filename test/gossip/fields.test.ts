// Heads, scopes, rumors and reports: each comes back as it was written, and what cannot be one is refused by name.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { AssertionFailed } from "../../src/base/assert.ts";
import { textOf } from "../../src/base/failure.ts";
import {
  readDigest,
  readDrainAsk,
  readReports,
  readRumors,
  readScope,
  writeDigest,
  writeDrainAsk,
  writeReports,
  writeRumors,
  writeScope,
} from "../../src/gossip/fields.ts";
import { REFUTATION_MAX } from "../../src/gossip/life.ts";
import { DIGEST_PARTS, type Head, type SignedRumor } from "../../src/gossip/message.ts";
import { Reader, Writer } from "../../src/gossip/wire.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";

const ID = "a".repeat(20);
const HEAD: Head = { owner: ID, incarnation: 1, version: 2, deadAt: null };
const MARK = new Uint8Array(SEAL_BYTES).fill(7);
const RUMOR: SignedRumor = {
  kind: "dead",
  subject: ID,
  incarnation: 1,
  refutation: 2,
  by: "7".repeat(20),
  signature: MARK,
};

function bytesOf(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(8);
  write(writer);
  return writer.frame();
}

function readFrom<T>(bytes: Uint8Array, read: (reader: Reader) => T): T {
  const reader = new Reader(bytes, "test", 0);
  const value = read(reader);
  reader.end();
  return value;
}

/** The failure's text for bytes of which the one at `at` (from the end when negative) is another. */
function refusalOf(bytes: Uint8Array, at: number, byte: number, read: (reader: Reader) => unknown): string {
  const bad = Uint8Array.from(bytes).with(at, byte);
  try {
    readFrom(bad, read);
  } catch (thrown) {
    return textOf(thrown);
  }
  return "";
}

test("digest: a head takes 16 bytes and up, and a dead owner no more than a present one", () => {
  const heads = [HEAD, { ...HEAD, deadAt: 0 }, { ...HEAD, deadAt: REFUTATION_MAX }];
  const sizes = heads.map((head) => bytesOf((writer) => writeDigest(writer, [head])).length);
  assert.deepEqual(sizes, [17, 17, 21]);
  assert.deepEqual(
    readFrom(
      bytesOf((writer) => writeDigest(writer, heads)),
      readDigest,
    ),
    heads,
  );
  assert.deepEqual(
    readFrom(
      bytesOf((writer) => writeDigest(writer, [])),
      readDigest,
    ),
    [],
  );
});

test("digest: more owners than a node may hold are refused, as many are read", () => {
  const heads = (length: number): Head[] => Array.from({ length }, () => HEAD);
  const most = bytesOf((writer) => writeDigest(writer, heads(LIMITS.ownersMax)));
  assert.equal(readFrom(most, readDigest).length, LIMITS.ownersMax);
  const more = bytesOf((writer) => writeDigest(writer, heads(LIMITS.ownersMax + 1)));
  assert.throws(() => readFrom(more, readDigest), {
    message: /count of heads is 6001; expected at most 6000/,
  });
});

test("scope: every set of parts comes back in order, whatever the order it was given in", () => {
  const parts = fc.array(fc.nat({ max: DIGEST_PARTS - 1 }), { maxLength: 100 });
  fc.assert(
    fc.property(parts, (parts) => {
      const bytes = bytesOf((writer) => writeScope(writer, { kind: "parts", parts }));
      assert.equal(bytes.length, 1 + DIGEST_PARTS / 8);
      const sorted = [...new Set(parts)].toSorted((one, other) => one - other);
      assert.deepEqual(readFrom(bytes, readScope), { kind: "parts", parts: sorted });
    }),
  );
  for (const kind of ["all", "listed"] as const)
    assert.deepEqual(
      readFrom(
        bytesOf((writer) => writeScope(writer, { kind })),
        readScope,
      ),
      { kind },
    );
});

test("scope: one that nobody knows is refused, and a part there is not is our own mistake", () => {
  const bytes = bytesOf((writer) => writeScope(writer, { kind: "all" }));
  assert.equal(refusalOf(bytes, 0, 3, readScope), "test's scope is 3; expected 0..2");
  for (const part of [-1, DIGEST_PARTS, 0.5])
    assert.throws(
      () => bytesOf((writer) => writeScope(writer, { kind: "parts", parts: [part] })),
      AssertionFailed,
    );
});

test("rumors: each kind comes back, and one that nobody knows is refused", () => {
  const rumors = (["suspect", "refused", "dead"] as const).map((kind) => ({ ...RUMOR, kind }));
  const bytes = bytesOf((writer) => writeRumors(writer, rumors));
  assert.equal(bytes.length, 1 + 3 * 93);
  assert.deepEqual(readFrom(bytes, readRumors), rumors);
  assert.equal(refusalOf(bytes, 1, 3, readRumors), "test's rumor's kind is 3; expected 0..2");
  const far = bytesOf((writer) => writeRumors(writer, [{ ...RUMOR, refutation: REFUTATION_MAX + 1 }]));
  assert.throws(() => readFrom(far, readRumors), { message: /rumor's refutation is 2147483649; expected/ });
});

test("reports: come back with all who made them, and more of these than members are refused", () => {
  const report = {
    owner: ID,
    incarnation: 3,
    version: 500,
    by: [
      { id: ID, signature: MARK },
      { id: RUMOR.by, signature: null },
    ],
  };
  const reports = [report, { ...report, by: [] }];
  assert.deepEqual(
    readFrom(
      bytesOf((writer) => writeReports(writer, reports)),
      readReports,
    ),
    reports,
  );
  const by = Array.from({ length: LIMITS.ownersMax + 1 }, () => ({ id: ID, signature: null }));
  const bytes = bytesOf((writer) => writeReports(writer, [{ ...report, by }]));
  assert.throws(() => readFrom(bytes, readReports), {
    message: /count of reporters is 6001; expected at most/,
  });
});

test("asks: one to drain comes back as it was made, signed or not", () => {
  const ask = { owner: ID, incarnation: 3, version: 500, replica: "web-1", draining: true, asker: RUMOR.by };
  for (const signature of [MARK, null]) {
    const bytes = bytesOf((writer) => writeDrainAsk(writer, { ...ask, signature }));
    assert.deepEqual(readFrom(bytes, readDrainAsk), { ...ask, signature });
  }
});
