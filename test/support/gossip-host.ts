// A host of a gossip network, the ends of its links, and the ways from one to the other.

import assert from "node:assert/strict";

import type { HostPort } from "../../src/base/ip.ts";
import type { GossipEffects } from "../../src/gossip/effects.ts";
import type { Gossip } from "../../src/gossip/gossip.ts";
import type { Message } from "../../src/gossip/message.ts";
import type { Role } from "../../src/model/credential.ts";
import type { Happening } from "../../src/model/event.ts";
import type { NodeId } from "../../src/model/ids.ts";

/** What a host is started with. */
export interface HostOptions {
  readonly id?: NodeId;
  readonly seeds?: readonly HostPort[];
  /** Port of its mesh listener: another one is another address. */
  readonly port?: number;
  readonly incarnation?: number;
  /** A manager unless told. */
  readonly role?: Role;
  /** It finds nothing in its data dir of whom it knew. */
  readonly forgets?: boolean;
}

/** One daemon's gossip, and what the test knows of it. */
export interface Host {
  readonly name: string;
  readonly id: NodeId;
  readonly address: HostPort;
  readonly seeds: readonly HostPort[];
  readonly gossip: Gossip;
  /** False once it crashed or stopped; its successor is another Host. */
  running: boolean;
  frozen: boolean;
  readonly happenings: Happening[];
  readonly refused: string[];
  readonly drains: GossipEffects["drains"];
  readonly spreadMs: number[];
  dials: number;
  linksOpened: number;
  /** What came while it was frozen. */
  readonly waiting: (() => void)[];
  /** Its ends of open links. */
  readonly endByLink: Map<number, End>;
}

/** One end of a link. */
export interface End {
  readonly host: Host;
  readonly id: number;
  readonly wire: Wire;
  /** When the last frame sent to this end arrives: the next one may not overtake it. */
  arrivesAtMs: number;
  open: boolean;
  /** Nothing that is sent to this end arrives any more. */
  deaf: boolean;
}

/** What the two ends of a link share. */
export interface Wire {
  ends: readonly [End, End] | null;
  /** Deltas are skipped, as on a link whose peer does not keep up. */
  behind: boolean;
}

/** A frame as it leaves a host. */
export interface Passing {
  readonly from: Host;
  readonly to: Host;
  readonly kind: Message["kind"];
  readonly frame: Uint8Array;
}

/** The open ends that one host has of links to another. */
export function endsBetween(one: Host, other: Host): End[] {
  return [...one.endByLink.values()].filter((end) => farOf(end).host === other);
}

/** The end that is reached from an end. */
export function farOf(end: End): End {
  const { ends } = end.wire;
  assert.ok(ends !== null, "a wire has two ends");
  return ends[0] === end ? ends[1] : ends[0];
}

/** The name of the host that is started at this place in a row. */
export function nameAt(index: number): string {
  return index < 26 ? String.fromCharCode(97 + index) : `n${index}`;
}

/** The name of a host. */
export function nameOf(host: Host | string): string {
  return typeof host === "string" ? host : host.name;
}
