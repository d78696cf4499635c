/**
 * Network: what becomes of bytes between hosts.
 *
 * By default links behave like TCP: in order, nothing lost while up. A lost segment is sent again after a timeout that
 * doubles, and holds up all that was sent behind it. Where no packet passes, what is sent waits; once packets pass
 * again it arrives at the next retransmission, or never, when a middlebox has forgotten the connection meanwhile. A
 * kernel that does not know a connection answers with a reset; one without power does not answer. `raw` is harsher than
 * TCP: frames are dropped, repeated and reordered outright.
 *
 * It knows nothing of what the frames say. engine.ts runs the daemons.
 */

import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { below, type Random } from "../../src/base/random.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { Input } from "../../src/step.ts";

import { joinEnds, type Dial, type End, type Host, type Parcel } from "./host.ts";
import { lossMs, retransmittedAtMs, type Weather } from "./weather.ts";

/** A dial that has not ended by then has failed, as in src/mesh/links.ts. */
export const DIAL_DEADLINE_MS = 1000;
/** What kernels take off a process's hands before it counts as buffered: both socket buffers. */
const KERNEL_BYTES = 256 * 1024;
/** What is sent before the first acknowledgement is missed. */
const WINDOW_BYTES = 64 * 1024;
/** A word of the connection itself: SYN, FIN, the upgrade. */
const WORD_BYTES = 60;

/** Where the network puts what is to come. */
export interface Agenda {
  readonly nowMs: number;
  parcel(atMs: number, end: End, parcel: Parcel): void;
  act(atMs: number, act: () => void): void;
}

/** How the network hands inputs to daemons; `end` is the link a frame came over. */
export type Give = (host: Host, life: number, input: Input, end?: End) => void;

/** What became of the links when packets pass again: they carry on, stay silent for ever, or one or the other. */
export type AfterCut = "resume" | "silent" | "either";

/** Counts of what no daemon is told. */
export interface NetworkCounts {
  skipped: number;
  overfull: number;
  dials: number;
}

/** The wires between the hosts. */
export class Network {
  weather: Weather;
  readonly counts: NetworkCounts = { skipped: 0, overfull: 0, dials: 0 };
  readonly #agenda: Agenda;
  readonly #random: Random;
  readonly #give: Give;
  readonly #hostByAddress = new Map<string, Host>();
  /** Pairs of host indexes, `from * 65536 + to`, between which nothing passes that way. */
  readonly #cutPairs = new Set<number>();
  /** Pairs of sides, `from * 65536 + to`. */
  readonly #cutSides = new Set<number>();
  /** Ends whose direction waits for packets to pass. */
  readonly #holding = new Set<End>();

  constructor(parts: { agenda: Agenda; random: Random; give: Give; weather: Weather }) {
    this.#agenda = parts.agenda;
    this.#random = parts.random;
    this.#give = parts.give;
    this.weather = parts.weather;
  }

  /** Makes an address lead to a host. */
  listen(address: HostPort, host: Host): void {
    this.#hostByAddress.set(renderHostPort(address), host);
  }

  /** True when packets pass from one host to another. */
  reaches(from: Host, to: Host): boolean {
    if (!from.isOn || !to.isOn) return false;
    if (from === to) return true;
    if (from.isDark || to.isDark) return false;
    if (this.#cutSides.size > 0 && this.#cutSides.has(pairOf(from.side, to.side))) return false;
    return this.#cutPairs.size === 0 || !this.#cutPairs.has(pairOf(from.index, to.index));
  }

  /** No packet passes from one host to another any more. */
  cut(from: Host, to: Host): void {
    this.#cutPairs.add(pairOf(from.index, to.index));
  }

  /** No packet passes from one side of a partition to another any more. */
  cutSides(from: number, to: number): void {
    this.#cutSides.add(pairOf(from, to));
  }

  /** Takes one cut back. */
  mend(from: Host, to: Host, afterCut: AfterCut): void {
    this.#cutPairs.delete(pairOf(from.index, to.index));
    this.release(afterCut);
  }

  /** Takes all cuts between hosts and between sides back; dark hosts stay dark. */
  mendAll(afterCut: AfterCut): void {
    this.#cutPairs.clear();
    this.#cutSides.clear();
    this.release(afterCut);
  }

  /** Lets what waited go on where packets pass again: to be called after anything that lets them pass. */
  release(afterCut: AfterCut): void {
    for (const end of this.#holding) {
      if (!this.reaches(end.host, end.peer.host) || !this.reaches(end.peer.host, end.host)) continue;
      this.#holding.delete(end);
      const isSilent = afterCut === "silent" || (afterCut === "either" && this.#random() < 0.5);
      if (isSilent) {
        for (const one of [end, end.peer]) {
          one.isDead = true;
          one.held.length = 0;
        }
        continue;
      }
      this.#agenda.act(retransmittedAtMs(end.heldSinceMs, this.#agenda.nowMs), () => this.#resume(end));
    }
  }

  /** Sends a frame as src/mesh/websocket.ts does: pushes are skipped on a link whose peer does not read. */
  send(end: End, frame: Uint8Array, sort: string): boolean {
    if (!end.isOpen) return false;
    const behindBytes = end.unreadBytes - KERNEL_BYTES;
    if (behindBytes > LIMITS.linkOverfullBytes) {
      this.counts.overfull += 1;
      this.close(end, `the peer left ${behindBytes} bytes unread`);
      return false;
    }
    if (behindBytes > LIMITS.linkBufferedBytes && sort === "delta") {
      this.counts.skipped += 1;
      return false;
    }
    end.unreadBytes += frame.byteLength;
    this.#transmit(end, { kind: "frame", frame, sort }, frame.byteLength);
    return true;
  }

  /** A process closes its end: it is told at once, the other side behind all that was sent. */
  close(end: End, reason: string): void {
    if (!end.isOpen) return;
    this.#shut(end, reason);
    const { host, life, id } = end;
    this.#agenda.act(this.#agenda.nowMs, () =>
      this.#give(host, life, { kind: "linkDown", link: id, reason }),
    );
  }

  /** A process is gone: its kernel closes all it had. */
  crash(host: Host): void {
    for (const end of host.endByLink.values()) this.#shut(end, "connection reset");
  }

  /** A host is without power: nobody hears of it. */
  powerOff(host: Host): void {
    for (const end of host.endByLink.values()) {
      end.isOpen = false;
      end.isShut = true;
    }
    host.endByLink.clear();
  }

  /** A middlebox resets a link: both ends see it, and what is under way is gone. */
  reset(end: End): void {
    for (const one of [end, end.peer]) {
      one.isDead = true;
      this.#agenda.act(this.#agenda.nowMs + this.#delay(), () => this.#lose(one, "connection reset"));
    }
  }

  /** A parcel sent from `end` gets to the other side, or waits. */
  arrived(end: End, parcel: Parcel): void {
    if (end.isDead) return;
    if (end.heldSinceMs >= 0 || !this.#passes(end, parcel)) {
      if (end.heldSinceMs < 0) end.heldSinceMs = this.#agenda.nowMs;
      end.held.push(parcel);
      this.#holding.add(end);
      return;
    }
    this.#accept(end, parcel);
  }

  /** A process reads a frame. @returns false when it has closed this end */
  read(end: End, frame: Uint8Array): boolean {
    end.peer.unreadBytes -= frame.byteLength;
    return !end.isShut && end.life === end.host.life;
  }

  /** Opens a connection; what comes of it is told within DIAL_DEADLINE_MS. */
  dial(host: Host, address: HostPort): void {
    this.counts.dials += 1;
    const dial: Dial = { address, isSettled: false };
    const { life } = host;
    const startedAtMs = this.#agenda.nowMs;
    const fail = (refused: boolean): void => {
      if (dial.isSettled) return;
      dial.isSettled = true;
      this.#give(host, life, { kind: "dialFailed", address, refused });
    };
    this.#agenda.act(startedAtMs + DIAL_DEADLINE_MS, () => fail(false));
    const target = this.#hostByAddress.get(renderHostPort(address));
    // A lost SYN is sent again after a second, which is too late.
    if (target === undefined || this.#isLost() || this.#isLost()) return;
    const delayMs = this.#delay();
    this.#agenda.act(startedAtMs + delayMs, () => {
      if (!this.reaches(host, target) || !this.reaches(target, host)) return;
      if (!target.isRunning) return this.#agenda.act(startedAtMs + 2 * delayMs, () => fail(true));
      const upgradedAtMs = startedAtMs + 3 * delayMs + lossMs(this.weather.loss, this.#random, WORD_BYTES);
      this.#agenda.act(upgradedAtMs, () => this.#upgrade({ host, life, target, dial, fail }));
    });
  }

  /** The request to speak gossip reaches the target; a stopped process answers once it goes on. */
  #upgrade(call: {
    host: Host;
    life: number;
    target: Host;
    dial: Dial;
    fail: (refused: boolean) => void;
  }): void {
    const { host, life, target, dial, fail } = call;
    if (dial.isSettled || host.life !== life || !host.isRunning || !this.reaches(host, target)) return;
    if (!target.isRunning) return this.#agenda.act(this.#agenda.nowMs + this.#delay(), () => fail(false));
    if (target.isPaused) {
      target.waiting.push(() => this.#upgrade(call));
      return;
    }
    const { near, far } = joinEnds(host, target, dial.address);
    near.dial = dial;
    far.isUp = true;
    this.#transmit(far, { kind: "opened" }, WORD_BYTES);
    const remote = `${host.name}:${40_000 + near.id}`;
    this.#give(target, target.life, {
      kind: "linkUp",
      link: far.id,
      dialled: null,
      remote,
      peer: host.id,
    });
  }

  #accept(end: End, parcel: Parcel): void {
    const to = end.peer;
    const isThere = to.isOpen && to.life === to.host.life;
    switch (parcel.kind) {
      case "frame":
        if (isThere) this.#give(to.host, to.life, { kind: "frame", link: to.id, frame: parcel.frame }, to);
        else this.#refuse(end);
        break;
      case "opened": {
        const { dial } = to;
        if (!isThere || dial === null) break;
        if (dial.isSettled) return this.#shut(to, "given up");
        dial.isSettled = true;
        to.isUp = true;
        const remote = renderHostPort(dial.address);
        const peer = end.host.id;
        this.#give(to.host, to.life, { kind: "linkUp", link: to.id, dialled: dial.address, remote, peer });
        break;
      }
      case "closed":
        this.#lose(to, parcel.reason);
        break;
    }
  }

  /** A kernel that does not know the connection says so to the sender. */
  #refuse(sender: End): void {
    if (!sender.isOpen) return;
    this.#agenda.act(this.#agenda.nowMs + this.#delay(), () => {
      if (this.reaches(sender.peer.host, sender.host)) this.#lose(sender, "connection reset");
    });
  }

  /** An end learns that its link is gone. */
  #lose(end: End, reason: string): void {
    if (!end.isOpen) return;
    end.isOpen = false;
    end.host.endByLink.delete(end.id);
    if (end.isUp) this.#give(end.host, end.life, { kind: "linkDown", link: end.id, reason });
    else if (end.dial !== null && !end.dial.isSettled) {
      end.dial.isSettled = true;
      this.#give(end.host, end.life, { kind: "dialFailed", address: end.dial.address, refused: false });
    }
  }

  #shut(end: End, reason: string): void {
    end.isOpen = false;
    end.isShut = true;
    end.host.endByLink.delete(end.id);
    this.#transmit(end, { kind: "closed", reason }, WORD_BYTES);
  }

  #transmit(end: End, parcel: Parcel, sizeBytes: number): void {
    if (end.isDead) return;
    const { raw } = this.weather;
    const now = this.#agenda.nowMs;
    if (raw !== null && parcel.kind === "frame") {
      this.#transmitRaw(end, parcel, raw);
      return;
    }
    end.leavesAtMs = Math.max(now, end.leavesAtMs) + sizeBytes / end.bytesPerMs;
    const atMs = end.leavesAtMs + this.#delay() + lossMs(this.weather.loss, this.#random, sizeBytes);
    end.arrivesAtMs = Math.max(end.arrivesAtMs, atMs);
    this.#agenda.parcel(end.arrivesAtMs, end, parcel);
  }

  #transmitRaw(end: End, parcel: Parcel & { kind: "frame" }, raw: NonNullable<Weather["raw"]>): void {
    const copies = this.#random() < raw.drop ? 0 : this.#random() < raw.repeat ? 2 : 1;
    if (copies !== 1) end.unreadBytes += (copies - 1) * parcel.frame.byteLength;
    for (let copy = 0; copy < copies; copy += 1) {
      const lateMs = copy > 0 || this.#random() < raw.reorder ? this.#random() * 500 : 0;
      // Never before the link is open: it could not be told from another one's frame.
      this.#agenda.parcel(
        Math.max(this.#agenda.nowMs + this.#delay() + lateMs, end.arrivesAtMs),
        end,
        parcel,
      );
    }
  }

  #resume(end: End): void {
    if (end.isDead || end.heldSinceMs < 0) return;
    if (!this.reaches(end.host, end.peer.host) || !this.reaches(end.peer.host, end.host)) {
      this.#holding.add(end);
      return;
    }
    end.heldSinceMs = -1;
    end.unacknowledgedBytes = 0;
    for (const parcel of end.held.splice(0)) this.#accept(end, parcel);
  }

  #passes(end: End, parcel: Parcel): boolean {
    const { host, peer } = end;
    if (!this.reaches(host, peer.host)) return false;
    if (this.reaches(peer.host, host)) {
      end.unacknowledgedBytes = 0;
      return true;
    }
    end.unacknowledgedBytes += parcel.kind === "frame" ? parcel.frame.byteLength : WORD_BYTES;
    return end.unacknowledgedBytes <= WINDOW_BYTES;
  }

  #isLost(): boolean {
    return this.weather.loss > 0 && this.#random() < this.weather.loss;
  }

  #delay(): number {
    const { low, high } = this.weather.latencyMs;
    return low + this.#random() * (high - low);
  }

  /** A random open link of a host; undefined when it has none. */
  pick(host: Host): End | undefined {
    const ends = [...host.endByLink.values()];
    return ends[below(this.#random, Math.max(1, ends.length))];
  }
}

function pairOf(from: number, to: number): number {
  return from * 65_536 + to;
}
