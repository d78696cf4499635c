/**
 * Backup: the authority in a file, for the day on which all managers are lost.
 *
 * Nothing stops without managers, but nobody joins, and certificates end. The keys of the authorities bring a manager
 * back on any host. Whoever has them can make himself one, so they leave a host only encrypted: AES-256-GCM under a key
 * that scrypt (RFC 7914) makes of a passphrase, slow enough that a guess costs a tenth of a second and 64 MiB. The file
 * is text, to be printed or kept in a vault for passwords; its head says in clear what it is, and is part of what is
 * authenticated.
 *
 * A wrong passphrase and an altered file look alike, as they must. What was decrypted is checked like anything else.
 *
 * Touches: randomness; it computes for a while, off the main thread.
 */

import { createCipheriv, createDecipheriv, randomBytes, scrypt, type ScryptOptions } from "node:crypto";

import { Failure, failed, success, type Result } from "../base/failure.ts";
import type { Charter } from "../model/charter.ts";
import { LIMITS } from "../model/limits.ts";

import { parseCharter } from "./charter.ts";
import { Keyring, readKeys, type KeysByFingerprint } from "./keyring.ts";
import { readRoot } from "./root.ts";

/** What a backup holds. */
export interface Backup {
  readonly charter: Charter;
  /** At least one. */
  readonly keys: KeysByFingerprint;
}

/** A passphrase of fewer characters is refused: the file may lie somewhere for years. */
export const PASSPHRASE_CHARACTERS_MIN = 12;

const VERSION = "1";
const BEGIN = "-----BEGIN SKEIN AUTHORITY BACKUP-----";
const END = "-----END SKEIN AUTHORITY BACKUP-----";
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const LINE_CHARACTERS = 64;
/** The cost of one guess. In the head, so that it can be raised; one that is read is bounded, as it costs us too. */
const COST = 2 ** 16;
const COST_MAX = 2 ** 18;
const BLOCK = 8;
const FIELDS = ["Version", "Cluster", "Created", "Scrypt-N", "Salt", "Nonce"] as const;

/**
 * Renders a backup.
 *
 * @throws Failure `invalid` for a passphrase that is too short, `not-allowed` without a key
 */
export async function renderBackup(
  { charter, keys }: Backup,
  passphrase: string,
  nowMs: number,
): Promise<string> {
  if (passphrase.length < PASSPHRASE_CHARACTERS_MIN) {
    const found = `passphrase has ${passphrase.length} characters`;
    throw new Failure("invalid", `${found}; expected at least ${PASSPHRASE_CHARACTERS_MIN}`);
  }
  if (Object.keys(keys).length === 0) {
    throw new Failure("not-allowed", "this node has no authority's key; make the backup on a manager");
  }
  const [salt, nonce] = [randomBytes(SALT_BYTES), randomBytes(NONCE_BYTES)];
  const values = [
    VERSION,
    charter.clusterId,
    new Date(nowMs).toISOString(),
    String(COST),
    base64(salt),
    base64(nonce),
  ];
  const head = FIELDS.map((field, at) => `${field}: ${values[at]}`).join("\n");
  const cipher = createCipheriv("aes-256-gcm", await keyFrom(passphrase, salt, COST), nonce);
  cipher.setAAD(Buffer.from(head));
  const sealed = [cipher.update(JSON.stringify({ charter, keys })), cipher.final(), cipher.getAuthTag()];
  const body = base64(Buffer.concat(sealed)).replace(new RegExp(`.{1,${LINE_CHARACTERS}}`, "g"), "$&\n");
  return `${BEGIN}\n${head}\n\n${body}${END}\n`;
}

/**
 * Reads a backup, and checks that what is in it fits together.
 *
 * @returns a failure: `invalid` when it is none, or of a later version; `not-allowed` when the passphrase is wrong or
 *   the file was altered; `corrupt` when it makes no sense. No text holds anything of the passphrase, or of what the
 *   file keeps secret.
 */
export async function readBackup(text: string, passphrase: string): Promise<Result<Backup>> {
  const parsed = parseArmour(text);
  if (!parsed.ok) return parsed;
  const { head, salt, nonce, cost, sealed, clusterId } = parsed.value;
  const decipher = createDecipheriv("aes-256-gcm", await keyFrom(passphrase, salt, cost), nonce);
  decipher.setAAD(Buffer.from(head));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  let plain: Buffer;
  try {
    plain = Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch {
    return failed(
      "not-allowed",
      "the backup does not open: the passphrase is wrong, or the file was altered",
    );
  }
  return readContent(plain.toString("utf8"), clusterId);
}

interface Armour {
  /** As it was authenticated. */
  readonly head: string;
  readonly clusterId: string;
  readonly cost: number;
  readonly salt: Buffer;
  readonly nonce: Buffer;
  /** With the tag at its end. */
  readonly sealed: Buffer;
}

function parseArmour(text: string): Result<Armour> {
  const refuse = (why: string): Result<never> => failed("invalid", `the backup cannot be read: ${why}`);
  if (text.length > LIMITS.backupBytes) return refuse(`it has more than ${LIMITS.backupBytes} characters`);
  // Mail and terminals change line ends, and put space around lines.
  const lines = text.split("\n").map((line) => line.trim());
  const [from, to] = [lines.indexOf(BEGIN), lines.indexOf(END)];
  if (from === -1 || to < from) return refuse(`expected "${BEGIN}" to "${END}"`);
  const headLines = lines.slice(from + 1, from + 1 + FIELDS.length);
  const values = FIELDS.map((field, at) => {
    const line = headLines[at] ?? "";
    return line.startsWith(`${field}: `) ? line.slice(field.length + 2) : "";
  });
  const [version = "", clusterId = "", , cost = "", salt = "", nonce = ""] = values;
  if (/^\d{1,3}$/.test(version) && version !== VERSION)
    return refuse(`it is of version ${version}, which a newer skein wrote; expected ${VERSION}`);
  if (version === "" || lines[from + 1 + FIELDS.length] !== "") return refuse("its head is damaged");
  const armour = {
    head: headLines.join("\n"),
    clusterId,
    cost: Number(cost),
    salt: Buffer.from(salt, "base64"),
    nonce: Buffer.from(nonce, "base64"),
    sealed: Buffer.from(lines.slice(from + 2 + FIELDS.length, to).join(""), "base64"),
  };
  const isPower = Number.isInteger(Math.log2(armour.cost)) && armour.cost >= 2 && armour.cost <= COST_MAX;
  const isWhole =
    armour.salt.length === SALT_BYTES &&
    armour.nonce.length === NONCE_BYTES &&
    armour.sealed.length > TAG_BYTES;
  return isPower && isWhole ? success(armour) : refuse("its head or its end is damaged");
}

function readContent(text: string, clusterId: string): Result<Backup> {
  // In words of our own: what a parser says may repeat what it met, and that may be a key.
  const refuse = (why: string): Result<never> => failed("corrupt", `the backup makes no sense: ${why}`);
  const content = objectOf(text);
  const charter = parseCharter(content?.["charter"]);
  if (!charter.ok) return refuse("its charter cannot be read");
  if (charter.value.clusterId !== clusterId) return refuse("its head names another cluster than its charter");
  if (charter.value.roots.some((root) => !readRoot(clusterId, root).ok))
    return refuse("it has an authority that is damaged or of another cluster");
  const keys = keysOf(content?.["keys"]);
  const authorities = keys === null ? null : readKeys(charter.value, keys);
  if (authorities?.ok !== true) return refuse("its keys are damaged, or not those of its authorities");
  const keyring = new Keyring(authorities.value);
  if (keyring.issuers(charter.value).length === 0) return refuse("it has no key of an authority that counts");
  return success({ charter: charter.value, keys: keyring.keys() });
}

/** Null for what is no JSON, or no object: authenticated, but whoever had the passphrase may have put in anything. */
function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function keysOf(value: unknown): KeysByFingerprint | null {
  const entries = isObject(value) ? Object.entries(value) : [];
  const keys = entries.flatMap(([fingerprint, pem]) =>
    typeof pem === "string" ? [[fingerprint, pem] as const] : [],
  );
  return keys.length === entries.length ? Object.fromEntries(keys) : null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function keyFrom(passphrase: string, salt: Buffer, cost: number): Promise<Buffer> {
  // Twice what it needs, and some for a small cost: OpenSSL counts more than the formula's 128 * N * r.
  const options: ScryptOptions = { N: cost, r: BLOCK, p: 1, maxmem: 256 * cost * BLOCK + 2 ** 20 };
  return new Promise((resolve, reject) => {
    // As people type it, not as their keyboard composes it (Unicode TR15).
    scrypt(passphrase.normalize("NFC"), salt, 32, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

function base64(bytes: Buffer): string {
  return bytes.toString("base64");
}
