/**
 * Valve: lets a link's bytes through to the WebSocket library a frame at a time, when it is that link's turn.
 *
 * The library reads whatever its socket gives it, and hands over whatever is in that; the one brake it has stops
 * neither what it has read nor a large message half way. So it gets this stream in place of the socket. Read from the
 * socket is what the next frame needs and no more (a portion of 64 KiB, which may hold many small ones), and nothing
 * while that frame waits for its turn: then the kernel's buffers fill, and the peer's `send` waits.
 *
 * What is written passes straight through.
 *
 * Touches: the socket it is given.
 */

import type { Socket } from "node:net";
import { Duplex } from "node:stream";

import { LIMITS } from "../model/limits.ts";

import { Cutter, type Cut } from "./cutter.ts";
import type { Lane } from "./lanes.ts";

/** What a valve tells of bytes that are taken from nobody. */
export type Violation = Extract<Cut, { readonly kind: "violation" }>;

/**
 * `head`: the answer to a handshake passes, up to its end. `shut`: nothing is read. `frames`: frames pass when it is
 * their turn. `ending`: no data passes any more, but the peer's last words do. `deaf`: nothing passes.
 */
type Mode = "head" | "shut" | "frames" | "ending" | "deaf";

const HEAD_END = Buffer.from("\r\n\r\n");
const NO_BYTES = Buffer.alloc(0);

/**
 * Gives memory back at once. Left to the collector, 64 MB of what was read would lie about before it runs: buffers are
 * hardly anything in its own heap.
 */
function giveBack(bytes: Buffer): void {
  if (bytes.buffer instanceof ArrayBuffer && bytes.buffer.byteLength >= LIMITS.smallFrameBytes)
    bytes.buffer.transfer(0);
}

/** A stream over a socket that holds back what is read. Destroying either destroys the other. */
export class Valve extends Duplex {
  readonly #socket: Socket;
  readonly #cutter = new Cutter();
  #mode: Mode;
  #lane: Lane | null = null;
  #onViolation: (violation: Violation) => void = () => undefined;
  /** The last bytes of a handshake's answer, as many as its end may have begun with. */
  #tail: Buffer = NO_BYTES;
  #hasEnded = false;
  #isOver = false;
  /** What was read last, and a large frame that has passed: both to be given back. */
  #chunk: Buffer | null = null;
  #large: Buffer | null = null;
  #isHandled = true;

  /**
   * @param given.dialled  true when the socket is about to answer our handshake: that passes, and nothing behind it
   * @param given.early    what came behind the request of an accepted link
   */
  constructor(socket: Socket, given: { readonly dialled: boolean; readonly early?: Buffer }) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#mode = given.dialled ? "head" : "shut";
    this.#cutter.add(given.early ?? NO_BYTES);
    // Whoever reads this stream listens too, but not in every moment of a handshake.
    this.on("error", () => undefined);
    if (!given.dialled) socket.pause();
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("end", () => {
      this.#hasEnded = true;
      this.#goOn();
    });
    socket.on("error", (thrown) => this.destroy(thrown));
    socket.on("close", () => this.destroy());
  }

  /** Lets frames pass from now on, when it is their turn on `lane`. */
  open(lane: Lane, onViolation: (violation: Violation) => void): void {
    this.#lane = lane;
    this.#onViolation = onViolation;
    if (this.#mode !== "shut" && this.#mode !== "head") return;
    this.#mode = "frames";
    this.#goOn();
  }

  /** Lets no more data pass; reads on all the same, for the peer's goodbye. */
  hush(): void {
    if (this.#mode !== "deaf") this.#mode = "ending";
    this.#goOn();
  }

  /** Lets the frame through that is ready. */
  release(): void {
    if (this.#mode === "frames" && this.#cutter.look().kind === "frame") this.#pass();
    this.#goOn();
  }

  /** Takes back the memory of the frame that passed: whoever it was for is done with it. */
  handled(): void {
    this.#isHandled = true;
    if (this.#large !== null) giveBack(this.#large);
    this.#large = null;
    this.#reclaim();
  }

  /** Reads the large frame that has begun. */
  admit(): void {
    if (this.#mode === "frames") this.#cutter.gather();
    this.#goOn();
  }

  override _read(): void {
    // Not on demand: #goOn decides what is read.
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, taken: (thrown?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, taken);
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer; readonly encoding: BufferEncoding }[],
    taken: (thrown?: Error | null) => void,
  ): void {
    // Together, as they were given: a frame's head and its payload in one segment.
    this.#socket.cork();
    for (const [at, { chunk, encoding }] of chunks.entries()) {
      if (at === chunks.length - 1) this.#socket.write(chunk, encoding, taken);
      else this.#socket.write(chunk, encoding);
    }
    this.#socket.uncork();
  }

  override _final(done: (thrown?: Error | null) => void): void {
    if (this.#socket.destroyed) done();
    else this.#socket.end(() => done());
  }

  override _destroy(thrown: Error | null, done: (thrown?: Error | null) => void): void {
    this.#socket.destroy();
    done(thrown);
  }

  #read(chunk: Buffer): void {
    if (this.#mode === "deaf") return;
    const isFrames = this.#mode !== "head";
    this.#cutter.add(isFrames ? chunk : this.#passHead(chunk));
    this.#reclaim();
    if (isFrames) this.#chunk = chunk;
    this.#reclaim();
    this.#goOn();
  }

  /** Gives back what was read last, unless some of it is still held or being handled. */
  #reclaim(): void {
    if (this.#chunk === null || !this.#isHandled || this.#cutter.holds(this.#chunk)) return;
    giveBack(this.#chunk);
    this.#chunk = null;
  }

  /** Passes what belongs to the answer of a handshake. @returns what lies behind it */
  #passHead(chunk: Buffer): Buffer {
    const joined = Buffer.concat([this.#tail, chunk]);
    const at = joined.indexOf(HEAD_END);
    const bytes = at < 0 ? chunk.length : at + HEAD_END.length - this.#tail.length;
    this.#tail = joined.subarray(-(HEAD_END.length - 1));
    // Before it passes: what it leads to may open this valve.
    if (at >= 0) this.#mode = "shut";
    this.push(chunk.subarray(0, bytes));
    return chunk.subarray(bytes);
  }

  #pass(): void {
    const cut = this.#cutter.look();
    const isLarge = this.#cutter.isGathering;
    const frame = this.#cutter.take();
    if (cut.kind !== "frame" || frame === null) return;
    if (cut.holds === "close") this.#mode = "deaf";
    // The library keeps a ping's bytes until its answer is on the wire.
    if (cut.holds !== "data") this.push(Buffer.from(frame));
    else {
      this.#isHandled = false;
      this.#large = isLarge ? frame : null;
      this.push(frame);
    }
  }

  /** Does what the mode and the bytes at hand ask for. Can be called at any time. */
  #goOn(): void {
    if (this.destroyed) return;
    if (this.#mode === "shut") this.#socket.pause();
    else if (this.#mode === "frames") this.#offer();
    else {
      if (this.#mode === "ending") this.#passLastWords();
      this.#readOn();
    }
  }

  /** Tells the lane what is at hand, or reads on. */
  #offer(): void {
    const cut = this.#cutter.look();
    if (cut.kind === "frame") {
      this.#socket.pause();
      this.#lane?.ready(cut.bytes);
    } else if (cut.kind === "violation") {
      this.#mode = "ending";
      this.#onViolation(cut);
    } else if (cut.bytes !== null && cut.bytes > LIMITS.smallFrameBytes && !this.#cutter.isGathering) {
      this.#socket.pause();
      this.#lane?.wants(cut.bytes);
    } else this.#readOn();
  }

  /** Drops data, passes control frames: the peer's answer to our goodbye is one. */
  #passLastWords(): void {
    while (this.#mode === "ending") {
      const cut = this.#cutter.look();
      if (cut.kind === "violation") this.#mode = "deaf";
      else if (cut.kind === "frame" && cut.holds !== "data") this.#pass();
      // A partial frame this long holds data; of a shorter one the rest is not worth a question.
      else if (cut.kind === "frame" || (cut.bytes ?? 0) > LIMITS.smallFrameBytes) this.#cutter.drop();
      else return;
    }
  }

  #readOn(): void {
    if (!this.#hasEnded) this.#socket.resume();
    else if (!this.#isOver) {
      this.#isOver = true;
      this.push(null);
    }
  }
}
