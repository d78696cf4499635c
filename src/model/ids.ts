/**
 * Ids: how nodes, services and replicas are named inside Skein.
 *
 * Everything that becomes a DNS label is checked here once: letters, digits and inner hyphens (RFC 1123 2.1), lower
 * case, at most 63 bytes; service and replica names may hold an underscore, as Docker's and Compose's names do, and
 * `<stack>_<service>` is a name Swarm users type.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";

import { LIMITS } from "./limits.ts";

/** 20 base32 characters of SHA-256 over the node's public key. */
export type NodeId = string;

/** `<network>/<service>`; both parts are labels, so the slash is unambiguous. */
export type ServiceKey = string;

/** A replica's id, unique in the cluster: a short container id, or `<service>-<hash of node and address>`. */
export type ReplicaId = string;

/** The network of services that name none. */
export const DEFAULT_NETWORK = "default";

/** Stands for all that a node runs, now and later, where a drain names what it is about: no replica's id. */
export const EVERY_REPLICA = "*";

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** The key of a service in its network. */
export function serviceKey(network: string, name: string): ServiceKey {
  return `${network}/${name}`;
}

/** True for text that can stand as one DNS label of a Skein name. */
export function isLabel(text: string): boolean {
  return LABEL.test(text);
}

/** True for the text form of a node id. */
export function isNodeId(text: string): boolean {
  return /^[a-z2-7]{20}$/.test(text);
}

/**
 * Checks a name meant to be a DNS label; upper case is lowered.
 *
 * @param thing  what is being named, for the failure's text: `label "skein.service"`
 */
export function parseLabel(thing: string, text: string): Result<string> {
  const lowered = text.toLowerCase();
  if (isLabel(lowered)) return success(lowered);
  const expected = `expected letters, digits, "-" or "_", at most ${LIMITS.labelBytes}`;
  return failed("invalid", `${thing} is "${text}"; ${expected}`);
}

/** Turns free text (a container or host name) into a label: other bytes become hyphens; null when nothing is left. */
export function labelFrom(text: string): string | null {
  const label = text
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^-+/, "")
    .slice(0, LIMITS.labelBytes)
    .replace(/-+$/, "");
  return label === "" ? null : label;
}
