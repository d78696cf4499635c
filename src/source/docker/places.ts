/**
 * Places: where a container is reached, and in which Skein networks.
 *
 * A label names the network; without one it is each overlay network that the container is on, else the default one. On
 * an overlay network it is reached by its address from every host that carries that; all other addresses of containers
 * mean nothing on another host, whose daemon relays. One that is on several overlay networks is a copy in each, called
 * `<id>.<network>` in all but the first: what is asked for `<id>` is meant for all of them. First is the network it was
 * made with, which stays while others are attached and detached.
 *
 * Pure.
 */

import { canonicalIpv6, isIpv4, isIpv6 } from "../../base/ip.ts";
import type { Discovered } from "../../model/endpoint.ts";
import { DEFAULT_NETWORK } from "../../model/ids.ts";

import type { Attachment, ContainerFacts } from "./facts.ts";

/** One network that a container is to be found in, and how. */
export type Place = Pick<Discovered, "id" | "network" | "address" | "address6" | "reach">;

/** Characters of a container's id that name it, as in `docker ps`. */
const SHORT_ID = 12;

/**
 * The places of a container, first the one that counts where there can be one only; none without an address.
 *
 * @param known  `named`: the network of its label; `host`: the container whose network stack it uses
 */
export function placesOf(
  facts: ContainerFacts,
  known: {
    readonly named: string | null;
    readonly host: ContainerFacts | null;
    readonly overlays: ReadonlySet<string>;
  },
): readonly Place[] {
  const owner = networkHostId(facts) === null ? facts : known.host;
  if (owner === null) return [];
  const on = overlaysOf(owner, known.overlays);
  const id = facts.id.slice(0, SHORT_ID);
  if (known.named === null && on.length > 0) {
    return on.flatMap((network, index) =>
      overlayPlace(owner, network, index === 0 ? id : `${id}.${network}`),
    );
  }
  const network = known.named ?? DEFAULT_NETWORK;
  if (on.includes(network)) return overlayPlace(owner, network, id);
  const address = addressOf(owner, network, facts.labels.get("com.docker.compose.project") ?? "");
  return address === null ? [] : [{ id, network, address, reach: "stream" }];
}

/** The overlay networks on which a container has an address, the one it was made with first, then by name. */
export function overlaysOf(
  { attachments, networkMode }: Pick<ContainerFacts, "attachments" | "networkMode">,
  overlays: ReadonlySet<string>,
): readonly string[] {
  const on = attachments
    .filter(({ network, address }) => overlays.has(network) && isIpv4(address))
    .map(({ network }) => network);
  const sorted = [...new Set(on)].toSorted();
  return [
    ...sorted.filter((network) => network === networkMode),
    ...sorted.filter((network) => network !== networkMode),
  ];
}

/** The id of the container whose network stack this one uses; null when it has its own. */
export function networkHostId(facts: ContainerFacts): string | null {
  return facts.networkMode.startsWith("container:") ? facts.networkMode.slice("container:".length) : null;
}

function overlayPlace({ attachments }: ContainerFacts, network: string, id: string): readonly Place[] {
  const on = attachments.filter((attachment) => attachment.network === network);
  const address = on.find((attachment) => isIpv4(attachment.address))?.address;
  const address6 = on.find((attachment) => isIpv6(attachment.address))?.address;
  if (address === undefined) return [];
  const place = { id, network, address, reach: "overlay" } as const;
  return [address6 === undefined ? place : { ...place, address6: canonicalIpv6(address6) }];
}

/** Where this host reaches a container that is on no overlay network; null when it has no address. */
function addressOf(owner: ContainerFacts, network: string, project: string): string | null {
  if (owner.networkMode === "host") return "127.0.0.1";
  const at = (name: string): Attachment | undefined =>
    owner.attachments.find((attachment) => attachment.network === name);
  const preferred = at(network) ?? at(`${project}_${network}`) ?? owner.attachments[0];
  return preferred?.address ?? null;
}
