/**
 * Membership: how a node comes into a cluster, and out of it.
 *
 * Four ways in: the data dir says so; a new cluster; a manager's grant; the authority's backup. One way out. Nothing is
 * written before all of it was found to fit together.
 *
 * Touches: the data dir, by way of vault.ts.
 */

import { Failure } from "../base/failure.ts";
import type { Charter } from "../model/charter.ts";
import type { NodeId } from "../model/ids.ts";

import { createAuthority, drawClusterId, issueCertificate, type Authority } from "./authority.ts";
import { mergeCharter } from "./charter.ts";
import { Credentials, type CredentialsOptions } from "./credentials.ts";
import { Keyring, readKeys, type KeysByFingerprint } from "./keyring.ts";
import { rootVerifier } from "./root.ts";
import { Vault } from "./vault.ts";

/** What a joiner is given. */
export interface Grant {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly charter: Charter;
  /** None for a worker. */
  readonly keys: KeysByFingerprint;
}

/**
 * The membership that a data dir holds.
 *
 * @returns null when it is in no cluster
 * @throws Failure as Vault.load; `corrupt` also when the certificate is another node's or another cluster's
 */
export async function openCredentials(options: CredentialsOptions): Promise<Credentials | null> {
  const holdings = await new Vault(options.dataDir).load(options.now());
  return holdings === null ? null : new Credentials(options, holdings);
}

/** Before this was written: a clock that shows less has not been set yet. */
const CLOCK_SET_MS = Date.UTC(2025, 0, 1);

/**
 * Makes a cluster with this node as its one manager. The data dir must be in none.
 *
 * @throws Failure `invalid` when this host's clock is not set: the authority would have ended before it is needed
 */
export async function foundCluster(options: CredentialsOptions): Promise<Credentials> {
  const nowMs = options.now();
  if (nowMs < CLOCK_SET_MS) {
    const shown = new Date(nowMs).toISOString();
    throw new Failure("invalid", `this host's clock shows ${shown}; expected one that is set`);
  }
  const clusterId = drawClusterId();
  const authority = await createAuthority(clusterId, 1, nowMs);
  const charter = { clusterId, roots: [authority.root], tokens: { worker: 1, manager: 1 }, revoked: [] };
  return createMembership(options, charter, [authority]);
}

/**
 * Takes what a manager gave to a joiner. The data dir must be in no cluster.
 *
 * @throws Failure `refused` when it does not fit together
 */
export async function adopt(options: CredentialsOptions, grant: Grant): Promise<Credentials> {
  const authorities = readKeys(grant.charter, grant.keys);
  if (!authorities.ok) throw new Failure("refused", authorities.failure.message);
  const holdings = { ...grant, authorities: authorities.value };
  // Before anything is written: it throws when the certificate is not ours.
  const credentials = new Credentials(options, holdings);
  await new Vault(options.dataDir).create(holdings);
  return credentials;
}

/**
 * Makes this node a manager by the keys of a backup: of the cluster it is in, or of the backup's when it is in none.
 *
 * @throws Failure `busy` when it is in another cluster, `not-allowed` when it was removed from this one or the backup's
 *   authorities count no more, `corrupt` as Vault.load
 */
export async function restoreAuthority(
  options: CredentialsOptions,
  backup: Pick<Grant, "charter" | "keys">,
): Promise<Credentials> {
  const vault = new Vault(options.dataDir);
  const held = await vault.load(options.now());
  const { clusterId } = backup.charter;
  if (held !== null && held.charter.clusterId !== clusterId) {
    const text = `this node is in cluster ${held.charter.clusterId}, the backup is of ${clusterId}`;
    throw new Failure("busy", `${text}; run "skein leave" first`);
  }
  const charter =
    held === null ? backup.charter : mergeCharter(held.charter, backup.charter, rootVerifier(clusterId));
  const authorities = readKeys(charter, backup.keys);
  if (!authorities.ok) throw authorities.failure;
  if (charter.revoked.some(({ id }) => id === options.identity.id)) throw wasRemoved(options.identity.id);
  if (held === null) return createMembership(options, charter, authorities.value);
  const issuer = new Keyring(authorities.value).issuing(charter);
  const certificate = await issueOwn(options, clusterId, issuer);
  for (const authority of authorities.value) await vault.saveKey(authority);
  await vault.saveCharter(charter);
  await vault.saveCertificate(certificate);
  return new Credentials(options, { charter, certificate, authorities: authorities.value });
}

/** Forgets the cluster and the node's key. */
export async function forgetCluster(dataDir: string): Promise<void> {
  await new Vault(dataDir).forget();
}

async function createMembership(
  options: CredentialsOptions,
  charter: Charter,
  authorities: readonly Authority[],
): Promise<Credentials> {
  const certificate = await issueOwn(options, charter.clusterId, new Keyring(authorities).issuing(charter));
  const holdings = { charter, certificate, authorities };
  await new Vault(options.dataDir).create(holdings);
  return new Credentials(options, holdings);
}

function issueOwn(options: CredentialsOptions, clusterId: string, issuer: Authority): Promise<Uint8Array> {
  const { publicKey, id } = options.identity;
  const request = { publicKey, id, clusterId, role: "manager", nowMs: options.now() } as const;
  const { lifeMs } = options;
  return issueCertificate(issuer, lifeMs === undefined ? request : { ...request, lifeMs });
}

/** Why a removed node is not taken again. */
export function wasRemoved(id: NodeId): Failure {
  const remedy = 'run "skein leave --force" there, which makes it a new node, and join again';
  return new Failure("not-allowed", `node ${id} was removed from the cluster; ${remedy}`);
}
