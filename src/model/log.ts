/**
 * Log: what one node has published, as every other node holds it.
 *
 * Only its owner writes a log; each write takes the owner's next version. So merging needs no rule beyond "the higher
 * version wins", and a digest is one number per owner. Bodies are text that the carrier does not read.
 *
 * Pure.
 */

import type { NodeId } from "./ids.ts";

/** One key's latest write. A null body is a tombstone: the key was deleted at this version. */
export interface Entry {
  readonly version: number;
  readonly body: string | null;
}

/** All that is known of one owner's writes. */
export interface OwnerLog {
  readonly owner: NodeId;
  /** Raised on each start of the owner; a higher one replaces the log. */
  readonly incarnation: number;
  /** Every write up to this version is known; 0 for none. */
  readonly version: number;
  /** Tombstones up to this version may have been collected: a holder that stands below it takes the log whole. */
  readonly floor: number;
  /** In ascending order of version. */
  readonly entryByKey: ReadonlyMap<string, Entry>;
}
