// Where frames begin and end: the same whatever the pieces in which they come.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Cutter } from "../../src/mesh/cutter.ts";
import { LIMITS } from "../../src/model/limits.ts";

/** A frame as a peer writes it (RFC 6455 5.2), `first` being its first byte. */
function frameOf(first: number, payload: Uint8Array, masked = true): Buffer {
  const bytes = payload.byteLength;
  const length = Buffer.alloc(bytes < 126 ? 1 : bytes < 65_536 ? 3 : 9);
  length[0] = bytes < 126 ? bytes : bytes < 65_536 ? 126 : 127;
  if (length.length === 3) length.writeUInt16BE(bytes, 1);
  if (length.length === 9) length.writeBigUInt64BE(BigInt(bytes), 1);
  if (masked) length[0] |= 0x80;
  return Buffer.concat([Buffer.from([first]), length, Buffer.alloc(masked ? 4 : 0, 7), payload]);
}

const BINARY = 0x82;
const CLOSE = 0x88;
const PING = 0x89;

/** Adds pieces as a valve would, making room for large frames; gives all frames that came out. */
function cut(cutter: Cutter, pieces: readonly Buffer[]): Buffer[] {
  const frames: Buffer[] = [];
  const takeAll = (): void => {
    for (let frame = cutter.take(); frame !== null; frame = cutter.take()) frames.push(Buffer.from(frame));
    const head = cutter.look();
    if (head.kind === "partial" && (head.bytes ?? 0) > 1000 && !cutter.isGathering) {
      cutter.gather();
      takeAll();
    }
  };
  for (const piece of pieces) {
    cutter.add(piece);
    takeAll();
  }
  return frames;
}

test("cutter: however frames are cut into pieces, the same frames come out, whole and in order", () => {
  const frame = fc
    .tuple(
      fc.constantFrom(BINARY, PING, 0xf2),
      fc.oneof(fc.nat({ max: 125 }), fc.constantFrom(0, 1, 125, 126, 127, 999, 1001, 65_535, 65_536)),
      fc.boolean(),
    )
    .map(([first, bytes, masked]) =>
      frameOf(first, Buffer.alloc(first === PING ? Math.min(bytes, 125) : bytes, 5), masked),
    );
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 70_000 })),
      (frames, sizes) => {
        const wire = Buffer.concat(frames);
        const pieces: Buffer[] = [];
        for (let at = 0, turn = 0; at < wire.length; turn += 1) {
          const size = sizes[turn % Math.max(1, sizes.length)] ?? 1500;
          pieces.push(Buffer.from(wire.subarray(at, at + size)));
          at += size;
        }
        const cutter = new Cutter();
        assert.deepEqual(cut(cutter, pieces), frames);
        assert.equal(cutter.heldBytes, 0);
      },
    ),
  );
});

test("cutter: the size of a frame is known from its head, and what it holds once it is whole", () => {
  const cutter = new Cutter();
  const frame = frameOf(BINARY, Buffer.alloc(70_000));
  cutter.add(frame.subarray(0, 1));
  assert.deepEqual(cutter.look(), { kind: "partial", bytes: null });
  cutter.add(frame.subarray(1, 9));
  assert.deepEqual(cutter.look(), { kind: "partial", bytes: null });
  cutter.add(frame.subarray(9, 10));
  assert.deepEqual(cutter.look(), { kind: "partial", bytes: frame.length });
  cutter.add(frame.subarray(10));
  assert.deepEqual(cutter.look(), { kind: "frame", bytes: frame.length, holds: "data" });
  for (const [first, holds] of [
    [PING, "control"],
    [CLOSE, "close"],
  ] as const) {
    const control = new Cutter();
    control.add(frameOf(first, Buffer.alloc(2)));
    assert.deepEqual(control.look(), { kind: "frame", bytes: 8, holds });
  }
});

test("cutter: a frame takes no more memory than it has bytes, and none before it has room", () => {
  const cutter = new Cutter();
  const frame = frameOf(BINARY, Buffer.alloc(LIMITS.frameBytes));
  cutter.add(frame.subarray(0, 100));
  assert.equal(cutter.heldBytes, 100);
  cutter.gather();
  cutter.gather();
  assert.equal(cutter.heldBytes, frame.length);
  cutter.add(frame.subarray(100));
  assert.equal(cutter.heldBytes, frame.length);
  assert.equal(cutter.take()?.length, frame.length);
  assert.equal(cutter.heldBytes, 0);
});

test("cutter: what is longer than allowed, or in fragments, is refused by its head", () => {
  const refused: readonly (readonly [number, RegExp, Buffer])[] = [
    [
      1009,
      /frame of 1048577 bytes; expected at most 1048576/,
      frameOf(BINARY, Buffer.alloc(LIMITS.frameBytes + 1)),
    ],
    [1009, /frame of 18446744073709552000 bytes/, Buffer.from([BINARY, 0xff, ...Buffer.alloc(8, 0xff)])],
    [1008, /fragments/, frameOf(0x02, Buffer.alloc(1))],
    [1008, /fragments/, frameOf(0x80, Buffer.alloc(1))],
    [1002, /control frame of 126 bytes/, frameOf(PING, Buffer.alloc(126))],
  ];
  for (const [code, text, frame] of refused) {
    const cutter = new Cutter();
    cutter.add(frame.subarray(0, 14));
    const cutNow = cutter.look();
    assert.ok(cutNow.kind === "violation");
    assert.equal(cutNow.code, code);
    assert.match(cutNow.text, text);
  }
});

test("cutter: a dropped frame is gone, also what of it is still to come, and the next is whole", () => {
  const next = frameOf(CLOSE, Buffer.from([3, 232]));
  for (const bytes of [10, 300, 70_000]) {
    for (const held of [2, 10, 200, 69_000]) {
      const wire = Buffer.concat([frameOf(BINARY, Buffer.alloc(bytes)), next]);
      const cutter = new Cutter();
      cutter.add(wire.subarray(0, held));
      if (cutter.look().kind === "partial" && bytes > 1000) cutter.gather();
      const head = cutter.look();
      if (head.kind === "partial" && head.bytes === null) continue;
      cutter.drop();
      cutter.add(wire.subarray(held));
      assert.deepEqual(cutter.take(), next, `${held} of ${bytes}`);
    }
  }
});

test("cutter: bytes are held as they came until their last frame is taken", () => {
  const cutter = new Cutter();
  const chunk = Buffer.concat([frameOf(BINARY, Buffer.alloc(10)), frameOf(BINARY, Buffer.alloc(10))]);
  const other = Buffer.alloc(5000);
  cutter.add(chunk);
  assert.equal(cutter.holds(chunk), true);
  assert.equal(cutter.holds(other), false);
  cutter.take();
  assert.equal(cutter.holds(chunk), true);
  cutter.take();
  assert.equal(cutter.holds(chunk), false);
});
