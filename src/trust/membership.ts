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
import { Credentials, type CredentialsOptions } from "./credentials.ts";
import { Keyring, readKeys, type KeysByFingerprint } from "./keyring.ts";
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
  const charter = {
    clusterId,
    roots: [authority.root],
    tokens: { worker: 1, manager: 1 },
    revoked: [],
    networks: [],
  };
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
 * Makes this node a manager of the cluster of a backup. The data dir must be in none.
 *
 * @throws Failure `not-allowed` when it was removed from that cluster or the backup's authorities count no more
 */
export async function restoreAuthority(
  options: CredentialsOptions,
  { charter, keys }: Pick<Grant, "charter" | "keys">,
): Promise<Credentials> {
  const authorities = readKeys(charter, keys);
  if (!authorities.ok) throw authorities.failure;
  if (charter.revoked.some(({ id }) => id === options.identity.id)) throw wasRemoved(options.identity.id);
  return createMembership(options, charter, authorities.value);
}

/**
 * Makes a member a manager of its own cluster by a backup. By way of its open credentials, which write its files: they
 * are closed by it, and have to be opened anew.
 *
 * @throws Failure `busy` when it is in another cluster, `not-allowed` as restoreAuthority
 */
export async function restoreMember(
  credentials: Credentials,
  { charter, keys }: Pick<Grant, "charter" | "keys">,
): Promise<void> {
  const { id, clusterId } = credentials;
  if (clusterId !== charter.clusterId) {
    const text = `this node is in cluster ${clusterId}, the backup is of ${charter.clusterId}`;
    throw new Failure("busy", `${text}; run "skein leave" first`);
  }
  credentials.apply(charter);
  if (credentials.admission.isRevoked(id)) throw wasRemoved(id);
  await credentials.promote(keys);
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
