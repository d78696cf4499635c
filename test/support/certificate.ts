// Certificates made on the spot, self-signed, for hosts and a time that a test picks: without a program beyond node.

import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";

/** A certificate and its key, PEM. */
export interface TestPair {
  readonly certificate: string;
  readonly key: string;
}

/** What a certificate says. */
export interface TestCertificateOptions {
  /** Host names, wildcards among them; no subjectAltName at all when there are neither these nor addresses. */
  readonly hosts?: readonly string[];
  /** IPv4. */
  readonly addresses?: readonly string[];
  readonly fromMs?: number;
  readonly untilMs?: number;
}

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
const COMMON_NAME = oid([0x55, 0x04, 0x03]);
const SUBJECT_ALT_NAME = oid([0x55, 0x1d, 0x11]);

/** Makes a certificate that is valid from yesterday for three months, unless told otherwise. */
export function makePair(options: TestCertificateOptions = {}): TestPair {
  const { hosts = [], addresses = [], fromMs = Date.now() - DAY_MS } = options;
  const { untilMs = fromMs + 90 * DAY_MS } = options;
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const name = sequence(set(sequence(COMMON_NAME, der(0x0c, Buffer.from("skein test")))));
  const parts = [
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    name,
    sequence(timeOf(fromMs), timeOf(untilMs)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    ...namesOf(hosts, addresses),
  ];
  const body = sequence(...parts);
  const signature = sign("sha256", body, privateKey);
  const whole = sequence(body, ECDSA_WITH_SHA256, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  return { certificate: pem("CERTIFICATE", whole), key: keyText(privateKey) };
}

function namesOf(hosts: readonly string[], addresses: readonly string[]): readonly Buffer[] {
  if (hosts.length + addresses.length === 0) return [];
  const names = [
    ...hosts.map((host) => der(0x82, Buffer.from(host, "latin1"))),
    ...addresses.map((address) => der(0x87, Buffer.from(address.split(".").map(Number)))),
  ];
  return [der(0xa3, sequence(sequence(SUBJECT_ALT_NAME, der(0x04, sequence(...names)))))];
}

/** GeneralizedTime, which any year has. */
function timeOf(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replaceAll(/[-:T]/g, "").slice(0, 14);
  return der(0x18, Buffer.from(`${digits}Z`));
}

function der(tag: number, content: Buffer): Buffer {
  const size = content.length;
  const long = size > 0xff ? [0x82, size >> 8, size & 0xff] : [0x81, size];
  return Buffer.concat([Buffer.from([tag, ...(size < 0x80 ? [size] : long)]), content]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function set(...parts: readonly Buffer[]): Buffer {
  return der(0x31, Buffer.concat(parts));
}

function oid(bytes: readonly number[]): Buffer {
  return der(0x06, Buffer.from(bytes));
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

function keyText(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
