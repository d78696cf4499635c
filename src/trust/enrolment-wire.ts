/**
 * Enrolment wire: what a joiner and a manager say to each other.
 *
 * Plain HTTP/1.1 requests with JSON bodies, inside TLS 1.3 with a protocol name of its own. A stranger may ask who we
 * are (`GET /cluster`); with that it checks us against its token before it says the secret (`POST /join`). A member
 * renews its certificate (`POST /renew`), a manager asks another for the authority's keys (`POST /authority`).
 *
 * A signing request proves who has the key, but not that it is him who brings it now. So it comes with a proof: a
 * signature by that key over a value that this one TLS connection has at both ends and no other has (RFC 8446 7.5).
 * What was overheard or taken from a log is of no use on another connection.
 *
 * All that comes in is bounded by whoever reads it, and checked here. Pure.
 */

import { createPublicKey, verify } from "node:crypto";

import { failed, success, type FailureCode, type Result } from "../base/failure.ts";
import { isIpv4, isIpv6, parseHostPort, type HostPort } from "../base/ip.ts";
import type { Charter, Root } from "../model/charter.ts";
import { parseLabel } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";

import { parseCharter } from "./charter.ts";
import type { KeysByFingerprint } from "./keyring.ts";

/** Why a request is refused: its HTTP status, and as what failure the asker meets it. */
export const REFUSALS = {
  malformed: { status: 400, code: "invalid" },
  "wrong-token": { status: 403, code: "not-allowed" },
  "rotated-token": { status: 403, code: "not-allowed" },
  "wrong-proof": { status: 403, code: "not-allowed" },
  removed: { status: 403, code: "not-allowed" },
  stranger: { status: 403, code: "not-allowed" },
  "not-manager": { status: 403, code: "not-allowed" },
  "unknown-request": { status: 404, code: "refused" },
  "too-slow": { status: 408, code: "timeout" },
  "too-large": { status: 413, code: "invalid" },
  elsewhere: { status: 421, code: "refused" },
  limited: { status: 429, code: "busy" },
  failed: { status: 500, code: "refused" },
  full: { status: 503, code: "busy" },
} as const satisfies Readonly<Record<string, { readonly status: number; readonly code: FailureCode }>>;

/** Why a request was refused. */
export type RefusalReason = keyof typeof REFUSALS;

/** Asks to become a member. */
export interface JoinRequest {
  readonly secret: string;
  /** PKCS #10 in DER. */
  readonly csr: Uint8Array;
  /** See proofText. */
  readonly proof: Uint8Array;
  /** What the host calls itself, to be told to people; null when it says nothing. */
  readonly name: string | null;
}

/** What anybody may know of a cluster. */
export interface ClusterAnswer {
  readonly clusterId: string;
  readonly roots: readonly Root[];
  /** Where managers are reached. */
  readonly managers: readonly HostPort[];
  /** Whether the certificate that the asker has shown counts there. */
  readonly counts: boolean;
}

/** What a joiner or a renewing member gets. */
export interface GrantAnswer {
  /** PEM. */
  readonly certificate: string;
  readonly charter: Charter;
  readonly keys: KeysByFingerprint;
  readonly members: readonly HostPort[];
}

/** Members named in an answer: enough to find the rest. */
export const MEMBERS_NAMED = 32;

/** What is signed as a proof, for which kind of request. */
export function proofText(kind: "join" | "renew", binding: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`skein ${kind}\n`), binding]);
}

/** Whether a proof is of the holder of this key (SubjectPublicKeyInfo in DER) on this connection. */
export function isProof(
  kind: "join" | "renew",
  binding: Uint8Array,
  { publicKey, proof }: { readonly publicKey: Uint8Array; readonly proof: Uint8Array },
): boolean {
  const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
  return verify("sha256", proofText(kind, binding), key, proof);
}

/** Reads the body of `POST /join`. @returns a failure that repeats nothing of it */
export function parseJoinRequest(text: string): Result<JoinRequest> {
  const fields = objectOf(text);
  const renewal = parseRenewRequest(text);
  if (!renewal.ok) return renewal;
  const secret = fields?.["secret"];
  if (typeof secret !== "string" || secret.length > 64) return malformed("secret");
  const name = fields?.["name"];
  const label = typeof name === "string" ? parseLabel("name", name) : null;
  return success({ ...renewal.value, secret, name: label?.ok === true ? label.value : null });
}

/** Reads the body of `POST /renew`. @returns a failure that repeats nothing of it */
export function parseRenewRequest(text: string): Result<Pick<JoinRequest, "csr" | "proof">> {
  const fields = objectOf(text);
  const csr = bytesOf(fields?.["csr"], LIMITS.csrBytes);
  if (csr === null) return malformed("csr");
  const proof = bytesOf(fields?.["proof"], 80);
  return proof === null ? malformed("proof") : success({ csr, proof });
}

/** Reads the answer to `GET /cluster`. Says nothing about whether it is to be believed. */
export function parseClusterAnswer(text: string): Result<ClusterAnswer> {
  const fields = objectOf(text);
  const { clusterId, roots } = fields ?? {};
  const charter = parseCharter({
    clusterId,
    roots,
    tokens: { worker: 1, manager: 1 },
    revoked: [],
    networks: [],
  });
  if (!charter.ok) return charter;
  return success({
    clusterId: charter.value.clusterId,
    roots: charter.value.roots,
    managers: addressesOf(fields?.["managers"]),
    counts: fields?.["counts"] === true,
  });
}

/** Reads the answer to a request that was granted. */
export function parseGrantAnswer(text: string): Result<GrantAnswer> {
  const fields = objectOf(text);
  const certificate = fields?.["certificate"];
  if (typeof certificate !== "string") return malformed("certificate");
  const charter = parseCharter(fields?.["charter"]);
  if (!charter.ok) return charter;
  const keys = keysOf(fields?.["keys"] ?? {});
  if (keys === null) return malformed("keys");
  return success({ certificate, charter: charter.value, keys, members: addressesOf(fields?.["members"]) });
}

/** Reads the answer to `POST /authority`. */
export function parseKeysAnswer(text: string): Result<KeysByFingerprint> {
  const keys = keysOf(objectOf(text)?.["keys"]);
  return keys === null ? malformed("keys") : success(keys);
}

/** Why a request was refused, and where to go instead. */
export function parseRefusal(text: string): {
  readonly reason: RefusalReason | null;
  readonly text: string;
  readonly managers: readonly HostPort[];
} {
  const fields = objectOf(text);
  const reason = fields?.["reason"];
  const said = fields?.["error"];
  return {
    reason: typeof reason === "string" && Object.hasOwn(REFUSALS, reason) ? (reason as RefusalReason) : null,
    // For people, so without what would move their terminal's cursor.
    text: (typeof said === "string" ? said : "no reason given")
      .replace(/[^\x20-\x7e]/g, "?")
      .slice(0, LIMITS.problemTextBytes),
    managers: addressesOf(fields?.["managers"]),
  };
}

/** Those that are addresses, not names: nobody we are sent to by a member is looked up. */
function addressesOf(value: unknown): readonly HostPort[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MEMBERS_NAMED).flatMap((one: unknown) => {
    const parsed = typeof one === "string" ? parseHostPort(one) : null;
    if (parsed?.ok !== true) return [];
    const { host } = parsed.value;
    return isIpv4(host) || isIpv6(host) ? [parsed.value] : [];
  });
}

function keysOf(value: unknown): KeysByFingerprint | null {
  if (!isObject(value)) return null;
  const entries = Object.entries(value);
  if (entries.length > LIMITS.rootsMax) return null;
  const isKey = ([fingerprint, pem]: [string, unknown]): boolean =>
    /^[0-9a-f]{64}$/.test(fingerprint) && typeof pem === "string" && pem.length <= LIMITS.certificateBytes;
  return entries.every(isKey) ? (value as KeysByFingerprint) : null;
}

function bytesOf(value: unknown, sizeMax: number): Uint8Array | null {
  if (typeof value !== "string" || value.length > Math.ceil(sizeMax / 3) * 4) return null;
  const bytes = Buffer.from(value, "base64");
  return bytes.toString("base64") === value ? bytes : null;
}

function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    // Malformed is malformed, whatever is wrong with it.
    return null;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function malformed(field: string): Result<never> {
  return failed("invalid", `field "${field}" is missing or malformed`);
}
