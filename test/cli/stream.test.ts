// Reading an event stream: any cut of the bytes gives the same messages, and no line can grow without bound.

import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";

import * as fc from "fast-check";

import { messagesOf, type StreamMessage } from "../../src/cli/stream.ts";
import { LIMITS } from "../../src/model/limits.ts";

const TEXT = [
  "retry: 1000\n\n",
  ":\n\n",
  'event: gap\ndata: {"missed":3}\n\n',
  "id: 5.1\ndata: häl\ndata:lo 日\n\n",
  "id: 5.2\n\n",
  "data\n\n",
  "data: unfinished",
].join("");

const MESSAGES: readonly StreamMessage[] = [
  { event: "gap", data: '{"missed":3}', lastEventId: null },
  { event: "message", data: "häl\nlo 日", lastEventId: "5.1" },
  { event: "message", data: "", lastEventId: "5.2" },
];

async function read(chunks: readonly Buffer[]): Promise<readonly StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for await (const message of messagesOf(Readable.from(chunks))) messages.push(message);
  return messages;
}

test("stream: however the bytes are cut, the messages are the same", async () => {
  const bytes = Buffer.from(TEXT);
  const cuts = fc
    .array(fc.nat(bytes.length))
    .map((points) => [...points, bytes.length].sort((a, b) => a - b));
  await fc.assert(
    fc.asyncProperty(cuts, async (points) => {
      let from = 0;
      const chunks = points.map((to) => bytes.subarray(from, (from = to)));
      assert.deepEqual(await read(chunks), MESSAGES);
    }),
  );
});

test("stream: a line above the bound is refused", async () => {
  const chunk = Buffer.alloc(64 * 1024, "x");
  const count = Math.ceil(LIMITS.eventStreamBufferedBytes / chunk.length) + 1;
  await assert.rejects(read(Array.from({ length: count }, () => chunk)), { code: "corrupt" });
});
