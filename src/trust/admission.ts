/**
 * Admission: who may speak in this cluster, by the charter as it is now?
 *
 * The one place that puts together a certificate, the authorities that are trusted and the nodes that were removed:
 * links, streams, seals and the door for joiners all ask here. The authorities are read once, and again when the
 * charter has others.
 *
 * Pure: the memory of one node.
 */

import { failed, type Result } from "../base/failure.ts";
import type { Charter } from "../model/charter.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";

import { checkCertificate, type Holder, type Issuer } from "./certificate.ts";
import { trustedRoots } from "./charter.ts";
import { readRoot } from "./root.ts";

/** Judges certificates by a charter that changes. */
export class Admission {
  readonly #charter: () => Charter;
  #roots: Charter["roots"] | null = null;
  #issuers: readonly Issuer[] = [];
  #revoked: Charter["revoked"] | null = null;
  #revokedIds: ReadonlySet<NodeId> = new Set();

  /** @param charter  as it is now; the same lists while nothing in them changed, as merging leaves them */
  constructor(charter: () => Charter) {
    this.#charter = charter;
  }

  /** Whose certificate this is (DER), when it counts. @returns a failure that names the subject and the reason */
  admit(certificate: Uint8Array, nowMs: number): Result<Holder> {
    const { clusterId } = this.#charter();
    const checked = checkCertificate(certificate, { clusterId, issuers: this.issuers, nowMs });
    if (!checked.ok || !this.isRevoked(checked.value.credential.id)) return checked;
    const { id } = checked.value.credential;
    return failed("not-allowed", `node ${id} was removed from the cluster; it may join again as a new node`);
  }

  /** The authorities of the charter, the retired ones too. The same list while they are the same. */
  get issuers(): readonly Issuer[] {
    const { clusterId, roots } = this.#charter();
    if (roots === this.#roots) return this.#issuers;
    const trusted = new Set(trustedRoots({ roots }).map(({ fingerprint }) => fingerprint));
    this.#issuers = roots.flatMap((root) => {
      const read = readRoot(clusterId, root);
      return read.ok ? [{ ...read.value, trusted: trusted.has(root.fingerprint) }] : [];
    });
    this.#roots = roots;
    return this.#issuers;
  }

  /** Whether who was admitted once still is: not removed since, his authority not retired. Time is not looked at. */
  isAccepted({ id, issuer }: Credential): boolean {
    return (
      this.issuers.some(({ fingerprint, trusted }) => trusted && fingerprint === issuer) &&
      !this.isRevoked(id)
    );
  }

  /** Why who was admitted once is not any more, by now, in a text for both ends; null while he is. */
  objection(credential: Credential, nowMs: number): string | null {
    if (this.isRevoked(credential.id)) return "removed from the cluster";
    if (!this.isAccepted(credential)) return "certificate of a retired authority";
    return nowMs > credential.notAfterMs ? "certificate of this connection has ended" : null;
  }

  /** Whether the managers have removed this node. */
  isRevoked(id: NodeId): boolean {
    const { revoked } = this.#charter();
    if (revoked !== this.#revoked) {
      this.#revokedIds = new Set(revoked.map((one) => one.id));
      this.#revoked = revoked;
    }
    return this.#revokedIds.has(id);
  }
}
