// Views of a cluster with encrypted networks, for the tests of WireGuard: hosts by number, slices by host.

import type { NodeOverlay } from "../../../src/model/record.ts";
import type { Member } from "../../../src/model/member.ts";
import type { Network } from "../../../src/model/network.ts";
import type { View } from "../../../src/model/view.ts";
import type { OwnOverlay } from "../../../src/kernel/given.ts";
import { plainMember } from "../../support/view.ts";

/** A key as good as any: 32 bytes that are all the number. */
export function keyOf(host: number): string {
  return Buffer.alloc(32, host).toString("base64");
}

export function nodeOf(host: number): string {
  return `node${host}`.padEnd(20, "a");
}

export function overlayOfHost(host: number, over: Partial<NodeOverlay> = {}): NodeOverlay {
  return { address: `192.0.2.${host}`, mtu: 1500, wireguard: { key: keyOf(host), port: 51_820 }, ...over };
}

/** Host `host` of a cluster whose view is that of host 1. */
export function memberOf(host: number, over: Partial<Member> = {}): Member {
  const named = { host: `192.0.2.${host}`, overlay: overlayOfHost(host), self: host === 1 };
  return plainMember(nodeOf(host), `host-${host}`, { ...named, ...over });
}

/** A network `10.<second>.0.0/16` in which host n has slice n. */
export function networkOf(
  name: string,
  second: number,
  hosts: readonly number[],
  over: Partial<Network> = {},
): Network {
  return {
    name,
    range: `10.${second}.0.0/16`,
    sliceBits: 24,
    vni: 5000 + second,
    encrypted: true,
    slices: hosts.map((host) => ({
      node: nodeOf(host),
      nodeName: `host-${host}`,
      index: host,
      prefix: `10.${second}.${host}.0/24`,
      tentative: false,
    })),
    problems: [],
    isSound: true,
    ...over,
  };
}

export function viewOf(members: readonly Member[], networks: readonly Network[], self = 1): View {
  const view = { version: 1, complete: true, self: nodeOf(self), services: [], problems: [] };
  return { ...view, members, networks };
}

export function ownOverlay(over: Partial<OwnOverlay> = {}): OwnOverlay {
  return { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: true, ...over };
}
