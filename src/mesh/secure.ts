/**
 * Secure: TLS as the mesh speaks it, and who is at the other end of it.
 *
 * Version 1.3 and nothing else, so there is no renegotiation and nothing to downgrade to; no session is resumed, since
 * then no certificate would be shown, and a removal would not be felt. Both ends show a certificate; what it is worth
 * is asked after the handshake, not within it: then a peer that is refused can be told why in words, where TLS has but
 * a number, and a joiner, who has none yet, can be let in to ask for one.
 *
 * Touches: key material, in OpenSSL's contexts.
 */

import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type TLSSocket } from "node:tls";

import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import type { JOIN_ALPN } from "../model/mesh-port.ts";

import type { MeshTrust, TlsMaterial } from "./trust.ts";
import { printable, type Refusal } from "./upgrade.ts";

/** What a connection to the mesh port is for, as agreed in the handshake (ALPN, RFC 7301); JOIN_ALPN is the third. */
export const GOSSIP_ALPN = "skein-gossip/1";
export const STREAM_ALPN = "skein-stream/1";

/** One of them. */
export type MeshProtocol = typeof GOSSIP_ALPN | typeof STREAM_ALPN | typeof JOIN_ALPN;

/** Options that both ends share. The certificate is judged by `vouch`, and by nobody else. */
export const TLS_OPTIONS = {
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  rejectUnauthorized: false,
} as const;

/** Gives the context for the material as it is now; makes a new one only when that has changed. */
export function openContexts(trust: MeshTrust): () => SecureContext {
  let made: { readonly of: TlsMaterial; readonly context: SecureContext } | null = null;
  return () => {
    const material = trust.material();
    if (made?.of !== material)
      made = { of: material, context: createSecureContext(contextOptions(material)) };
    return made.context;
  };
}

/** The same as options, for a server that takes them as such. */
export function contextOptions({ key, chain, roots }: TlsMaterial) {
  const { minVersion, maxVersion } = TLS_OPTIONS;
  // Not without `ca`: Node would load its hundred public authorities, and name them all to each client.
  return {
    key,
    cert: chain,
    ca: [...roots],
    minVersion,
    maxVersion,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** Whether a peer is one of us. */
export type Vouched =
  | { readonly ok: true; readonly credential: Credential }
  | {
      readonly ok: false;
      readonly reason: "no-certificate" | "certificate" | "revoked";
      /** Who it is, as far as the key proves it. */
      readonly peer: NodeId | null;
      readonly text: string;
    };

/** Judges the certificate of a peer; the handshake is over. */
export function vouch(socket: TLSSocket, trust: MeshTrust): Vouched {
  const certificate = socket.getPeerX509Certificate()?.raw;
  if (certificate === undefined)
    return { ok: false, reason: "no-certificate", peer: null, text: "it showed no certificate" };
  const admitted = trust.admit(certificate);
  if (admitted.ok) return { ok: true, credential: admitted.value };
  const owner = trust.ownerOf(certificate);
  const reason = owner?.revoked === true ? "revoked" : "certificate";
  return { ok: false, reason, peer: owner?.id ?? null, text: admitted.failure.message };
}

/** What a peer is told whose certificate does not count. */
export function refusalOf(text: string): Refusal {
  return { status: 403, reason: printable(`you are refused: ${text}`) };
}
