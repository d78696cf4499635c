/**
 * Attempt: would an owner's seal fit if these parts of its log were taken?
 *
 * Nothing is changed by looking: what came is added to a copy of the sum. Where the seal fits, the log is then what its
 * owner wrote, all of it, whoever brought it; where it does not, somebody on the way has added, left out, brought back
 * or changed something, and none of it counts.
 *
 * Pure.
 */

import type { Credential } from "../model/credential.ts";
import type { Entry } from "../model/log.ts";
import { CERTIFICATE_KEY, type ContentSum, type Seals } from "../model/seal.ts";

import { sizeOf, type HeldLog } from "./held.ts";
import type { Delta } from "./message.ts";

/** What would be held, where the seal fits. */
export interface Fit {
  readonly kind: "fits";
  /** What is to be set, in ascending order of version. */
  readonly writes: ReadonlyMap<string, Entry>;
  readonly sum: ContentSum;
  readonly seal: Uint8Array;
  readonly credential: Credential;
  /** Of the log as it would be, without its tombstones. */
  readonly liveBytes: number;
  readonly liveCount: number;
}

/** The outcome. `why` tells what is wrong, for people: it begins with a verb. */
export type Attempt = Fit | { readonly kind: "forged"; readonly why: string };

/** What an attempt is made with. */
export interface Attempting {
  readonly seals: Seals;
  /** The log that the parts go on; null when they are the whole of it. */
  readonly base: HeldLog | null;
  /** The owner's certificate where it is known whatever the parts say: for this node's own. */
  readonly certificate?: string;
  readonly nowMs: number;
}

/** Tries parts that follow each other, or overlap; the last has the seal. */
export function attempt(parts: readonly Delta[], attempting: Attempting): Attempt {
  const { seals, base, nowMs } = attempting;
  const last = parts.at(-1);
  if (last === undefined || last.seal === null) return { kind: "forged", why: "has no seal" };
  if (last.floor > last.to) return { kind: "forged", why: `says that floor ${last.floor} is past its end` };
  const { writes, sum, liveBytes, liveCount } = merged(parts, base, seals);
  const held = base?.entryByKey.get(CERTIFICATE_KEY)?.body;
  const certificate =
    attempting.certificate ?? (writes.has(CERTIFICATE_KEY) ? writes.get(CERTIFICATE_KEY)?.body : held);
  if (typeof certificate !== "string") return { kind: "forged", why: "has no certificate of its owner" };
  let credential = certificate === held ? (base?.credential ?? null) : null;
  if (credential === null) {
    const read = seals.credentialOf(last.owner, certificate, nowMs);
    if (!read.ok) return { kind: "forged", why: `has a bad certificate: ${read.failure.message}` };
    credential = read.value;
  }
  const { owner, incarnation, to, seal } = last;
  const head = { owner, incarnation, version: to };
  if (!seals.isSealed(credential, head, sum, seal, nowMs))
    return { kind: "forged", why: `is not what its owner sealed at ${incarnation}.${to}` };
  return { kind: "fits", writes, sum, seal, credential, liveBytes, liveCount };
}

type Merged = Pick<Fit, "writes" | "sum" | "liveBytes" | "liveCount">;

/** What is new in the parts, and the sum with it. */
function merged(parts: readonly Delta[], base: HeldLog | null, seals: Seals): Merged {
  const sum = base === null ? seals.emptySum() : base.sum.copy();
  const writes = new Map<string, Entry>();
  let liveBytes = base === null ? 0 : base.sizeBytes - base.buriedBytes;
  let liveCount = base === null ? 0 : base.entryByKey.size - (base.buriedAtMsByKey?.size ?? 0);
  let reached = base?.version ?? 0;
  for (const part of parts) {
    for (const { key, version, body } of part.writes) {
      if (version <= reached) continue;
      reached = version;
      const before = writes.get(key) ?? base?.entryByKey.get(key);
      if (typeof before?.body === "string") {
        sum.remove(key, before.version, before.body);
        liveBytes -= sizeOf(key, before.body);
        liveCount -= 1;
      }
      if (body !== null) {
        sum.add(key, version, body);
        liveBytes += sizeOf(key, body);
        liveCount += 1;
      }
      // Anew, so that the order is that of versions.
      writes.delete(key);
      writes.set(key, { version, body });
    }
  }
  return { writes, sum, liveBytes, liveCount };
}
