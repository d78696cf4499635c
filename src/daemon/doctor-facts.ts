/**
 * Doctor facts: what `skein doctor` looks at beside the status, gathered from the parts when somebody asks.
 *
 * Touches: resolv.conf files of containers, through the source; /proc; the monotonic clock; the network, through ping.
 */

import { readFile } from "node:fs/promises";

import type { EngineFacts } from "../admin/checks/engine.ts";
import type { HostFacts } from "../admin/checks/host.ts";
import type { PeerFacts } from "../admin/checks/peers.ts";
import type { PathFacts, PlaneFacts } from "../admin/data-plane.ts";
import type { DoctorFacts } from "../admin/doctor.ts";
import { askedAgoMsOf, placeOf } from "../admin/name-path.ts";
import { textOf } from "../base/failure.ts";
import { renderHostPort, type Prefix } from "../base/ip.ts";
import { DNS_PORT } from "../base/nameservers.ts";
import type { DnsServer } from "../dns/server.ts";
import type { KernelFacts } from "../kernel/given.ts";
import { probeMtus } from "../kernel/mtu.ts";
import type { AskMember } from "../mesh/questions.ts";
import type { NamePath } from "../model/endpoint.ts";
import type { View } from "../model/view.ts";
import { nowMs } from "../runtime/clock.ts";
import { outcomeWithin } from "../runtime/deadline.ts";
import { survey } from "../runtime/sharing.ts";

import { engineFacts, hostFacts, needsOf } from "./doctor-host.ts";
import { peerFacts } from "./doctor-peers.ts";
import type { DaemonOptions } from "./options.ts";
import { upstreamsOf, type Report } from "./report.ts";

/** For all peers together: less than who asks a doctor is given. */
const MTU_DEADLINE_MS = 3000;
/** Beyond, those that come first stand for all: each costs processes. */
const MTU_PEERS_MAX = 256;
const FORWARDING = "/proc/sys/net/ipv4/ip_forward";

/** Each part of the look has this long: whoever asks a doctor waits five seconds. */
const PART_MS = 4000;

/** What a doctor is given to look at. */
export interface DoctorParts {
  readonly options: DaemonOptions;
  readonly report: Report;
  readonly dns: DnsServer;
  readonly view: View;
  /** What VIPs are taken from. */
  readonly pool: Prefix;
  readonly ask: AskMember;
  /** By how much timers are late. */
  readonly loopDelayMs: () => number;
}

/** The facts of this moment; what takes too long or fails is named and left out. */
export async function doctorFacts(parts: DoctorParts): Promise<DoctorFacts> {
  const { options, report, dns, view, pool, ask, loopDelayMs } = parts;
  const { config, env } = options;
  const unseen: string[] = [];
  const seen = async <T>(what: string, work: Promise<T>, otherwise: T): Promise<T> => {
    const result = await outcomeWithin(work, PART_MS);
    if (result.kind === "whole") return result.value;
    unseen.push(what);
    if (result.kind === "failed")
      options.log.warn("doctor's look failed", { what, error: textOf(result.thrown) });
    return otherwise;
  };
  const dnsPlaces = dns.places.map((place) => renderHostPort(place));
  const [paths, plane, host, engine, peers, holderByPlace] = await Promise.all([
    seen<readonly NamePath[]>("containers", report.namePaths(), []),
    seen("ways of overlay networks", planeFacts(report.kernelFacts(), view), null),
    seen<HostFacts | null>("host", hostFacts(config, { delayMs: loopDelayMs() }), null),
    seen<EngineFacts | null>("docker", engineFacts(config, env), null),
    seen<readonly PeerFacts[]>("other hosts", peerFacts(view.members, ask), []),
    seen<ReadonlyMap<string, string>>(
      "port 53 of gateways",
      holdersOf(report.gateways, dnsPlaces),
      new Map(),
    ),
  ]);
  const lastAskedMs = (address: string): number | null => {
    const askedAtMs = dns.lastAskedMs(address);
    // The DNS server counts from the start of the process, the clock of all else from 1970.
    return askedAtMs === null ? null : performance.timeOrigin + askedAtMs;
  };
  return {
    dnsPlaces,
    gateways: report.gateways,
    upstreams: upstreamsOf(dns),
    plane,
    holderByPlace,
    containers: paths.map((path) => ({
      ...path,
      askedAgoMs: askedAgoMsOf(path.addresses, lastAskedMs, nowMs()),
    })),
    host: host === null ? null : { facts: host, needs: needsOf(config) },
    engine,
    peers,
    pools: { vip: pool, overlay: config.overlay.pool },
    unseen,
  };
}

/** What holds port 53 of the gateways where we do not answer. */
async function holdersOf(
  gateways: readonly string[],
  dnsPlaces: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const holderByPlace = new Map<string, string>();
  const seen = await survey();
  for (const host of gateways) {
    const place = placeOf(host);
    if (dnsPlaces.includes(place)) continue;
    const at = { host, port: DNS_PORT };
    const holder = (await seen.holderOf(at, "udp")) ?? (await seen.holderOf(at, "tcp"));
    if (holder !== null) holderByPlace.set(place, holder);
  }
  return holderByPlace;
}

async function planeFacts(kernel: KernelFacts | null, view: View): Promise<PlaneFacts | null> {
  if (kernel === null) return null;
  const [paths, forwarding] = await Promise.all([
    pathsTo(kernel, view),
    readFile(FORWARDING, "utf8").catch(() => null),
  ]);
  const { overlay, carried, bridges, encryption } = kernel;
  const forwards = forwarding === null ? null : forwarding.trim() === "1";
  return { overlay, carried, bridges, encryption, forwards, paths };
}

/** How large a packet gets to each living host with which this one shares a network. */
async function pathsTo({ overlay, carried }: KernelFacts, view: View): Promise<readonly PathFacts[]> {
  if (overlay === null || carried.size === 0) return [];
  const shared = view.networks.filter(({ name }) => carried.has(name));
  const holders = new Set(shared.flatMap(({ slices }) => slices.map(({ node }) => node)));
  const peers = view.members.flatMap((member) => {
    const { id, self, state, name, overlay: theirs } = member;
    if (self || state !== "alive" || !holders.has(id) || theirs === undefined) return [];
    return [{ name, address: theirs.address, expected: Math.min(overlay.mtu, theirs.mtu) }];
  });
  const tried = peers.slice(0, MTU_PEERS_MAX);
  const findings = await probeMtus(tried, { deadlineMs: MTU_DEADLINE_MS, from: overlay.address });
  return tried.flatMap((peer, at) => {
    const finding = findings[at];
    return finding === undefined ? [] : [{ ...peer, finding }];
  });
}
