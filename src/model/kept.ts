/**
 * Kept: what a node must remember across restarts.
 *
 * Little, on purpose: everything else is learnt again from Docker, from the config and from peers. The incarnation, so
 * that news of this life outranks that of an earlier one; claims of VIPs and of slices of networks, so that a service
 * and this node get back what they had, and what others let go a moment ago, so that a restart does not hand it to
 * somebody else; members' addresses, to find the cluster without the config; drains, so that a restart puts nothing
 * back into service.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";
import { isIpv4, type HostPort } from "../base/ip.ts";

import type { ReplicaId, ServiceKey } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { isPort } from "./service.ts";

/** One node's claim of a VIP for a service; `order` is a Lamport counter, copied by later claimants. */
export interface Claim {
  readonly key: ServiceKey;
  readonly address: string;
  readonly order: number;
}

/** This node's claim of a slice of a network's range. */
export interface KeptSlice {
  readonly network: string;
  readonly index: number;
  readonly order: number;
}

/** Something that was let go lately and is not to be given to anybody but `holder` for a while. */
export interface Release {
  /** An address, or `<network>/<index>` for a slice. */
  readonly name: string;
  /** Who had it: a service's key or a node's id. */
  readonly holder: string;
  /** By this node's clock, Unix milliseconds. */
  readonly atMs: number;
}

/** What is on disk between two runs. */
export interface KeptState {
  readonly incarnation: number;
  readonly claims: readonly Claim[];
  readonly slices: readonly KeptSlice[];
  /** The oldest first. */
  readonly releases: readonly Release[];
  readonly addresses: readonly HostPort[];
  /** Replicas drained by command, with the start of the run that is meant. */
  readonly drains: readonly { readonly id: ReplicaId; readonly startedAtMs: number }[];
  /** All that runs here is drained by command, now and later. */
  readonly isDrained: boolean;
}

/** The state of a node that never ran. */
export const NOTHING_KEPT: KeptState = {
  incarnation: 0,
  claims: [],
  slices: [],
  releases: [],
  addresses: [],
  drains: [],
  isDrained: false,
};

/** Schema of the state file; raised when an older version could not read it. */
export const KEPT_SCHEMA = 1;

/** Checks what a state file holds. */
export function parseKept(value: unknown): Result<KeptState> {
  if (!isObject(value)) return refuse("the whole", value);
  // A state file of an earlier version has no slices, no releases, and drains of replicas only.
  const { incarnation, claims, slices = [], releases = [], addresses, drains, isDrained = false } = value;
  if (!isCount(incarnation)) return refuse("incarnation", incarnation);
  if (!isListOf(claims, LIMITS.claimsRemembered, isClaim)) return refuse("claims", claims);
  if (!isListOf(slices, LIMITS.slicesRemembered, isSlice)) return refuse("slices", slices);
  if (!isListOf(releases, LIMITS.quarantined, isRelease)) return refuse("releases", releases);
  if (!isListOf(addresses, LIMITS.ownersMax, isAddress)) return refuse("addresses", addresses);
  if (!isListOf(drains, LIMITS.replicasPerNode, isDrain)) return refuse("drains", drains);
  if (typeof isDrained !== "boolean") return refuse("isDrained", isDrained);
  return success({ incarnation, claims, slices, releases, addresses, drains, isDrained });
}

function refuse(field: string, value: unknown): Result<never> {
  return failed(
    "corrupt",
    `state field "${field}" is ${JSON.stringify(value)?.slice(0, 80)}; expected another form`,
  );
}

function isClaim(value: unknown): value is Claim {
  if (!isObject(value)) return false;
  const { key, address, order } = value;
  return typeof key === "string" && typeof address === "string" && isIpv4(address) && isCount(order);
}

function isSlice(value: unknown): value is KeptSlice {
  if (!isObject(value)) return false;
  const { network, index, order } = value;
  return typeof network === "string" && isCount(index) && isCount(order);
}

function isRelease(value: unknown): value is Release {
  if (!isObject(value)) return false;
  const { name, holder, atMs } = value;
  return typeof name === "string" && typeof holder === "string" && isCount(atMs);
}

function isAddress(value: unknown): value is HostPort {
  if (!isObject(value)) return false;
  return typeof value["host"] === "string" && typeof value["port"] === "number" && isPort(value["port"]);
}

function isDrain(value: unknown): value is { id: string; startedAtMs: number } {
  return isObject(value) && typeof value["id"] === "string" && isCount(value["startedAtMs"]);
}

function isListOf<T>(
  value: unknown,
  countMax: number,
  isOne: (element: unknown) => element is T,
): value is T[] {
  return Array.isArray(value) && value.length <= countMax && value.every(isOne);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
