/**
 * Publication: the writes that bring this node's log from what it offered to what it offers.
 *
 * Draining replicas come first: they are what peers must hear soonest, and a large change is cut into frames in the
 * order in which it was written.
 *
 * Pure.
 */

import { recordKey, renderRecord, type NodeRecord, type ReplicaRecord } from "../model/record.ts";

/** What is offered, beside what was offered last. */
export interface Offer {
  readonly node: NodeRecord;
  readonly records: readonly ReplicaRecord[];
  readonly published: readonly ReplicaRecord[];
}

/** The writes: a record's key and body, null for a replica that is gone. What did not change is written as it was. */
export function writesFor({ node, records, published }: Offer): Map<string, string | null> {
  const writes = new Map<string, string | null>([["node", renderRecord(node)]]);
  const offered = new Set(records.map(({ id }) => id));
  for (const record of records.toSorted((one, other) => urgency(one) - urgency(other))) {
    writes.set(recordKey(record), renderRecord(record));
  }
  for (const gone of published) if (!offered.has(gone.id)) writes.set(recordKey(gone), null);
  return writes;
}

function urgency(record: ReplicaRecord): number {
  return record.state === "draining" ? 0 : 1;
}
