/**
 * Record: what a node publishes, one body per key, as JSON text inside its log.
 *
 * Gossip moves these bodies without reading them; this file alone knows what they hold. Bodies come from peers, so
 * `parseRecord` trusts nothing: a malformed one is refused by itself and its neighbours still count. Unknown fields
 * are ignored, so a newer peer can say more.
 *
 * Pure.
 */

import { failed, success, type Result } from "../base/failure.ts";
import { canonicalIpv6, isIpv4, isIpv6, isLoopback, isWildcard, parsePrefix } from "../base/ip.ts";

import { declarationFrom, deliveryFrom, isSameDelivery, isSameTraffic } from "./declared.ts";
import type { Reach } from "./endpoint.ts";
import { isLabelText, isObject, isPortValue, isShort, isText, isWhole, type Fields } from "./fields.ts";
import type { ReplicaId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC, type Delivery, type ServiceDeclaration } from "./service.ts";

/** The `node` record: what a node says of itself. */
export interface NodeRecord {
  readonly kind: "node";
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly software: string;
  /** IPv4 prefixes that this node's routing table leads to, its own loopback and default routes left out. */
  readonly prefixes: readonly string[];
  /** How it carries overlay networks; nothing where it cannot. */
  readonly overlay?: NodeOverlay;
  /** Said only while all that it runs is drained by command. */
  readonly draining?: true;
}

/** How a node is reached by the overlay networks of others. */
export interface NodeOverlay {
  /** IPv4 address of the underlay, to which others send VXLAN and WireGuard packets. */
  readonly address: string;
  /** Bytes of the largest packet that its underlay takes, 1280 to 65535. */
  readonly mtu: number;
  /** Public key (base64, 44 characters) and UDP port of its WireGuard; nothing where it cannot encrypt. */
  readonly wireguard?: { readonly key: string; readonly port: number };
}

/** States of a replica that its owner publishes; a gone replica is a tombstone. */
export type ReplicaState = "starting" | "ready" | "unready" | "draining";

/** A `replica/<id>` record. */
export interface ReplicaRecord {
  readonly kind: "replica";
  readonly id: ReplicaId;
  readonly name: string;
  readonly slot: number | null;
  readonly network: string;
  readonly service: string;
  readonly stack: string | null;
  readonly address: string;
  /** Canonical (RFC 5952). */
  readonly address6?: string;
  readonly reach: Reach;
  readonly declaration: ServiceDeclaration;
  readonly weight: number;
  readonly delivery: Delivery;
  /** When it began to declare that: of a container its start. The newest declaration of a service counts. */
  readonly startedAtMs: number;
  readonly state: ReplicaState;
  /** Why it is in that state, in words: `probe: connection refused`. */
  readonly reason: string;
  /** For `draining`: every alive member has applied it. */
  readonly drainApplied: boolean;
  /** For `draining` that takes longer than a moment: names of members that have not applied it. */
  readonly drainPending: readonly string[];
}

/** No names: one list for all records, for nearly all have none. */
export const NOBODY: readonly string[] = [];

/** A `vip/<network>/<service>` record: the owner has a replica of the service and holds this address for it. */
export interface VipRecord {
  readonly kind: "vip";
  readonly network: string;
  readonly service: string;
  readonly address: string;
  /** Lamport counter of the first claim, copied by later claimants. */
  readonly order: number;
  /** False while the claim is tentative: not every alive member has applied it, so somebody may have another. */
  readonly settled: boolean;
}

/** A `subnet/<network>` record: the owner holds this slice of the network's range for what it runs there. */
export interface SubnetRecord {
  readonly kind: "subnet";
  readonly network: string;
  /** Which slice of the range, from 0. */
  readonly index: number;
  /** Lamport counter at the time of the claim. */
  readonly order: number;
  /** As for a VIP. */
  readonly settled: boolean;
}

/** Every IPv6 link takes that much (RFC 8200 5), and no IPv4 packet is longer than the other (RFC 791 3.1). */
const MTU_MIN = 1280;
const MTU_MAX = 65_535;

/** Far above what claims one after the other reach, and far below where counting ends. */
export const ORDER_MAX = 2 ** 40;

/** Any record this version understands. */
export type NodeLogRecord = NodeRecord | ReplicaRecord | VipRecord | SubnetRecord;

/** The key of a record in its owner's log. */
export function recordKey(record: NodeLogRecord): string {
  switch (record.kind) {
    case "node":
      return "node";
    case "replica":
      return `replica/${record.id}`;
    case "vip":
      return `vip/${record.network}/${record.service}`;
    case "subnet":
      return `subnet/${record.network}`;
  }
}

/**
 * Renders a record's body: JSON with its fields in their declared order, so equal records have equal bodies. What
 * nearly no replica says is left out where it is the default.
 */
export function renderRecord(record: NodeLogRecord): string {
  return JSON.stringify(record.kind === "replica" ? withoutDefaults(record) : record);
}

function withoutDefaults(record: ReplicaRecord): object {
  const { delivery, declaration, reach } = record;
  const { passthrough, traffic } = declaration;
  return {
    ...record,
    // Who does not know of overlays is to reach it by a stream.
    ...(reach === "overlay" ? { reach: "stream", overlay: true } : null),
    declaration: {
      ...declaration,
      passthrough: passthrough.length === 0 ? undefined : passthrough,
      traffic: isSameTraffic(traffic, DEFAULT_TRAFFIC) ? undefined : traffic,
    },
    delivery: isSameDelivery(delivery, DEFAULT_DELIVERY) ? undefined : delivery,
  };
}

/**
 * Parses a record's body.
 *
 * @returns the record; null for a key this version does not know; a failure when the body does not fit its key
 */
export function parseRecord(key: string, body: string): Result<NodeLogRecord | null> {
  const kind = key.split("/", 1)[0] ?? "";
  const from = FROM_BY_KIND.get(kind);
  if (from === undefined) return success(null);
  if (body.length > LIMITS.recordBytes)
    return refuse(key, `${body.length} bytes`, `at most ${LIMITS.recordBytes}`);
  let fields: unknown;
  try {
    fields = JSON.parse(body);
  } catch {
    return refuse(key, "not JSON", "a JSON object");
  }
  if (!isObject(fields)) return refuse(key, typeof fields, "a JSON object");
  const record = from(fields);
  if (record === null) return refuse(key, body.slice(0, 120), `the fields of a ${kind} record`);
  return recordKey(record) === key
    ? success(record)
    : refuse(key, recordKey(record), "the key its body names");
}

function refuse(key: string, value: string, expected: string): Result<never> {
  return failed("invalid", `record "${key.slice(0, 160)}" holds ${value}; expected ${expected}`);
}

function nodeFrom(fields: Fields): NodeRecord | null {
  const { name, host, port, zone, labels, software } = fields;
  const prefixes = prefixesFrom(fields["prefixes"]);
  if (!isLabelText(name) || !isShort(host) || !isPortValue(port)) return null;
  if (!isShort(zone) || !isShort(software)) return null;
  if (!isObject(labels) || Object.keys(labels).length > LIMITS.namesPerService) return null;
  if (!Object.values(labels).every(isShort)) return null;
  const named = { name, host, port, zone, labels: labels as Record<string, string> };
  const overlay = overlayFrom(fields["overlay"]);
  const draining = fields["draining"] === true ? { draining: true as const } : null;
  const record: NodeRecord = { kind: "node", ...named, software, prefixes };
  return { ...record, ...(overlay !== null && { overlay }), ...draining };
}

/**
 * Never a reason to refuse a member: without it, or with what makes no sense, its replicas are reached by streams.
 * Packets are sent to that address, so it must not be one that means this host or many.
 */
function overlayFrom(value: unknown): NodeOverlay | null {
  if (!isObject(value)) return null;
  const { address, mtu, wireguard } = value;
  if (typeof address !== "string" || !isIpv4(address) || !isUnicast(address)) return null;
  if (!isWhole(mtu, MTU_MAX) || mtu < MTU_MIN) return null;
  if (!isObject(wireguard)) return { address, mtu };
  const { key, port } = wireguard;
  // A key is 32 bytes; the last of its 43 characters has two bits that say nothing (RFC 4648 3.5).
  if (!isText(key, /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/) || !isPortValue(port)) return { address, mtu };
  return { address, mtu, wireguard: { key, port } };
}

function isUnicast(address: string): boolean {
  const first = Number(address.split(".", 1)[0]);
  return !isLoopback(address) && !isWildcard(address) && first > 0 && first < 224;
}

/**
 * Never a reason to refuse a member: they only serve to warn. What is no IPv4 prefix is left out (a later version may
 * publish others), and so is what goes past the bound.
 */
function prefixesFrom(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return [];
  const prefixes = value.filter((one): one is string => typeof one === "string" && parsePrefix(one).ok);
  return prefixes.slice(0, LIMITS.prefixesPerNode);
}

const STATES: readonly unknown[] = ["starting", "ready", "unready", "draining"] satisfies ReplicaState[];

function replicaFrom(fields: Fields): ReplicaRecord | null {
  const { id, name, slot, network, service, stack, address, weight, startedAtMs, state, reason } = fields;
  const names =
    isText(id, /^[a-z0-9_.-]{1,80}$/) && isLabelText(name) && isLabelText(network) && isLabelText(service);
  if (!names || !(stack === null || isLabelText(stack)) || !(slot === null || isWhole(slot, 1_000_000)))
    return null;
  if (typeof address !== "string" || !(isIpv4(address) || isIpv6(address))) return null;
  const reach = reachFrom(fields);
  if (reach === null || !isWhole(weight, 100)) return null;
  if (!isWhole(startedAtMs, Number.MAX_SAFE_INTEGER) || !STATES.includes(state) || !isShort(reason))
    return null;
  const declaration = declarationFrom(fields["declaration"]);
  if (declaration === null) return null;
  const drainApplied = fields["drainApplied"] === true;
  const drainPending = namesFrom(fields["drainPending"]);
  const who = { id, name, slot, network, service, stack };
  return {
    kind: "replica",
    ...who,
    address,
    ...address6From(fields["address6"]),
    reach,
    declaration,
    weight,
    delivery: deliveryFrom(fields["delivery"]),
    startedAtMs,
    state: state as ReplicaState,
    reason,
    drainApplied,
    drainPending,
  };
}

function reachFrom({ reach, overlay }: Fields): Reach | null {
  if (reach === "stream" && overlay === true) return "overlay";
  return reach === "direct" || reach === "stream" ? reach : null;
}

/** What a node says of itself once it leads to other prefixes, or carries overlay networks otherwise (null: none). */
export function recordWith(
  record: Omit<NodeRecord, "kind">,
  told: Pick<NodeRecord, "prefixes"> | { readonly overlay: NodeOverlay | null },
): Omit<NodeRecord, "kind"> {
  if ("prefixes" in told) return { ...record, prefixes: told.prefixes };
  const { overlay: _before, ...rest } = record;
  return told.overlay === null ? rest : { ...rest, overlay: told.overlay };
}

/** Never a reason to refuse a replica: it has an address without it. */
function address6From(value: unknown): Pick<ReplicaRecord, "address6"> {
  const isGood = typeof value === "string" && isIpv6(value) && canonicalIpv6(value) === value;
  return isGood && !isLoopback(value) && value !== "::" ? { address6: value } : {};
}

/** Never a reason to refuse a replica: they only serve to tell. */
function namesFrom(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) return NOBODY;
  return value.filter(isLabelText).slice(0, LIMITS.drainPendingMax);
}

function vipFrom(fields: Fields): VipRecord | null {
  const { network, service, address, order } = fields;
  if (!isLabelText(network) || !isLabelText(service) || typeof address !== "string") return null;
  const settled = settledFrom(fields["settled"]);
  if (!isIpv4(address) || !isWhole(order, ORDER_MAX) || settled === null) return null;
  return { kind: "vip", network, service, address, order, settled };
}

function subnetFrom(fields: Fields): SubnetRecord | null {
  const { network, index, order } = fields;
  const settled = settledFrom(fields["settled"]);
  if (!isLabelText(network) || !isWhole(index, LIMITS.slicesPerNetwork - 1)) return null;
  if (!isWhole(order, ORDER_MAX) || settled === null) return null;
  return { kind: "subnet", network, index, order, settled };
}

/** True where nothing is said: who does not know of tentative claims would never end one. */
function settledFrom(value: unknown): boolean | null {
  if (value === undefined) return true;
  return typeof value === "boolean" ? value : null;
}

const FROM_BY_KIND: ReadonlyMap<string, (fields: Fields) => NodeLogRecord | null> = new Map<
  string,
  (fields: Fields) => NodeLogRecord | null
>([
  ["node", nodeFrom],
  ["replica", replicaFrom],
  ["vip", vipFrom],
  ["subnet", subnetFrom],
]);
