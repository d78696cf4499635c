// Numbers, texts and ids come back from their bytes, have one form only, and nothing else is taken for them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { AssertionFailed } from "../../src/base/assert.ts";
import { Failure } from "../../src/base/failure.ts";
import { ID_BYTES, Reader, SUM_BYTES, WHOLE_BYTES_MAX, Writer } from "../../src/gossip/wire.ts";
import { nodeId } from "../support/messages.ts";

function written(write: (writer: Writer) => void, sizeHint = 16): Uint8Array {
  const writer = new Writer(sizeHint);
  write(writer);
  return writer.frame();
}

/** Reads from bytes that must hold just that. */
function readFrom<T>(bytes: Uint8Array, read: (reader: Reader) => T): T {
  const reader = new Reader(bytes, "test", 0);
  const value = read(reader);
  reader.end();
  return value;
}

function refusal(bytes: readonly number[] | Uint8Array, read: (reader: Reader) => unknown): string {
  let text = "";
  assert.throws(
    () => readFrom(Uint8Array.from(bytes), read),
    (thrown) => {
      assert.ok(thrown instanceof Failure && thrown.code === "corrupt");
      text = thrown.message;
      return true;
    },
  );
  return text;
}

test("whole: every whole number comes back, in a byte for each 7 bits", () => {
  const edges = Array.from({ length: 54 }, (_, bits) => [
    2 ** bits - 1,
    Math.min(2 ** bits, 2 ** 53 - 1),
  ]).flat();
  const whole = fc.oneof(fc.constantFrom(...edges), fc.maxSafeNat());
  fc.assert(
    fc.property(whole, (value) => {
      const bytes = written((writer) => writer.whole(value));
      assert.equal(bytes.length, Math.max(1, Math.ceil(value.toString(2).length / 7)));
      assert.ok(value === 0 || bytes.length <= WHOLE_BYTES_MAX);
      assert.equal(
        readFrom(bytes, (reader) => reader.whole("number")),
        value,
      );
    }),
    { numRuns: 1000 },
  );
});

test("whole: any bytes are refused or are just what the number they tell is written as", () => {
  const bytes = fc.array(fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 127, 128, 255)), {
    maxLength: 10,
  });
  fc.assert(
    fc.property(bytes, (bytes) => {
      let value: number;
      try {
        value = readFrom(Uint8Array.from(bytes), (reader) => reader.whole("number"));
      } catch (thrown) {
        assert.ok(thrown instanceof Failure);
        return;
      }
      assert.ok(Number.isSafeInteger(value) && value >= 0);
      assert.deepEqual([...written((writer) => writer.whole(value))], bytes);
    }),
    { numRuns: 2000 },
  );
});

test("whole: past its bound, past 2^53, padded or unended a number is refused by its name", () => {
  const read = (reader: Reader): number => reader.whole("port", 1000);
  assert.equal(refusal([0xe9, 0x07], read), "test's port is 1001; expected at most 1000");
  assert.equal(refusal([0x80, 0x00], read), "test's port is padded with zeros; expected its shortest form");
  assert.equal(refusal([0x80], read), "test ends in its port, 0 bytes left; expected 1");
  assert.equal(refusal([0x01, 0x02], read), "test's end is followed by 1 bytes; expected none");
  const safe = (reader: Reader): number => reader.whole("version");
  assert.match(
    refusal([...Array(7).fill(0xff), 0x10], safe),
    /version is 9570149208162304; expected at most/,
  );
  assert.match(refusal([...Array(7).fill(0x80), 0x10], safe), /version is 9007199254740992; expected/);
  assert.match(refusal([...Array(8).fill(0xff), 0x01], safe), /version is of over 8 bytes; expected/);
});

test("whole: what is no whole number of ours is our own mistake", () => {
  for (const value of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => written((writer) => writer.whole(value)), AssertionFailed, `${value}`);
  assert.throws(() => written((writer) => writer.byte(256)), AssertionFailed);
  assert.throws(() => written((writer) => writer.sum(2 ** 48)), AssertionFailed);
  for (const id of ["", "a".repeat(19), "a".repeat(21), "A".repeat(20), "1".repeat(20)])
    assert.throws(() => written((writer) => writer.id(id)), AssertionFailed, id);
});

test("optional: null and every number up to the bound come back, and null takes a byte", () => {
  fc.assert(
    fc.property(fc.option(fc.nat()), (value) => {
      const bytes = written((writer) => writer.optional(value));
      if (value === null) assert.equal(bytes.length, 1);
      assert.equal(
        readFrom(bytes, (reader) => reader.optional("number", 2 ** 31)),
        value,
      );
    }),
  );
  const read = (reader: Reader): number | null => reader.optional("number", 5);
  assert.equal(readFrom(Uint8Array.of(6), read), 5);
  assert.equal(refusal([7], read), "test's number is 6; expected at most 5");
});

test("flag: is 0 or 1 and nothing else", () => {
  for (const value of [true, false])
    assert.equal(
      readFrom(
        written((writer) => writer.flag(value)),
        (reader) => reader.flag("wanted"),
      ),
      value,
    );
  assert.equal(
    refusal([2], (reader) => reader.flag("wanted")),
    "test's wanted is 2; expected 0 or 1",
  );
});

test("sum: every number below 2^48 comes back from six bytes", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), (value) => {
      const bytes = written((writer) => writer.sum(value), 1);
      assert.equal(bytes.length, SUM_BYTES);
      assert.equal(
        readFrom(bytes, (reader) => reader.sum("sum")),
        value,
      );
    }),
  );
  assert.equal(
    refusal([1, 2, 3], (reader) => reader.sum("sum")),
    "test ends in its sum, 3 bytes left; expected 6",
  );
});

test("id: every id comes back from 13 bytes, and bytes behind its 100 bits are refused", () => {
  fc.assert(
    fc.property(nodeId, fc.integer({ min: 1, max: 15 }), (id, padding) => {
      const bytes = written((writer) => writer.id(id), 1);
      assert.equal(bytes.length, ID_BYTES);
      assert.equal(
        readFrom(bytes, (reader) => reader.id("owner")),
        id,
      );
      const [last = 0] = bytes.subarray(-1);
      const padded = [...bytes.subarray(0, -1), last | padding];
      const expected = "test's owner is padded with ones; expected zeros behind its 100 bits";
      assert.equal(
        refusal(padded, (reader) => reader.id("owner")),
        expected,
      );
    }),
  );
});

const BODY = { what: "body", lengthMax: 30 };

test("text: any text comes back, with marks of byte order, and null beside the empty one", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 15 }),
    fc.constantFrom("\ufeffa", "\ufffd", "a\ufffd\ufffd", "\u0000", "𝄞€é"),
  );
  fc.assert(
    fc.property(text, fc.option(text), fc.nat({ max: 20 }), (text, other, sizeHint) => {
      const bytes = written((writer) => {
        writer.text(text);
        writer.optionalText(other);
      }, sizeHint);
      const read = (reader: Reader): unknown => [reader.text(BODY), reader.optionalText(BODY)];
      assert.deepEqual(readFrom(bytes, read), [text, other]);
    }),
    { numRuns: 500 },
  );
});

test("text: any bytes are refused or are just what the text they tell is written as", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), (utf8) => {
      const bytes = Uint8Array.of(utf8.length, ...utf8);
      let text: string;
      try {
        text = readFrom(bytes, (reader) => reader.text(BODY));
      } catch (thrown) {
        assert.ok(thrown instanceof Failure);
        assert.throws(() => new TextDecoder("utf-8", { fatal: true }).decode(utf8));
        return;
      }
      assert.deepEqual(Uint8Array.from(written((writer) => writer.text(text))), bytes);
    }),
    { numRuns: 1000 },
  );
});

test("text: half a surrogate pair arrives as U+FFFD", () => {
  const bytes = written((writer) => writer.text("a\ud800b"));
  assert.equal(
    readFrom(bytes, (reader) => reader.text(BODY)),
    "a\ufffdb",
  );
});

test("text: too long, cut off or no UTF-8 is refused by its name", () => {
  const read = (reader: Reader): string => reader.text(BODY);
  assert.equal(
    refusal([91, ...Array(91).fill(97)], read),
    "test's body is 91 bytes long; expected at most 90",
  );
  assert.equal(
    refusal([31, ...Array(31).fill(97)], read),
    "test's body is 31 characters long; expected at most 30",
  );
  assert.equal(refusal([3, 97, 97], read), "test ends in its body, 2 bytes left; expected 3");
  for (const utf8 of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf4, 0x90, 0x80, 0x80]])
    assert.equal(refusal([utf8.length, ...utf8], read), "test's body is no UTF-8; expected UTF-8");
});

const NUMBERS = { what: "count of numbers", countMax: 5, eachBytes: 2 };

test("list: comes back, and a count that cannot be is refused before anything is read", () => {
  const bytes = written((writer) => writer.list([300, 400], (to, value) => to.whole(value)));
  const read = (reader: Reader): number[] => reader.list(NUMBERS, (from) => from.whole("number"));
  assert.deepEqual(readFrom(bytes, read), [300, 400]);
  const never = (reader: Reader): unknown[] => reader.list(NUMBERS, () => assert.fail("reads an element"));
  assert.equal(refusal([6], never), "test's count of numbers is 6; expected at most 5");
  const inBytes = "test's count of numbers is 3; expected at most 2 in the bytes left";
  assert.equal(refusal([3, 1, 1, 1, 1, 1], never), inBytes);
});

test("reader: begins where it is told, within bytes that lie within others, and steps over the rest", () => {
  const bytes = Uint8Array.of(9, 9, 1, 97, 5, 9).subarray(2, 5);
  const reader = new Reader(bytes, "test", 0);
  assert.equal(reader.text(BODY), "a");
  assert.equal(reader.leftBytes, 1);
  assert.equal(new Reader(bytes, "test", 2).byte("number"), 5);
  reader.skipRest();
  reader.end();
  assert.equal(reader.leftBytes, 0);
});
