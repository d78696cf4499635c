/**
 * Host: a machine of the simulated cluster, its disk, its clock, the daemon of its present life, and its connections.
 *
 * The disk and what runs on the host outlive the daemon; links and views do not. Times given to the node are by the
 * host's own clock, which may be off and run too fast; the simulator's own time is nobody's to see. Each end of a link
 * carries the state of what it sends, as a kernel does: when the last of it arrives (nothing overtakes), how much is
 * not yet taken by the other side, and what waits because no packet passes at the moment.
 */

import { base32, sha256 } from "../../src/base/bytes.ts";
import type { HostPort } from "../../src/base/ip.ts";
import type { Random } from "../../src/base/random.ts";
import type { Charter } from "../../src/model/charter.ts";
import type { Role } from "../../src/model/credential.ts";
import type { Discovered } from "../../src/model/endpoint.ts";
import type { Happening } from "../../src/model/event.ts";
import type { NodeId } from "../../src/model/ids.ts";
import { NOTHING_KEPT, parseKept, type KeptState } from "../../src/model/kept.ts";
import type { Seals } from "../../src/model/seal.ts";
import type { View } from "../../src/model/view.ts";
import type { Node } from "../../src/node.ts";
import { CHARTER } from "../support/charter.ts";

import type { Logs } from "./inside.ts";

/** Port of every mesh listener. */
export const MESH_PORT = 7650;

/** Happenings kept of each host: enough for a test to look at, no burden in a run of days. */
const HAPPENINGS_KEPT = 2000;

/** What a host is made with. */
export interface HostOptions {
  readonly index: number;
  readonly name: string;
  /** Its daemon's id; another one after its data dir was lost. */
  readonly id?: NodeId;
  readonly address?: HostPort;
  readonly seeds: readonly HostPort[];
  readonly random: Random;
}

/** One machine. */
export class Host {
  readonly index: number;
  readonly name: string;
  readonly address: HostPort;
  readonly random: Random;
  id: NodeId;
  seeds: readonly HostPort[];
  /** What its certificate makes it, from its next start on. */
  role: Role = "manager";
  /** The cluster's decisions, as they are on its disk. */
  charter: Charter = CHARTER;
  /** Other seals than those of its id and role: for a daemon that lies. */
  seals: Seals | null = null;
  /** The daemon of the present life; null while there is none. */
  node: Node | null = null;
  /** What that daemon holds; of the last life while there is none. */
  logs: Logs = new Map();
  /** Counts the daemon's starts: what was meant for an earlier life is dropped. */
  life = 0;
  startedAtMs = 0;
  /** False while it has no power: nothing answers, not even the kernel. */
  isOn = true;
  /** True while its daemon is stopped by a signal. */
  isPaused = false;
  pausedAtMs = 0;
  /** How late its event loop was, at most, since it last told its node. */
  delayMs = 0;
  tickCount = 0;
  /** What came meanwhile, in order. */
  readonly waiting: (() => void)[] = [];
  /** A tick fell due while paused. */
  tickIsLate = false;
  wakeIsSet = false;

  #diskText = JSON.stringify(NOTHING_KEPT);
  /** Being written; lost by a crash in this moment. */
  unsaved: KeptState | null = null;
  /** An older copy of the disk. */
  backup: KeptState | null = null;
  /** Lives that ran on a copy of the disk older than their predecessor's: their incarnations may have been used. */
  isRestored = false;

  /** What runs here, by source. */
  readonly endpointsBySource = new Map<string, readonly Discovered[]>();
  /** Since when each of them has run without a break, in simulated time. */
  readonly runsSinceMsById = new Map<string, number>();
  /** When its sources told the daemon for the first time in this life; infinite before. */
  toldAtMs = Number.POSITIVE_INFINITY;

  /** Its own clock reads `offsetMs + rate * simulated time`. */
  clockOffsetMs = 1_700_000_000_000;
  clockRate = 1;

  /** Open links by the number that its daemon knows them by. */
  readonly endByLink = new Map<number, End>();
  lastLink = 0;

  /** Which side of a partition it is on. */
  side = 0;
  /** Cut off from all others. */
  isDark = false;

  /** The newest view of this life; null before its first step. */
  view: View | null = null;
  viewCount = 0;
  /** Everything that this and earlier lives told, the last ones. */
  readonly happenings: Happening[] = [];
  /** Clean stop in progress or done. */
  isLeaving = false;

  constructor(options: HostOptions) {
    const { index, name, seeds, random } = options;
    this.index = index;
    this.name = name;
    this.id = options.id ?? idOf(name);
    this.address = options.address ?? { host: name, port: MESH_PORT };
    this.seeds = seeds;
    this.random = random;
  }

  get isRunning(): boolean {
    return this.node !== null;
  }

  /** What a restart finds: read as a daemon reads it, so that a state that cannot be read back is found here. */
  get disk(): KeptState {
    const kept = parseKept(JSON.parse(this.#diskText));
    if (!kept.ok) throw new Error(`${this.name} cannot read its own state: ${kept.failure.message}`);
    return kept.value;
  }

  set disk(kept: KeptState) {
    this.#diskText = JSON.stringify(kept);
  }

  /** What its clock shows at a simulated time. */
  clock(atMs: number): number {
    return this.clockOffsetMs + this.clockRate * atMs;
  }

  /** All that runs here. */
  get endpoints(): Discovered[] {
    return [...this.endpointsBySource.values()].flat();
  }

  note(happenings: readonly Happening[]): void {
    if (happenings.length === 0) return;
    this.happenings.push(...happenings);
    if (this.happenings.length > 2 * HAPPENINGS_KEPT) this.happenings.splice(0, HAPPENINGS_KEPT);
  }
}

/** A node's id, made of a name. */
export function idOf(name: string): NodeId {
  return base32(sha256(name)).slice(0, 20);
}

/** An attempt to connect; settled once the daemon was told how it ended. */
export interface Dial {
  readonly address: HostPort;
  isSettled: boolean;
}

/** What travels: a frame; the word that a link is open; or that it is closed. */
export type Parcel =
  | { readonly kind: "frame"; readonly frame: Uint8Array; readonly sort: string }
  | { readonly kind: "opened" }
  | { readonly kind: "closed"; readonly reason: string };

/** One end of a link, and the direction that leads away from it. */
export class End {
  readonly host: Host;
  readonly life: number;
  /** The number by which its daemon knows the link. */
  readonly id: number;
  /** The address that was dialled; null at the accepting end. */
  readonly dialled: HostPort | null;
  /** Set right after both ends are made. */
  peer: End = this;
  /** The dial that this end came of; null at the accepting end. */
  dial: Dial | null = null;
  /** False once it is closed, from whichever side. */
  isOpen = true;
  /** True once its own process has closed it: what still comes is not read. */
  isShut = false;
  /** True once the daemon was told of it. */
  isUp = false;

  /** When the last parcel sent from here arrives. */
  arrivesAtMs = 0;
  /** When the last byte sent from here has left, where the link is slow. */
  leavesAtMs = 0;
  /** Bytes sent from here that the other side's process has not taken. */
  unreadBytes = 0;
  /** Bytes that arrived while no acknowledgement came back. */
  unacknowledgedBytes = 0;
  /** Bytes a millisecond from here to the other side; infinite when nothing holds it up. */
  bytesPerMs = Number.POSITIVE_INFINITY;
  /** What was sent from here and waits for packets to pass again, in order. */
  readonly held: Parcel[] = [];
  /** Since when it waits; negative when it does not. */
  heldSinceMs = -1;
  /** Set by a fault: this direction never carries anything again. */
  isDead = false;

  constructor(host: Host, dialled: HostPort | null) {
    host.lastLink += 1;
    this.host = host;
    this.life = host.life;
    this.id = host.lastLink;
    this.dialled = dialled;
  }
}

/** Both ends of a new link. */
export function joinEnds(dialler: Host, target: Host, address: HostPort): { near: End; far: End } {
  const near = new End(dialler, address);
  const far = new End(target, null);
  near.peer = far;
  far.peer = near;
  dialler.endByLink.set(near.id, near);
  target.endByLink.set(far.id, far);
  return { near, far };
}
