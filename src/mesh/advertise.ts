/**
 * Advertise: the address at which other hosts find this one.
 *
 * A listener on a wildcard address says nothing of where it can be reached. The address from which this host would
 * speak to the first host it joins is the one that the others can answer; without one to join, the first address that
 * is neither loopback nor a container bridge.
 *
 * Touches: the routing table, by connecting a datagram socket that sends nothing; the list of interfaces.
 */

import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";

import { isLoopback, type HostPort } from "../base/ip.ts";

/** Interfaces that containers hang on; their addresses mean nothing to other hosts. */
const CONTAINER_INTERFACES = /^(docker|br-|veth|virbr|cni|sk-)/;
const DEADLINE_MS = 1000;

/** The address to publish and why it was chosen. */
export interface Advertised {
  readonly host: string;
  readonly reason: string;
}

/** Chooses the host part of the published mesh address. */
export async function chooseAdvertised(listen: HostPort, seeds: readonly HostPort[]): Promise<Advertised> {
  if (listen.host !== "0.0.0.0" && listen.host !== "::") {
    return { host: listen.host, reason: "the mesh listens on this address only" };
  }
  const [seed] = seeds;
  if (seed !== undefined) {
    const host = await sourceTowards(seed);
    if (host !== null) return { host, reason: `the source address towards ${seed.host}` };
  }
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    const address = addresses.find(({ family, internal }) => family === "IPv4" && !internal);
    if (address === undefined || CONTAINER_INTERFACES.test(name)) continue;
    return { host: address.address, reason: `the first address of ${name}` };
  }
  return { host: "127.0.0.1", reason: "this host has no other address; set mesh.advertise for other hosts" };
}

/** The local address a packet to `peer` would carry; null when there is no route or no such name. */
function sourceTowards(peer: HostPort): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    const settle = (address: string | null): void => {
      clearTimeout(timer);
      socket.close();
      resolve(address === null || (isLoopback(address) && !isLoopback(peer.host)) ? null : address);
    };
    const timer = setTimeout(() => settle(null), DEADLINE_MS);
    socket.once("error", () => settle(null));
    socket.connect(peer.port, peer.host, () => settle(socket.address().address));
  });
}
