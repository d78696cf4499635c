/**
 * Seal: how the owner of a log vouches for the whole of what is in it.
 *
 * A seal is a signature over (cluster, owner, incarnation, version, sum), where the sum is over all live entries of the
 * log at that version. Not a signature for each entry: then whoever passes a log on could leave entries out, or bring
 * deleted ones back, and each change would cost as many signatures as it has entries. A holder adds what came to a copy
 * of the sum it has, and takes it only when the owner's seal fits: so what is held is what the owner wrote, all of it,
 * whoever brought it.
 *
 * The sum does not depend on the order of what was added (a homomorphic hash; Lewi, Kim, Maykov, Weis 2019, "Securing
 * Update Propagation with Homomorphic Hashing", IACR ePrint 2019/227), so a change costs the same however long the log.
 *
 * Types only: trust makes them real, gossip uses them, the simulator has cheap ones of its own. Pure.
 */

import type { Result } from "../base/failure.ts";

import type { Credential } from "./credential.ts";
import type { NodeId } from "./ids.ts";

/** Key of a log's entry that holds its owner's certificate: DER in base64. In the first delta of a log to anybody. */
export const CERTIFICATE_KEY = "certificate";

/** A sum over the live entries of a log. Mutable: copy it before an attempt. */
export interface ContentSum {
  add(key: string, version: number, body: string): void;
  /** Takes away what was added before with exactly these values. */
  remove(key: string, version: number, body: string): void;
  copy(): ContentSum;
}

/** What a seal says beside the sum. */
export interface SealedHead {
  readonly owner: NodeId;
  readonly incarnation: number;
  readonly version: number;
}

/** Makes and checks seals and signatures. Synchronous: tens of microseconds each. */
export interface Seals {
  /** This node's certificate as it stands in its log, under CERTIFICATE_KEY. Another one after a renewal. */
  readonly certificate: string;
  /** The sum of a log without entries. */
  emptySum(): ContentSum;
  /** Seals this node's own log. */
  seal(head: SealedHead, sum: ContentSum): Uint8Array;
  /**
   * Who the certificate in an owner's log vouches for.
   *
   * @returns a failure when it is not the owner's (the id is made of the key), not of this cluster, or expired
   */
  credentialOf(owner: NodeId, certificate: string, nowMs: number): Result<Credential>;
  /** Whether the holder of this credential, got from `credentialOf`, has sealed this. False past its end, too. */
  isSealed(by: Credential, head: SealedHead, sum: ContentSum, seal: Uint8Array, nowMs: number): boolean;
  /** Signs words of this node that others pass on; `text` says all that they mean, beginning with their kind. */
  sign(text: string): Uint8Array;
  /** Whether the holder of this credential has signed this text. */
  isSigned(by: Credential, text: string, signature: Uint8Array): boolean;
}

/** Length of a seal and of a signature: two numbers of P-256 (IEEE P1363). */
export const SEAL_BYTES = 64;
