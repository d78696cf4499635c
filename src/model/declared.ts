/**
 * Declared: what a replica's record says of its service, and how its traffic is to be spread and handed over.
 *
 * Ports and names must fit, or the record is refused. What tells of traffic never is a reason to refuse one: a later
 * version may know more ways, and its replicas are to be served all the same.
 *
 * Pure. record.ts has the record around it.
 */

import { isLabelText, isObject, isPortValue, isWhole, listFrom } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import {
  BALANCES,
  DEFAULT_DELIVERY,
  DEFAULT_TRAFFIC,
  parseRouteHost,
  parseRoutePath,
  type Delivery,
  type HttpRoute,
  type PublishedPort,
  type ServiceDeclaration,
  type ServicePort,
  type TrafficPolicy,
} from "./service.ts";

/** Whether two policies say the same. */
export function isSameTraffic(one: TrafficPolicy, other: TrafficPolicy): boolean {
  return (
    one.balance === other.balance &&
    one.prefer === other.prefer &&
    one.slowStartMs === other.slowStartMs &&
    one.firstByteMs === other.firstByteMs &&
    one.udpMode === other.udpMode &&
    one.udpIdleMs === other.udpIdleMs &&
    one.source === other.source
  );
}

/** Whether two deliveries say the same. */
export function isSameDelivery(one: Delivery, other: Delivery): boolean {
  return one.proxyProtocol === other.proxyProtocol && one.drainMs === other.drainMs;
}

/** What a record says of its service; null when that does not fit. */
export function declarationFrom(value: unknown): ServiceDeclaration | null {
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
export function trafficFrom(value: unknown): TrafficPolicy {
  if (!isObject(value)) return DEFAULT_TRAFFIC;
  const { balance, prefer, slowStartMs, firstByteMs, udpMode, udpIdleMs, source } = value;
  const said: TrafficPolicy = {
    balance: BALANCES.find((known) => known === balance) ?? DEFAULT_TRAFFIC.balance,
    prefer: prefer === "local" ? "local" : "any",
    slowStartMs: isWhole(slowStartMs, LIMITS.policyMs) ? slowStartMs : DEFAULT_TRAFFIC.slowStartMs,
    firstByteMs: isWhole(firstByteMs, LIMITS.policyMs) ? firstByteMs : null,
    udpMode: udpMode === "datagram" ? "datagram" : "flow",
    udpIdleMs: isWhole(udpIdleMs, LIMITS.policyMs) ? udpIdleMs : null,
    source: source === "masquerade" ? "masquerade" : "keep",
  };
  return isSameTraffic(said, DEFAULT_TRAFFIC) ? DEFAULT_TRAFFIC : said;
}

/** As `trafficFrom`. */
export function deliveryFrom(value: unknown): Delivery {
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
