// Hashes and encodings that hosts must compute alike, against published vectors.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { base32, hash48, sha256, sha256Hex, shake128, unbase32 } from "../../src/base/bytes.ts";

const ALPHABET = Array.from("abcdefghijklmnopqrstuvwxyz234567");

test("base32: the test vectors of RFC 4648 section 10, lowered and without padding", () => {
  const vectors = ["", "my", "mzxq", "mzxw6", "mzxw6yq", "mzxw6ytb", "mzxw6ytboi"];
  const texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
  assert.deepEqual(
    texts.map((text) => base32(Buffer.from(text))),
    vectors,
  );
});

test("base32: any bytes come back from their text, and no two share one", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const text = base32(bytes);
      assert.match(text, /^[a-z2-7]*$/);
      assert.equal(text.length, Math.ceil((bytes.length * 8) / 5));
      assert.deepEqual(bytesOf(text).subarray(0, bytes.length), bytes);
    }),
  );
});

test("base32: a part of some bytes reads as those bytes by themselves", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 30 }),
      fc.nat({ max: 30 }),
      fc.nat({ max: 48 }),
      (bytes, at, most) => {
        const rest = base32(bytes.slice(at));
        const characters = Math.min(most, rest.length);
        assert.equal(base32(bytes, Math.min(at, bytes.length), characters), rest.slice(0, characters));
      },
    ),
  );
});

test("unbase32: any text of the alphabet comes back, and what fills up the last byte is zero", () => {
  const text = fc.string({ unit: fc.constantFrom(...ALPHABET), maxLength: 40 });
  fc.assert(
    fc.property(text, fc.nat({ max: 5 }), (text, at) => {
      const bytes = new Uint8Array(at + Math.ceil((text.length * 5) / 8) + 3).fill(0xee);
      assert.ok(unbase32(text, bytes, at));
      assert.equal(base32(bytes, at, text.length), text);
      const end = bytes.length - 3;
      assert.deepEqual([...bytes.subarray(0, at), ...bytes.subarray(end)], Array(at + 3).fill(0xee));
      const spareBits = (end - at) * 8 - text.length * 5;
      if (spareBits > 0) assert.equal((bytes[end - 1] ?? 0) % 2 ** spareBits, 0);
    }),
  );
});

test("unbase32: every character outside the alphabet is refused, and so is text with too little room", () => {
  const alphabet = new Set(ALPHABET);
  for (let code = 0; code < 0x300; code += 1) {
    const character = String.fromCharCode(code);
    assert.equal(unbase32(`a${character}`, new Uint8Array(2)), alphabet.has(character), `code ${code}`);
  }
  assert.ok(!unbase32("a\ud800", new Uint8Array(2)));
  assert.ok(unbase32("mzxw6ytb", new Uint8Array(5)));
  assert.ok(!unbase32("mzxw6ytb", new Uint8Array(4)));
  assert.ok(!unbase32("mzxw6ytb", new Uint8Array(9), 5));
});

test("sha256: the vectors of FIPS 180-4, of text and of bytes alike", () => {
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(Buffer.from(sha256("abc")).toString("hex"), abc);
  assert.equal(Buffer.from(sha256(Buffer.from("abc"))).toString("hex"), abc);
  assert.deepEqual(sha256("é"), sha256(Buffer.from([0xc3, 0xa9])));
});

test("sha256Hex: the same in hexadecimal digits", () => {
  assert.equal(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("shake128: the vector of FIPS 202 for the empty text, and shorter outputs are the begin of longer ones", () => {
  const empty = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26";
  assert.equal(Buffer.from(shake128("", 32)).toString("hex"), empty);
  assert.deepEqual(shake128("é", 2048).subarray(0, 100), shake128(Buffer.from([0xc3, 0xa9]), 100));
});

test("hash48: is the first 48 bits of SHA-256, so a whole number that a double holds exactly", () => {
  assert.equal(hash48("abc"), 0xba7816bf8f01);
  fc.assert(
    fc.property(fc.string(), (text) => {
      const hash = hash48(text);
      assert.ok(Number.isSafeInteger(hash) && hash >= 0 && hash < 2 ** 48);
      assert.equal(hash, hash48(text));
    }),
  );
});

function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((text.length * 5) / 8));
  assert.ok(unbase32(text, bytes));
  return bytes;
}
