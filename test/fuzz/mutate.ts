// Damage to frames: what a faulty peer, a cut connection or a patient attacker makes of a valid one.

import { below, pick, type Random } from "../../src/base/random.ts";

/** Bytes at which numbers, lengths and flags change their meaning. */
const EDGES = [0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xf4, 0xff];

/** The frame's damaged forms never grow beyond this. */
const GROWN_BYTES_MAX = 64 * 1024;

type Mutation = (frame: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const flipBit: Mutation = (frame, random) => {
  const at = below(random, frame.length);
  return frame.with(at, (frame[at] ?? 0) ^ (1 << below(random, 8)));
};

const setByte: Mutation = (frame, random) => {
  const byte = random() < 0.5 ? below(random, 256) : (pick(random, EDGES) ?? 0);
  return frame.with(below(random, frame.length), byte);
};

const cut: Mutation = (frame, random) => {
  const from = below(random, frame.length);
  const to = random() < 0.3 ? frame.length : Math.min(frame.length, from + 1 + below(random, 8));
  return joined(frame.subarray(0, from), frame.subarray(to));
};

const insert: Mutation = (frame, random) => {
  const at = below(random, frame.length + 1);
  const bytes = Uint8Array.from({ length: 1 + below(random, 9) }, () => pick(random, EDGES) ?? 0);
  return joined(frame.subarray(0, at), bytes, frame.subarray(at));
};

const repeat: Mutation = (frame, random) => {
  const [from, to] = range(frame, random);
  const part = frame.subarray(from, to);
  const copies = Array.from({ length: 1 + below(random, 4) }, () => part);
  return joined(frame.subarray(0, to), ...copies, frame.subarray(to));
};

const splice: Mutation = (frame, random, other) => {
  const [from, to] = range(other, random);
  const at = below(random, frame.length + 1);
  const over = Math.min(frame.length, random() < 0.5 ? at + to - from : at);
  return joined(frame.subarray(0, at), other.subarray(from, to), frame.subarray(over));
};

/** Moves a number up or down by a little: a count or length that is off by one. */
const nudge: Mutation = (frame, random) => {
  const at = below(random, frame.length);
  return frame.with(at, ((frame[at] ?? 0) + (pick(random, [-2, -1, 1, 2]) ?? 1)) & 255);
};

const MUTATIONS: readonly Mutation[] = [flipBit, setByte, cut, insert, repeat, splice, nudge];

/** A frame damaged in one to five places; `other` is what is spliced in. */
export function mutated(frame: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let damaged = Uint8Array.from(frame);
  for (let count = 1 + below(random, 5); count > 0; count -= 1) {
    const mutation = pick(random, MUTATIONS) ?? flipBit;
    if (damaged.length === 0) break;
    const next = mutation(damaged, random, other);
    if (next.length <= GROWN_BYTES_MAX) damaged = Uint8Array.from(next);
  }
  return damaged;
}

function range(frame: Uint8Array, random: Random): readonly [number, number] {
  const from = below(random, frame.length);
  return [from, Math.min(frame.length, from + 1 + below(random, 40))];
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
