/**
 * Keyfile: the node's key pair on disk.
 *
 * The key is the node: with a new one it would be a stranger to its cluster, and its old records would stay
 * as a dead member's. So a key that is there but cannot be used is a failure for a person to decide on, never
 * a reason to make another. It is EC P-256, as node certificates will be, in PEM (PKCS #8), which openssl
 * reads.
 *
 * Touches: `node.key` in the data dir.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";

import { Failure } from "../base/failure.ts";
import type { NodeId } from "../model/ids.ts";
import { ensureFolder, fileFailure, readBounded, writeWhole } from "../runtime/files.ts";

import { nodeIdOf, spkiOf } from "./identity.ts";

/** A node's identity: its id and the key pair the id comes from. */
export interface Identity {
  readonly id: NodeId;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
  /** True when the key was made just now: this data dir had none. */
  readonly isNew: boolean;
}

const CURVE = "prime256v1";

/**
 * Loads the identity of a data dir, or makes one where there is no key. The data dir's lock must be held: two
 * at once would make two keys.
 *
 * @throws Failure `corrupt` when the key file holds no such key, `not-allowed` when others may read it or we
 *   may not
 */
export async function openIdentity(dataDir: string): Promise<Identity> {
  const path = join(dataDir, "node.key");
  await ensureFolder(dataDir);
  const pem = await readBounded(path);
  if (pem !== null) {
    await expectPrivate("node key", path);
    return identityOf(parseKey(path, pem), false);
  }
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: CURVE });
  await writeWhole(path, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  return identityOf(privateKey, true);
}

function identityOf(privateKey: KeyObject, isNew: boolean): Identity {
  const publicKey = spkiOf(privateKey);
  return { id: nodeIdOf(publicKey), publicKey, privateKey, isNew };
}

function parseKey(path: string, pem: string): KeyObject {
  const remedy = "put it back from a backup, or move it away: the node then joins again under a new id";
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new Failure("corrupt", `node key ${path} is damaged; ${remedy}`, { cause });
  }
  const found = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? "unknown";
  if (found !== CURVE) {
    throw new Failure("corrupt", `node key ${path} is of kind ${found}; expected EC ${CURVE}; ${remedy}`);
  }
  // The file holds both halves, and OpenSSL takes them as they are: a flipped bit in one makes halves that do
  // not match.
  const probe = Buffer.from("skein");
  if (!verify("sha256", probe, createPublicKey(key), sign("sha256", probe, key))) {
    throw new Failure("corrupt", `node key ${path} is damaged: its halves do not match; ${remedy}`);
  }
  return key;
}

/**
 * Makes sure that a file with a key in it is its owner's alone.
 *
 * @param thing  what the file is, for the failure's text
 * @throws Failure `not-allowed` when others may read or write it
 */
export async function expectPrivate(thing: string, path: string): Promise<void> {
  const { mode } = await stat(path).catch((thrown: unknown) => {
    throw fileFailure(path, "read", thrown);
  });
  if ((mode & 0o077) === 0) return;
  const found = (mode & 0o777).toString(8).padStart(4, "0");
  throw new Failure(
    "not-allowed",
    `${thing} ${path} has mode ${found}; expected 0600: run chmod 600 ${path}`,
  );
}
