/**
 * Keyring: the keys of authorities that are on this node, and what they are good for.
 *
 * A manager has them, a worker has none. Which of them counts the charter says: the newest that does issues
 * certificates; a token is taken until the authority that it names is retired.
 *
 * Touches: nothing, but it holds keys. authority.ts signs with them, vault.ts keeps them.
 */

import { Failure, failed, success, type Result } from "../base/failure.ts";
import type { Charter } from "../model/charter.ts";
import type { Role } from "../model/credential.ts";

import { authorityOf, keyBytes, renderKey, type Authority } from "./authority.ts";
import { trustedRoots } from "./charter.ts";
import { isSameSecret, renderToken, secretOf } from "./token.ts";

/** Keys of authorities as they are passed on: PEM (PKCS #8) by fingerprint. Secrets. */
export type KeysByFingerprint = Readonly<Record<string, string>>;

/** What somebody's secret is worth. */
export type SecretVerdict =
  | { readonly kind: "good"; readonly role: Role }
  /** It was good once. */
  | { readonly kind: "rotated" }
  | { readonly kind: "wrong" };

const ROLES: readonly Role[] = ["worker", "manager"];
/** Earlier generations of a token that are told from junk, so that its holder learns that it was rotated. */
const ROTATIONS_KNOWN = 16;

/** The keys on one node. Immutable. */
export class Keyring {
  readonly authorities: readonly Authority[];

  constructor(authorities: readonly Authority[]) {
    this.authorities = authorities;
  }

  /** Whether the key of this authority is here. */
  has(fingerprint: string): boolean {
    return this.authorities.some(({ root }) => root.fingerprint === fingerprint);
  }

  /** Those whose certificates count, the newest first. */
  issuers(charter: Charter): readonly Authority[] {
    return trustedRoots(charter).flatMap(({ fingerprint }) =>
      this.authorities.filter(({ root }) => root.fingerprint === fingerprint),
    );
  }

  /** The one that issues. @throws Failure `not-allowed` when there is none whose certificates count */
  issuing(charter: Charter): Authority {
    const [newest] = this.issuers(charter);
    if (newest !== undefined) return newest;
    throw this.authorities.length === 0
      ? needsManager("what needs the authority's key")
      : new Failure(
          "not-allowed",
          "the authority whose key is here is retired; expected a key of a later one",
        );
  }

  /**
   * The token that lets a host in as this.
   *
   * @param shown  fingerprint of the authority that issued what this node shows to a joiner. The token names that one
   *   as long as it counts: an older one vouches for a newer, not the other way round.
   * @throws Failure as `issuing`
   */
  token(charter: Charter, role: Role, shown: string): string {
    const newest = this.issuing(charter);
    const authority = this.issuers(charter).find(({ root }) => root.fingerprint === shown) ?? newest;
    const secret = secretOf(keyBytes(authority), role, charter.tokens[role]);
    return renderToken({ fingerprint: authority.root.fingerprint, secret });
  }

  /** What a joiner's secret is worth. All that may fit are compared, each in constant time. */
  judgeSecret(charter: Charter, secret: string): SecretVerdict {
    let verdict: SecretVerdict = { kind: "wrong" };
    const issuers = this.issuers(charter);
    const candidates = this.authorities.flatMap((authority) => ROLES.map((role) => ({ authority, role })));
    for (const { authority, role } of candidates) {
      const newest = charter.tokens[role];
      const key = keyBytes(authority);
      for (let each = Math.max(1, newest - ROTATIONS_KNOWN); each <= newest; each += 1) {
        if (!isSameSecret(secret, secretOf(key, role, each))) continue;
        const isGood = each === newest && issuers.includes(authority);
        verdict = isGood ? { kind: "good", role } : { kind: "rotated" };
      }
    }
    return verdict;
  }

  /** All of them, to pass on to another manager. */
  keys(): KeysByFingerprint {
    return Object.fromEntries(this.authorities.map((each) => [each.root.fingerprint, renderKey(each)]));
  }
}

/** Reads keys that were passed on. @returns a failure for one that is damaged or of no authority in the charter */
export function readKeys(charter: Charter, keys: KeysByFingerprint): Result<readonly Authority[]> {
  const authorities: Authority[] = [];
  for (const [fingerprint, pem] of Object.entries(keys)) {
    const root = charter.roots.find((each) => each.fingerprint === fingerprint);
    if (root === undefined)
      return failed("corrupt", "there is a key of an authority that is not in the charter");
    const authority = authorityOf(root, pem);
    if (!authority.ok) return authority;
    authorities.push(authority.value);
  }
  return success(authorities);
}

/** Why a worker does not do this. @param what  in a few words, to be followed by "is for managers" */
export function needsManager(what: string): Failure {
  return new Failure("not-allowed", `${what} is for managers, this node is a worker; run it on a manager`);
}
