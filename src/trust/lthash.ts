/**
 * LtHash: the sum over the entries of a log that its owner's seal covers.
 *
 * Each entry is stretched by SHAKE128 to 1024 numbers of 16 bits, and the sum adds them up, each in its own lane,
 * modulo 2^16. So adding and removing cost the same however long the log, and the order does not matter. That nobody
 * finds other entries with the same sum rests on lattices: with these figures at least 200 bits (Lewi, Kim, Maykov,
 * Weis 2019, "Securing Update Propagation with Homomorphic Hashing", IACR ePrint 2019/227, section 4). Not XOR, and
 * not one large number: both fall to linear algebra or the birthday problem of many lists.
 *
 * Pure. seals.ts signs the digest of a sum.
 */

import { sha256, shake128 } from "../base/bytes.ts";
import type { ContentSum } from "../model/seal.ts";

const LANES = 1024;
const SIZE_BYTES = LANES * 2;
/** Stands before each entry, so that no other text of ours is ever stretched to the same. */
const DOMAIN = "skein entry 1";

/** A sum; see ContentSum. */
export class LtHash implements ContentSum {
  readonly #lanes: Uint16Array;

  /** The sum over nothing. @param lanes  for `copy` alone: taken over, not copied */
  constructor(lanes: Uint16Array = new Uint16Array(LANES)) {
    this.#lanes = lanes;
  }

  add(key: string, version: number, body: string): void {
    const lanes = this.#lanes;
    const stretched = stretch(key, version, body);
    for (let lane = 0; lane < LANES; lane += 1) {
      lanes[lane] = (lanes[lane] ?? 0) + laneOf(stretched, lane);
    }
  }

  remove(key: string, version: number, body: string): void {
    const lanes = this.#lanes;
    const stretched = stretch(key, version, body);
    for (let lane = 0; lane < LANES; lane += 1) {
      lanes[lane] = (lanes[lane] ?? 0) - laneOf(stretched, lane);
    }
  }

  copy(): LtHash {
    return new LtHash(this.#lanes.slice());
  }

  /** SHA-256 of the lanes, the lower byte of each first: what stands for the sum in a seal. */
  digest(): Uint8Array {
    const bytes = new Uint8Array(SIZE_BYTES);
    for (let lane = 0; lane < LANES; lane += 1) {
      const value = this.#lanes[lane] ?? 0;
      bytes[2 * lane] = value;
      bytes[2 * lane + 1] = value >>> 8;
    }
    return sha256(bytes);
  }
}

/**
 * No two entries read alike: the key's length tells where it ends and the body begins. As UTF-8, since that is what
 * goes over the wire; half of a pair of surrogates, which has no UTF-8, becomes U+FFFD here as it does there. The space
 * between key and body keeps two such halves from becoming one character.
 */
function stretch(key: string, version: number, body: string): Uint8Array {
  return shake128(`${DOMAIN} ${version} ${key.length} ${key} ${body}`, SIZE_BYTES);
}

/** By bytes, not through a Uint16Array: that would read them in the order of the machine. */
function laneOf(bytes: Uint8Array, lane: number): number {
  return (bytes[2 * lane] ?? 0) | ((bytes[2 * lane + 1] ?? 0) << 8);
}
