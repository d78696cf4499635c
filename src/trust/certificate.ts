/**
 * Certificate: whom does a certificate vouch for, if anybody?
 *
 * A node's certificate says little: cluster in O, role in OU, id in CN and once more as a URI. All of it is compared as
 * a whole with what we would have written, not searched for what we like: a certificate with anything else in these
 * places is none of ours. The id must be made of the key that is certified, so even an authority that is careless or
 * broken into cannot give one node's name to another's key.
 *
 * Input comes from strangers: it is bounded, and nothing here throws.
 *
 * Pure. root.ts reads the authorities, admission.ts puts both together with the charter.
 */

import { X509Certificate, type KeyObject } from "node:crypto";

import { failed, success, type Result } from "../base/failure.ts";
import type { Credential, Role } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { nodeIdOf, spkiOf } from "./identity.ts";

/** An authority of this cluster, ready to check with. */
export interface Issuer {
  /** As in Root. */
  readonly fingerprint: string;
  readonly generation: number;
  readonly certificate: X509Certificate;
  readonly publicKey: KeyObject;
  /** False once it is retired: what it issued does not count any more. */
  readonly trusted: boolean;
}

/** Who holds a certificate that was found good, and the key to check his signatures with. */
export interface Holder {
  readonly credential: Credential;
  readonly publicKey: KeyObject;
}

/** What a certificate is checked against. */
export interface Standards {
  readonly clusterId: string;
  readonly issuers: readonly Issuer[];
  readonly nowMs: number;
}

const CURVE = "prime256v1";
/** Of RFC 5280 4.2.1.12: id-kp-serverAuth and id-kp-clientAuth. */
const PURPOSES = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
/** A subject in a failure's text: ours have some 70 characters. */
const SUBJECT_SHOWN = 100;

/** The URI under which a node's certificate names it once more. */
export function nodeUri(clusterId: string, id: NodeId): string {
  return `skein://${clusterId}/node/${id}`;
}

/**
 * Reads one certificate, with nothing before or after it, so that equal certificates are equal bytes.
 *
 * @param der  X.509 in DER, at most LIMITS.certificateBytes
 */
export function parseCertificate(der: Uint8Array): Result<X509Certificate> {
  const most = LIMITS.certificateBytes;
  if (der.length > most) {
    return failed("invalid", `certificate has ${der.length} bytes; expected at most ${most}`);
  }
  try {
    const certificate = new X509Certificate(der);
    // X509Certificate takes PEM too, and does not mind what follows.
    if (Buffer.compare(certificate.raw, der) === 0) return success(certificate);
  } catch {
    // Whatever OpenSSL makes of it, there is but one thing to say.
  }
  return failed("invalid", `certificate of ${der.length} bytes cannot be read; expected X.509 in DER`);
}

/** As parseCertificate, of its base64 text. */
export function parseCertificateText(text: string): Result<X509Certificate> {
  const der = decodeCertificate(text);
  return der.ok ? parseCertificate(der.value) : der;
}

/** The bytes of a certificate from their base64 text, in the one form that encoding them gives. */
export function decodeCertificate(text: string): Result<Uint8Array> {
  // Before decoding, so that nothing large is decoded.
  if (text.length > Math.ceil(LIMITS.certificateBytes / 3) * 4) {
    const most = LIMITS.certificateBytes;
    return failed("invalid", `certificate has ${text.length} characters; expected at most ${most} bytes`);
  }
  const der = Buffer.from(text, "base64");
  if (der.toString("base64") === text) return success(der);
  return failed("invalid", `certificate of ${text.length} characters is not in base64`);
}

/**
 * Checks a node's certificate.
 *
 * @returns a failure that names the certificate's subject and what is wrong: `invalid` when it cannot be read,
 *   `not-allowed` when it does not count here and now
 */
export function checkCertificate(der: Uint8Array, standards: Standards): Result<Holder> {
  const parsed = parseCertificate(der);
  if (!parsed.ok) return parsed;
  try {
    return judge(parsed.value, standards);
  } catch {
    // A key of a kind that OpenSSL does not know, a time beyond what it can tell: found only when asked for.
    return failed("invalid", `certificate of ${der.length} bytes cannot be read; expected X.509 in DER`);
  }
}

/** The authority that signed a certificate; null when it is none of these. */
export function issuerOf(certificate: X509Certificate, issuers: readonly Issuer[]): Issuer | null {
  const matches = (issuer: Issuer): boolean =>
    certificate.checkIssued(issuer.certificate) && certificate.verify(issuer.publicKey);
  return issuers.find(matches) ?? null;
}

/** True for a key on the curve that all our keys are on. */
export function isOurKind(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === CURVE;
}

/** The subject's fields as `KEY=value`, sorted; control characters in values stand escaped. */
export function subjectFields({ subject }: X509Certificate): readonly string[] {
  return subject.split("\n").toSorted();
}

/** How a certificate's subject is shown to people. */
export function subjectText({ subject }: X509Certificate): string {
  return subject.replaceAll("\n", ", ").slice(0, SUBJECT_SHOWN);
}

function judge(certificate: X509Certificate, standards: Standards): Result<Holder> {
  const { clusterId, issuers, nowMs } = standards;
  const refuse = (why: string): Result<never> =>
    failed("not-allowed", `certificate of "${subjectText(certificate)}" ${why}`);
  const { publicKey } = certificate;
  if (!isOurKind(publicKey)) return refuse(`has a key of another kind; expected EC ${CURVE}`);
  const id = nodeIdOf(spkiOf(publicKey));
  const claimed = claimOf(certificate);
  if (claimed === null) return refuse("does not name a node; expected O=cluster, OU=manager|worker, CN=id");
  const { organization, role } = claimed;
  if (organization !== clusterId) return refuse(`is for another cluster; expected O=${clusterId}`);
  if (claimed.id !== id) return refuse(`has a key that belongs to ${id}; expected CN=${id}`);
  const uri = `URI:${nodeUri(clusterId, id)}`;
  if (certificate.subjectAltName !== uri) return refuse(`has other names; expected ${uri} alone`);
  if (certificate.ca) return refuse("may issue others; expected CA:FALSE");
  if (!PURPOSES.every((purpose) => certificate.keyUsage?.includes(purpose)))
    return refuse("is for other purposes; expected serverAuth and clientAuth");
  const issuer = issuerOf(certificate, issuers);
  if (issuer === null) return refuse("is not issued by an authority of this cluster");
  if (!issuer.trusted) return refuse(`is issued by authority ${issuer.generation}, which is retired`);
  const wrongTime =
    timeProblem(certificate, nowMs) ?? timeProblem(issuer.certificate, nowMs, "has an authority that ");
  if (wrongTime !== null) return refuse(wrongTime);
  const notAfterMs = certificate.validToDate.getTime();
  return success({ credential: { id, role, issuer: issuer.fingerprint, notAfterMs }, publicKey });
}

interface Claim {
  readonly organization: string;
  readonly role: Role;
  readonly id: string;
}

/** What a subject of exactly these three fields says; null for any other. */
function claimOf(certificate: X509Certificate): Claim | null {
  const [cn, o, ou, more] = subjectFields(certificate);
  if (cn?.startsWith("CN=") !== true || o?.startsWith("O=") !== true || more !== undefined) return null;
  const role = ou === "OU=manager" ? "manager" : "worker";
  if (ou !== `OU=${role}`) return null;
  return { organization: o.slice(2), role, id: cn.slice(3) };
}

/** What is wrong with the time, if anything. Both ends count as within (RFC 5280 4.1.2.5). */
function timeProblem(certificate: X509Certificate, nowMs: number, whose = ""): string | null {
  const fromMs = certificate.validFromDate.getTime();
  const toMs = certificate.validToDate.getTime();
  const clock = `this host's clock shows ${new Date(nowMs).toISOString()}`;
  if (nowMs < fromMs) return `${whose}is good only in ${spanText(fromMs - nowMs)}; ${clock}`;
  if (nowMs > toMs) return `${whose}has ended ${spanText(nowMs - toMs)} ago; ${clock}`;
  // A time that cannot be read compares as neither.
  return nowMs >= fromMs && nowMs <= toMs ? null : `${whose}has no readable time; ${clock}`;
}

/** A span in its largest unit, rounded down: `3 days`, `1 hours`, `0 s`. */
function spanText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds >= 172_800) return `${Math.floor(seconds / 86_400)} days`;
  if (seconds >= 7200) return `${Math.floor(seconds / 3600)} hours`;
  return seconds >= 120 ? `${Math.floor(seconds / 60)} minutes` : `${seconds} s`;
}
