/**
 * Reading: what is new in one owner's log since it was last read.
 *
 * A log is changed in place, each write under the owner's next version. So of a log that was read before only writes
 * above that version are parsed; of another log (a new incarnation, a whole one after a gap) every write is looked at,
 * and those whose text is as it was are not parsed again, only noted as standing in another write. Nothing is decided
 * here: merge.ts applies what was found.
 *
 * Pure.
 */

import type { Result } from "../base/failure.ts";
import type { ListChange } from "../base/sorted.ts";
import { serviceKey } from "../model/ids.ts";
import type { Entry, OwnerLog } from "../model/log.ts";
import type { NodeLogRecord, ReplicaRecord, SubnetRecord, VipRecord } from "../model/record.ts";

import { claimOf, placedOf, sliceOf, type Owner, type Placed } from "./owner.ts";
import type { PublishedClaim } from "./vip.ts";

/** Reads a record's body; as `parseRecord`, which it is but where many nodes share one memory of what they parsed. */
export type Parse = (key: string, body: string) => Result<NodeLogRecord | null>;

/** A replica's record and the write it stands in. */
export interface Found {
  readonly entry: Entry;
  readonly record: ReplicaRecord;
}

/** What changed in an owner's log. */
export interface Reading {
  readonly come: readonly Found[];
  readonly again: readonly (Found & { readonly placed: Placed })[];
  readonly gone: readonly Placed[];
  readonly claims: ListChange<PublishedClaim>;
  readonly slices: ListChange<SubnetRecord>;
  /** The keys of all malformed records of the log; the same set as the owner's when nothing changed in it. */
  readonly malformedKeys: ReadonlySet<string>;
}

/** Kinds of records by which a log is held together with what was read of it; the node record is read apart. */
const KINDS = ["replica", "vip", "subnet", "node"] as const;

/** Looks for what is new in `log`, an owner's, since `owner` was last brought up to date. */
export function readLog(owner: Owner, log: OwnerLog, parse: Parse): Reading {
  const reader = new Reader(owner, parse);
  const from = owner.log === log && owner.version <= log.version ? owner.version : -1;
  let liveCount = 0;
  for (const [key, entry] of log.entryByKey) {
    if (key === "node") continue;
    if (entry.body !== null && isRead(key)) liveCount += 1;
    if (entry.version > from) reader.take(key, entry);
  }
  // A key may vanish without a tombstone: with another log, and where a store has no room for a write.
  if (reader.heldCount !== liveCount) reader.sweep(log);
  return reader;
}

function isRead(key: string): boolean {
  return KINDS.some(
    (kind) => key.startsWith(kind) && (key.length === kind.length || key[kind.length] === "/"),
  );
}

class Reader implements Reading {
  readonly come: Found[] = [];
  readonly again: (Found & { readonly placed: Placed })[] = [];
  readonly gone: Placed[] = [];
  readonly claims: { gone: PublishedClaim[]; come: PublishedClaim[] } = { gone: [], come: [] };
  readonly slices: { gone: SubnetRecord[]; come: SubnetRecord[] } = { gone: [], come: [] };
  malformedKeys: ReadonlySet<string>;
  readonly #owner: Owner;
  readonly #parse: Parse;
  #malformedDraft: Set<string> | null = null;

  constructor(owner: Owner, parse: Parse) {
    this.#owner = owner;
    this.#parse = parse;
    this.malformedKeys = owner.malformedKeys;
  }

  /** How many records are held after what was taken so far. */
  get heldCount(): number {
    const { placed, claims, slices } = this.#owner;
    const replicaCount = placed.length + this.come.length - this.gone.length;
    const claimCount = claims.length + this.claims.come.length - this.claims.gone.length;
    const sliceCount = slices.length + this.slices.come.length - this.slices.gone.length;
    return replicaCount + claimCount + sliceCount + this.malformedKeys.size;
  }

  take(key: string, entry: Entry): void {
    const placed = this.#placed(key);
    if (placed !== undefined && placed.entry.body === entry.body) {
      placed.entry = entry;
      return;
    }
    const result = entry.body === null ? null : this.#parse(key, entry.body);
    const isMalformed = result !== null && !result.ok;
    const record = result?.ok === true ? result.value : null;
    if (this.malformedKeys.has(key) !== isMalformed) this.#mark(key, isMalformed);
    if (record?.kind === "replica") {
      if (placed === undefined) this.come.push({ entry, record });
      else this.again.push({ entry, record, placed });
    } else if (placed !== undefined) this.gone.push(placed);
    this.#takeClaim(key, record);
    this.#takeSlice(key, record);
  }

  /** Takes for gone what is held and not in the log any more. */
  sweep(log: OwnerLog): void {
    const isLive = (key: string): boolean => (log.entryByKey.get(key)?.body ?? null) !== null;
    const { placed, claims, slices } = this.#owner;
    const gone = new Set(this.gone);
    for (const one of placed) if (!gone.has(one) && !isLive(`replica/${one.replica.id}`)) this.gone.push(one);
    const goneClaims = new Set(this.claims.gone);
    for (const claim of claims)
      if (!goneClaims.has(claim) && !isLive(`vip/${claim.key}`)) this.claims.gone.push(claim);
    const goneSlices = new Set(this.slices.gone);
    for (const slice of slices)
      if (!goneSlices.has(slice) && !isLive(`subnet/${slice.network}`)) this.slices.gone.push(slice);
    for (const key of this.malformedKeys) if (!isLive(key)) this.#mark(key, false);
  }

  #placed(key: string): Placed | undefined {
    return key.startsWith("replica/") ? placedOf(this.#owner, key.slice("replica/".length)) : undefined;
  }

  #takeClaim(key: string, record: NodeLogRecord | null): void {
    if (!key.startsWith("vip/")) return;
    const held = claimOf(this.#owner, key.slice("vip/".length));
    const claim = record?.kind === "vip" ? claimFrom(record) : null;
    if (held !== undefined && claim !== null && isSameClaim(held, claim)) return;
    if (held !== undefined) this.claims.gone.push(held);
    if (claim !== null) this.claims.come.push(claim);
  }

  #takeSlice(key: string, record: NodeLogRecord | null): void {
    if (!key.startsWith("subnet/")) return;
    const held = sliceOf(this.#owner, key.slice("subnet/".length));
    const slice = record?.kind === "subnet" ? record : null;
    if (held !== undefined && slice !== null && isSameSlice(held, slice)) return;
    if (held !== undefined) this.slices.gone.push(held);
    if (slice !== null) this.slices.come.push(slice);
  }

  #mark(key: string, isMalformed: boolean): void {
    // Not the owner's own set: it is shared, and stands until the reading is applied.
    this.#malformedDraft ??= new Set(this.malformedKeys);
    this.malformedKeys = this.#malformedDraft;
    if (isMalformed) this.#malformedDraft.add(key);
    else this.#malformedDraft.delete(key);
  }
}

/** Whether two claims of one service say the same. */
export function isSameClaim(one: PublishedClaim, other: PublishedClaim): boolean {
  return one.address === other.address && one.order === other.order && one.settled === other.settled;
}

function isSameSlice(one: SubnetRecord, other: SubnetRecord): boolean {
  return one.index === other.index && one.order === other.order && one.settled === other.settled;
}

function claimFrom({ network, service, address, order, settled }: VipRecord): PublishedClaim {
  return { key: serviceKey(network, service), address, order, settled };
}
