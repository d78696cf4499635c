/**
 * Describe: the nouns of services, in the words that several commands share.
 *
 * Ports are written as labels and the config file write them, so that what is read can be typed. A replica's row tells
 * in or out first, then why, since when and on whose word: that is what somebody asks who looks at one at all.
 *
 * Pure.
 */

import type { Explanation, ReplicaReport } from "../admin/contract.ts";
import { renderDuration } from "../base/duration.ts";
import { Failure } from "../base/failure.ts";
import type { HttpRoute, PublishedPort, ServicePort, TrafficPolicy } from "../model/service.ts";

import { agoText, durationText, renderTable, type Cell, type Column, type Style } from "./render.ts";

const COLUMNS: readonly Column<ReplicaReport>[] = [
  { title: "REPLICA", cell: ({ name }) => name, shrinks: true },
  { title: "ID", cell: ({ id }) => id, wideOnly: true },
  { title: "NODE", cell: ({ node }) => node, shrinks: true },
  { title: "ADDRESS", cell: addressText },
  { title: "TRAFFIC", cell: trafficCell },
  { title: "SINCE", cell: ({ sinceMs }, style) => agoText(sinceMs, style) },
  { title: "SAID BY", cell: ({ saidBy }) => saidBy, shrinks: true },
  { title: "STATE", cell: ({ state }) => state, wideOnly: true },
  { title: "WEIGHT", cell: ({ weight }) => String(weight), wideOnly: true },
  { title: "PROXY", cell: ({ delivery }) => delivery.proxyProtocol, wideOnly: true },
  { title: "DRAIN", cell: ({ delivery }) => renderDuration(delivery.drainMs), wideOnly: true },
  // Last and never cut: it is what the table is read for, and a terminal wraps what is too long.
  { title: "WHY", cell: reasonText },
];

/** `80/tcp`, and `80:8080/tcp` where the replicas listen on another port. */
export function portText({ port, target, protocol }: ServicePort): string {
  const numbers = port === target ? String(port) : `${port}:${target}`;
  return `${numbers}/${protocol}`;
}

/** `8088:80/tcp`, `host:8088:80/tcp`. */
export function publishText({ published, port, protocol, mode }: PublishedPort): string {
  return `${mode === "host" ? "host:" : ""}${published}:${port}/${protocol}`;
}

/** `app.example.com/path`. */
export function routeText({ host, path }: HttpRoute): string {
  return `${host}${path}`;
}

/** How a service's traffic is spread; of what is not the default each part by itself. */
export function trafficTexts(traffic: TrafficPolicy): readonly string[] {
  const { balance, prefer, slowStartMs, firstByteMs, udpMode, udpIdleMs, source } = traffic;
  return [
    balance,
    ...(prefer === "local" ? ["prefers replicas of the same host, then of its zone"] : []),
    ...(slowStartMs === 0 ? [] : [`slow start over ${renderDuration(slowStartMs)}`]),
    ...(firstByteMs === null ? [] : [firstByteText(firstByteMs)]),
    ...(udpMode === "datagram" ? ["each UDP datagram to the next replica"] : []),
    ...(udpIdleMs === null ? [] : [`a UDP flow ends after ${renderDuration(udpIdleMs)} of silence`]),
    ...(source === "keep" ? [] : ["replicas see the address of the host that a client came through"]),
  ];
}

function firstByteText(ms: number): string {
  return ms === 0 ? "waits for a slow replica" : `leaves a replica that is silent for ${renderDuration(ms)}`;
}

/** A service's address, and what else leads to it; `none` is shown where there is none. */
export function vipTexts(
  { vip, vip6, vipTentative, aliasVips }: Explanation,
  none: string,
): readonly string[] {
  const six = vip6 === undefined ? [] : [vip6];
  if (vip === null) return [none, ...six];
  const own = vipTentative ? `${vip} (tentative: not every host has heard of it)` : vip;
  const former = aliasVips.map((address) => `${address} (kept for a while: it had this one before)`);
  return [own, ...six, ...former];
}

/** A row for each replica. */
export function replicaTable(replicas: readonly ReplicaReport[], style: Style): string {
  return renderTable(COLUMNS, replicas, style);
}

/**
 * Path of the API for one thing by its name.
 *
 * @throws Failure `usage` for what no thing can be called and would make another path
 */
export function pathTo(kind: "members" | "networks" | "services" | "explain", name: string): string {
  if (/^\.{0,2}$/.test(name)) {
    const expected = "expected one that a list shows, such as skein node ls";
    throw new Failure("usage", `"${name}" is no name; ${expected}`);
  }
  return `/api/v1/${kind}/${encodeURIComponent(name)}`;
}

/** Path of the API for one service; the name may hold its network and a slash. */
export function servicePath(what: "services" | "explain", name: string, network: string | null): string {
  const query = network === null ? "" : `?${new URLSearchParams({ network }).toString()}`;
  return `${pathTo(what, name)}${query}`;
}

/** With the port where there is one only: static replicas may differ in nothing else. */
function addressText({ address, ports }: ReplicaReport): string {
  const host = address.includes(":") ? `[${address}]` : address;
  const [only] = ports;
  return ports.length === 1 && only !== undefined ? `${host}:${only.target}` : address;
}

function trafficCell({ eligible, ejected, tier }: ReplicaReport): Cell {
  if (eligible) return ejected === null ? { text: "in", tone: "good" } : { text: "out here", tone: "warn" };
  return tier === "draining" ? { text: "draining", tone: "warn" } : { text: "out", tone: "bad" };
}

function reasonText(
  { reason, eligible, ejected, tier, drainApplied, drainPending }: ReplicaReport,
  style: Style,
): string {
  // What keeps it out everywhere says more than what this proxy met of it.
  if (eligible && ejected !== null) {
    const restMs = ejected.untilMs - style.nowMs;
    const term = restMs > 0 ? `for ${durationText(restMs)}` : "until it answers";
    return `${ejected.reason} (this node's proxy, ${term})`;
  }
  if (tier !== "draining") return reason;
  if (drainApplied) return `${reason} (applied everywhere)`;
  const missing = drainPending.length === 0 ? "everywhere" : `by ${drainPending.join(", ")}`;
  return `${reason} (not applied ${missing})`;
}
