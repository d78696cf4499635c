/**
 * Key: this host's WireGuard key pair in the data dir.
 *
 * It is no identity: others learn the public half from the node's own record, which the node's key seals, and forget
 * the one before. So a file that is damaged, or that others could read, is a reason to make another and not for a
 * person to decide on. The form is that of `wg genkey`, for the program reads the file itself: a private key is never
 * an argument, nor in a log.
 *
 * Touches: `wireguard.key` in the data dir.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";

import { Failure } from "../../base/failure.ts";
import { ensureFolder, readBounded, writeWhole } from "../../runtime/files.ts";

/** Where the private half is, and the public one. */
export interface WireguardKey {
  readonly path: string;
  /** Base64, 44 characters. */
  readonly publicKey: string;
}

/** PKCS #8 of an X25519 key up to its 32 bytes (RFC 8410 7). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");
const KEY_BYTES = 32;

/**
 * Loads the key of a data dir, or makes one where there is none that is good.
 *
 * @throws Failure as the file system says
 */
export async function openWireguardKey(dataDir: string): Promise<WireguardKey> {
  const path = join(dataDir, "wireguard.key");
  await ensureFolder(dataDir);
  const kept = (await isPrivate(path)) ? parseKey((await readBounded(path)) ?? "") : null;
  if (kept !== null) return { path, publicKey: publicText(kept) };
  const { privateKey } = generateKeyPairSync("x25519");
  await writeWhole(path, `${privateText(privateKey)}\n`);
  return { path, publicKey: publicText(privateKey) };
}

async function isPrivate(path: string): Promise<boolean> {
  // None there: then there is nothing to keep. One that cannot be looked at fails as it is read.
  const found = await stat(path).catch(() => null);
  return found === null || (found.mode & 0o077) === 0;
}

function parseKey(text: string): KeyObject | null {
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== KEY_BYTES || bytes.toString("base64") !== text.trim()) return null;
  return createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, bytes]), format: "der", type: "pkcs8" });
}

function privateText(key: KeyObject): string {
  return key.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_HEAD.length).toString("base64");
}

function publicText(key: KeyObject): string {
  const { x } = createPublicKey(key).export({ format: "jwk" });
  if (x === undefined) throw new Failure("corrupt", "an X25519 key has no public half");
  return Buffer.from(x, "base64url").toString("base64");
}
