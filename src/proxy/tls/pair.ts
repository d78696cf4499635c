/**
 * Pair: a certificate and its key, as text from two files or one, made into something to serve or a reason not to.
 *
 * Refused is what could not be served to anybody: no certificate, no key, a key of another certificate. What is merely
 * wrong (expired, not valid yet, without names) is served all the same, since a client may not mind and an error page
 * tells more than a closed port; it is reported instead. Names are those of the certificate (subjectAltName, RFC 9525
 * 2), never a file's: so there is nothing to configure that could disagree with it.
 *
 * No text made here holds a byte of a key.
 *
 * Pure.
 */

import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";

import { failed, success, type Result } from "../../base/failure.ts";

import { hostOf } from "./client-hello.ts";

/** A certificate with its key, ready to be served. */
export interface Pair {
  /** Hosts that it is for: exact, or `*.suffix`; lower case, in its order. Empty when it names none. */
  readonly hosts: readonly string[];
  /** Addresses that it is for, as its text has them. */
  readonly addresses: readonly string[];
  readonly fromMs: number;
  readonly untilMs: number;
  /** The certificate and those above it, PEM. */
  readonly chain: string;
  /** PEM; a secret. */
  readonly key: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----[^-]+-----END \1-----/g;
/** A key behind a passphrase (RFC 5958 3), and how OpenSSL once wrote one: with headers (RFC 1421). */
const ENCRYPTED = /^(?:-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED)/m;
/** A server's chain has two or three. */
const CHAIN_MAX = 10;

/**
 * Reads a pair.
 *
 * @param texts.certificate  PEM: the server's certificate first, those above it behind; other blocks are skipped
 * @param texts.key          PEM: one private key without a passphrase; the same text where one file holds both
 */
export function readPair(texts: { readonly certificate: string; readonly key: string }): Result<Pair> {
  const blocks = texts.certificate.match(CERTIFICATE) ?? [];
  const [first] = blocks;
  if (first === undefined) return failed("invalid", "it holds no certificate; expected one in PEM");
  if (blocks.length > CHAIN_MAX) {
    return failed("invalid", `it holds ${blocks.length} certificates; expected at most ${CHAIN_MAX}`);
  }
  const certificate = readCertificate(first);
  if (certificate === null) return failed("invalid", "its first certificate cannot be read");
  const key = readKey(texts.key);
  if (!key.ok) return key;
  if (!certificate.checkPrivateKey(key.value.object)) {
    return failed("invalid", "the key is not that of the first certificate");
  }
  const { hosts, addresses } = namesOf(certificate.subjectAltName ?? "");
  return success({
    hosts,
    addresses,
    fromMs: Date.parse(certificate.validFrom),
    untilMs: Date.parse(certificate.validTo),
    chain: `${blocks.join("\n")}\n`,
    key: key.value.text,
  });
}

function readCertificate(text: string): X509Certificate | null {
  try {
    return new X509Certificate(text);
  } catch {
    // Whatever OpenSSL makes of it, there is but one thing to say.
    return null;
  }
}

function readKey(text: string): Result<{ readonly text: string; readonly object: KeyObject }> {
  const [block, ...others] = text.match(KEY) ?? [];
  if (ENCRYPTED.test(text)) {
    return failed("invalid", "the private key has a passphrase; expected one without");
  }
  if (block === undefined) return failed("invalid", "there is no private key; expected one in PEM");
  if (others.length > 0)
    return failed("invalid", `there are ${others.length + 1} private keys; expected one`);
  try {
    return success({ text: `${block}\n`, object: createPrivateKey(block) });
  } catch {
    // OpenSSL's own words say nothing that helps, and might one day say too much.
    return failed("invalid", "the private key cannot be read");
  }
}

/** One name of a subjectAltName as node prints it; a value that could be mistaken for several is quoted. */
const NAME = /(DNS|IP Address):("(?:[^"\\]|\\.)*"|[^,]*)/g;

function namesOf(subjectAltName: string): Pick<Pair, "hosts" | "addresses"> {
  const hosts: string[] = [];
  const addresses: string[] = [];
  for (const [, kind, value = ""] of subjectAltName.matchAll(NAME)) {
    if (kind === "IP Address") addresses.push(value.toLowerCase());
    else if (isServable(value.toLowerCase())) hosts.push(value.toLowerCase());
  }
  return { hosts: [...new Set(hosts)], addresses };
}

/** A wildcard stands for one label, the leftmost (RFC 9525 6.3); others are for nobody. */
function isServable(name: string): boolean {
  return hostOf(name.startsWith("*.") ? name.slice(2) : name) !== null;
}

/** What is wrong with a pair that is served all the same; null when nothing is. */
export function complaintOf({ hosts, addresses, fromMs, untilMs }: Pair, nowMs: number): string | null {
  if (nowMs >= untilMs) return `expired on ${dayOf(untilMs)}; clients refuse it`;
  if (nowMs < fromMs) return `is not valid before ${dayOf(fromMs)}; clients refuse it`;
  if (hosts.length === 0 && addresses.length === 0)
    return "names no host (subjectAltName); clients refuse it";
  // Of 90 days 15: whoever renews in time has done it twice by then.
  return untilMs - nowMs < (untilMs - fromMs) / LATE_SHARE ? `expires on ${dayOf(untilMs)}; renew it` : null;
}

const LATE_SHARE = 6;

function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}
