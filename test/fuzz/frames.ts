// Throws frames at the decoder: noise, damaged messages, and nonsense with the build of a message.

import { isDeepStrictEqual } from "node:util";

import * as fc from "fast-check";

import { below, pick, type Random } from "../../src/base/random.ts";
import { decode, encode } from "../../src/gossip/codec.ts";
import { WIRE_VERSION } from "../../src/gossip/message.ts";
import { KINDS, message } from "../support/messages.ts";

import { checkBounds } from "./bounds.ts";
import { Finding, type Fuzzer } from "./fuzzer.ts";
import { junkFrame } from "./junk.ts";
import { mutated } from "./mutate.ts";

/** How many valid frames damage begins with; always the same ones, so that a case is decided by its seed alone. */
const CORPUS_SIZE = 200;

/** Makes the fuzzer of the decoder. */
export function frameFuzzer(): Fuzzer {
  const corpus = fc.sample(message, { seed: 1, numRuns: CORPUS_SIZE }).map(encode);
  return {
    name: "frames",
    round(random, seed) {
      const frame = frameOf(random, seed, corpus);
      return checkFrame(frame) ? "accepted" : "refused";
    },
  };
}

function frameOf(random: Random, seed: number, corpus: readonly Uint8Array[]): Uint8Array {
  const choice = random();
  if (choice < 0.1) return noise(random, 1 + below(random, 64));
  if (choice < 0.2)
    return Uint8Array.of(1 + below(random, KINDS.length), ...noise(random, below(random, 80)));
  if (choice < 0.5) return junkFrame(random);
  const other = pick(random, corpus) ?? new Uint8Array(0);
  // Fresh messages take as long to make as a hundred cases with those that are there.
  if (choice > 0.99)
    return mutated(encode(fc.sample(message, { seed, numRuns: 1 })[0] ?? { kind: "part" }), other, random);
  return mutated(pick(random, corpus) ?? other, other, random);
}

function noise(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => below(random, 256));
}

/**
 * Checks what must hold of any frame: it is refused with a text fit for a log, or it is within all bounds and is the
 * very form of the message it tells.
 *
 * @returns whether it was accepted
 */
export function checkFrame(frame: Uint8Array): boolean {
  try {
    const decoded = decode(frame);
    if (!decoded.ok) {
      const { code, message: text, cause } = decoded.failure;
      if (cause !== undefined) throw new Finding(`the decoder failed: ${text}`, frame, cause);
      if (code !== "corrupt" || text.length > 200 || !/^[\x20-\x7e]+$/.test(text))
        throw new Finding(`is refused with ${code} ${JSON.stringify(text)}`, frame);
      return false;
    }
    const { value } = decoded;
    checkBounds(value);
    const again = encode(value);
    const isForeign = value.kind === "hello" && value.wire !== WIRE_VERSION;
    const isSame = isForeign ? isDeepStrictEqual(decode(again), decoded) : Buffer.compare(again, frame) === 0;
    if (!isSame) throw new Finding(`comes back as ${Buffer.from(again).toString("hex")}`, frame);
    return true;
  } catch (thrown) {
    throw thrown instanceof Finding ? thrown : new Finding("throws", frame, thrown);
  }
}
