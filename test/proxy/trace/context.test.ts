// Context: what of a traceparent is believed, and what is written in its place.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { contextIn, renderContext, SAMPLED, withContext } from "../../../src/proxy/trace/context.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const VALID = `00-${TRACE}-${SPAN}-01`;

const hex = (digits: number) =>
  fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`)).filter((text) => !/^0+$/.test(text));

test("traceparent: what is written is read again as the same", () => {
  fc.assert(
    fc.property(hex(32), hex(16), fc.integer({ min: 0, max: 3 }), (traceId, parentId, flags) => {
      const context = { traceId, parentId, flags };
      assert.deepEqual(contextIn(["Traceparent", renderContext(context)]), context);
    }),
  );
});

test("traceparent: whatever stands in the header, what is read of it is well formed or nothing", () => {
  const mutated = fc
    .tuple(fc.nat(VALID.length), fc.nat(3), fc.string({ maxLength: 3 }))
    .map(([at, cut, text]) => VALID.slice(0, at) + text + VALID.slice(at + cut));
  fc.assert(
    fc.property(fc.oneof(fc.string(), mutated), (value) => {
      const context = contextIn(["traceparent", value]);
      if (context === null) return;
      assert.match(renderContext(context), /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]$/);
    }),
  );
});

test("traceparent: of the specification's bad examples none is followed", () => {
  const bad = [
    "",
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `ff-${TRACE}-${SPAN}-01`,
    `01-${TRACE}-${SPAN}-01more`,
    `0-${TRACE}-${SPAN}-01`,
    `${VALID},${VALID}`,
  ];
  for (const value of bad) assert.equal(contextIn(["traceparent", value]), null, value);
  assert.equal(contextIn(["traceparent", VALID, "Traceparent", VALID]), null, "two of them");
  assert.equal(contextIn(["tracestate", "a=1"]), null);
});

test("traceparent: a later version is read as far as it is known, and unknown flags are not passed on", () => {
  const read = contextIn(["traceparent", `cc-${TRACE}-${SPAN}-ff-what-comes`]);
  assert.deepEqual(read, { traceId: TRACE, parentId: SPAN, flags: 3 });
  assert.equal(contextIn(["traceparent", `  ${VALID}\t`])?.flags, SAMPLED, "space around it is none of its");
});

test("withContext: one traceparent, in whatever case it came; tracestate stays with its trace only", () => {
  const fields = new Map([
    ["Host", ["app"]],
    ["TraceParent", ["x", "y"]],
    ["tracestate", ["a=1", "b=2"]],
  ]);
  const context = { traceId: TRACE, parentId: SPAN, flags: 1 };
  assert.deepEqual(
    [...withContext(fields, context, false)],
    [
      ["Host", ["app"]],
      ["tracestate", ["a=1", "b=2"]],
      ["traceparent", [VALID]],
    ],
  );
  assert.deepEqual([...withContext(fields, context, true).keys()], ["Host", "traceparent"]);
});
