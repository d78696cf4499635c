/**
 * Seals: this node's signatures, and the checking of others'.
 *
 * ECDSA over P-256 with SHA-256, by the key that the node's certificate is for. What is signed begins with what kind of
 * thing it is and names the cluster, so a signature never passes for one over something else: not a seal for a word,
 * not a word for what the same key signs to join, not one cluster's for another's.
 *
 * A credential is good only as long as the charter says so: a check asks anew each time whether its holder was removed,
 * its authority retired or its time is over, since a log may be held for weeks. Reading a certificate costs ten times a
 * check, so what was found of each owner is remembered.
 *
 * Touches: randomness (each ECDSA signature has some in it).
 */

import { sign, verify, type KeyObject } from "node:crypto";

import { assert } from "../base/assert.ts";
import { failed, success, type Result } from "../base/failure.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { SEAL_BYTES, type ContentSum, type SealedHead, type Seals } from "../model/seal.ts";

import type { Admission } from "./admission.ts";
import { decodeCertificate } from "./certificate.ts";
import { LtHash } from "./lthash.ts";

/** What seals are made and checked with. */
export interface SealsOptions {
  readonly clusterId: string;
  readonly privateKey: KeyObject;
  /** This node's certificate as it is now: DER in base64. */
  readonly certificate: () => string;
  readonly admission: Admission;
}

/**
 * The same seals, judged by a clock of their own, whatever time the asker gives: his may run from the start of its
 * process, where certificates are dated by the time of day.
 */
export function judgedBy(now: () => number, seals: Seals): Seals {
  return {
    get certificate() {
      return seals.certificate;
    },
    emptySum: () => seals.emptySum(),
    seal: (head, sum) => seals.seal(head, sum),
    credentialOf: (owner, certificate) => seals.credentialOf(owner, certificate, now()),
    isSealed: (by, head, sum, seal) => seals.isSealed(by, head, sum, seal, now()),
    sign: (text) => seals.sign(text),
    isSigned: (by, text, signature) => seals.isSigned(by, text, signature),
  };
}

/** What was found of an owner's certificate. */
interface Known {
  readonly certificate: string;
  readonly credential: Credential;
  readonly issuers: Admission["issuers"];
}

/** Makes and checks the seals of one node. */
export class NodeSeals implements Seals {
  readonly #options: SealsOptions;
  readonly #knownByOwner = new Map<NodeId, Known>();
  /** Of all credentials given out, for as long as somebody holds them. */
  readonly #keyByCredential = new WeakMap<Credential, KeyObject>();

  constructor(options: SealsOptions) {
    this.#options = options;
  }

  get certificate(): string {
    return this.#options.certificate();
  }

  emptySum(): LtHash {
    return new LtHash();
  }

  seal(head: SealedHead, sum: ContentSum): Uint8Array {
    return this.#sign(this.#sealText(head, sum));
  }

  /**
   * See Seals.
   *
   * @returns the same object as before while the same certificate is found good; a failure names the owner and why
   */
  credentialOf(owner: NodeId, certificate: string, nowMs: number): Result<Credential> {
    const { admission } = this.#options;
    const known = this.#knownByOwner.get(owner);
    const isKnown = known?.certificate === certificate;
    if (isKnown && known.issuers === admission.issuers && this.#isGood(known.credential, nowMs))
      return success(known.credential);
    const der = decodeCertificate(certificate);
    if (!der.ok) return failed(der.failure.code, `node ${owner}: ${der.failure.message}`);
    const admitted = admission.admit(der.value, nowMs);
    if (!admitted.ok) return failed(admitted.failure.code, `node ${owner}: ${admitted.failure.message}`);
    const { credential: found, publicKey } = admitted.value;
    if (found.id !== owner) {
      return failed("not-allowed", `node ${owner}: its certificate is that of ${found.id}; expected its own`);
    }
    const credential = isKnown ? known.credential : found;
    this.#keyByCredential.set(credential, publicKey);
    this.#remember(owner, { certificate, credential, issuers: admission.issuers });
    return success(credential);
  }

  // oxlint-disable-next-line max-params -- as the interface has it: called for each change, so no object is made
  isSealed(by: Credential, head: SealedHead, sum: ContentSum, seal: Uint8Array, nowMs: number): boolean {
    if (by.id !== head.owner || !this.#isGood(by, nowMs)) return false;
    return this.#isSignature(by, this.#sealText(head, sum), seal);
  }

  sign(text: string): Uint8Array {
    return this.#sign(this.#wordText(text));
  }

  isSigned(by: Credential, text: string, signature: Uint8Array): boolean {
    if (!this.#options.admission.isAccepted(by)) return false;
    return this.#isSignature(by, this.#wordText(text), signature);
  }

  #isGood(credential: Credential, nowMs: number): boolean {
    return nowMs <= credential.notAfterMs && this.#options.admission.isAccepted(credential);
  }

  #remember(owner: NodeId, known: Known): void {
    this.#knownByOwner.delete(owner);
    this.#knownByOwner.set(owner, known);
    if (this.#knownByOwner.size <= LIMITS.ownersMax) return;
    const [oldest] = this.#knownByOwner.keys();
    if (oldest !== undefined) this.#knownByOwner.delete(oldest);
  }

  /** One line a field, and no field holds a line break: no two heads read alike. */
  #sealText({ owner, incarnation, version }: SealedHead, sum: ContentSum): string {
    assert(sum instanceof LtHash, "sums come from emptySum");
    const digest = Buffer.from(sum.digest()).toString("hex");
    return `skein seal 1\n${this.#options.clusterId}\n${owner}\n${incarnation}\n${version}\n${digest}`;
  }

  #wordText(text: string): string {
    return `skein word 1\n${this.#options.clusterId}\n${text}`;
  }

  #sign(text: string): Uint8Array {
    const { privateKey: key } = this.#options;
    return sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  }

  #isSignature(by: Credential, text: string, signature: Uint8Array): boolean {
    const key = this.#keyByCredential.get(by);
    if (key === undefined || signature.length !== SEAL_BYTES) return false;
    return verify("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }, signature);
  }
}
