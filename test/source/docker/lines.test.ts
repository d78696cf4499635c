// Lines: an event stream in chunks, cut into lines.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LineSplitter } from "../../../src/source/docker/lines.ts";

test("lines: however a stream is cut into chunks, its lines come out whole and in order", () => {
  const line = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
    .map((text) => `x${text}x`.replace(/\n/g, ""));
  fc.assert(
    fc.property(
      fc.array(line),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (lines, sizes) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(""));
        const splitter = new LineSplitter(1000);
        const out: string[] = [];
        for (let from = 0, turn = 0; from < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          out.push(...splitter.feed(bytes.subarray(from, from + size)).lines);
          from += size;
        }
        assert.deepEqual(out, lines);
      },
    ),
  );
});

test("lines: a line past the bound is dropped and told once; the lines around it come through", () => {
  const splitter = new LineSplitter(10);
  assert.deepEqual(splitter.feed(Buffer.from("one\n0123456")), { lines: ["one"], dropped: false });
  assert.deepEqual(splitter.feed(Buffer.from("789abcdef")), { lines: [], dropped: true });
  assert.deepEqual(splitter.feed(Buffer.from("x".repeat(1000))), { lines: [], dropped: false });
  assert.deepEqual(splitter.feed(Buffer.from("\ntwo\n")), { lines: ["two"], dropped: false });
});

test("lines: empty lines and carriage returns are no events", () => {
  assert.deepEqual(new LineSplitter(10).feed(Buffer.from("\n\r\n a \r\n")).lines, ["a"]);
});
