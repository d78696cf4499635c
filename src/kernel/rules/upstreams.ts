/**
 * Upstreams: where the kernel may lead what comes for a port of a service, and whether it may at all.
 *
 * The kernel takes a port whole or not at all: where one of those who would get traffic is reached through another
 * host's daemon only, or wants to be told of its client, or is still warming up, the proxy keeps the port, for only it
 * does such things. What counts as eligible is the view's to say; an ejection is the proxy's own opinion and makes an
 * upstream doubtful here, so that it is tried by who can take a refusal.
 *
 * Pure.
 */

import { contains, isIpv4, isIpv6, isLocalToHost, type Prefix } from "../../base/ip.ts";
import { contains6, parsePrefix6, type Prefix6 } from "../../base/ip6.ts";
import type { Member } from "../../model/member.ts";
import { overlayOf, type Network } from "../../model/network.ts";
import { transportOf, type ServicePort, type TrafficPolicy } from "../../model/service.ts";
import type { Replica, Service } from "../../model/view.ts";

import type { Carried } from "../carried.ts";

/** What of this host and the cluster decides who is reached how. */
export interface Surroundings {
  readonly zone: string;
  readonly memberById: ReadonlyMap<string, Member>;
  readonly networkByName: ReadonlyMap<string, Network>;
  readonly carried: ReadonlyMap<string, Carried>;
  readonly pool: Prefix;
  readonly pool6: Prefix6 | null;
}

/** One replica's port as the kernel sees it. */
export interface Upstream {
  /** As the proxy has it: `<replica>:<port>`, `/udp` behind it where it is. */
  readonly id: string;
  readonly replica: Replica;
  readonly port: number;
  readonly weight: number;
  readonly isDoubtful: boolean;
  /** Its addresses in both families, where it is reached by them from here. */
  readonly address: string | null;
  readonly address6: string | null;
  /** It would answer past us: it is outside of what we route. */
  readonly isOutside: boolean;
}

/** How much the shares of upstreams may differ by age until that counts as warming up. */
const SHARES_APART = 0.1;

/** All upstreams of a service port, whatever their tier, by id. */
export function upstreamsOf(
  service: Service,
  { port, protocol }: ServicePort,
  { around, ejected }: { readonly around: Surroundings; readonly ejected: ReadonlySet<string> },
): readonly Upstream[] {
  const transport = transportOf(protocol);
  const found = service.replicas.flatMap((replica): readonly Upstream[] => {
    const own = replica.ports.find(
      (candidate) => candidate.port === port && transportOf(candidate.protocol) === transport,
    );
    if (own === undefined || isVip(replica.address, around)) return [];
    const id = `${replica.id}:${own.target}${transport === "udp" ? "/udp" : ""}`;
    const reached = reachedAt(replica, service.network, around);
    const weight = Math.max(1, replica.weight);
    return [{ id, replica, port: own.target, weight, isDoubtful: ejected.has(id), ...reached }];
  });
  return found.sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** True for an address of the VIPs themselves: who is led there comes back here. */
function isVip(address: string, { pool, pool6 }: Surroundings): boolean {
  return contains(pool, address) || (pool6 !== null && isIpv6(address) && contains6(pool6, address));
}

const NOWHERE = { address: null, address6: null, isOutside: false };

function reachedAt(
  replica: Replica,
  networkName: string,
  around: Surroundings,
): Pick<Upstream, "address" | "address6" | "isOutside"> {
  const { address, local, reach } = replica;
  if (isLocalToHost(address)) return NOWHERE;
  const own = { address: isIpv4(address) ? address : null, address6: isIpv6(address) ? address : null };
  if (local) return { address: own.address, address6: replica.address6 ?? own.address6, isOutside: false };
  if (reach === "direct") return { ...own, isOutside: true };
  const network = overlayOf(around, replica, networkName);
  if (network === null || !around.carried.has(network.name)) return NOWHERE;
  return { address: own.address, address6: overlayAddress6(replica, network), isOutside: false };
}

/** Its IPv6 address where it lies in its owner's own slice: nobody may send others anywhere else. */
function overlayAddress6({ address6, node }: Replica, network: Network): string | null {
  const prefix6 = network.slices.find((slice) => slice.node === node)?.prefix6;
  if (address6 === undefined || prefix6 === undefined) return null;
  const parsed = parsePrefix6(prefix6);
  return parsed.ok && contains6(parsed.value, address6) ? address6 : null;
}

/**
 * Those of a port's eligible upstreams that get traffic: with `prefer: local` the nearest there are.
 *
 * @returns none where the proxy would have to choose among what is left
 */
export function candidates(
  upstreams: readonly Upstream[],
  { prefer }: Pick<TrafficPolicy, "prefer">,
  around: Surroundings,
): readonly Upstream[] {
  const eligible = upstreams.filter(({ replica }) => replica.tier === "eligible");
  if (prefer === "any") return eligible;
  const nearest = Math.min(...eligible.map(({ replica }) => distanceOf(replica, around)));
  return eligible.filter(({ replica }) => distanceOf(replica, around) === nearest);
}

function distanceOf({ local, node }: Replica, { zone, memberById }: Surroundings): 0 | 1 | 2 {
  if (local) return 0;
  // An empty zone is no zone: two hosts that name none are not known to be near.
  return zone !== "" && memberById.get(node)?.zone === zone ? 1 : 2;
}

/** True where a service port of this kind is one that the kernel can serve. */
export function isForKernel({ protocol }: ServicePort, traffic: TrafficPolicy): boolean {
  const { balance, udpMode, udpIdleMs } = traffic;
  if (protocol === "http" || (balance !== "round-robin" && balance !== "source-hash")) return false;
  // The kernel has one idle time for all, and forgets a flow by it.
  return protocol === "tcp" || (udpMode === "flow" && udpIdleMs === null);
}

/** True for an upstream that wants of us what the kernel does not do. */
export function wantsProxy({ replica }: Upstream): boolean {
  return replica.delivery.proxyProtocol !== "off";
}

/**
 * When all of these have their full shares, Unix milliseconds; null where they have already. Shares are relative: where
 * all are as young, nobody is spared.
 */
export function rampEndMs(
  upstreams: readonly Upstream[],
  { slowStartMs }: Pick<TrafficPolicy, "slowStartMs">,
  nowMs: number,
): number | null {
  if (slowStartMs <= 0 || upstreams.length < 2) return null;
  const since = upstreams.map(({ replica }) => replica.sinceMs);
  const youngest = Math.max(...since);
  const apart = (youngest - Math.max(Math.min(...since), nowMs - slowStartMs)) / slowStartMs;
  return nowMs < youngest + slowStartMs && apart > SHARES_APART ? youngest + slowStartMs : null;
}

/** True while an upstream may keep the flows it has. */
export function keepsFlows({ replica, isDoubtful }: Upstream): boolean {
  if (isDoubtful || !replica.keepsConnections) return false;
  return replica.tier === "eligible" || replica.tier === "draining" || replica.weight === 0;
}
