// Hashes and encodings that hosts must compute alike, against published vectors.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { base32, hash48, sha256 } from "../../src/base/bytes.ts";

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
      assert.deepEqual([...unbase32(text)], [...bytes]);
    }),
  );
});

test("sha256: the vectors of FIPS 180-4, of text and of bytes alike", () => {
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(Buffer.from(sha256("abc")).toString("hex"), abc);
  assert.equal(Buffer.from(sha256(Buffer.from("abc"))).toString("hex"), abc);
  assert.deepEqual(sha256("é"), sha256(Buffer.from([0xc3, 0xa9])));
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

function unbase32(text: string): Uint8Array {
  let bits = "";
  for (const letter of text)
    bits += "abcdefghijklmnopqrstuvwxyz234567".indexOf(letter).toString(2).padStart(5, "0");
  const whole = bits.slice(0, bits.length - (bits.length % 8));
  return Uint8Array.from(whole.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
}
