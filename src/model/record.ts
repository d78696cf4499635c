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
import { isIpv4, isIpv6, parsePrefix } from "../base/ip.ts";

import type { Reach } from "./endpoint.ts";
import { isLabel, type ReplicaId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import {
  BALANCES,
  DEFAULT_DELIVERY,
  DEFAULT_TRAFFIC,
  isPort,
  parseRouteHost,
  parseRoutePath,
  type Delivery,
  type HttpRoute,
  type PublishedPort,
  type ServiceDeclaration,
  type ServicePort,
  type TrafficPolicy,
} from "./service.ts";

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
  const { delivery, declaration } = record;
  const { passthrough, traffic } = declaration;
  return {
    ...record,
    declaration: {
      ...declaration,
      passthrough: passthrough.length === 0 ? undefined : passthrough,
      traffic: isSameTraffic(traffic, DEFAULT_TRAFFIC) ? undefined : traffic,
    },
    delivery: isSameDelivery(delivery, DEFAULT_DELIVERY) ? undefined : delivery,
  };
}

function isSameTraffic(one: TrafficPolicy, other: TrafficPolicy): boolean {
  return (
    one.balance === other.balance &&
    one.prefer === other.prefer &&
    one.slowStartMs === other.slowStartMs &&
    one.firstByteMs === other.firstByteMs &&
    one.udpMode === other.udpMode &&
    one.udpIdleMs === other.udpIdleMs
  );
}

function isSameDelivery(one: Delivery, other: Delivery): boolean {
  return one.proxyProtocol === other.proxyProtocol && one.drainMs === other.drainMs;
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

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nodeFrom(fields: Fields): NodeRecord | null {
  const { name, host, port, zone, labels, software } = fields;
  const prefixes = prefixesFrom(fields["prefixes"]);
  if (typeof name !== "string" || !isLabel(name) || typeof host !== "string" || !isShort(host)) return null;
  if (typeof port !== "number" || !isPort(port) || !isShort(zone) || !isShort(software)) return null;
  if (!isObject(labels) || Object.keys(labels).length > LIMITS.namesPerService) return null;
  if (!Object.values(labels).every(isShort)) return null;
  const named = { name, host, port, zone, labels: labels as Record<string, string> };
  return { kind: "node", ...named, software, prefixes };
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
  const { id, name, slot, network, service, stack, address, reach, weight, startedAtMs, state, reason } =
    fields;
  const names =
    isText(id, /^[a-z0-9_.-]{1,80}$/) && isLabelText(name) && isLabelText(network) && isLabelText(service);
  if (!names || !(stack === null || isLabelText(stack)) || !(slot === null || isWhole(slot, 1_000_000)))
    return null;
  if (typeof address !== "string" || !(isIpv4(address) || isIpv6(address))) return null;
  if ((reach !== "direct" && reach !== "stream") || !isWhole(weight, 100)) return null;
  if (!isWhole(startedAtMs, Number.MAX_SAFE_INTEGER) || !STATES.includes(state) || !isShort(reason))
    return null;
  const declaration = declarationFrom(fields["declaration"]);
  if (declaration === null) return null;
  const drainApplied = fields["drainApplied"] === true;
  const drainPending = namesFrom(fields["drainPending"]);
  const where: Pick<
    ReplicaRecord,
    "id" | "name" | "slot" | "network" | "service" | "stack" | "address" | "reach"
  > = { id, name, slot, network, service, stack, address, reach };
  return {
    kind: "replica",
    ...where,
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

function declarationFrom(value: unknown): ServiceDeclaration | null {
  if (!isObject(value)) return null;
  const ports = listFrom(value["ports"], LIMITS.portsPerService, servicePortFrom);
  const publish = listFrom(value["publish"], LIMITS.namesPerService, publishedPortFrom);
  const http = listFrom(value["http"], LIMITS.namesPerService, routeFrom);
  const aliases = listFrom(value["aliases"], LIMITS.namesPerService, (alias) =>
    isLabelText(alias) ? alias : null,
  );
  const endpointMode = value["endpointMode"];
  if (ports === null || publish === null || http === null || aliases === null) return null;
  if (endpointMode !== "vip" && endpointMode !== "dnsrr") return null;
  const passthrough = listFrom(value["passthrough"] ?? [], LIMITS.namesPerService, hostFrom);
  if (passthrough === null) return null;
  const traffic = trafficFrom(value["traffic"]);
  return { ports, publish, http, endpointMode, aliases, passthrough, traffic };
}

/**
 * Never a reason to refuse a replica: a later version may know more ways, and its replicas are to be served all the
 * same. What is not understood is as if it were not said.
 */
function trafficFrom(value: unknown): TrafficPolicy {
  if (!isObject(value)) return DEFAULT_TRAFFIC;
  const { balance, prefer, slowStartMs, firstByteMs, udpMode, udpIdleMs } = value;
  const said: TrafficPolicy = {
    balance: BALANCES.find((known) => known === balance) ?? DEFAULT_TRAFFIC.balance,
    prefer: prefer === "local" ? "local" : "any",
    slowStartMs: isWhole(slowStartMs, LIMITS.policyMs) ? slowStartMs : DEFAULT_TRAFFIC.slowStartMs,
    firstByteMs: isWhole(firstByteMs, LIMITS.policyMs) ? firstByteMs : null,
    udpMode: udpMode === "datagram" ? "datagram" : "flow",
    udpIdleMs: isWhole(udpIdleMs, LIMITS.policyMs) ? udpIdleMs : null,
  };
  return isSameTraffic(said, DEFAULT_TRAFFIC) ? DEFAULT_TRAFFIC : said;
}

/** As `trafficFrom`. */
function deliveryFrom(value: unknown): Delivery {
  if (!isObject(value)) return DEFAULT_DELIVERY;
  const { proxyProtocol, drainMs } = value;
  const said: Delivery = {
    proxyProtocol: proxyProtocol === "v1" || proxyProtocol === "v2" ? proxyProtocol : "off",
    drainMs: isWhole(drainMs, LIMITS.policyMs) ? drainMs : DEFAULT_DELIVERY.drainMs,
  };
  return isSameDelivery(said, DEFAULT_DELIVERY) ? DEFAULT_DELIVERY : said;
}

function hostFrom(value: unknown): string | null {
  if (typeof value !== "string") return null;
  const parsed = parseRouteHost("host", value);
  return parsed.ok && parsed.value === value ? value : null;
}

function servicePortFrom(value: unknown): ServicePort | null {
  if (!isObject(value)) return null;
  const { name, port, target, protocol } = value;
  if (!isLabelText(name) || !isPortValue(port) || !isPortValue(target)) return null;
  return protocol === "tcp" || protocol === "udp" || protocol === "http"
    ? { name, port, target, protocol }
    : null;
}

function publishedPortFrom(value: unknown): PublishedPort | null {
  if (!isObject(value)) return null;
  const { published, port, protocol, mode } = value;
  if (!isPortValue(published) || !isPortValue(port) || (protocol !== "tcp" && protocol !== "udp"))
    return null;
  return mode === "ingress" || mode === "host" ? { published, port, protocol, mode } : null;
}

function routeFrom(value: unknown): HttpRoute | null {
  if (!isObject(value)) return null;
  const { host, path } = value;
  if (typeof host !== "string" || typeof path !== "string") return null;
  // The same rule as for labels and config, and already in its normal form.
  const parsedHost = parseRouteHost("host", host);
  const parsedPath = parseRoutePath("path", path);
  const isNormal = parsedHost.ok && parsedPath.ok && parsedHost.value === host && parsedPath.value === path;
  return isNormal ? { host, path } : null;
}

function listFrom<T>(
  value: unknown,
  countMax: number,
  from: (element: unknown) => T | null,
): readonly T[] | null {
  if (!Array.isArray(value) || value.length > countMax) return null;
  const list = value.map(from);
  return list.every((element): element is Awaited<T> & T => element !== null) ? list : null;
}

function isText(value: unknown, pattern: RegExp): value is string {
  return typeof value === "string" && pattern.test(value);
}

function isLabelText(value: unknown): value is string {
  return typeof value === "string" && isLabel(value);
}

function isShort(value: unknown): value is string {
  return typeof value === "string" && value.length <= 512;
}

function isWhole(value: unknown, greatest: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= greatest;
}

function isPortValue(value: unknown): value is number {
  return typeof value === "number" && isPort(value);
}
