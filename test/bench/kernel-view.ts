/**
 * Kernel-view: made-up pictures of a cluster whose services are all on one overlay network, for measuring the kernel.
 *
 * Ten hosts carry the network. The first two are there, as namespaces of the bench; the other eight are only told of.
 * The first service is the one that is loaded: its replicas are addresses of the second host's container. All others
 * are there to be in the way, and keep their objects from one picture to the next, as in the daemon.
 *
 * Pure.
 */

import { numberToIpv4 } from "../../src/base/ip.ts";
import type { KernelGiven } from "../../src/kernel/given.ts";
import { bridgeDevice } from "../../src/kernel/names.ts";
import type { NodeId } from "../../src/model/ids.ts";
import type { Member } from "../../src/model/member.ts";
import type { Network } from "../../src/model/network.ts";
import type { ServicePort } from "../../src/model/service.ts";
import type { Replica, Service, View } from "../../src/model/view.ts";
import { plainMember, plainReplica, plainService } from "../support/view.ts";

export const NETWORK = "app";
/** Of replicas, and the service port that leads there. */
export const TARGET_PORT = 8080;
export const PORT = 80;
/** Of the loaded service, on every host. */
export const PUBLISHED_PORT = 18_088;
/** Addresses of the second host's container, each a replica of the loaded service. */
export const LOADED_REPLICAS = 3;

const HOSTS = 10;
const SLICE_BITS = 20;
const SLICE_SIZE = 2 ** (32 - SLICE_BITS);
const RANGE = 0x0aa0_0000;
const VIPS = 0x0a61_0000;
const VNI = 70_077;
const SINCE_MS = 1_700_000_000_000;

/** How this host looks to the plans. */
export interface Standpoint {
  /** From 1: which of the hosts it is. */
  readonly nth: number;
  /** IPv4 addresses of the hosts that are there, by their number less one. */
  readonly underlay: readonly string[];
  readonly device: string;
  readonly mtu: number;
}

/** The VIP of the nth service, from 0; the first is the loaded one. */
export function vipOf(index: number): string {
  return numberToIpv4(VIPS + index + 1);
}

/** Address `host` of the nth host's slice, from 1: 1 is the bridge's. */
export function addressOf(nth: number, host: number): string {
  return numberToIpv4(RANGE + nth * SLICE_SIZE + host);
}

/** The nth host's slice, from 1. */
export function sliceOf(nth: number): string {
  return `${addressOf(nth, 0)}/${SLICE_BITS}`;
}

/** Services of `replicaCount` replicas each; the first is the loaded one, which has as many as it has. */
export function servicesOf(count: number, replicaCount: number): readonly Service[] {
  return Array.from({ length: count }, (_, index) => serviceOf(index, replicaCount));
}

/** A service with one replica less that takes traffic, and one more when it is changed again. */
export function changed(service: Service): Service {
  const [first, ...others] = service.replicas;
  if (first === undefined) return service;
  const isOut = first.tier !== "eligible";
  const tier = isOut ? "eligible" : "panic";
  return { ...service, replicas: [{ ...first, state: isOut ? "ready" : "unready", tier }, ...others] };
}

/** What the plans of one host are made of. */
export function givenOf(
  services: readonly Service[],
  { nth, underlay, device, mtu }: Standpoint,
): KernelGiven {
  return {
    view: viewOf(services, { nth, underlay, mtu }),
    pool: "10.96.0.0/12",
    pool6: null,
    bridges: [
      { network: NETWORK, device: bridgeDevice(NETWORK), prefix: sliceOf(nth), gateway: addressOf(nth, 1) },
    ],
    overlay: { address: underlay[nth - 1] ?? "", device, mtu, encrypts: false },
    forwards: { v4: true, v6: true },
    listening: new Set([`${PUBLISHED_PORT}/tcp`]),
    ingressAddress: "0.0.0.0",
    ejected: new Set(),
    guests: [],
    askers: [],
  };
}

function viewOf(
  services: readonly Service[],
  { nth, underlay, mtu }: Pick<Standpoint, "nth" | "underlay" | "mtu">,
): View {
  const hosts = Array.from({ length: HOSTS }, (_, index) => index + 1);
  return {
    version: 1,
    complete: true,
    self: nodeId(nth),
    members: hosts.map((one) => memberOf(one, { isSelf: one === nth, underlay, mtu })),
    services,
    networks: NETWORKS,
    problems: [],
  };
}

/** One object for all pictures, as where nothing of it changes. */
const NETWORKS: readonly Network[] = [networkOf()];

function networkOf(): Network {
  const hosts = Array.from({ length: HOSTS }, (_, index) => index + 1);
  const slices = hosts.map((nth) => ({
    node: nodeId(nth),
    nodeName: `h${nth}`,
    index: nth,
    prefix: sliceOf(nth),
    tentative: false,
  }));
  const range = `${numberToIpv4(RANGE)}/12`;
  const wire = { vni: VNI, encrypted: false, isSound: true };
  return { name: NETWORK, range, sliceBits: SLICE_BITS, ...wire, slices, problems: [] };
}

function memberOf(
  nth: number,
  { isSelf, underlay, mtu }: { isSelf: boolean; underlay: readonly string[]; mtu: number },
): Member {
  // Those that are only told of are given addresses of a range for documentation (RFC 5737).
  const address = underlay[nth - 1] ?? `192.0.2.${nth}`;
  return plainMember(nodeId(nth), `h${nth}`, {
    host: address,
    role: "manager",
    overlay: { address, mtu },
    sinceMs: SINCE_MS,
    rttMs: isSelf ? null : 1,
    self: isSelf,
  });
}

function serviceOf(index: number, replicaCount: number): Service {
  const name = `service-${index}`;
  const ports: ServicePort[] = [{ name: "web", port: PORT, target: TARGET_PORT, protocol: "tcp" }];
  const isLoaded = index === 0;
  const publish = [{ published: PUBLISHED_PORT, port: PORT, protocol: "tcp", mode: "ingress" }] as const;
  const replicas = Array.from({ length: isLoaded ? LOADED_REPLICAS : replicaCount }, (_, at) =>
    isLoaded ? replicaOf("loaded", { nth: 2, host: 2 + at, at, ports }) : farReplica({ index, at, ports }),
  );
  const published = isLoaded ? publish : [];
  return plainService(NETWORK, name, { ports, publish: published, vip: vipOf(index), replicas });
}

function farReplica(of: { index: number; at: number; ports: readonly ServicePort[] }): Replica {
  const { index, at, ports } = of;
  const host = 100 + (index % (SLICE_SIZE - 200));
  return replicaOf(`service-${index}`, { nth: 1 + ((index + at) % HOSTS), host, at, ports });
}

function replicaOf(
  name: string,
  where: { nth: number; host: number; at: number; ports: readonly ServicePort[] },
): Replica {
  const { nth, host, at, ports } = where;
  return plainReplica(`${name}-${at}`, {
    slot: at,
    node: nodeId(nth),
    nodeName: `h${nth}`,
    local: false,
    address: addressOf(nth, host),
    reach: "overlay",
    ports,
    reason: "probe: passing",
    saidBy: `h${nth}`,
    sinceMs: SINCE_MS,
  });
}

/** As a node id looks. */
function nodeId(nth: number): NodeId {
  return `h${String.fromCodePoint(96 + nth)}`.padEnd(20, "a");
}
