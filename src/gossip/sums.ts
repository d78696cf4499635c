/**
 * Sums: one number that says what a node holds, kept up to date with each change.
 *
 * Two nodes that hold the same have the same sum; where sums differ they are compared part by part, so that one late
 * change among thousands of owners costs one part of the digest, not all of it. A sum of mixed numbers, not a hash over
 * the whole: a change then costs one subtraction and one addition, whatever the number of owners. The mixing is no
 * secret and no seal: who forges equal sums hides only what he himself says.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";

import { DIGEST_PARTS, type Head } from "./message.ts";
import { SUM_SIZE } from "./wire.ts";

/** The part of the digest that an owner belongs to: 0 to DIGEST_PARTS - 1. */
export function partOf(owner: NodeId): number {
  return (owner.charCodeAt(0) * 31 + owner.charCodeAt(1)) % DIGEST_PARTS;
}

/** What one head adds to its sum: a whole number below 2^48. */
export function termOf({ owner, incarnation, version, deadAt }: Head): number {
  let high = 0x9e3779b9;
  let low = 0x85ebca6b;
  for (let index = 0; index < owner.length; index += 1) {
    high = Math.imul(high ^ owner.charCodeAt(index), 0x01000193);
    low = Math.imul(low ^ owner.charCodeAt(index), 0x5bd1e995);
  }
  for (const number of [incarnation, version, deadAt === null ? 0 : deadAt + 1]) {
    high = mixed(high ^ (number >>> 0));
    low = mixed(low ^ high ^ Math.floor(number / 0x1_0000_0000));
  }
  return (high & 0xffff) * 0x1_0000_0000 + low;
}

function mixed(bits: number): number {
  let mixing = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  mixing = Math.imul(mixing ^ (mixing >>> 13), 0xc2b2ae35);
  return (mixing ^ (mixing >>> 16)) >>> 0;
}

/** The sums of one node's holdings. */
export class Sums {
  readonly #parts: number[] = Array.from({ length: DIGEST_PARTS }, () => 0);
  #whole = 0;

  /** The sum of everything. */
  get whole(): number {
    return this.#whole;
  }

  /** The sum of each part. Live: copy what you keep. */
  get parts(): readonly number[] {
    return this.#parts;
  }

  /** Puts one head's term in the place of its former one; 0 stands for none. */
  replace(owner: NodeId, before: number, after: number): void {
    const part = partOf(owner);
    this.#parts[part] = shifted(this.#parts[part] ?? 0, before, after);
    this.#whole = shifted(this.#whole, before, after);
  }
}

function shifted(sum: number, before: number, after: number): number {
  return (sum - before + after + SUM_SIZE) % SUM_SIZE;
}
