/**
 * Credential: who somebody has proved to be, by a certificate of this cluster.
 *
 * Made in one place (trust), where the certificate is checked against the cluster's authority; everybody else takes it
 * as it is. A link has the credential of its peer, a log that of its owner.
 *
 * Pure.
 */

import type { NodeId } from "./ids.ts";

/** What a node may say for all: a manager may admit and remove nodes, a worker speaks for itself alone. */
export type Role = "manager" | "worker";

/** The holder of a certificate that was found good. */
export interface Credential {
  readonly id: NodeId;
  readonly role: Role;
  /** SHA-256 of the certificate of the authority that issued it, in hexadecimal digits. */
  readonly issuer: string;
  /** Unix milliseconds. */
  readonly notAfterMs: number;
}
