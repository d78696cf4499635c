/**
 * Identity: who a node is.
 *
 * A node's id is made from its public key, so it can be checked by anyone who is shown the key, cannot be
 * chosen to collide with another's, and stays the same whatever happens to the host's name or address. 20
 * base32 characters are 100 bits of the digest: far beyond finding a second key with the same id, and short
 * enough to type a part of.
 *
 * Pure. keyfile.ts keeps the key itself.
 */

import { createPublicKey, type KeyObject } from "node:crypto";

import { base32, sha256 } from "../base/bytes.ts";
import type { NodeId } from "../model/ids.ts";

const ID_CHARACTERS = 20;

/**
 * The id of the node with this public key.
 *
 * @param publicKey  SubjectPublicKeyInfo in DER (RFC 5280 4.1.2.7)
 */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  return base32(sha256(publicKey)).slice(0, ID_CHARACTERS);
}

/**
 * SubjectPublicKeyInfo in DER of an EC key, in the one form from which ids are made: by way of JWK. A file or a
 * certificate may hold the public point in three forms, OpenSSL keeps the one it found, and each would hash to another
 * id.
 *
 * @param key  an EC key, public or private
 * @throws an Error of node:crypto when it is none
 */
export function spkiOf(key: KeyObject): Uint8Array {
  const point = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" });
  return createPublicKey({ key: point, format: "jwk" }).export({ type: "spki", format: "der" });
}
