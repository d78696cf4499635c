/**
 * Effects: what gossip wants done, as data.
 *
 * The core never sends, dials or closes; it says so here, and the daemon or the simulator does it. Lists keep their
 * order, and frames of one link must be sent in it.
 *
 * Pure.
 */

import type { HostPort } from "../base/ip.ts";
import type { Happening } from "../model/event.ts";

import { encode } from "./codec.ts";
import type { Message } from "./message.ts";
import type { Move } from "./verdicts.ts";

/** What gossip wants done. Frames of one link are to be sent in order. */
export interface GossipEffects {
  readonly send: { readonly link: number; readonly frame: Uint8Array; readonly kind: Message["kind"] }[];
  readonly dial: HostPort[];
  readonly close: { readonly link: number; readonly reason: string }[];
  readonly happenings: Happening[];
  /** Frames received by kind, for metrics. */
  readonly received: { readonly kind: Message["kind"]; readonly bytes: number }[];
  /** Frames and deltas refused, by reason. */
  readonly refused: string[];
  /** Times in which own writes reached every alive member, for metrics. */
  readonly spreadMs: number[];
  /** Asked of this node by a peer: take a replica out, or back in. */
  readonly drains: { readonly replica: string; readonly draining: boolean; readonly by: string }[];
}

/** A fresh, empty set of effects. */
export function noEffects(): GossipEffects {
  return {
    send: [],
    dial: [],
    close: [],
    happenings: [],
    received: [],
    refused: [],
    spreadMs: [],
    drains: [],
  };
}

/** True when nothing is wanted. */
export function isNothing(effects: GossipEffects): boolean {
  for (const list of Object.values(effects)) if (list.length > 0) return false;
  return true;
}

/** Tells a move of a member. */
export function happeningOf({ peer, to, reason }: Move, atMs: number): Happening {
  const level = to === "suspect" || to === "dead" ? "warn" : "info";
  return { kind: `member.${to}`, level, subject: peer.name, text: reason, atMs };
}

/** Gathers what is wanted until it is taken. */
export class Outbox {
  #wanted = noEffects();
  #isShut = false;

  get wanted(): GossipEffects {
    return this.#wanted;
  }

  /** True once nothing is sent any more. */
  get isShut(): boolean {
    return this.#isShut;
  }

  /** Everything wanted since the last call. */
  take(): GossipEffects {
    const wanted = this.#wanted;
    this.#wanted = noEffects();
    return wanted;
  }

  /** Sends a message over one link. @returns the bytes it takes; 0 when nothing is sent any more */
  send(link: number, message: Message): number {
    if (this.#isShut) return 0;
    const frame = encode(message);
    this.#wanted.send.push({ link, frame, kind: message.kind });
    return frame.byteLength;
  }

  /** Nothing is sent after this. */
  shut(): void {
    this.#isShut = true;
  }
}
