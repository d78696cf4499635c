// Pictures: small made-up views for tests of what the kernel is to do.

import type { Forwarding, KernelGiven, OwnOverlay } from "../../src/kernel/given.ts";
import { bridgeDevice } from "../../src/kernel/names.ts";
import type { Member } from "../../src/model/member.ts";
import type { Bridge, Network } from "../../src/model/network.ts";
import { plainMember } from "../support/view.ts";

/** The node whose view it is. */
export const SELF = "self";

/** A sound network of which this host has slice 3. */
export function networkOf(name: string): Network {
  const slice = { node: SELF, nodeName: "h1", index: 3, prefix: "10.160.3.0/24", tentative: false };
  const wire = { vni: 4100, encrypted: false, isSound: true };
  return { name, range: "10.160.0.0/16", sliceBits: 24, ...wire, slices: [slice], problems: [] };
}

/** Its bridge on that slice. */
export function bridgeOf(network: string): Bridge {
  return { network, device: bridgeDevice(network), prefix: "10.160.3.0/24", gateway: "10.160.3.1" };
}

/** A host of the cluster that lives. */
export function memberOf(name: string, over: Partial<Member> = {}): Member {
  return plainMember(name, name, { host: name, ...over });
}

/** What a host knows that carries all these networks. */
export function givenOf(parts: {
  readonly networks?: readonly Network[];
  readonly bridges?: readonly Bridge[];
  readonly overlay?: OwnOverlay | null;
  readonly broken?: ReadonlySet<string>;
  readonly forwards?: Forwarding;
}): KernelGiven {
  const { networks = [], bridges = networks.map(({ name }) => bridgeOf(name)) } = parts;
  const { overlay = { address: "192.0.2.1", device: "eth0", mtu: 1500, encrypts: false }, broken } = parts;
  const { forwards = { v4: true, v6: true } } = parts;
  return {
    view: {
      version: 1,
      complete: true,
      self: SELF,
      members: [],
      services: [],
      networks,
      problems: [],
    },
    pool: "10.96.0.0/12",
    pool6: null,
    bridges,
    overlay,
    forwards,
    ...(broken && { broken }),
    listening: new Set(),
    ingressAddress: "0.0.0.0",
    ejected: new Set(),
    guests: [],
    askers: [],
  };
}
