/**
 * Delta: what a peer lacks, cut into frames it can swallow.
 *
 * Compares a peer's digest with what is held and lists the missing writes, stalest owner first (the peer that is
 * furthest behind on an owner gains most), in frames of bounded size cut at a version boundary. A frame is cut by
 * bytes, not by entries: one service with fifty routes weighs as much as fifty small ones. Frames are made one by one,
 * as they are taken: a peer that lacks everything gets a bounded part of it at a time, and what it does not get yet
 * costs nothing.
 *
 * A log that takes several frames has its seal in the last one. All are of one moment: the log does not change while
 * they are made and sent. Where a peer goes on from what it has, the seal is that of the newest state all the same.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { OwnerLog } from "../model/log.ts";

import { DELTA_HEAD_BYTES, sizeOfWrite } from "./codec.ts";
import type { Delta, Digest, Scope, Write } from "./message.ts";
import { partOf } from "./sums.ts";

/** Logs, with what their owners vouch for them by. */
export interface Holdings {
  readonly logs: ReadonlyMap<NodeId, OwnerLog>;
  /** The seal over a log as it is now. */
  sealOf(owner: NodeId): Uint8Array;
}

/** Who lacks something: what he said he holds, and of which owners he spoke. */
export interface Lacking {
  readonly digest: Digest;
  readonly scope: Scope;
  /** The peer itself: its own log is not sent to it, unless it asks for that. Null for none. */
  readonly recipient: NodeId | null;
}

/**
 * The deltas a holder of `digest` lacks, grouped into frames of at most `LIMITS.deltaBytes` each.
 *
 * @returns one list of deltas a frame, to be sent in this order; nothing when the peer lacks nothing
 */
export function* missing(holdings: Holdings, lacking: Lacking): Generator<Delta[]> {
  const stale = lackedOf(holdings.logs, lacking);
  stale.sort((one, other) => other.log.version - other.from - (one.log.version - one.from));
  let frame: Delta[] = [];
  let sizeBytes = 0;
  for (const { log, from } of stale) {
    for (const { delta, costBytes } of cut(log, from, holdings)) {
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

/**
 * The rest of a log for a peer that has its parts up to `version`, of a whole that was begun at `floor`; from its begin
 * where tombstones that the peer lacks are gone since.
 *
 * @returns one delta a frame; nothing when the log is of another life by now, or there is no more of it
 */
export function* restOf(
  holdings: Holdings,
  parts: { readonly owner: NodeId; incarnation: number; floor: number; version: number },
): Generator<Delta> {
  const log = holdings.logs.get(parts.owner);
  if (log === undefined || isShell(log) || log.incarnation !== parts.incarnation) return;
  const goesOn = log.floor === parts.floor || parts.version >= log.floor;
  const from = goesOn ? parts.version : 0;
  if (from >= log.version) return;
  for (const { delta } of cut(log, from, holdings)) yield delta;
}

/**
 * A log from a version on, as it is held here: what stands for a delta that was made of an earlier state of it.
 *
 * @returns nothing when the log is of another life, or tombstones past `from` are gone
 */
export function* since(holdings: Holdings, { owner, incarnation, from }: Delta): Generator<Delta> {
  const log = holdings.logs.get(owner);
  if (log?.incarnation !== incarnation || isShell(log) || (from > 0 && from < log.floor)) return;
  // Also when there is nothing in it: then it asks who holds the log so far.
  for (const { delta } of cut(log, from, holdings)) yield delta;
}

interface Stale {
  readonly log: OwnerLog;
  readonly from: number;
}

function lackedOf(logs: ReadonlyMap<NodeId, OwnerLog>, { digest, scope, recipient }: Lacking): Stale[] {
  const theirsByOwner = new Map(digest.map((head) => [head.owner, head]));
  const stale: Stale[] = [];
  const consider = (log: OwnerLog): void => {
    if ((log.owner === recipient && scope.kind !== "listed") || isShell(log)) return;
    const told = theirsByOwner.get(log.owner);
    // Who asks for an owner that he holds nothing of names it with incarnation 0.
    const theirs = told?.incarnation === 0 ? undefined : told;
    if (theirs !== undefined && theirs.incarnation > log.incarnation) return;
    const isComparable =
      theirs !== undefined && theirs.incarnation === log.incarnation && theirs.version >= log.floor;
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

/** All writes of a log past `from`, cut into deltas of bounded size; the last has the seal. */
function* cut(
  log: OwnerLog,
  from: number,
  holdings: Holdings,
): Generator<{ delta: Delta; costBytes: number }> {
  const head = { owner: log.owner, incarnation: log.incarnation, floor: log.floor };
  let start = from;
  let writes: Write[] = [];
  let sizeBytes = DELTA_HEAD_BYTES;
  for (const [key, entry] of log.entryByKey) {
    if (entry.version <= from) continue;
    const costBytes = sizeOfWrite(key, entry.body);
    const last = writes.at(-1);
    if (last !== undefined && sizeBytes + costBytes > LIMITS.deltaBytes) {
      yield { delta: { ...head, from: start, to: last.version, writes, seal: null }, costBytes: sizeBytes };
      start = last.version;
      writes = [];
      sizeBytes = DELTA_HEAD_BYTES;
    }
    writes.push({ key, version: entry.version, body: entry.body });
    sizeBytes += costBytes;
  }
  const seal = holdings.sealOf(log.owner);
  yield { delta: { ...head, from: start, to: log.version, writes, seal }, costBytes: sizeBytes };
}
