/**
 * Datagram desk: the far end of ways for datagrams, where the replicas are.
 *
 * Each flow gets a socket of its own to the replica: its port is all that tells the replica's answers apart. The near
 * end knows its clients and says when a flow is over; here one is closed by itself only after it was silent for so long
 * that a word must have been lost. A member may be hostile, so flows are counted: past the bound of its stream the one
 * that was silent longest gives way, past that of all streams no more begin.
 *
 * Touches: UDP sockets, the connections it is given, one timer.
 */

import type { Socket } from "node:net";

import { systemCodeOf } from "../base/failure.ts";
import type { HostPort } from "../base/ip.ts";
import { LIMITS } from "../model/limits.ts";
import { nowMs } from "../runtime/clock.ts";
import { isOwnFault, openUdpSocket, type UdpSocket } from "../runtime/udp.ts";

import { FrameReader, type Frame } from "./datagram-frames.ts";
import { FrameWriter } from "./frame-writer.ts";

/** How long a flow is kept here that nobody ends: no near end forgets one so slowly, unless it was told to. */
const SILENT_MS = 600_000;
const SWEEP_EVERY_MS = 10_000;

/** What a desk needs. */
export interface DeskOptions {
  /** Told of each answer that found no room on its way back. */
  readonly dropped: () => void;
  /** How many flows there may be; as LIMITS have it unless told. */
  readonly flowsMax?: { readonly perStream: number; readonly all: number };
}

const FLOWS_MAX = { perStream: LIMITS.relayedFlowsPerStream, all: LIMITS.relayedFlowsMax };

/** Serves the ways for datagrams that lead to replicas of this host. */
export class DatagramDesk {
  readonly #options: Required<DeskOptions>;
  readonly #streams = new Set<ServedWay>();
  #timer: NodeJS.Timeout | null = null;

  constructor({ dropped, flowsMax = FLOWS_MAX }: DeskOptions) {
    this.#options = { dropped, flowsMax };
  }

  /** Flows of all streams. */
  get flowCount(): number {
    let count = 0;
    for (const { flowCount } of this.#streams) count += flowCount;
    return count;
  }

  /** Ends all ways: whoever has flows on them opens another, at whoever listens here then. */
  end(): void {
    for (const way of this.#streams) way.end();
  }

  /**
   * Serves a way until its connection ends.
   *
   * @param head  what came on it already
   * @param to    where the replica is
   */
  serve(socket: Socket, head: Buffer, to: HostPort): void {
    const { dropped, flowsMax } = this.#options;
    const isFull = (): boolean => this.flowCount >= flowsMax.all;
    const way = new ServedWay(socket, to, { isFull, flowsMax: flowsMax.perStream, dropped });
    this.#streams.add(way);
    socket.once("close", () => {
      way.close();
      this.#streams.delete(way);
      if (this.#streams.size > 0 || this.#timer === null) return;
      clearInterval(this.#timer);
      this.#timer = null;
    });
    this.#timer ??= setInterval(() => {
      for (const one of this.#streams) one.sweep(nowMs());
    }, SWEEP_EVERY_MS).unref();
    way.read(head);
  }
}

interface ServedFlow {
  readonly socket: UdpSocket;
  lastMs: number;
}

interface Bounds extends Pick<DeskOptions, "dropped"> {
  /** True when no stream may have one flow more. */
  readonly isFull: () => boolean;
  /** Of this stream. */
  readonly flowsMax: number;
}

class ServedWay {
  readonly #socket: Socket;
  readonly #to: HostPort;
  readonly #bounds: Bounds;
  readonly #writer: FrameWriter;
  readonly #reader = new FrameReader();
  /** Longest silent first. */
  readonly #flowByNumber = new Map<number, ServedFlow>();

  constructor(socket: Socket, to: HostPort, bounds: Bounds) {
    this.#socket = socket;
    this.#to = to;
    this.#bounds = bounds;
    this.#writer = new FrameWriter(socket);
    socket.on("data", (chunk: Buffer) => this.read(chunk));
    socket.on("end", () => socket.destroy());
  }

  get flowCount(): number {
    return this.#flowByNumber.size;
  }

  read(chunk: Buffer): void {
    if (!this.#reader.read(chunk, (frame) => this.#take(frame))) this.#socket.destroy();
  }

  end(): void {
    this.#socket.destroy();
  }

  /** Closes flows that have been silent for long. */
  sweep(atMs: number): void {
    for (const [number, { lastMs }] of this.#flowByNumber) {
      if (atMs - lastMs < SILENT_MS) return;
      this.#end(number, "end");
    }
  }

  close(): void {
    for (const { socket } of this.#flowByNumber.values()) socket.close();
    this.#flowByNumber.clear();
  }

  #take({ kind, flow: number, payload }: Frame): void {
    if (this.#socket.destroyed) return;
    if (kind !== "datagram") return this.#forget(number);
    const flow = this.#flowByNumber.get(number) ?? this.#begin(number);
    if (flow === null) return void this.#writer.write("end", number);
    flow.socket.send(payload);
    this.#touch(number, flow);
  }

  #begin(number: number): ServedFlow | null {
    const [oldest] = this.#flowByNumber.keys();
    if (this.flowCount >= this.#bounds.flowsMax && oldest !== undefined) this.#end(oldest, "end");
    if (this.#bounds.isFull()) return null;
    const flow: ServedFlow = {
      lastMs: 0,
      socket: openUdpSocket(this.#to, {
        received: (payload) => {
          this.#touch(number, flow);
          if (!this.#writer.write("datagram", number, payload)) this.#bounds.dropped();
        },
        failed: (thrown) => {
          // One datagram too long for the system says nothing of the replica.
          if (systemCodeOf(thrown) === "EMSGSIZE") return;
          this.#end(number, isOwnFault(thrown) ? "end" : "refused");
        },
      }),
    };
    return flow;
  }

  #touch(number: number, flow: ServedFlow): void {
    flow.lastMs = nowMs();
    this.#flowByNumber.delete(number);
    this.#flowByNumber.set(number, flow);
  }

  #end(number: number, word: "end" | "refused"): void {
    this.#forget(number);
    this.#writer.write(word, number);
  }

  #forget(number: number): void {
    this.#flowByNumber.get(number)?.socket.close();
    this.#flowByNumber.delete(number);
  }
}
