// Frames come back as they were said; whatever else arrives is refused whole, and never thrown at.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { decode, encode, type Delta, type Message, type Write } from "../../src/gossip/message.ts";
import { LIMITS } from "../../src/model/limits.ts";

const nodeId = fc.string({ unit: fc.constantFrom("a", "z", "2", "7"), minLength: 20, maxLength: 20 });
const count = fc.maxSafeNat();
const digest = fc.array(fc.record({ owner: nodeId, incarnation: count, version: count }), { maxLength: 5 });

const writes = fc.array(
  fc.record({
    key: fc.string({ unit: "binary", maxLength: 60 }),
    gap: fc.integer({ min: 1, max: 5 }),
    body: fc.option(fc.string({ unit: "binary", maxLength: 100 })),
  }),
  { maxLength: 5 },
);
const delta: fc.Arbitrary<Delta> = fc
  .record({
    owner: nodeId,
    incarnation: count,
    floor: count,
    from: fc.nat(),
    writes,
    more: fc.nat({ max: 9 }),
  })
  .map(({ owner, incarnation, floor, from, writes, more }) => {
    let version = from;
    const numbered: Write[] = writes.map(({ key, gap, body }) => ({ key, version: (version += gap), body }));
    return { owner, incarnation, floor, from, to: version + more, writes: numbered };
  });

const message: fc.Arbitrary<Message> = fc
  .oneof(
    fc.record({
      kind: fc.constant("hello" as const),
      wire: count,
      id: nodeId,
      name: fc.string({ maxLength: LIMITS.labelBytes }),
      incarnation: count,
      nonce: count,
      host: fc.domain(),
      port: fc.integer({ min: 1, max: 65_535 }),
      digest,
    }),
    fc.record({ kind: fc.constant("delta" as const), deltas: fc.array(delta, { maxLength: 4 }) }),
    fc.record({ kind: fc.constant("compare" as const), hash: fc.string({ maxLength: 64 }) }),
    fc.record({ kind: fc.constant("digest" as const), digest, wanted: fc.boolean() }),
    fc.record({ kind: fc.constantFrom("ping" as const, "pong" as const), sequence: count }),
    fc.record({ kind: fc.constant("applied" as const), incarnation: count, version: count }),
    fc.record({
      kind: fc.constant("drain" as const),
      replica: fc.string({ maxLength: 80 }),
      draining: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("goodbye" as const), incarnation: count }),
  )
  // Without the null prototypes that fast-check likes.
  .map((message) => structuredClone(message));

function jsonOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function refuses(value: unknown, why: string): void {
  const decoded = decode(value instanceof Uint8Array ? value : jsonOf(value));
  assert.ok(!decoded.ok && decoded.failure.code === "corrupt", why);
  assert.ok(decoded.failure.message.length < 300, why);
}

test("message: every message comes back from its frame", () => {
  fc.assert(
    fc.property(message, (message) => {
      assert.deepEqual(decode(encode(message)), { ok: true, value: message });
    }),
    { numRuns: 300 },
  );
});

test("message: fields of a newer peer are ignored, and do not come through", () => {
  fc.assert(
    fc.property(message, (message) => {
      assert.deepEqual(decode(jsonOf({ ...message, tomorrow: [1] })), { ok: true, value: message });
    }),
    { numRuns: 50 },
  );
});

test("message: random bytes are refused, never thrown at", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refuses(bytes, "noise")),
    { numRuns: 500 },
  );
});

test("message: a frame damaged anywhere is refused or still says something within all bounds", () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.integer({ min: 0, max: 255 }), (message, place, byte) => {
      const frame = Uint8Array.from(encode(message));
      frame[place % frame.length] = byte;
      const decoded = decode(frame);
      if (decoded.ok) assert.deepEqual(decode(encode(decoded.value)), decoded);
    }),
    { numRuns: 1000 },
  );
});

test("message: a frame with any field replaced is refused or still says something within all bounds", () => {
  const junk = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(-1, 1.5, 2 ** 53, 1e308, null, "", [], {}, "__proto__"),
  );
  fc.assert(
    fc.property(message, fc.nat(), junk, (message, choice, value) => {
      const copy = structuredClone(message) as unknown;
      const paths = pathsOf(copy);
      const path = paths[choice % paths.length] ?? [];
      const parent = path
        .slice(0, -1)
        .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], copy);
      (parent as Record<string, unknown>)[path.at(-1) ?? ""] = value;
      const decoded = decode(jsonOf(copy));
      if (!decoded.ok) return;
      assert.deepEqual(decode(encode(decoded.value)), decoded);
      if (decoded.value.kind === "delta") decoded.value.deltas.forEach(assertInOrder);
    }),
    { numRuns: 1000 },
  );
});

test("message: a delta out of order, or that ends before it begins, is refused with its whole frame", () => {
  const good = { owner: "a".repeat(20), incarnation: 1, floor: 0, from: 0, to: 3, writes: [] as unknown[] };
  const write = (version: unknown, key: unknown = "k", body: unknown = "b") => ({ key, version, body });
  const bad: readonly (readonly [string, unknown])[] = [
    ["versions fall", { ...good, writes: [write(2), write(1)] }],
    ["a version twice", { ...good, writes: [write(1), write(1)] }],
    ["a version below from", { ...good, from: 2, writes: [write(2)] }],
    ["a version past to", { ...good, writes: [write(4)] }],
    ["it ends before it begins", { ...good, from: 5 }],
    ["a fractional version", { ...good, writes: [write(1.5)] }],
    ["a body that is no text", { ...good, writes: [write(1, "k", 5)] }],
    ["a body left out", { ...good, writes: [{ key: "k", version: 1 }] }],
    ["a key that is no text", { ...good, writes: [write(1, null)] }],
    ["a key too long", { ...good, writes: [write(1, "k".repeat(201))] }],
    ["a body too long", { ...good, writes: [write(1, "k", "x".repeat(LIMITS.recordBytes + 1))] }],
    ["no owner's id", { ...good, owner: "me" }],
    ["a negative incarnation", { ...good, incarnation: -1 }],
    ["a floor that is no count", { ...good, floor: "0" }],
    ["no writes", { ...good, writes: null }],
  ];
  assert.ok(decode(jsonOf({ kind: "delta", deltas: [good, { ...good, writes: [write(1)] }] })).ok);
  for (const [why, delta] of bad) {
    refuses({ kind: "delta", deltas: [delta] }, why);
    refuses({ kind: "delta", deltas: [good, delta] }, `${why}, behind a good one`);
  }
});

test("message: past a bound a frame is refused: its size, its owners, its writes", () => {
  refuses(new Uint8Array(LIMITS.frameBytes + 1).fill(32), "a frame too big");
  const entry = { owner: "a".repeat(20), incarnation: 1, version: 1 };
  const owners = Array.from({ length: LIMITS.ownersMax + 1 }, () => entry);
  refuses({ kind: "digest", digest: owners, wanted: true }, "owners too many");
  const delta = { owner: entry.owner, incarnation: 1, floor: 0, from: 0, to: 0, writes: [] };
  refuses({ kind: "delta", deltas: owners.map(() => delta) }, "deltas too many");
});

test("message: what is no message is refused by what it is", () => {
  for (const value of [
    null,
    5,
    "hello",
    [],
    [{ kind: "ping" }],
    {},
    { kind: "shout" },
    { kind: 5 },
    { kind: null },
  ])
    refuses(value, JSON.stringify(value));
  refuses(Buffer.from([0xff, 0xfe, 0x7b]), "no UTF-8");
  refuses(Buffer.from(`{"kind":"ping","sequence":1}x`), "more than one value");
  refuses(new Uint8Array(0), "nothing");
  refuses({ kind: "x".repeat(10_000) }, "a long kind");
  refuses({ kind: { toString: 0, valueOf: 0 } }, "a kind that cannot be made text");
});

test("message: nesting deeper than any message is refused without exhausting the stack", () => {
  refuses(Buffer.from("[".repeat(500_000)), "deep lists");
  refuses(
    Buffer.from(`{"kind":"delta","deltas":${"[".repeat(200_000)}${"]".repeat(200_000)}}`),
    "deep deltas",
  );
});

function assertInOrder({ from, to, writes }: Delta): void {
  const versions = [from, ...writes.map(({ version }) => version)];
  assert.ok(versions.every((version, index) => index === 0 || version > (versions[index - 1] ?? 0)));
  assert.ok(to >= (versions.at(-1) ?? 0));
}

function pathsOf(value: unknown, path: readonly string[] = []): string[][] {
  const here = path.length === 0 ? [] : [[...path]];
  if (typeof value !== "object" || value === null) return here;
  return [...here, ...Object.entries(value).flatMap(([key, child]) => pathsOf(child, [...path, key]))];
}
