/**
 * Delta: what a peer lacks, cut into frames it can swallow.
 *
 * Compares a peer's digest with what is held and lists the missing writes, stalest owner first (the peer that is
 * furthest behind on an owner gains most), in frames of bounded size cut at a version boundary. A frame is cut by
 * bytes, not by entries: one service with fifty routes weighs as much as fifty small ones. Frames are made one by one,
 * as they are taken: a peer that lacks everything gets a bounded part of it at a time, and what it does not get yet
 * costs nothing.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { OwnerLog } from "../model/log.ts";

import { DELTA_HEAD_BYTES, sizeOfWrite } from "./codec.ts";
import type { Delta, Digest, Scope, Write } from "./message.ts";
import { partOf } from "./sums.ts";

/** Who lacks something: what he said he holds, and of which owners he spoke. */
export interface Lacking {
  readonly digest: Digest;
  readonly scope: Scope;
  /** The peer itself: its own log is never sent to it. Null for none. */
  readonly recipient: NodeId | null;
}

/**
 * The deltas a holder of `digest` lacks, grouped into frames of at most `LIMITS.deltaBytes` each.
 *
 * @returns one list of deltas a frame, to be sent in this order; nothing when the peer lacks nothing
 */
export function* missing(logs: ReadonlyMap<NodeId, OwnerLog>, lacking: Lacking): Generator<Delta[]> {
  const stale = lackedOf(logs, lacking);
  stale.sort((one, other) => other.log.version - other.from - (one.log.version - one.from));
  let frame: Delta[] = [];
  let sizeBytes = 0;
  for (const { log, from } of stale) {
    for (const { delta, costBytes } of cut(log, from)) {
      if (frame.length > 0 && sizeBytes + costBytes > LIMITS.deltaBytes) {
        yield frame;
        frame = [];
        sizeBytes = 0;
      }
      frame.push(delta);
      sizeBytes += costBytes;
    }
  }
  if (frame.length > 0) yield frame;
}

interface Stale {
  readonly log: OwnerLog;
  readonly from: number;
}

function lackedOf(logs: ReadonlyMap<NodeId, OwnerLog>, { digest, scope, recipient }: Lacking): Stale[] {
  const theirsByOwner = new Map(digest.map((head) => [head.owner, head]));
  const stale: Stale[] = [];
  const consider = (log: OwnerLog): void => {
    if (log.owner === recipient || isShell(log)) return;
    const told = theirsByOwner.get(log.owner);
    // Who asks for an owner that he holds nothing of names it with incarnation 0.
    const theirs = told?.incarnation === 0 ? undefined : told;
    if (theirs !== undefined && theirs.incarnation > log.incarnation) return;
    const isComparable =
      theirs !== undefined &&
      theirs.incarnation === log.incarnation &&
      // The lower of both: a log that is still being taken in parts stands below its own floor.
      theirs.version >= Math.min(log.floor, log.version);
    const from = isComparable ? theirs.version : 0;
    // An owner that has written nothing yet has nothing to tell: its last life would be replaced by nothing, and names
    // would vanish until the owner knows what it has.
    if (from < log.version) stale.push({ log, from });
  };
  switch (scope.kind) {
    case "all":
      for (const log of logs.values()) consider(log);
      break;
    case "parts": {
      const parts = new Set(scope.parts);
      for (const log of logs.values()) if (parts.has(partOf(log.owner))) consider(log);
      break;
    }
    case "listed":
      for (const { owner } of digest) {
        const log = logs.get(owner);
        if (log !== undefined) consider(log);
      }
      break;
  }
  return stale;
}

/** What is left of a forgotten owner: nothing worth telling. */
function isShell({ entryByKey, floor, version }: OwnerLog): boolean {
  return entryByKey.size === 0 && floor === version;
}

/** All writes of a log past `from`, cut into deltas of bounded size. */
function* cut(log: OwnerLog, from: number): Generator<{ delta: Delta; costBytes: number }> {
  const head = { owner: log.owner, incarnation: log.incarnation, floor: log.floor };
  let start = from;
  let writes: Write[] = [];
  let sizeBytes = DELTA_HEAD_BYTES;
  for (const [key, entry] of log.entryByKey) {
    if (entry.version <= from) continue;
    const costBytes = sizeOfWrite(key, entry.body);
    const last = writes.at(-1);
    if (last !== undefined && sizeBytes + costBytes > LIMITS.deltaBytes) {
      yield { delta: { ...head, from: start, to: last.version, writes }, costBytes: sizeBytes };
      start = last.version;
      writes = [];
      sizeBytes = DELTA_HEAD_BYTES;
    }
    writes.push({ key, version: entry.version, body: entry.body });
    sizeBytes += costBytes;
  }
  yield { delta: { ...head, from: start, to: log.version, writes }, costBytes: sizeBytes };
}
