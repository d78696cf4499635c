/**
 * Carrier: brings a message to everybody, or towards one member, over the links that are open.
 *
 * The rules are those of ring.ts; here they meet the links. A message never goes back over the link that it came by.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";

import type { Outbox } from "./effects.ts";
import type { Links, Seat } from "./links.ts";
import type { Message, Until } from "./message.ts";
import { positionOf, spread, spreadAround, towards } from "./ring.ts";
import type { Topology } from "./topology.ts";

/** Sends over the links of one node. */
export class Carrier {
  readonly #position: number;
  readonly #topology: Topology;
  readonly #links: Links;
  readonly #outbox: Outbox;

  constructor(
    self: NodeId,
    parts: { readonly topology: Topology; readonly links: Links; readonly outbox: Outbox },
  ) {
    this.#position = positionOf(self);
    this.#topology = parts.topology;
    this.#links = parts.links;
    this.#outbox = parts.outbox;
  }

  /** The links that carry gossip, ascending by position. */
  get seats(): readonly Seat[] {
    return this.#links.seats;
  }

  /** Sends a message of this node's own to all members. */
  broadcast(make: (until: Until) => Message): void {
    const { seats } = this.#links;
    const { successor } = this.#topology;
    // With its successor at hand the full circle starts here; without, it has to go past here from the other side.
    const isWhole = seats.some(({ peer, doubtful }) => peer.id === successor && !doubtful);
    const shares = isWhole
      ? spread(this.#position, this.#position, seats)
      : spreadAround(this.#position, seats);
    for (const { link, until } of shares) this.#outbox.send(link.link, make(until));
  }

  /**
   * Passes a message on to the part of the ring that this node was asked to serve.
   *
   * @returns the links it went to
   */
  forward(make: (until: Until) => Message, until: Until, cameBy: number): readonly number[] {
    const sentTo: number[] = [];
    for (const share of spread(this.#position, until, this.#links.seats)) {
      if (share.link.link === cameBy) continue;
      this.#outbox.send(share.link.link, make(share.until));
      sentTo.push(share.link.link);
    }
    return sentTo;
  }

  /**
   * The link over which a member is reached: its own, or one nearer to it.
   *
   * @returns null when there is none
   */
  linkTowards(member: NodeId): Seat | null {
    const { seats } = this.#links;
    const own = seats.find(({ peer }) => peer.id === member) ?? null;
    if (own?.doubtful === false) return own;
    const others = own === null ? seats : seats.filter((seat) => seat !== own);
    return towards(positionOf(member), this.#position, others) ?? own;
  }

  /** Sends over one link. */
  send(link: number, message: Message): void {
    this.#outbox.send(link, message);
  }
}
