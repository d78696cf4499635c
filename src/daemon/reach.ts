/**
 * Reach: containers of an overlay network are told to others as such only once this host carries the network.
 *
 * A network's bridge is there before its links and rules are, and a container may be ready at once; other hosts would
 * send packets here that nothing takes yet. Until then they use the stream, as to any host without overlays.
 *
 * Pure.
 */

import type { Discovered, Discovery } from "../model/endpoint.ts";
import type { Input } from "../step.ts";

/** The discovery as others may know it; the same object where nothing is to be held back. */
export function withinReach(discovery: Discovery, carried: ReadonlySet<string>): Discovery {
  const isAhead = ({ reach, network }: Discovered): boolean => reach === "overlay" && !carried.has(network);
  if (!discovery.endpoints.some(isAhead)) return discovery;
  const endpoints = discovery.endpoints.map((endpoint): Discovered => {
    return isAhead(endpoint) ? { ...endpoint, reach: "stream" } : endpoint;
  });
  return { ...discovery, endpoints };
}

/** Tells what was discovered as far as it is within reach, and again when more is. */
export interface Reach {
  readonly feed: (input: Input) => void;
  /** To be called when other networks are carried than before. */
  again(): void;
}

/** Stands between the sources and the node. @param carried  the networks that this host carries now */
export function openReach(feed: (input: Input) => void, carried: () => ReadonlySet<string>): Reach {
  const toldBySource = new Map<string, { readonly whole: Discovery; readonly told: Discovery }>();
  const tell = (whole: Discovery): void => {
    const told = withinReach(whole, carried());
    toldBySource.set(whole.source, { whole, told });
    feed({ kind: "discovered", discovery: told });
  };
  return {
    feed(input) {
      if (input.kind === "discovered") tell(input.discovery);
      else feed(input);
    },
    again() {
      for (const { whole, told } of Array.from(toldBySource.values())) {
        // What is told in full as it is, and stays so, is no news.
        if (whole !== told || withinReach(whole, carried()) !== whole) tell(whole);
      }
    },
  };
}
