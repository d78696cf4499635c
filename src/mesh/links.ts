/**
 * Links: keeps the connections that gossip asks for, and tells it what they bring.
 *
 * Gossip speaks of links by number and of addresses to dial; here a number becomes a connection. Every dial has a
 * deadline, short enough that a host that came back is found within a second. What repair covers may be skipped on a
 * link whose peer is behind; what keeps the membership alive is queued. A peer that cannot be talked to is dialled
 * again each second, and told of once a minute.
 *
 * Touches: the mesh, through websocket.ts; the clock.
 */

import { Failure, textOf, type FailureCode } from "../base/failure.ts";
import { renderHostPort, type HostPort } from "../base/ip.ts";
import { Repeats } from "../base/repeats.ts";
import type { NodeId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Log } from "../runtime/log.ts";
import type { Metrics } from "../runtime/metrics.ts";

import type { DialMember } from "./dial.ts";
import type { Lanes } from "./lanes.ts";
import type { Link } from "./link.ts";
import type { Refusals } from "./refusals.ts";
import type { Objection } from "./trust.ts";
import { dialLink } from "./websocket.ts";

/** For the whole of a dial: connection and handshake. */
const DIAL_MS = 1000;

/** What is sent again by itself, a second later at most, when a peer lacks it. */
const REPAIRED: ReadonlySet<string> = new Set(["delta", "announce", "compare", "parts", "digest"]);

/** Somebody answers there, but it is no peer of ours: a person has to look at it. */
const WARNED: ReadonlySet<FailureCode> = new Set(["invalid", "not-allowed"]);
/** The same is logged once in this time. */
const LOGGED_EVERY_MS = 60_000;

/** What happened on the mesh. */
export type MeshInput =
  | {
      readonly kind: "linkUp";
      readonly link: number;
      readonly dialled: HostPort | null;
      readonly remote: string;
      /** Whose certificate was shown. */
      readonly peer: NodeId;
    }
  | { readonly kind: "linkDown"; readonly link: number; readonly reason: string }
  | { readonly kind: "dialFailed"; readonly address: HostPort; readonly refused: boolean }
  | { readonly kind: "frame"; readonly link: number; readonly frame: Uint8Array };

/** A frame that gossip wants sent. */
export interface Outgoing {
  readonly link: number;
  readonly frame: Uint8Array;
  readonly kind: string;
}

/** What openLinks needs. */
export interface LinksOptions {
  readonly onInput: (input: MeshInput) => void;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "gossipMessages" | "gossipBytes">;
  readonly dialMember: DialMember;
  /** Those of the dialler. */
  readonly refusals: Refusals;
  /** Those of the listener, if there is one. */
  readonly lanes: Lanes;
}

/** All links of this daemon. */
export interface Links {
  /** An id that no link of this process had. */
  readonly nextId: () => number;
  /** Takes a link that a peer opened. */
  accept(link: Link): void;
  /** Dials; what comes of it is told by `onInput`. */
  dial(address: HostPort): void;
  send(outgoing: Outgoing): void;
  close(link: number, reason: string): void;
  /** Ends every link to whom there is an objection, with that as the word, whoever dialled. */
  cut(objection: Objection): void;
  /** Ends every link with a word, and dials no more. */
  closeAll(reason: string): void;
}

/** Opens an empty set of links. */
export function openLinks(options: LinksOptions): Links {
  const { onInput, log, metrics, lanes, dialMember, refusals } = options;
  const linkById = new Map<number, Link>();
  const logged = new Repeats(LOGGED_EVERY_MS, LIMITS.repeatsKept);
  let lastId = 0;
  let closed = false;
  const nextId = (): number => {
    lastId += 1;
    return lastId;
  };

  const take = (link: Link, dialled: HostPort | null): void => {
    linkById.set(link.id, link);
    const remote = renderHostPort(link.remote);
    onInput({ kind: "linkUp", link: link.id, dialled, remote, peer: link.peer.id });
    link.start({
      frame: (frame) => onInput({ kind: "frame", link: link.id, frame }),
      closed(end) {
        linkById.delete(link.id);
        if (end.kind === "violation" || end.kind === "overfull") {
          const { remote: from, peer } = link;
          refusals.tell({ reason: end.kind, address: from.host, peer: peer.id, text: end.text });
        }
        onInput({ kind: "linkDown", link: link.id, reason: end.text });
      },
    });
  };

  const dial = async (address: HostPort): Promise<void> => {
    try {
      const link = await dialLink(address, { id: nextId(), deadlineMs: DIAL_MS, lanes, dialMember });
      if (closed) link.close("this daemon is stopping");
      else take(link, address);
    } catch (thrown) {
      const code = thrown instanceof Failure ? thrown.code : "invalid";
      const level = WARNED.has(code) ? "warn" : "debug";
      // Not the text: it may tell a duration, or what the peer makes up.
      if (logged.isNew(`${renderHostPort(address)} ${code}`, nowMs()))
        log[level]("mesh: a dial failed", { address: renderHostPort(address), reason: textOf(thrown) });
      onInput({ kind: "dialFailed", address, refused: code === "refused" });
    }
  };

  return {
    nextId,
    accept: (link) => (closed ? link.close("this daemon is stopping") : take(link, null)),
    dial(address) {
      if (!closed) void dial(address);
    },
    send({ link, frame, kind }) {
      const outcome = linkById.get(link)?.send(frame, REPAIRED.has(kind) ? "skip" : "queue");
      if (outcome !== "sent") return;
      metrics.gossipMessages.inc({ kind, direction: "out" });
      metrics.gossipBytes.inc({ kind, direction: "out" }, frame.byteLength);
    },
    close: (link, reason) => linkById.get(link)?.close(reason),
    cut(objection) {
      for (const link of linkById.values()) {
        const reason = objection(link.peer);
        if (reason !== null) link.close(reason);
      }
    },
    closeAll(reason) {
      closed = true;
      for (const link of linkById.values()) link.close(reason);
    },
  };
}
