// What the tests of rules are made of: services, replicas, networks and hosts by hand.

import type { Member } from "../../../src/model/member.ts";
import type { Network, Slice } from "../../../src/model/network.ts";
import type { ServicePort } from "../../../src/model/service.ts";
import type { Replica, Service, View } from "../../../src/model/view.ts";
import type { KernelGiven } from "../../../src/kernel/given.ts";
import { bridgeDevice } from "../../../src/kernel/names.ts";
import { plainMember, plainReplica, plainService } from "../../support/view.ts";

/** Hosts 1, 2 and 3; the tests' own is 1. */
export const HOSTS = ["aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccc"] as const;

const PORTS: readonly ServicePort[] = [{ name: "web", port: 80, target: 8080, protocol: "tcp" }];

export function replica(id: string, changes: Partial<Replica> = {}): Replica {
  const here = { node: HOSTS[0], address: "172.17.0.2", reach: "stream", ports: PORTS } as const;
  return plainReplica(id, { ...here, ...changes });
}

/** A replica of a host on network `app`, at address `10.160.<host>.<last>`. */
export function onOverlay(host: 1 | 2 | 3, last: number, changes: Partial<Replica> = {}): Replica {
  return replica(`r${host}-${last}`, {
    node: HOSTS[host - 1] ?? HOSTS[0],
    nodeName: `host-${host}`,
    local: host === 1,
    address: `10.160.${host}.${last}`,
    reach: "overlay",
    ...changes,
  });
}

export function service(name: string, changes: Partial<Service> = {}): Service {
  const network = changes.network ?? "default";
  return plainService(network, name, { vip: "10.96.0.1", ports: PORTS, ...changes });
}

export function member(host: 1 | 2 | 3, changes: Partial<Member> = {}): Member {
  const address = `192.0.2.${host}`;
  return plainMember(HOSTS[host - 1] ?? HOSTS[0], `host-${host}`, {
    host: address,
    role: "manager",
    overlay: { address, mtu: 1500 },
    self: host === 1,
    ...changes,
  });
}

/** A network of which each of the three hosts has a slice: `10.<second>.<host>.0/24`. */
export function network(
  name: string,
  changes: Partial<Network> & { readonly second?: number } = {},
): Network {
  const { second = 160, ...rest } = changes;
  const slices = HOSTS.map((node, at): Slice => ({
    node,
    nodeName: `host-${at + 1}`,
    index: at + 1,
    prefix: `10.${second}.${at + 1}.0/24`,
    tentative: false,
  }));
  const range = `10.${second}.0.0/16`;
  const empty = { problems: [], isSound: true };
  return { name, range, sliceBits: 24, vni: 4096 + second, encrypted: false, slices, ...empty, ...rest };
}

export interface Scene {
  readonly services?: readonly Service[];
  readonly networks?: readonly Network[];
  readonly members?: readonly Member[];
  readonly complete?: boolean;
}

export function view({ services = [], networks = [], members, complete = true }: Scene): View {
  const all = members ?? [member(1), member(2), member(3)];
  return { version: 1, complete, self: HOSTS[0], members: all, services, networks, problems: [] };
}

/** Host 1's side, with a bridge for each of the networks. */
export function given(scene: Scene, changes: Partial<KernelGiven> = {}): KernelGiven {
  const bridges = (scene.networks ?? []).flatMap(({ name, slices }) => {
    const own = slices.find(({ node }) => node === HOSTS[0]);
    if (own === undefined) return [];
    const gateway = own.prefix.replace(".0/24", ".1");
    return [{ network: name, device: bridgeDevice(name), prefix: own.prefix, gateway }];
  });
  return {
    view: view(scene),
    pool: "10.96.0.0/12",
    pool6: null,
    bridges,
    overlay: { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: true },
    forwards: { v4: true, v6: true },
    listening: new Set(),
    ingressAddress: "0.0.0.0",
    ejected: new Set(),
    guests: [],
    askers: [],
    ...changes,
  };
}
