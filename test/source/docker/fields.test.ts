// Fields: whatever Docker sends, reading a path of fields gives the value that means "unknown".

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  fieldsOf,
  idFrom,
  isAddress,
  labelsFrom,
  listFrom,
  numberFrom,
  textFrom,
} from "../../../src/source/docker/fields.ts";
import { idOf } from "./fixture.ts";

test("fields: of any JSON value they are read without a check at each step", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const inner = fieldsOf(fieldsOf(value)["a"])["b"];
      assert.equal(typeof textFrom(inner), "string");
      assert.ok(Number.isFinite(numberFrom(inner)));
      assert.ok(Array.isArray(listFrom(inner)));
      for (const label of labelsFrom(inner).values()) assert.equal(typeof label, "string");
    }),
  );
});

test("fields: what fits is taken as it is", () => {
  assert.deepEqual(fieldsOf({ a: 1 }), { a: 1 });
  assert.deepEqual(listFrom([1, "x"]), [1, "x"]);
  assert.deepEqual([...labelsFrom({ a: "x", b: 7, __proto__: null })], [["a", "x"]]);
});

test("fields: an id is 12 to 64 hexadecimal characters, so that it can stand in a path", () => {
  assert.equal(idFrom(idOf("a")), idOf("a"));
  for (const bad of ["", "a", "../x", `${idOf("a")}0`, "ABCDEFABCDEF", 7, null])
    assert.equal(idFrom(bad), null);
});

test("fields: an address is one of either family, without anything around it", () => {
  assert.ok(isAddress("172.17.0.2") && isAddress("fd00::1"));
  assert.ok(!isAddress("172.17.0.2/16") && !isAddress("web") && !isAddress(""));
});
