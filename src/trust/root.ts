/**
 * Root: is this an authority of this cluster, and who vouches for it?
 *
 * Everything in a Root that others rest on is in its certificate, so it is read from there and compared: its
 * fingerprint, its generation, its cluster. That an authority is to be trusted another one says, by a certificate for
 * the same name and the same key (its cross; RFC 4210 4.4 calls it the rollover of a root's key). The first is trusted
 * because whoever joined compared it with his token.
 *
 * Pure. charter.ts keeps the authorities, certificate.ts checks what they issue.
 */

import type { X509Certificate } from "node:crypto";

import { sha256Hex } from "../base/bytes.ts";
import { failed, success, type Result } from "../base/failure.ts";
import type { Root } from "../model/charter.ts";

import {
  isOurKind,
  issuerOf,
  parseCertificateText,
  subjectFields,
  subjectText,
  type Issuer,
} from "./certificate.ts";
import type { VerifyRoot } from "./charter.ts";
import { spkiOf } from "./identity.ts";

/** The common name of an authority. */
export function authorityName(generation: number): string {
  return `skein authority ${generation}`;
}

/**
 * Reads an authority's own certificate and checks that it is what the root says. Whether it is to be trusted is another
 * question.
 *
 * @returns a failure that names the subject and what is wrong with it
 */
export function readRoot(clusterId: string, root: Root): Result<Issuer> {
  const parsed = parseCertificateText(root.certificate);
  if (!parsed.ok) return parsed;
  const certificate = parsed.value;
  const refuse = (why: string): Result<never> =>
    failed("not-allowed", `authority "${subjectText(certificate)}" ${why}`);
  try {
    const { publicKey } = certificate;
    if (sha256Hex(certificate.raw) !== root.fingerprint)
      return refuse(`has another fingerprint; expected ${root.fingerprint}`);
    if (!isNamed(certificate, clusterId, root.generation))
      return refuse(`is another; expected O=${clusterId}, CN=${authorityName(root.generation)}`);
    if (!certificate.ca) return refuse("may not issue; expected CA:TRUE");
    if (!isOurKind(publicKey)) return refuse("has a key of another kind; expected EC prime256v1");
    if (!certificate.checkIssued(certificate) || !certificate.verify(publicKey))
      return refuse("is not signed by itself");
    const { fingerprint, generation, retired } = root;
    return success({ fingerprint, generation, certificate, publicKey, trusted: !retired });
  } catch {
    return refuse("cannot be read; expected X.509 in DER");
  }
}

/** Says of an authority whether one that is known vouches for it. @returns a function that never throws */
export function rootVerifier(clusterId: string): VerifyRoot {
  return (candidate, known) => {
    const own = readRoot(clusterId, candidate);
    if (!own.ok || candidate.cross === null) return false;
    const cross = parseCertificateText(candidate.cross);
    if (!cross.ok) return false;
    const issuers = known.flatMap((root) => {
      const read = readRoot(clusterId, root);
      return read.ok ? [read.value] : [];
    });
    try {
      return isSameAuthority(own.value, cross.value) && issuerOf(cross.value, issuers) !== null;
    } catch {
      // A key that OpenSSL does not know: nobody of ours signed that.
      return false;
    }
  };
}

function isNamed(certificate: X509Certificate, clusterId: string, generation: number): boolean {
  return subjectFields(certificate).join("\n") === `CN=${authorityName(generation)}\nO=${clusterId}`;
}

function isSameAuthority({ certificate, publicKey }: Issuer, cross: X509Certificate): boolean {
  if (certificate.subject !== cross.subject || !cross.ca || !isOurKind(cross.publicKey)) return false;
  return Buffer.compare(spkiOf(publicKey), spkiOf(cross.publicKey)) === 0;
}
