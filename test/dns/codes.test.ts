// Codes: names and numbers of DNS, and labels that clients cannot multiply.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { isMetaType, rcodeLabelOf, typeCodeOf, typeLabelOf, typeNameOf } from "../../src/dns/codes.ts";

test("codes: every type's name leads back to it, in any case", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff }), (code) => {
      assert.equal(typeCodeOf(typeNameOf(code)), code);
      assert.equal(typeCodeOf(typeNameOf(code).toLowerCase()), code);
    }),
  );
});

test("codes: text that names no type is null", () => {
  for (const text of ["", "WHAT", "TYPE", "TYPE70000", "TYPE1x", "constructor"]) {
    assert.equal(typeCodeOf(text), null, text);
  }
});

test("codes: whatever clients and servers send, metrics see a bounded set of labels", () => {
  const codes = Array.from({ length: 0x1_0000 }, (_, code) => code);
  assert.ok(new Set(codes.map(typeLabelOf)).size < 16);
  assert.ok(new Set(codes.map(rcodeLabelOf)).size < 16);
  assert.deepEqual(
    [typeLabelOf(28), typeLabelOf(4711), rcodeLabelOf(2), rcodeLabelOf(99)],
    ["AAAA", "other", "SERVFAIL", "other"],
  );
});

test("codes: transfers and pseudo records are operations, ANY and data are not", () => {
  assert.deepEqual([252, 251, 250, 41].map(isMetaType), [true, true, true, true]);
  assert.deepEqual([1, 28, 33, 65, 255, 256].map(isMetaType), [false, false, false, false, false, false]);
});
