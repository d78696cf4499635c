/**
 * Spread: who answered how many requests.
 *
 * Touches: the hosts of the lab that are asked.
 */

import assert from "node:assert/strict";

import type { Tally } from "./client.ts";
import { askFromMachine, type SkeinNode } from "./skein.ts";

/** All requests answered, by exactly these replicas, as often each. */
export function assertSpread(
  tally: Tally,
  countByName: Readonly<Record<string, number>>,
  what: string,
): void {
  assert.deepEqual(tally.failures, [], what);
  assert.deepEqual(tally.countByName, countByName, what);
}

/** How often each replica answers `count` requests from this machine. */
export async function tallyFromMachine(
  node: SkeinNode,
  port: number,
  options: { readonly count: number; readonly headers?: Readonly<Record<string, string>> },
): Promise<Record<string, number>> {
  const countByName: Record<string, number> = {};
  for (let sent = 0; sent < options.count; sent += 1) {
    const { status, text } = await askFromMachine(node.host, port, options.headers);
    const name = status === 200 ? text.trim() : `status ${status}: ${text}`;
    countByName[name] = (countByName[name] ?? 0) + 1;
  }
  return countByName;
}
