// Peers, and open links to them, for tests of single parts of gossip.

import assert from "node:assert/strict";

import { Carrier } from "../../src/gossip/carrier.ts";
import { decode } from "../../src/gossip/codec.ts";
import { Outbox } from "../../src/gossip/effects.ts";
import { Links, type OpenLink } from "../../src/gossip/links.ts";
import type { Message } from "../../src/gossip/message.ts";
import { strangerOf, type Peer } from "../../src/gossip/peer.ts";
import { positionOf } from "../../src/gossip/ring.ts";
import { Topology } from "../../src/gossip/topology.ts";
import { idOf } from "./gossip-network.ts";

/** A member of this name whose host is known. */
export function peerOf(name: string, part: Partial<Peer> = {}): Peer {
  return Object.assign(strangerOf(idOf(name), 0), { name, host: name, port: 7650, ...part });
}

/** A member that does not answer any more. */
export function quiet(peer: Peer): void {
  const never = { sequence: 0, sentAtMs: 0, awaiting: true, misses: 2, heardAtMs: 0, roundTripMs: null };
  peer.pulse = { ...never, lostAtMs: null, inquiry: null, askAgainAtMs: 0, pingsNow: false, warns: false };
}

/** A node with open links, and what it sends over them. */
export interface Linked {
  readonly topology: Topology;
  readonly links: Links;
  readonly outbox: Outbox;
  readonly carrier: Carrier;
  /** Peers by name, each linked. */
  readonly peer: (name: string) => Peer;
  readonly linkOf: (name: string) => OpenLink;
  /** What was sent since the last call, by the names of the peers. */
  readonly sent: () => { readonly to: string; readonly message: Message }[];
}

/** A node `self` linked to these, over links 1, 2 and so on. */
export function linkedTo(self: string, ...names: readonly string[]): Linked {
  const links = new Links();
  const outbox = new Outbox();
  const topology = new Topology(idOf(self));
  const peerByName = new Map<string, Peer>();
  names.forEach((name, index) => {
    const peer = peerOf(name, { link: index + 1 });
    peerByName.set(name, peer);
    topology.note(peer);
    links.add({ id: index + 1, dialled: null, identity: peer.id, remote: `${name}:1`, openedAtMs: 0 });
    const link = links.get(index + 1);
    assert.ok(link !== undefined);
    link.peer = peer;
  });
  links.changed();
  const peer = (name: string): Peer => peerByName.get(name) ?? assert.fail(`${name} is linked`);
  return {
    topology,
    links,
    outbox,
    carrier: new Carrier(idOf(self), { topology, links, outbox }),
    peer,
    linkOf: (name) => links.get(peer(name).link) ?? assert.fail(`${name} has a link`),
    sent: () =>
      outbox.take().send.map(({ link, frame }) => {
        const decoded = decode(frame);
        assert.ok(decoded.ok);
        return { to: names[link - 1] ?? "nobody", message: decoded.value };
      }),
  };
}

/** These names in the order in which their nodes stand on the ring, from the first that is at or after `from`. */
export function alongRing(names: readonly string[], from = 0): string[] {
  const position = (name: string): number => positionOf(idOf(name));
  const ordered = names.toSorted((one, other) => position(one) - position(other));
  const first = ordered.findIndex((name) => position(name) >= from);
  return first <= 0 ? ordered : [...ordered.slice(first), ...ordered.slice(0, first)];
}

/** Where the node of this name stands on the ring. */
export function placeOf(name: string): number {
  return positionOf(idOf(name));
}
