/**
 * Wire: what a frame says, for those who watch. The one file here that knows the product's codec.
 */

import { decode } from "../../src/gossip/codec.ts";
import type { Delta } from "../../src/gossip/message.ts";

const NONE: readonly Delta[] = [];

/** The deltas that a frame carries; none when it carries none, or cannot be read. */
export function deltasOf(frame: Uint8Array): readonly Delta[] {
  const decoded = decode(frame);
  return decoded.ok && decoded.value.kind === "delta" ? decoded.value.deltas : NONE;
}
