// Frames come back as they were said, small and in one form only; whatever else arrives is refused whole and by name.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { AssertionFailed } from "../../src/base/assert.ts";
import { DELTA_HEAD_BYTES, decode, encode, sizeOfWrite } from "../../src/gossip/codec.ts";
import { REFUTATION_MAX } from "../../src/gossip/life.ts";
import {
  DIGEST_PARTS,
  WIRE_VERSION,
  type Delta,
  type Hello,
  type Message,
  type Write,
} from "../../src/gossip/message.ts";
import { RING_SIZE } from "../../src/gossip/ring.ts";
import { Writer } from "../../src/gossip/wire.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { SEAL_BYTES } from "../../src/model/seal.ts";
import { KINDS, message, messageOf } from "../support/messages.ts";

const ID = "a".repeat(20);
const HELLO: Hello = {
  kind: "hello",
  wire: WIRE_VERSION,
  id: ID,
  name: "host-1",
  incarnation: 1,
  nonce: 2 ** 50,
  host: "10.0.0.1",
  port: 7650,
  complete: true,
  wanted: false,
  digest: [],
};
const DELTA: Delta = { owner: ID, incarnation: 1, floor: 0, from: 0, to: 3, writes: [], seal: null };
const MARK = new Uint8Array(SEAL_BYTES).fill(7);

function write(version: number, key = "k", body: string | null = "b"): Write {
  return { key, version, body };
}

function deltaMessage(...deltas: readonly Delta[]): Message {
  return { kind: "delta", deltas, until: null, acknowledge: false };
}

/** The text with which a frame is refused; fails when it is not. */
function refusal(frame: Uint8Array | readonly number[]): string {
  const decoded = decode(Uint8Array.from(frame));
  assert.ok(!decoded.ok, "is not refused");
  const { code, message, cause } = decoded.failure;
  assert.equal(code, "corrupt");
  assert.equal(cause, undefined, message);
  assert.ok(message.length < 300 && !message.includes("\n"), message);
  return message;
}

/** A frame of our own making that `encode` would not make. */
function forged(kind: Message["kind"], fields: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(64);
  writer.byte(KINDS.indexOf(kind) + 1);
  fields(writer);
  return writer.frame();
}

/** What every frame that is accepted must be: the very form of its message. */
function assertFaithful(frame: Uint8Array): void {
  const decoded = decode(frame);
  if (!decoded.ok) return void refusal(frame);
  const { value } = decoded;
  if (value.kind === "hello" && value.wire !== WIRE_VERSION) {
    assert.deepEqual(decode(encode(value)), decoded);
  } else {
    assert.deepEqual(Buffer.from(encode(value)), Buffer.from(frame));
  }
}

test("codec: every message comes back from its frame, also from the midst of other bytes", () => {
  fc.assert(
    fc.property(message, fc.nat({ max: 9 }), (message, offset) => {
      const frame = encode(message);
      assert.deepEqual(decode(frame), { ok: true, value: message });
      const bytes = new Uint8Array(offset + frame.length + 3).fill(0xee);
      bytes.set(frame, offset);
      assert.deepEqual(decode(bytes.subarray(offset, offset + frame.length)), { ok: true, value: message });
    }),
    { numRuns: 1000 },
  );
});

test("codec: a frame's memory is its own, shared with no other buffer", () => {
  const message: Message = { kind: "pong", sequence: 1 };
  const memories = [encode(message), encode(message), Buffer.from("small")].map(({ buffer }) => buffer);
  assert.equal(new Set(memories).size, memories.length);
});

test("codec: each kind has its byte", () => {
  for (const [index, kind] of KINDS.entries()) {
    const [sample] = fc.sample(messageOf(kind), { seed: 1, numRuns: 1 });
    assert.equal(sample && encode(sample)[0], index + 1, kind);
  }
});

test("codec: a frame cut off anywhere is refused, and so is one with bytes behind its end", () => {
  fc.assert(
    fc.property(message, fc.nat({ max: 255 }), (message, byte) => {
      const frame = encode(message);
      for (let end = 0; end < frame.length; end += 1) refusal(frame.subarray(0, end));
      assert.match(refusal([...frame, byte]), /is followed by 1 bytes; expected none$/);
    }),
    { numRuns: 300 },
  );
});

test("codec: with any byte changed a frame is refused or is the very form of another message", () => {
  fc.assert(
    fc.property(message, fc.integer({ min: 1, max: 255 }), (message, flip) => {
      const frame = Uint8Array.from(encode(message));
      for (let at = 0; at < frame.length; at += 1) assertFaithful(frame.with(at, (frame[at] ?? 0) ^ flip));
    }),
    { numRuns: 300 },
  );
});

test("codec: noise is refused or is the very form of a message, whatever kind it claims to be", () => {
  fc.assert(
    fc.property(fc.nat({ max: KINDS.length + 1 }), fc.uint8Array({ maxLength: 100 }), (kind, bytes) => {
      assertFaithful(Uint8Array.of(kind, ...bytes));
    }),
    { numRuns: 3000 },
  );
});

test("codec: what is sent most is smallest", () => {
  const id = "7".repeat(20);
  const goldens: readonly (readonly [Message, string])[] = [
    [{ kind: "ping", sequence: 5, suspected: null }, "080500"],
    [{ kind: "ping", sequence: 100_000, suspected: 2 }, "08a08d0603"],
    [{ kind: "pong", sequence: 300 }, "09ac02"],
    [{ kind: "probe", sequence: 1, subject: ID }, `0a01${"00".repeat(13)}`],
    [{ kind: "probed", sequence: 1, reached: true }, "0b0101"],
    [{ kind: "part" }, "0e"],
    [{ kind: "compare", sum: 2 ** 48 - 2 }, "04fffffffffffe"],
    [
      { kind: "announce", digest: [{ owner: id, incarnation: 3, version: 200, deadAt: null }] },
      `0301${"ff".repeat(12)}f003c80100`,
    ],
    [
      {
        kind: "applied",
        reports: [{ owner: ID, incarnation: 1, version: 7, by: [{ id, signature: null }] }],
        hops: 2,
      },
      `0c01${"00".repeat(13)}010701${"ff".repeat(12)}f00002`,
    ],
  ];
  for (const [message, hex] of goldens) {
    assert.equal(Buffer.from(encode(message)).toString("hex"), hex);
    assert.deepEqual(decode(Buffer.from(hex, "hex")), { ok: true, value: message });
  }
  const digest = Array.from({ length: 1000 }, (_, version) => ({
    owner: id,
    incarnation: 9,
    version,
    deadAt: null,
  }));
  const sizes = [
    encode({ ...HELLO, digest }),
    encode({ kind: "digest", digest, scope: { kind: "all" }, wanted: true }),
    encode({ kind: "parts", sums: Array.from({ length: DIGEST_PARTS }, () => 1) }),
  ];
  assert.deepEqual(
    sizes.map(({ length }) => length),
    [16_918, 16_877, 385],
  );
});

test("codec: a delta takes at most the sizes told for it, and hardly less", () => {
  fc.assert(
    fc.property(messageOf("delta"), (message) => {
      if (message.kind !== "delta") return;
      const writes = message.deltas.flatMap((delta) => delta.writes);
      const toldBytes = writes.reduce(
        (sum, { key, body }) => sum + sizeOfWrite(key, body),
        message.deltas.length * DELTA_HEAD_BYTES,
      );
      const frameBytes = encode(message).length;
      // Beside its deltas a frame has a kind, a count, the end of its part of the ring, and a flag.
      assert.ok(frameBytes <= toldBytes + 12, `${frameBytes} > ${toldBytes}`);
      const sealBytes = message.deltas.filter(({ seal }) => seal === null).length * SEAL_BYTES;
      assert.ok(frameBytes >= toldBytes - 10 * writes.length - 36 * message.deltas.length - sealBytes);
    }),
  );
  assert.equal(sizeOfWrite("€", "€€"), sizeOfWrite("", null) + 9);
});

test("codec: a delta out of order, or that ends before its writes, is our own mistake and never a frame", () => {
  const bad: readonly (readonly [string, Delta])[] = [
    ["versions fall", { ...DELTA, writes: [write(2), write(1)] }],
    ["a version twice", { ...DELTA, writes: [write(1), write(1)] }],
    ["a version not past from", { ...DELTA, from: 2, writes: [write(2)] }],
    ["a version past to", { ...DELTA, writes: [write(4)] }],
    ["it ends before it begins", { ...DELTA, from: 5 }],
    ["a fractional version", { ...DELTA, writes: [write(1.5)] }],
    ["a seal cut short", { ...DELTA, seal: MARK.subarray(1) }],
    ["no owner's id", { ...DELTA, owner: "me" }],
    ["a negative incarnation", { ...DELTA, incarnation: -1 }],
  ];
  for (const [why, delta] of bad) assert.throws(() => encode(deltaMessage(delta)), AssertionFailed, why);
  const sums = Array.from({ length: DIGEST_PARTS - 1 }, () => 0);
  assert.throws(() => encode({ kind: "parts", sums }), AssertionFailed, "a part without a sum");
});

test("codec: a delta that goes past its end or past 2^53 is refused", () => {
  const deltaOf = (from: number, more: number, gaps: readonly number[]): Uint8Array =>
    forged("delta", (writer) => {
      writer.whole(1);
      writer.id(ID);
      writer.whole(1);
      writer.whole(0);
      writer.whole(from);
      writer.whole(more);
      writer.list(gaps, (to, gap) => {
        to.whole(gap);
        to.text("k");
        to.optionalText(null);
      });
      writer.optionalFixed(MARK, SEAL_BYTES);
      writer.byte(0);
      writer.flag(false);
    });
  assert.deepEqual(decode(deltaOf(3, 2, [0, 0])), {
    ok: true,
    value: deltaMessage({
      ...DELTA,
      from: 3,
      to: 5,
      writes: [write(4, "k", null), write(5, "k", null)],
      seal: MARK,
    }),
  });
  assert.match(refusal(deltaOf(3, 2, [2])), /write's distance from the last is 2; expected at most 1/);
  assert.match(refusal(deltaOf(3, 2, [1, 0])), /write's version is past the delta's end; expected at most 5/);
  assert.match(refusal(deltaOf(3, 0, [0])), /write's version is past the delta's end; expected at most 3/);
  assert.match(refusal(deltaOf(2 ** 53 - 1, 1, [])), /distance to its end is 1; expected at most 0/);
});

test("codec: a broadcast that is passed on does not grow, whichever part of the ring it is for", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: RING_SIZE - 1 }), (until) => {
      const message: Message = { kind: "rumor", rumors: [], until };
      const frame = encode(message);
      assert.equal(frame.length, encode({ ...message, until: 0 }).length);
      assert.deepEqual(decode(frame), { ok: true, value: message });
    }),
  );
  assert.deepEqual([...encode({ kind: "rumor", rumors: [], until: null })], [7, 0, 0]);
  assert.equal(refusal([7, 0, 5, 0, 0, 0, 0, 0, 0]), "rumor's until is of begin 5; expected 0..4");
  for (const until of [RING_SIZE, -1, 0.5])
    assert.throws(() => encode({ kind: "rumor", rumors: [], until }), AssertionFailed, `${until}`);
});

test("codec: past a bound a frame is refused, up to it none is", () => {
  const many = (length: number): Delta[] => Array.from({ length }, () => DELTA);
  const writes = (length: number): Write[] =>
    Array.from({ length }, (_, index) => ({ key: "k", version: index + 1, body: null }));
  const log = (length: number): Message => deltaMessage({ ...DELTA, to: 50_000, writes: writes(length) });
  const one = (key: string, body: string): Message =>
    deltaMessage({ ...DELTA, writes: [write(1, key, body)] });
  const head = { owner: ID, incarnation: 1, version: 2, draining: true, asker: ID, signature: MARK };
  const drain = (replica: string, hops = 0): Message => ({ kind: "drain", ask: { ...head, replica }, hops });
  const ping = { kind: "ping", sequence: Number.MAX_SAFE_INTEGER } as const;
  const bounds: readonly (readonly [Message, Message, RegExp])[] = [
    [
      deltaMessage(...many(LIMITS.ownersMax)),
      deltaMessage(...many(LIMITS.ownersMax + 1)),
      /count of deltas is 6001/,
    ],
    [log(LIMITS.entriesPerOwner), log(LIMITS.entriesPerOwner + 1), /count of writes is 40001/],
    [
      one("€".repeat(200), ""),
      one("€".repeat(201), ""),
      /write's key is 603 bytes long; expected at most 600/,
    ],
    [one("k".repeat(200), ""), one("k".repeat(201), ""), /write's key is 201 characters long/],
    [
      one("k", "€".repeat(LIMITS.recordBytes)),
      one("k", "€".repeat(LIMITS.recordBytes + 1)),
      /write's body is 98307 bytes long; expected at most 98304/,
    ],
    [
      one("k", "b".repeat(LIMITS.recordBytes)),
      one("k", "b".repeat(LIMITS.recordBytes + 1)),
      /write's body is 32769 characters long; expected at most 32768/,
    ],
    [{ ...HELLO, port: 65_535 }, { ...HELLO, port: 65_536 }, /port is 65536; expected at most 65535/],
    [{ ...HELLO, port: 1 }, { ...HELLO, port: 0 }, /port is 0; expected 1..65535/],
    [{ ...HELLO, name: "n".repeat(63) }, { ...HELLO, name: "n".repeat(64) }, /name is 64 characters long/],
    [{ ...HELLO, host: "h".repeat(253) }, { ...HELLO, host: "h".repeat(254) }, /host is 254 characters long/],
    [drain("r", LIMITS.hopsMax), drain("r", LIMITS.hopsMax + 1), /drain's hops is 65/],
    [drain("r".repeat(80)), drain("r".repeat(81)), /replica is 81 characters/],
    [{ ...ping, suspected: REFUTATION_MAX }, { ...ping, suspected: REFUTATION_MAX + 1 }, /suspected is/],
  ];
  for (const [within, past, text] of bounds) {
    assert.deepEqual(decode(encode(within)), { ok: true, value: within });
    assert.match(refusal(encode(past)), text);
  }
  const size = "frame is 1048577 bytes long; expected at most 1048576";
  assert.equal(refusal(new Uint8Array(LIMITS.frameBytes + 1).fill(8)), size);
});

test("codec: a count is refused before its elements are read, when the bytes left cannot hold them", () => {
  const lists: readonly (readonly [Message["kind"], RegExp])[] = [
    ["delta", /count of deltas is 6000; expected at most 0 in the bytes left/],
    ["announce", /count of heads is 6000; expected/],
    ["digest", /count of heads is 6000; expected/],
    ["rumor", /count of rumors is 6000; expected/],
    ["applied", /count of reports is 6000; expected/],
  ];
  for (const [kind, text] of lists) assert.match(refusal(forged(kind, (writer) => writer.whole(6000))), text);
});

test("codec: what is no message is refused by what it is", () => {
  assert.equal(refusal([]), "frame is empty; expected a kind of 1..15");
  for (const byte of [0, 16, 0x7b, 255])
    assert.equal(refusal([byte, 1, 2, 3]), `frame is of kind ${byte}; expected a kind of 1..15`);
  assert.equal(refusal([9]), "pong ends in its sequence, 0 bytes left; expected 1");
  assert.equal(refusal([11, 1, 2]), "probed's reached is 2; expected 0 or 1");
  assert.match(refusal(Buffer.from('{"kind":"ping","sequence":1}')), /^frame is of kind 123/);
});

test("codec: a peer of another wire version tells at least who it is, whatever else it says", () => {
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 1000 }), fc.uint8Array({ maxLength: 40 }), (wire, rest) => {
      const begin = forged("hello", (writer) => {
        writer.whole(wire);
        writer.id(ID);
        writer.text("host-2");
      });
      const decoded = decode(Uint8Array.of(...begin, ...rest));
      assert.ok(decoded.ok && decoded.value.kind === "hello");
      const { id, name, digest } = decoded.value;
      assert.deepEqual(
        { wire: decoded.value.wire, id, name, digest },
        { wire, id: ID, name: "host-2", digest: [] },
      );
      assert.deepEqual(decode(encode(decoded.value)), decoded);
    }),
  );
});
