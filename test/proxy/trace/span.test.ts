// Span: a request and its attempts, told in whatever order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LIMITS } from "../../../src/model/limits.ts";
import { declineRequest, recordRequest, type RequestSpan } from "../../../src/proxy/trace/span.ts";
import { upstream } from "../fixtures.ts";
import { entry } from "../access/entries.ts";

function recorded() {
  const spans: RequestSpan[] = [];
  let ids = 0;
  const trace = recordRequest({
    context: { traceId: "1".repeat(32), parentId: null, flags: 1 },
    newSpanId: () => (ids += 1).toString(16).padStart(16, "0"),
    finish: (span) => void spans.push(span),
  });
  return { trace, spans };
}

test("span: an attempt keeps its first end, and what was told of none is told of nobody", () => {
  const { trace, spans } = recorded();
  trace.failed("died", 1);
  trace.answered(200, 1);
  trace.began(upstream("a", 1), 2);
  trace.failed("connect", 3);
  trace.failed("broken", 4);
  trace.over(entry({}));
  const [attempt, ...others] = spans[0]?.attempts ?? [];
  assert.deepEqual([attempt?.error, attempt?.endedAtMs, others.length], ["connect", 3, 0]);
});

test("span: a request is over once", () => {
  const { trace, spans } = recorded();
  trace.over(entry({ result: "ok" }));
  trace.over(entry({ result: "client left" }));
  assert.deepEqual(
    spans.map(({ entry: { result } }) => result),
    ["ok"],
  );
});

test("span: beyond the bound attempts are made and not told, each still with an id of its own upstream", () => {
  const { trace, spans } = recorded();
  const parents = new Set<string>();
  for (let count = 0; count < LIMITS.spansPerRequest + 5; count += 1) {
    trace.began(upstream(`u${count}`, 1), count);
    parents.add(trace.outgoing(new Map()).get("traceparent")?.[0] ?? "");
  }
  trace.over(entry({}));
  assert.equal(spans[0]?.attempts.length, LIMITS.spansPerRequest);
  assert.equal(parents.size, LIMITS.spansPerRequest + 5);
});

test("span: a request that is not recorded says so upstream, and remembers nothing", () => {
  const trace = declineRequest({ traceId: "1".repeat(32), parentId: "2".repeat(16), flags: 2 });
  trace.began(upstream("a", 1), 0);
  trace.over(entry({}));
  assert.equal(trace.isRecorded, false);
  const fields = trace.outgoing(new Map([["tracestate", ["a=1"]]]));
  assert.deepEqual([...fields], [["traceparent", [`00-${"1".repeat(32)}-${"2".repeat(16)}-02`]]]);
});
