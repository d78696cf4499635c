// Frames of datagrams: what is written is read, in whatever pieces it comes; junk ends the reading and nothing else.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { encodeFrame, FrameReader, type Frame, type FrameKind } from "../../src/mesh/datagram-frames.ts";
import { DATAGRAM_BYTES_MAX } from "../../src/model/datagram.ts";

const flow = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const datagram = fc.record({
  kind: fc.constant<FrameKind>("datagram"),
  flow,
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});
const word = fc.record({
  kind: fc.constantFrom<FrameKind>("end", "refused"),
  flow,
  payload: fc.constant(Buffer.alloc(0)),
});
const frames = fc.array(fc.oneof(datagram, word), { maxLength: 20 });

/** What a reader makes of bytes that come in pieces of these sizes, over and over. */
function readIn(bytes: Buffer, sizes: readonly number[]): { frames: Frame[]; isRead: boolean } {
  const reader = new FrameReader();
  const read: Frame[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const end = at + (sizes[turn % sizes.length] ?? 1);
    const each = (frame: Frame): void => void read.push({ ...frame, payload: Buffer.from(frame.payload) });
    if (!reader.read(bytes.subarray(at, end), each)) return { frames: read, isRead: false };
    at = end;
  }
  return { frames: read, isRead: true };
}

const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 });

test("datagram frames: what was written is read, in whatever pieces it comes", () => {
  fc.assert(
    fc.property(frames, sizes, (written, pieces) => {
      const bytes = Buffer.concat(written.map((frame) => encodeFrame(frame.kind, frame.flow, frame.payload)));
      const plain = written.map((frame) => ({ ...frame }));
      assert.deepEqual(readIn(bytes, pieces), { frames: plain, isRead: true });
    }),
  );
});

test("datagram frames: the longest datagram there is fits in one", () => {
  const payload = Buffer.alloc(DATAGRAM_BYTES_MAX, 7);
  const { frames: read } = readIn(encodeFrame("datagram", 1, payload), [1460]);
  assert.deepEqual(
    read.map((frame) => frame.payload.length),
    [DATAGRAM_BYTES_MAX],
  );
});

test("datagram frames: any bytes are read or refused, and less than one frame is ever held", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), sizes, (junk, pieces) => {
      const reader = new FrameReader();
      for (let at = 0, turn = 0; at < junk.length; turn += 1) {
        const end = at + (pieces[turn % pieces.length] ?? 1);
        if (!reader.read(Buffer.from(junk.subarray(at, end)), () => undefined)) return;
        assert.ok(reader.heldBytes <= DATAGRAM_BYTES_MAX + 7);
        at = end;
      }
    }),
  );
});

test("datagram frames: a kind that does not exist, a frame too short, and a word with a payload are refused", () => {
  for (const junk of [
    [0, 5, 0],
    [0, 5, 9],
    [0, 4, 1],
    [255, 255, 1],
    [0, 6, 2, 0, 0, 0, 1, 65],
  ]) {
    assert.equal(readIn(Buffer.from(junk), [64]).isRead, false, String(junk));
  }
});
