/**
 * Trust: what the mesh must be told to know whom it speaks with.
 *
 * The mesh carries certificates and lets OpenSSL prove that who shows one has its key. What a certificate is worth is
 * decided in one place for links, streams and signatures alike, and that place is not here: the daemon hands in this
 * view of it. So no chain is judged by OpenSSL as well: a second judge with rules of its own could only disagree, and a
 * peer would be refused by the one for what the other allows.
 *
 * Types only. Pure.
 */

import type { Result } from "../base/failure.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";

/** What a node shows and whom it asks others to be vouched for by, all in PEM. */
export interface TlsMaterial {
  readonly key: string;
  /** This node's certificate. A peer that does not know its authority yet asks for it, and who vouches for it. */
  readonly chain: string;
  readonly roots: readonly string[];
}

/** Whose key it is that a certificate holds, whatever the certificate is worth. */
export interface KeyOwner {
  readonly id: NodeId;
  /** Whether that node was removed from the cluster. */
  readonly revoked: boolean;
}

/** Why whoever was admitted with this credential is not one of us any more; null while he is. */
export type Objection = (peer: Credential) => string | null;

/** What the mesh needs of trust. */
export interface MeshTrust {
  /** As it is now; another object after a renewal or a change of authorities, the same one otherwise. */
  readonly material: () => TlsMaterial;
  /** Who holds this certificate (DER), when it is one of this cluster, within its time and not revoked. */
  readonly admit: (certificate: Uint8Array) => Result<Credential>;
  /** Whose key is in this certificate (DER); null when it cannot be read. Only for telling who was refused. */
  readonly ownerOf: (certificate: Uint8Array) => KeyOwner | null;
}
