/**
 * Authority: the key that makes members, and what it signs.
 *
 * An authority is one EC P-256 key with a self-signed certificate; managers hold it. What it issues says who a node is:
 * the cluster in O, the role in OU, the node's id in CN and in a URI. A certificate begins two days before it is
 * issued, so that hosts whose clocks are off by a day take it. A later authority is vouched for by the one before it:
 * the same name and key once more, signed by the old key.
 *
 * The X.509 package is loaded at the first use only (65 ms, 20 MB): a daemon that neither joins nor issues goes
 * without. What is read here of a stranger is a signing request of bounded size; certificates are read by
 * certificate.ts, without the package.
 *
 * Touches: randomness, key generation. Time is handed in.
 */

import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  webcrypto,
  X509Certificate,
  type KeyObject,
} from "node:crypto";

import type * as X509 from "@peculiar/x509";

import { base32, sha256Hex } from "../base/bytes.ts";
import { Failure, failed, success, textOf, type Result } from "../base/failure.ts";
import type { Root } from "../model/charter.ts";
import type { Role } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { nodeUri } from "./certificate.ts";
import { nodeIdOf } from "./identity.ts";
import { authorityName } from "./root.ts";

/** An authority whose key is here. */
export interface Authority {
  readonly root: Root;
  readonly privateKey: KeyObject;
}

/** What a certificate is to say, and when it is issued. */
export interface CertificateRequest {
  /** SubjectPublicKeyInfo in DER of the node's key. */
  readonly publicKey: Uint8Array;
  readonly clusterId: string;
  readonly id: NodeId;
  readonly role: Role;
  readonly nowMs: number;
  /** How long it is good from now; CERTIFICATE_LIFE_MS unless told. */
  readonly lifeMs?: number;
}

/** Who asks for a certificate, as its signing request proves. */
export interface Requester {
  readonly id: NodeId;
  /** SubjectPublicKeyInfo in DER, P-256, uncompressed. */
  readonly publicKey: Uint8Array;
}

const DAY_MS = 86_400_000;

/** How long before its issue a certificate begins: two clocks may be off by a day each, either way. */
export const BACKDATED_MS = 2 * DAY_MS;
/** How long a node's certificate is good after its issue. */
export const CERTIFICATE_LIFE_MS = 90 * DAY_MS;
/** How long an authority's is. */
export const AUTHORITY_LIFE_MS = 3650 * DAY_MS;

const CLUSTER_ID_CHARACTERS = 20;
const CURVE = "prime256v1";
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** All that comes before the point in the SubjectPublicKeyInfo of a P-256 key in uncompressed form (RFC 5480). */
const P256_PREFIX = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex");
const P256_BYTES = P256_PREFIX.length + 64;

/** Draws the id of a new cluster: 100 random bits. */
export function drawClusterId(): string {
  return base32(randomBytes(13), 0, CLUSTER_ID_CHARACTERS);
}

/**
 * Makes a new authority with a key of its own.
 *
 * @param generation  1 for a cluster's first; then one more than the one before
 */
export async function createAuthority(
  clusterId: string,
  generation: number,
  nowMs: number,
): Promise<Authority> {
  const x509 = await loadX509();
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: CURVE });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const name = rootName(clusterId, generation);
  const certificate = await x509.X509CertificateGenerator.create({
    ...term(nowMs, AUTHORITY_LIFE_MS),
    serialNumber: drawSerial(),
    subject: name,
    issuer: name,
    publicKey: spki,
    signingKey: signingKey(privateKey),
    signingAlgorithm: ECDSA,
    extensions: await rootExtensions(spki, spki),
  });
  const der = Buffer.from(certificate.rawData);
  return {
    root: {
      fingerprint: sha256Hex(der),
      certificate: der.toString("base64"),
      cross: null,
      generation,
      retired: false,
    },
    privateKey,
  };
}

/**
 * An authority from its key in PEM (PKCS #8).
 *
 * @returns a failure when it is no P-256 key, or not the key of this root
 */
export function authorityOf(root: Root, pem: string): Result<Authority> {
  try {
    const privateKey = createPrivateKey(pem);
    const certificate = new X509Certificate(Buffer.from(root.certificate, "base64"));
    if (certificate.checkPrivateKey(privateKey)) return success({ root, privateKey });
    return failed("corrupt", `key is not that of authority ${root.fingerprint.slice(0, 16)}`);
  } catch {
    // Not with the text of what was thrown: it may tell of the key.
    return failed(
      "corrupt",
      `key of authority ${root.fingerprint.slice(0, 16)} is damaged; expected PKCS #8 in PEM`,
    );
  }
}

/** An authority's key in PEM (PKCS #8). A secret. */
export function renderKey({ privateKey }: Authority): string {
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** An authority's private number, 32 bytes, from which its tokens are made. A secret. */
export function keyBytes({ privateKey }: Authority): Uint8Array {
  // Not PKCS #8: that has several forms for one key, and all managers must print equal tokens.
  return Buffer.from(privateKey.export({ format: "jwk" }).d ?? "", "base64url");
}

/** Issues a node's certificate: DER. */
export async function issueCertificate(
  authority: Authority,
  request: CertificateRequest,
): Promise<Uint8Array> {
  const x509 = await loadX509();
  const issuer = new X509Certificate(Buffer.from(authority.root.certificate, "base64"));
  const { clusterId, id, role, nowMs } = request;
  const certificate = await x509.X509CertificateGenerator.create({
    ...term(nowMs, request.lifeMs ?? CERTIFICATE_LIFE_MS),
    serialNumber: drawSerial(),
    subject: [{ O: [clusterId] }, { OU: [role] }, { CN: [id] }],
    issuer: rootName(clusterId, authority.root.generation),
    publicKey: request.publicKey,
    signingKey: signingKey(authority.privateKey),
    signingAlgorithm: ECDSA,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: nodeUri(clusterId, id) }]),
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(spkiOf(issuer)),
    ],
  });
  return Buffer.from(certificate.rawData);
}

/**
 * Vouches for a later authority: its name and key, signed by an older one's key.
 *
 * @returns the later root with `cross` set
 */
export async function crossSign(older: Authority, later: Root, nowMs: number): Promise<Root> {
  const x509 = await loadX509();
  const certificate = new X509Certificate(Buffer.from(later.certificate, "base64"));
  const issuer = new X509Certificate(Buffer.from(older.root.certificate, "base64"));
  const clusterId = organisationOf(certificate);
  const spki = spkiOf(certificate);
  const cross = await x509.X509CertificateGenerator.create({
    ...term(nowMs, AUTHORITY_LIFE_MS),
    serialNumber: drawSerial(),
    subject: rootName(clusterId, later.generation),
    issuer: rootName(clusterId, older.root.generation),
    publicKey: spki,
    signingKey: signingKey(older.privateKey),
    signingAlgorithm: ECDSA,
    extensions: await rootExtensions(spki, spkiOf(issuer)),
  });
  return { ...later, cross: Buffer.from(cross.rawData).toString("base64") };
}

/** Asks for a certificate: a signing request (PKCS #10, RFC 2986) in DER that proves that we have the key. */
export async function makeCsr(id: NodeId, key: KeyObject, publicKey: Uint8Array): Promise<Uint8Array> {
  const x509 = await loadX509();
  const pair = {
    privateKey: signingKey(key),
    publicKey: await webcrypto.subtle.importKey("spki", Buffer.from(publicKey), ECDSA, true, ["verify"]),
  };
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [id] }],
    keys: pair,
    signingAlgorithm: ECDSA,
  });
  return Buffer.from(csr.rawData);
}

/**
 * Who a signing request comes from: the holder of the key that it is signed with. What else it says is not looked at.
 *
 * @returns a failure when it is too long, not one, of another kind of key, or not signed by its own key
 */
export async function readCsr(der: Uint8Array): Promise<Result<Requester>> {
  if (der.length > LIMITS.csrBytes) {
    return failed("invalid", `signing request has ${der.length} bytes; expected at most ${LIMITS.csrBytes}`);
  }
  const x509 = await loadX509();
  try {
    const csr = new x509.Pkcs10CertificateRequest(Buffer.from(der));
    const publicKey = Buffer.from(csr.publicKey.rawData);
    // One form of key only: the id is made from these bytes.
    if (publicKey.length !== P256_BYTES || !publicKey.subarray(0, P256_PREFIX.length).equals(P256_PREFIX)) {
      return failed("invalid", "signing request is of another kind of key; expected EC P-256, uncompressed");
    }
    if (!(await csr.verify())) return failed("invalid", "signing request is not signed by its own key");
    return success({ id: nodeIdOf(publicKey), publicKey });
  } catch (thrown) {
    // Whatever a parser says of a stranger's bytes: they are not what was asked for.
    return failed(
      "invalid",
      `signing request is damaged: ${textOf(thrown).slice(0, LIMITS.problemTextBytes)}`,
    );
  }
}

/**
 * Loads the X.509 package. It needs `Reflect.getMetadata` before it is run, which the first import brings.
 *
 * @throws Failure `corrupt` when the installation lacks it
 */
export async function loadX509(): Promise<typeof X509> {
  try {
    await import("reflect-metadata/lite");
    return await import("@peculiar/x509");
  } catch (cause) {
    throw new Failure(
      "corrupt",
      `the X.509 package cannot be loaded: ${textOf(cause)}; install skein again`,
      {
        cause,
      },
    );
  }
}

function rootName(clusterId: string, generation: number): { readonly [type: string]: string[] }[] {
  return [{ O: [clusterId] }, { CN: [authorityName(generation)] }];
}

async function rootExtensions(
  subject: Uint8Array<ArrayBuffer>,
  issuer: Uint8Array<ArrayBuffer>,
): Promise<X509.Extension[]> {
  const x509 = await loadX509();
  return [
    // Nothing but nodes' certificates below it.
    new x509.BasicConstraintsExtension(true, 0, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    await x509.SubjectKeyIdentifierExtension.create(subject),
    await x509.AuthorityKeyIdentifierExtension.create(issuer),
  ];
}

/** From two days ago until `lifeMs` from now, in the whole seconds that X.509 has. */
function term(nowMs: number, lifeMs: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const second = Math.floor(nowMs / 1000) * 1000;
  return { notBefore: new Date(second - BACKDATED_MS), notAfter: new Date(second + lifeMs) };
}

/** 16 random bytes in hexadecimal digits: positive and of full length in DER (RFC 5280 4.1.2.2). */
function drawSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function signingKey(key: KeyObject): webcrypto.CryptoKey {
  return key.toCryptoKey(ECDSA, false, ["sign"]);
}

function spkiOf(certificate: X509Certificate): Uint8Array<ArrayBuffer> {
  return certificate.publicKey.export({ type: "spki", format: "der" });
}

function organisationOf(certificate: X509Certificate): string {
  return /^O=(.*)$/m.exec(certificate.subject)?.[1] ?? "";
}
