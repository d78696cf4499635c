/**
 * Words: the texts that a node signs when others pass on what it says.
 *
 * Each begins with its kind and holds every field, one space between two, so that no two different words read alike:
 * ids, numbers and kinds have no space in them, and free text comes last. A log needs none of this, it has its seal;
 * nor does what is said over a link of one's own, whose other end TLS has named.
 *
 * Pure. trust signs and checks.
 */

import type { NodeId } from "../model/ids.ts";
import type { Seals } from "../model/seal.ts";

import type { DrainAsk, Rumor, SignedRumor } from "./message.ts";

/** What a member thinks of another's life. */
export function rumorText({ kind, subject, incarnation, refutation, by }: Rumor): string {
  return `rumor ${kind} ${subject} ${incarnation} ${refutation} ${by}`;
}

/** That a member has applied an owner's log up to a version. */
export function reportText(
  { owner, incarnation, version }: { owner: NodeId; incarnation: number; version: number },
  by: NodeId,
): string {
  return `applied ${owner} ${incarnation} ${version} ${by}`;
}

/** That a member asks the owner of a replica to take it out, or back in. */
export function drainText(ask: Omit<DrainAsk, "signature">): string {
  const { owner, incarnation, version, replica, draining, asker } = ask;
  const what = draining ? "drain" : "activate";
  return `${what} ${owner} ${incarnation} ${version} ${asker} ${replica}`;
}

/** A rumor of this node's own, fit to travel. */
export function signedRumor(rumor: Rumor, seals: Seals): SignedRumor {
  return { ...rumor, signature: seals.sign(rumorText(rumor)) };
}
