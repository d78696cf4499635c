/**
 * Contract, trust: what the admin API says of joining, of certificates and of the authority that issues them.
 *
 * As in contract.ts, scripts rely on these shapes. What is a secret here (a token, a backup of the authority's keys) is
 * told to who came through the unix socket or has the admin token, and to nobody else.
 *
 * Types only. Pure.
 */

import type { Role } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";

/** A certificate by which a node is a member. */
export interface CertificateLine {
  /** When it ends, Unix milliseconds; its node renews it long before. */
  readonly endsAtMs: number;
  /** Generation of the authority that issued it; null for one that this node does not know. */
  readonly issuerGeneration: number | null;
}

/** Body of `POST join`. */
export interface JoinRequest {
  /** `host` or `host:port` of any member. */
  readonly host: string;
  readonly token: string;
}

/** What became of `POST join`; when `joined`, the daemon opens itself anew right after. */
export interface JoinResult {
  /** Name of this node. */
  readonly node: string;
  readonly clusterId: string;
  readonly role: Role;
  /** False when it was a member of that cluster already: nothing was changed. */
  readonly joined: boolean;
}

/** A join token: `GET tokens/{role}`, or a new one by `POST`. */
export interface TokenReport {
  readonly token: string;
  readonly role: Role;
  /** How often it was rotated, from 1. */
  readonly generation: number;
  /** `host:port` of this node, to join at. */
  readonly host: string;
}

/** What became of `DELETE members/{name}`. */
export interface RemoveResult {
  readonly node: string;
  readonly id: NodeId;
  /** What it was; null when it is not known any more. */
  readonly role: Role | null;
}

/** Body of `POST authority/backup`. */
export interface BackupRequest {
  readonly passphrase: string;
}

/** The authority of the cluster, encrypted with the passphrase. */
export interface BackupReport {
  readonly backup: string;
  readonly clusterId: string;
}

/** Body of `POST authority/restore`. */
export interface RestoreRequest {
  readonly backup: string;
  readonly passphrase: string;
}

/** What became of `POST authority/restore` and `POST authority/rotate`. */
export interface AuthorityReport {
  /** Name of this node, which is a manager now. */
  readonly node: string;
  readonly clusterId: string;
  /** Generation of the authority that issues from now on. */
  readonly generation: number;
}
