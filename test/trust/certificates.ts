// Authorities and certificates made by the `openssl` program: what we check was not made by us, and may be wrong in any
// way that OpenSSL can be told to make it. All are good from the moment of the test run on for as many days as asked;
// a test that wants another time hands in another `nowMs`.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { sha256Hex } from "../../src/base/bytes.ts";
import type { Charter, Root } from "../../src/model/charter.ts";
import { nodeIdOf, spkiOf } from "../../src/trust/identity.ts";

export const CLUSTER = "abcdefghijklmnopqrst";
export const OTHER_CLUSTER = "tsrqponmlkjihgfedcba";
export const DAY_MS = 86_400_000;

/** Somebody with a key, a certificate for it, or both. */
export interface Holding {
  readonly key: KeyObject;
  readonly keyPem: string;
  readonly pem: string;
  readonly der: Buffer;
}

/** What a certificate is to say, where it differs from what it should. */
export interface Wanted {
  readonly key?: KeyObject;
  /** As `/O=.../OU=.../CN=...`. */
  readonly subject: string;
  /** The lines of its extensions, in the form of openssl's config file. */
  readonly extensions: readonly string[];
  readonly days?: number;
  /** Signs it; it signs itself without. */
  readonly issuer?: Holding;
}

/** A key of the kind that nodes have. */
export function drawKey(curve = "prime256v1"): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: curve }).privateKey;
}

export function pemOf(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Runs openssl in a folder of its own. @returns what it printed, and whether it ended well */
export function openssl(
  args: readonly string[],
  files: Readonly<Record<string, string>>,
): { ok: boolean; text: string } {
  const folder = mkdtempSync(join(tmpdir(), "skein-openssl-"));
  try {
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(folder, name), text, { mode: 0o600 });
    const ran = spawnSync("openssl", args, { cwd: folder, encoding: "utf8", timeout: 30_000 });
    return { ok: ran.status === 0, text: `${ran.stdout}${ran.stderr}` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes a certificate. */
export function certify({ key = drawKey(), subject, extensions, days = 90, issuer }: Wanted): Holding {
  const keyPem = pemOf(key);
  const config = ["[req]", "distinguished_name=dn", "[dn]", "[ext]", ...extensions, ""].join("\n");
  const files = { "own.key": keyPem, config, "ca.pem": issuer?.pem ?? "", "ca.key": issuer?.keyPem ?? "" };
  const signer = issuer === undefined ? [] : ["-CA", "ca.pem", "-CAkey", "ca.key"];
  const request = ["req", "-new", "-x509", "-config", "config", "-key", "own.key", "-utf8", "-subj", subject];
  const { ok, text } = openssl([...request, "-days", `${days}`, "-extensions", "ext", ...signer], files);
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/.exec(text)?.[0];
  assert.ok(ok && pem !== undefined, text);
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ""), "base64");
  return { key: createPrivateKey(keyPem), keyPem, pem, der };
}

/** An authority and what the charter says of it. */
export interface TestAuthority extends Holding {
  readonly root: Root;
}

const ROOT_EXTENSIONS = [
  "basicConstraints=critical,CA:TRUE,pathlen:0",
  "keyUsage=critical,keyCertSign",
  "subjectKeyIdentifier=hash",
];

/** Makes an authority; one that comes after another is vouched for by it. */
export function makeAuthority(
  clusterId: string,
  generation: number,
  { before, ...changed }: Partial<Wanted> & { readonly before?: TestAuthority } = {},
): TestAuthority {
  const key = drawKey();
  const subject = `/O=${clusterId}/CN=skein authority ${generation}`;
  const own = certify({ key, subject, extensions: ROOT_EXTENSIONS, days: 3650, ...changed });
  const cross =
    before === undefined
      ? null
      : certify({ key, subject, extensions: ROOT_EXTENSIONS, issuer: before, ...changed }).der.toString(
          "base64",
        );
  const certificate = own.der.toString("base64");
  return {
    ...own,
    root: { fingerprint: sha256Hex(own.der), certificate, cross, generation, retired: false },
  };
}

/** What a node's certificate says where it differs from what it should. */
export interface WantedNode extends Partial<Wanted> {
  readonly clusterId?: string;
  readonly role?: string;
  readonly id?: string;
  /** The names beside the subject, as openssl writes them. */
  readonly names?: string;
}

/** Makes a node's certificate. */
export function makeNode(issuer: TestAuthority, wanted: WantedNode = {}): Holding & { readonly id: string } {
  const { clusterId = CLUSTER, role = "worker", key = drawKey(), ...changed } = wanted;
  const id = wanted.id ?? nodeIdOf(spkiOf(key));
  const extensions = [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
    `subjectAltName=${wanted.names ?? `URI:skein://${clusterId}/node/${id}`}`,
  ];
  const subject = `/O=${clusterId}/OU=${role}/CN=${id}`;
  const made = certify({ key, subject, extensions, ...changed, issuer: changed.issuer ?? issuer });
  return { ...made, id };
}

/** A charter of these authorities. */
export function charterWith(authorities: readonly TestAuthority[], changed: Partial<Charter> = {}): Charter {
  const roots = authorities.map(({ root }) => root);
  roots.sort((one, other) => (one.fingerprint < other.fingerprint ? -1 : 1));
  return {
    clusterId: CLUSTER,
    roots,
    tokens: { worker: 1, manager: 1 },
    revoked: [],
    networks: [],
    ...changed,
  };
}

/** The charter with one of its authorities retired. */
export function retired(charter: Charter, { root }: TestAuthority): Charter {
  const roots = charter.roots.map((one) =>
    one.fingerprint === root.fingerprint ? { ...one, retired: true } : one,
  );
  return { ...charter, roots };
}

let cached: readonly [first: TestAuthority, second: TestAuthority] | null = null;

/** Two authorities of CLUSTER, the first vouching for the second; made once in a run. */
export function authorities(): readonly [first: TestAuthority, second: TestAuthority] {
  if (cached === null) {
    const first = makeAuthority(CLUSTER, 1);
    cached = [first, makeAuthority(CLUSTER, 2, { before: first })];
  }
  return cached;
}
