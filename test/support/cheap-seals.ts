// Seals for the simulator and for tests: checked for real, but made by a hash that costs next to nothing.
//
// Each node has a key that is made of its id, and whoever has the seals of an id has its key: a test that plays a liar
// must not take those of its victim. The hash keeps nobody out who means it; it does keep apart whatever differs. The
// certificate is JSON, sealed by the "authority", so that a role cannot be made up either.

import assert from "node:assert/strict";

import { failed, success, type Result } from "../../src/base/failure.ts";
import type { Credential, Role } from "../../src/model/credential.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { SEAL_BYTES, type ContentSum, type SealedHead, type Seals } from "../../src/model/seal.ts";

/** What else there is to say of a node's certificate. */
export interface CheapOptions {
  readonly cluster?: string;
  /** Unix milliseconds. */
  readonly notAfterMs?: number;
}

/** The seals of the node of this id. */
export function cheapSeals(id: NodeId, role: Role = "manager", options: CheapOptions = {}): CheapSeals {
  return new CheapSeals(id, role, options);
}

/** The sum of cheap seals: two numbers of 32 bits, to which each entry adds. */
class CheapSum implements ContentSum {
  high: number;
  low: number;

  constructor(high = 0, low = 0) {
    this.high = high;
    this.low = low;
  }

  add(key: string, version: number, body: string): void {
    const { high, low } = entryHash(key, version, body);
    this.high = (this.high + high) | 0;
    this.low = (this.low + low) | 0;
  }

  remove(key: string, version: number, body: string): void {
    const { high, low } = entryHash(key, version, body);
    this.high = (this.high - high) | 0;
    this.low = (this.low - low) | 0;
  }

  copy(): CheapSum {
    return new CheapSum(this.high, this.low);
  }
}

/** See cheapSeals. The certificate may be replaced, as at a renewal. */
export class CheapSeals implements Seals {
  certificate: string;
  readonly #id: NodeId;
  readonly #cluster: string;

  constructor(id: NodeId, role: Role, { cluster = "", notAfterMs = Number.MAX_SAFE_INTEGER }: CheapOptions) {
    this.#id = id;
    this.#cluster = cluster;
    this.certificate = certificateOf({ cluster, id, role, notAfterMs });
  }

  emptySum(): CheapSum {
    return new CheapSum();
  }

  seal(head: SealedHead, sum: ContentSum): Uint8Array {
    return this.#marked(this.#id, sealText(head, sum));
  }

  credentialOf(owner: NodeId, certificate: string, nowMs: number): Result<Credential> {
    const fields = parsed(certificate);
    if (fields === null || certificate !== certificateOf({ ...fields, cluster: this.#cluster }))
      return failed("not-allowed", `certificate of ${owner} is not of this cluster; expected one that is`);
    const { id, role, notAfterMs } = fields;
    if (id !== owner)
      return failed("not-allowed", `certificate of ${owner} is that of ${id}; expected its own`);
    if (nowMs > notAfterMs)
      return failed("not-allowed", `certificate of ${owner} has ended; expected a present one`);
    return success({ id, role, issuer: "0".repeat(64), notAfterMs });
  }

  // oxlint-disable-next-line max-params -- as in Seals
  isSealed(by: Credential, head: SealedHead, sum: ContentSum, seal: Uint8Array, nowMs: number): boolean {
    if (by.id !== head.owner || nowMs > by.notAfterMs) return false;
    return isSame(seal, this.#marked(by.id, sealText(head, sum)));
  }

  sign(text: string): Uint8Array {
    return this.#marked(this.#id, `word ${text}`);
  }

  isSigned(by: Credential, text: string, signature: Uint8Array): boolean {
    return isSame(signature, this.#marked(by.id, `word ${text}`));
  }

  /** What only the holder of an id's key can make of a text, by agreement of all who use these seals. */
  #marked(id: NodeId, text: string): Uint8Array {
    const { high, low } = hashed(`key of ${this.#cluster} ${id} ${text}`, 0);
    const mark = new Uint8Array(SEAL_BYTES);
    const view = new DataView(mark.buffer);
    view.setInt32(0, high);
    view.setInt32(SEAL_BYTES - 4, low);
    return mark;
  }
}

interface CertificateFields {
  readonly cluster: string;
  readonly id: NodeId;
  readonly role: Role;
  readonly notAfterMs: number;
}

function certificateOf({ cluster, id, role, notAfterMs }: CertificateFields): string {
  const { high, low } = hashed(`authority of ${cluster} ${id} ${role} ${notAfterMs}`, 0);
  return JSON.stringify({ id, role, notAfterMs, high, low });
}

function parsed(certificate: string): Omit<CertificateFields, "cluster"> | null {
  try {
    const { id, role, notAfterMs } = JSON.parse(certificate) as CertificateFields;
    return { id, role, notAfterMs };
  } catch {
    // Whatever it is, it is no certificate.
    return null;
  }
}

function sealText({ owner, incarnation, version }: SealedHead, sum: ContentSum): string {
  assert.ok(sum instanceof CheapSum, "cheap seals go with cheap sums");
  return `seal ${owner} ${incarnation} ${version} ${sum.high} ${sum.low}`;
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}

interface Hash {
  readonly high: number;
  readonly low: number;
}

function entryHash(key: string, version: number, body: string): Hash {
  const ofKey = hashed(key, version);
  const ofBody = bodyHash(body);
  return {
    high: mixed(ofKey.high ^ Math.imul(ofBody.high, 0x9e3779b1)),
    low: mixed(ofKey.low + Math.imul(ofBody.low, 0x85ebca6b)),
  };
}

/** The body that was hashed last: floods write one long text over and over. */
let last = { body: "", hash: hashed("", 0) };

function bodyHash(body: string): Hash {
  if (body !== last.body) last = { body, hash: hashed(body, 0) };
  return last.hash;
}

/** 64 bits of a text as UTF-8 would tell it, and of where to begin. */
function hashed(text: string, seed: number): Hash {
  const formed = text.isWellFormed() ? text : text.toWellFormed();
  let high = mixed((seed | 0) ^ Math.floor(seed / 0x1_0000_0000) ^ formed.length);
  let low = mixed(high ^ 0x2545f491);
  for (let at = 0; at < formed.length; at += 1) {
    const code = formed.charCodeAt(at);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low + code, 0x5bd1e995) ^ (low >>> 15);
  }
  return { high: mixed(high ^ low), low: mixed(low + Math.imul(high, 3)) };
}

function mixed(bits: number): number {
  let mixing = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  mixing = Math.imul(mixing ^ (mixing >>> 13), 0xc2b2ae35);
  return (mixing ^ (mixing >>> 16)) | 0;
}
