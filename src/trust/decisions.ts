/**
 * Decisions: what managers say in their logs becomes this node's charter, and the charter what this node says.
 *
 * A log is believed about the cluster when its owner's certificate makes him a manager; what others write there is left
 * out, counted and told. Each manager says all of the charter in its own log, so a decision outlives who made it. A
 * worker says nothing about the cluster, but hands its certificate to all, as everybody does: it is what they check its
 * log with.
 *
 * Who was removed is put out at once: not when a certificate is looked at the next time.
 *
 * Pure: the memory of one node. charter.ts has the rules of merging, seals.ts those of certificates.
 */

import type { Charter } from "../model/charter.ts";
import type { Credential, Role } from "../model/credential.ts";
import type { Happening } from "../model/event.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { NetworkRange } from "../model/network.ts";
import type { OwnerLog } from "../model/log.ts";
import { CERTIFICATE_KEY, type Seals } from "../model/seal.ts";

import {
  CHARTER_PREFIX,
  charterEntries,
  charterOf,
  mergeCharter,
  readCharterEntry,
  withoutEnded,
  type CharterPart,
  type VerifyRoot,
} from "./charter.ts";
import { networkRanges } from "./networks.ts";
import { rootVerifier } from "./root.ts";

/** What carries the logs; gossip is one. */
export interface Logs {
  readonly logs: ReadonlyMap<NodeId, OwnerLog>;
  /** Who the owner of a log has proved to be; undefined while nothing of it is held. */
  credentialOf(owner: NodeId): Credential | undefined;
  write(changes: ReadonlyMap<string, string | null>, nowMs: number): void;
  /** Parts with a member for good. */
  expel(id: NodeId, reason: string, nowMs: number): void;
}

/** What decisions are made of. */
export interface DecisionsOptions {
  readonly self: NodeId;
  readonly seals: Seals;
  readonly charter: Charter;
  readonly carrier: Logs;
  /** What people call a node; its id where nobody knows. */
  readonly nameOf: (id: NodeId) => string;
}

/** What came of it since the last time. */
export interface Decided {
  /** Set when it changed: to be on disk soon. */
  readonly charter: Charter | null;
  /** Logs with entries that were not taken, one reason for each. */
  readonly refused: readonly string[];
  readonly happenings: readonly Happening[];
}

/** How far a log was read, and in whose name. */
interface ReadTo {
  readonly version: number;
  readonly role: Role;
}

/** What a log says of its owner and of the cluster; a charter of null for nothing. */
interface Said {
  readonly log: OwnerLog | undefined;
  readonly certificate: string;
  readonly charter: Charter | null;
}

const NOTHING: ReadonlyMap<string, string | null> = new Map();

/** The decisions of a cluster as one node knows them. */
export class Decisions {
  readonly #options: DecisionsOptions;
  readonly #verifyRoot: VerifyRoot;
  /** By log, which another life of its owner has another one of. */
  readonly #readByLog = new WeakMap<OwnerLog, ReadTo>();
  readonly #expelledIds = new Set<NodeId>();
  /** What this node's log says whole; null before the first time. */
  #said: Said | null = null;
  #charter: Charter;
  #networks: readonly NetworkRange[];
  #takenCharter: Charter;
  #refused: string[] = [];
  #happenings: Happening[] = [];

  constructor(options: DecisionsOptions) {
    this.#options = options;
    this.#charter = options.charter;
    this.#networks = networkRanges(options.charter);
    this.#takenCharter = options.charter;
    this.#verifyRoot = rootVerifier(options.charter.clusterId);
  }

  get charter(): Charter {
    return this.#charter;
  }

  /** The overlay networks there are; the same list while no decision on one has changed. */
  get networks(): readonly NetworkRange[] {
    return this.#networks;
  }

  /** Takes in a charter that did not come by a log: a command of this host, an answer to a renewal. */
  merge(charter: Charter, nowMs: number): void {
    const merged = mergeCharter(this.#charter, withoutEnded(charter, nowMs), this.#verifyRoot);
    if (merged === this.#charter) return;
    if (merged.networks !== this.#charter.networks) this.#networks = networkRanges(merged);
    this.#charter = merged;
    this.#expel(nowMs);
  }

  /** Reads what is new in the logs of these owners. */
  hear(owners: Iterable<NodeId>, nowMs: number): void {
    const { self, carrier } = this.#options;
    for (const owner of owners) {
      const log = carrier.logs.get(owner);
      const credential = owner === self ? undefined : carrier.credentialOf(owner);
      if (log !== undefined && credential !== undefined) this.#read(log, credential.role, nowMs);
    }
  }

  /** What this node is to write so that its log says what it knows: its certificate first. Empty when it does. */
  writes(nowMs: number): ReadonlyMap<string, string | null> {
    const { self, seals, carrier } = this.#options;
    const { certificate } = seals;
    const log = carrier.logs.get(self);
    const credential = seals.credentialOf(self, certificate, nowMs);
    const isManager = credential.ok && credential.value.role === "manager";
    const charter = isManager ? this.#charter : null;
    const said = this.#said;
    // Asked at each tick; nobody else writes these keys, so what was found whole stays so.
    if (said?.log === log && said?.certificate === certificate && said?.charter === charter) return NOTHING;
    const own: OwnerLog["entryByKey"] = log?.entryByKey ?? new Map();
    const wanted = new Map<string, string | null>([[CERTIFICATE_KEY, certificate]]);
    if (charter !== null) {
      for (const [key, body] of charterEntries(charter)) wanted.set(key, body);
      for (const key of own.keys())
        if (key.startsWith(CHARTER_PREFIX) && !wanted.has(key)) wanted.set(key, null);
    }
    for (const [key, body] of wanted) if ((own.get(key)?.body ?? null) === body) wanted.delete(key);
    if (wanted.size === 0) this.#said = { log, certificate, charter };
    return wanted;
  }

  /** Forgets removals that are over, and says what is to be said where this node has begun to speak. */
  tick(nowMs: number): void {
    const { self, carrier } = this.#options;
    this.#charter = withoutEnded(this.#charter, nowMs);
    this.#expel(nowMs);
    if ((carrier.logs.get(self)?.version ?? 0) === 0) return;
    const writes = this.writes(nowMs);
    if (writes.size > 0) carrier.write(writes, nowMs);
  }

  /** Everything that came of it since the last call. */
  take(): Decided {
    const charter = this.#charter === this.#takenCharter ? null : this.#charter;
    const decided = { charter, refused: this.#refused, happenings: this.#happenings };
    this.#takenCharter = this.#charter;
    this.#refused = [];
    this.#happenings = [];
    return decided;
  }

  #read(log: OwnerLog, role: Role, nowMs: number): void {
    const last = this.#readByLog.get(log);
    if (last?.version === log.version && last.role === role) return;
    const from = last?.role === role && last.version < log.version ? last.version : 0;
    this.#readByLog.set(log, { version: log.version, role });
    const parts: CharterPart[] = [];
    let wrong: string | null = null;
    for (const [key, { version, body }] of log.entryByKey) {
      if (version <= from || body === null || !key.startsWith(CHARTER_PREFIX)) continue;
      if (role !== "manager") {
        wrong = `entry "${key}" is not taken: its owner is a ${role}; expected a manager`;
        break;
      }
      const read = readCharterEntry(key, body);
      if (!read.ok) wrong = read.failure.message;
      else if (read.value !== null) parts.push(read.value);
    }
    if (parts.length > 0) {
      this.merge(charterOf(this.#charter.clusterId, parts), nowMs);
      wrong = this.#foreignRoot(parts) ?? wrong;
    }
    // Once a log, not for each entry: there may be as many of them as it holds.
    if (wrong !== null) this.#refuse(log.owner, wrong, nowMs);
  }

  /** What is wrong with an authority that was not taken; null when all were. */
  #foreignRoot(parts: readonly CharterPart[]): string | null {
    const { roots } = this.#charter;
    const known = new Set(roots.map(({ fingerprint }) => fingerprint));
    const isFull = roots.length >= LIMITS.rootsMax;
    const oldest = isFull ? Math.min(...roots.map(({ generation }) => generation)) : 0;
    for (const part of parts) {
      // One that is older than all of as many as are kept was good once.
      if (part.kind !== "root" || part.root.generation < oldest || known.has(part.root.fingerprint)) continue;
      const name = part.root.fingerprint.slice(0, 16);
      return `authority ${name} is not taken: expected one that a known authority vouches for`;
    }
    return null;
  }

  #refuse(owner: NodeId, text: string, nowMs: number): void {
    this.#refused.push("cluster");
    const subject = this.#options.nameOf(owner);
    this.#happenings.push({ kind: "member.refused", level: "warn", subject, text, atMs: nowMs });
  }

  /** Parts with who was removed, each once; gossip tells of others. */
  #expel(nowMs: number): void {
    const { self, carrier, nameOf } = this.#options;
    for (const { id } of this.#charter.revoked) {
      if (this.#expelledIds.has(id)) continue;
      this.#expelledIds.add(id);
      if (id !== self) {
        carrier.expel(id, "removed from the cluster by a manager", nowMs);
        continue;
      }
      const text =
        "this node was removed from the cluster and goes on alone; it may join again as a new node";
      this.#happenings.push({
        kind: "member.revoked",
        level: "warn",
        subject: nameOf(id),
        text,
        atMs: nowMs,
      });
    }
    if (this.#expelledIds.size <= LIMITS.revokedMax) return;
    const kept = new Set(this.#charter.revoked.map(({ id }) => id));
    for (const id of this.#expelledIds) if (!kept.has(id)) this.#expelledIds.delete(id);
  }
}
