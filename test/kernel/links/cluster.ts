// A made-up cluster for the tests of links: hosts, networks, and what one of the hosts is given of it.

import type { KernelGiven } from "../../../src/kernel/given.ts";
import { bridgeDevice } from "../../../src/kernel/names.ts";
import type { NodeId } from "../../../src/model/ids.ts";
import type { Member } from "../../../src/model/member.ts";
import type { Network } from "../../../src/model/network.ts";
import { plainMember } from "../../support/view.ts";

/** What of the usual picture is another way. */
export interface Picture {
  /** Hosts by number: host 2 is at 172.31.0.2 and has slice 2 of each network. */
  readonly hosts?: readonly number[];
  readonly self?: number;
  readonly networks?: readonly Partial<Network>[];
  /** Bridges of this host, by their networks; of all networks when left out. */
  readonly bridged?: readonly string[];
  readonly encrypts?: boolean;
  readonly mtu?: number;
  /** What members say of themselves, where it is not the usual. */
  readonly said?: Readonly<Record<number, Partial<NonNullable<Member["overlay"]>> | null>>;
  readonly address?: string;
}

export const APP: Partial<Network> = { name: "app", range: "10.160.0.0/16", vni: 4711 };
export const DB: Partial<Network> = { name: "db", range: "10.161.0.0/16", vni: 4712 };

export function nodeOf(host: number): NodeId {
  return `node-${host}`;
}

/** The picture of one host. */
export function givenOf(picture: Picture = {}): KernelGiven {
  const { hosts = [1, 2, 3], self = 1, encrypts = false, mtu = 1500, address = `172.31.0.${self}` } = picture;
  const networks = (picture.networks ?? [APP]).map((part) => networkOf(part, hosts));
  const bridged = picture.bridged ?? networks.map(({ name }) => name);
  return {
    view: {
      version: 1,
      complete: true,
      self: nodeOf(self),
      members: hosts.map((host) => memberOf(host, { self, said: picture.said?.[host] })),
      services: [],
      networks,
      problems: [],
    },
    pool: "10.96.0.0/12",
    pool6: null,
    bridges: networks
      .filter(({ name }) => bridged.includes(name))
      .map(({ name, range, range6 }) => ({
        network: name,
        device: bridgeDevice(name),
        prefix: sliceOf(range, self),
        gateway: sliceOf(range, self).replace("0/24", "1"),
        ...(range6 === undefined
          ? {}
          : { prefix6: slice6Of(range6, self), gateway6: slice6Of(range6, self).replace("/80", "1") }),
      })),
    overlay: { address, device: "eth0", mtu, encrypts },
    forwards: { v4: true, v6: true },
    listening: new Set(),
    ingressAddress: "0.0.0.0",
    ejected: new Set(),
    guests: [],
    askers: [],
  };
}

function networkOf(part: Partial<Network>, hosts: readonly number[]): Network {
  const { range = "10.160.0.0/16", range6 } = part;
  return {
    name: "app",
    range,
    sliceBits: 24,
    vni: 4711,
    encrypted: false,
    slices: hosts.map((host) => ({
      node: nodeOf(host),
      nodeName: `h${host}`,
      index: host,
      prefix: sliceOf(range, host),
      ...(range6 === undefined ? {} : { prefix6: slice6Of(range6, host) }),
      tentative: false,
    })),
    problems: [],
    isSound: true,
    ...part,
  };
}

function memberOf(
  host: number,
  {
    self,
    said,
  }: { readonly self: number; readonly said: Partial<NonNullable<Member["overlay"]>> | null | undefined },
): Member {
  const wireguard = { key: `${"A".repeat(42)}${host % 10}=`, port: 51_820 };
  const overlay = { address: `172.31.0.${host}`, mtu: 1500, wireguard, ...said };
  return plainMember(nodeOf(host), `h${host}`, {
    host: `172.31.0.${host}`,
    ...(said === null ? {} : { overlay }),
    self: host === self,
  });
}

/** `10.160.0.0/16` and 3 to `10.160.3.0/24`. */
function sliceOf(range: string, host: number): string {
  return range.replace("0.0/16", `${host}.0/24`);
}

/** `fd12:3456:789a:4d::/64` and 3 to `fd12:3456:789a:4d:3::/80`. */
function slice6Of(range6: string, host: number): string {
  return range6.replace("::/64", `:${host}::/80`);
}
