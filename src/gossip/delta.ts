/**
 * Delta: what a peer lacks, cut into frames it can swallow.
 *
 * Compares a peer's digest with what is held and lists the missing writes, stalest owner first (the peer that is
 * furthest behind on an owner gains most), in frames of bounded size cut at a version boundary. A frame is cut by
 * bytes, not by entries: one service with fifty routes weighs as much as fifty small ones. Bytes as they will be on the
 * wire: a peer's bodies may be of characters that take six bytes each, and a frame past the bound costs the link.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { OwnerLog } from "../model/log.ts";

import type { Delta, Digest, Write } from "./message.ts";

/** What one write costs in a frame beside its key and body: version, quotes, braces. */
const WRITE_OVERHEAD_BYTES = 48;
/** What a delta costs beside its writes: owner, incarnation and three versions. */
const DELTA_OVERHEAD_BYTES = 160;

/**
 * The deltas a holder of `digest` lacks, grouped into frames of at most `LIMITS.deltaBytes` of keys and bodies each.
 *
 * @param recipient  the peer; its own log is never sent to it
 * @returns one list of deltas a frame, to be sent in this order; empty when the peer lacks nothing
 */
export function missing(logs: ReadonlyMap<NodeId, OwnerLog>, digest: Digest, recipient: NodeId): Delta[][] {
  const theirsByOwner = new Map(digest.map((entry) => [entry.owner, entry]));
  const lacking: { log: OwnerLog; from: number }[] = [];
  for (const log of logs.values()) {
    if (log.owner === recipient) continue;
    const theirs = theirsByOwner.get(log.owner);
    if (theirs !== undefined && theirs.incarnation > log.incarnation) continue;
    const comparable =
      theirs !== undefined &&
      theirs.incarnation === log.incarnation &&
      // The lower of both: a log that is still being taken in parts stands below its own floor.
      theirs.version >= Math.min(log.floor, log.version);
    const from = comparable ? theirs.version : 0;
    // An owner that has written nothing yet still has an incarnation to tell; but not to one who holds its last life:
    // that would be replaced by nothing, and names would vanish until the owner knows what it has.
    const isNews = theirs === undefined || (theirs.incarnation < log.incarnation && log.version > 0);
    if (from < log.version || isNews) lacking.push({ log, from });
  }
  lacking.sort((one, other) => other.log.version - other.from - (one.log.version - one.from));
  return packed(lacking.flatMap(({ log, from }) => cut(log, from)));
}

/** All writes of a log past `from`, cut into deltas of bounded size. */
function cut(log: OwnerLog, from: number): Delta[] {
  const head = { owner: log.owner, incarnation: log.incarnation, floor: log.floor };
  const deltas: Delta[] = [];
  let start = from;
  let writes: Write[] = [];
  let sizeBytes = 0;
  for (const [key, entry] of log.entryByKey) {
    if (entry.version <= from) continue;
    const costBytes = sizeOfWrite(key, entry.body);
    const last = writes.at(-1);
    if (last !== undefined && sizeBytes + costBytes > LIMITS.deltaBytes) {
      deltas.push({ ...head, from: start, to: last.version, writes });
      start = last.version;
      writes = [];
      sizeBytes = 0;
    }
    writes.push({ key, version: entry.version, body: entry.body });
    sizeBytes += costBytes;
  }
  deltas.push({ ...head, from: start, to: log.version, writes });
  return deltas;
}

/** Puts small deltas of several owners into one frame. */
function packed(deltas: readonly Delta[]): Delta[][] {
  const frames: Delta[][] = [];
  let sizeBytes = Number.POSITIVE_INFINITY;
  for (const delta of deltas) {
    const costBytes = sizeOf(delta);
    if (sizeBytes + costBytes > LIMITS.deltaBytes) {
      frames.push([]);
      sizeBytes = 0;
    }
    frames.at(-1)?.push(delta);
    sizeBytes += costBytes;
  }
  return frames;
}

function sizeOf(delta: Delta): number {
  const writes = delta.writes.map(({ key, body }) => sizeOfWrite(key, body));
  return writes.reduce((sum, size) => sum + size, DELTA_OVERHEAD_BYTES);
}

function sizeOfWrite(key: string, body: string | null): number {
  const bodyBytes = body === null ? 0 : Buffer.byteLength(JSON.stringify(body));
  return Buffer.byteLength(JSON.stringify(key)) + bodyBytes + WRITE_OVERHEAD_BYTES;
}
