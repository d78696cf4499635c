/**
 * Cutter: where the WebSocket frames of a link begin and end, before anything of them is read.
 *
 * A link is read in portions, a frame at a time, so somebody must know how long the frame is that comes next: from its
 * first bytes, while the rest may still be in the kernel of the peer's host. What a large frame needs is taken only
 * once it has a place, and then exactly that. Our frames are whole messages: a message in fragments would be kept
 * outside of every bound that counts frames, so it is refused here, as is what is longer than allowed. Everything else
 * that a frame can have wrong is left to the WebSocket library, which gets the frames as they came.
 *
 * Pure. RFC 6455 5.2 has the layout. valve.ts feeds it.
 */

import { LIMITS } from "../model/limits.ts";

/** What stands at the head of what has come. */
export type Cut =
  /** No frame yet; `bytes` is its whole size once that is known. */
  | { readonly kind: "partial"; readonly bytes: number | null }
  /** A whole frame. A `close` ends what the peer has to say (RFC 6455 5.5.1). */
  | { readonly kind: "frame"; readonly bytes: number; readonly holds: "data" | "control" | "close" }
  /** Bytes that we take from nobody, and the close code of RFC 6455 7.4.1 for it. */
  | { readonly kind: "violation"; readonly code: 1002 | 1008 | 1009; readonly text: string };

const CONTINUATION = 0;
const CONTROL = 8;
const CLOSE = 8;
const CONTROL_BYTES_MAX = 125;
const NOTHING = Buffer.alloc(0);
const UNKNOWN: Cut = { kind: "partial", bytes: null };

/** The bytes of one link that have come and have not been taken. */
export class Cutter {
  /** Invariant: while `#large` is there, what is held lies behind it. When nothing is held it is NOTHING. */
  #held: Buffer = NOTHING;
  #large: { readonly room: Buffer; filledBytes: number; readonly cut: Cut & { kind: "frame" } } | null = null;
  /** Still to come of a frame that was dropped. */
  #dropBytes = 0;

  /** True while a large frame is gathered. */
  get isGathering(): boolean {
    return this.#large !== null;
  }

  /** Bytes held in memory. */
  get heldBytes(): number {
    return this.#held.length + (this.#large?.room.length ?? 0);
  }

  /** Whether any of these bytes, which were added, are still held as they are. */
  holds(chunk: Buffer): boolean {
    return this.#held.length > 0 && this.#held.buffer === chunk.buffer;
  }

  /** Adds what came. The bytes are kept, not copied. */
  add(chunk: Buffer): void {
    const dropped = Math.min(this.#dropBytes, chunk.length);
    this.#dropBytes -= dropped;
    const rest = this.#fill(chunk.subarray(dropped));
    if (rest.length > 0) this.#held = this.#held.length === 0 ? rest : Buffer.concat([this.#held, rest]);
  }

  /** Tells what is at the head. */
  look(): Cut {
    if (this.#large === null) return cutOf(this.#held);
    const { room, filledBytes, cut } = this.#large;
    return filledBytes === room.length ? cut : { kind: "partial", bytes: room.length };
  }

  /** Makes room for the partial frame at the head; to be called once its size is known. */
  gather(): void {
    const head = headOf(this.#held);
    if (head === null || this.#large !== null) return;
    const { bytes, holds } = head;
    this.#large = {
      room: Buffer.allocUnsafeSlow(bytes),
      filledBytes: 0,
      cut: { kind: "frame", bytes, holds },
    };
    const rest = this.#fill(this.#held);
    this.#held = rest.length === 0 ? NOTHING : rest;
  }

  /** Takes the whole frame at the head; null when there is none. The bytes may be a view of a larger buffer. */
  take(): Buffer | null {
    const cut = this.look();
    if (cut.kind !== "frame") return null;
    if (this.#large !== null) {
      const { room } = this.#large;
      this.#large = null;
      return room;
    }
    const frame = this.#held.subarray(0, cut.bytes);
    this.#held = this.#held.length === cut.bytes ? NOTHING : this.#held.subarray(cut.bytes);
    return frame;
  }

  /** Drops the frame at the head: also what of it is still to come when its size is known, else what there is. */
  drop(): void {
    const cut = this.look();
    const heldOfIt = this.#large?.filledBytes ?? this.#held.length;
    const bytes = cut.kind === "violation" ? heldOfIt : (cut.bytes ?? heldOfIt);
    this.#dropBytes = Math.max(0, bytes - heldOfIt);
    if (this.#large === null) this.#held = bytes >= heldOfIt ? NOTHING : this.#held.subarray(bytes);
    this.#large = null;
  }

  /** Fills the large frame. @returns what lies behind it */
  #fill(bytes: Buffer): Buffer {
    if (this.#large === null) return bytes;
    const { room, filledBytes } = this.#large;
    const copied = bytes.copy(room, filledBytes);
    this.#large.filledBytes += copied;
    return bytes.subarray(copied);
  }
}

interface Head {
  readonly opcode: number;
  readonly isFinal: boolean;
  /** Of the payload; may be past what a number holds exactly, which is past every bound. */
  readonly payloadBytes: number;
  /** Of the whole frame. */
  readonly bytes: number;
  readonly holds: "data" | "control" | "close";
}

function cutOf(held: Buffer): Cut {
  const head = headOf(held);
  if (head === null) return UNKNOWN;
  const { opcode, isFinal, payloadBytes, bytes, holds } = head;
  if (opcode >= CONTROL) {
    if (payloadBytes > CONTROL_BYTES_MAX)
      return violation(
        1002,
        `a control frame of ${payloadBytes} bytes; expected at most ${CONTROL_BYTES_MAX}`,
      );
  } else if (payloadBytes > LIMITS.frameBytes) {
    return violation(1009, `a frame of ${payloadBytes} bytes; expected at most ${LIMITS.frameBytes}`);
  } else if (!isFinal || opcode === CONTINUATION) {
    return violation(1008, "a message in fragments; expected one frame a message");
  }
  return held.length < bytes ? { kind: "partial", bytes } : { kind: "frame", bytes, holds };
}

function violation(code: 1002 | 1008 | 1009, text: string): Cut {
  return { kind: "violation", code, text };
}

/** What the first bytes of a frame tell; null while there are too few of them. */
function headOf(held: Buffer): Head | null {
  const [first, second] = held;
  if (first === undefined || second === undefined) return null;
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  if (held.length < 2 + lengthBytes) return null;
  const payloadBytes =
    lengthBytes === 0 ? short : lengthBytes === 2 ? held.readUInt16BE(2) : Number(held.readBigUInt64BE(2));
  const maskBytes = (second & 0x80) === 0 ? 0 : 4;
  const opcode = first & 0x0f;
  const holds = opcode === CLOSE ? "close" : opcode > CLOSE ? "control" : "data";
  const isFinal = (first & 0x80) !== 0;
  return { opcode, isFinal, payloadBytes, bytes: 2 + lengthBytes + maskBytes + payloadBytes, holds };
}
