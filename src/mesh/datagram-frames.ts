/**
 * Datagram frames: datagrams of many flows on one stream of bytes.
 *
 *     u16  length of what follows
 *     u8   kind: 1 datagram, 2 end, 3 refused
 *     u32  flow
 *     ...  the datagram, of kind 1 only
 *
 * All numbers big-endian. `end` says that no more comes of a flow, from the far end also that it has no room for it;
 * `refused` that the replica's port is closed. A frame that is none of these ends the stream: whoever counts
 * differently than we do would be misread from there on.
 *
 * Pure. datagrams.ts writes them on one end, datagram-desk.ts on the other.
 */

import { DATAGRAM_BYTES_MAX } from "../model/datagram.ts";

const HEAD_BYTES = 2;
const FRONT_BYTES = 5;
const NOTHING = Buffer.alloc(0);

const KINDS = [null, "datagram", "end", "refused"] as const;

/** What a frame says. */
export type FrameKind = "datagram" | "end" | "refused";

/** One frame; the payload is a view of what was read, and empty but for datagrams. */
export interface Frame {
  readonly kind: FrameKind;
  readonly flow: number;
  readonly payload: Buffer;
}

/** Makes a frame. @param payload  of a datagram; at most DATAGRAM_BYTES_MAX */
export function encodeFrame(kind: FrameKind, flow: number, payload: Uint8Array = NOTHING): Buffer {
  const frame = Buffer.allocUnsafe(HEAD_BYTES + FRONT_BYTES + payload.length);
  frame.writeUInt16BE(FRONT_BYTES + payload.length, 0);
  frame.writeUInt8(KINDS.indexOf(kind), HEAD_BYTES);
  frame.writeUInt32BE(flow, HEAD_BYTES + 1);
  frame.set(payload, HEAD_BYTES + FRONT_BYTES);
  return frame;
}

/** Reads frames from bytes that come in pieces; holds less than one frame between them. */
export class FrameReader {
  #held: Buffer = NOTHING;

  /** Bytes of a frame that is not whole yet. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /**
   * Reads what has come.
   *
   * @param each  told of each whole frame, in order
   * @returns false when the bytes are no frames of ours; then nothing more is to be read
   */
  read(chunk: Buffer, each: (frame: Frame) => void): boolean {
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = NOTHING;
    while (bytes.length >= HEAD_BYTES) {
      const length = bytes.readUInt16BE(0);
      if (length < FRONT_BYTES || length > FRONT_BYTES + DATAGRAM_BYTES_MAX) return false;
      // The kind is judged as soon as it is there: junk must not make us wait for 64 kB of it.
      const kind = bytes.length > HEAD_BYTES ? KINDS[bytes[HEAD_BYTES] ?? 0] : undefined;
      if (kind === null || (kind === undefined && bytes.length > HEAD_BYTES)) return false;
      if (bytes.length < HEAD_BYTES + length || kind === undefined) break;
      const payload = bytes.subarray(HEAD_BYTES + FRONT_BYTES, HEAD_BYTES + length);
      if (kind !== "datagram" && payload.length > 0) return false;
      each({ kind, flow: bytes.readUInt32BE(HEAD_BYTES + 1), payload });
      bytes = bytes.subarray(HEAD_BYTES + length);
    }
    // A copy: a few bytes must not keep alive what they came in.
    if (bytes.length > 0) this.#held = Buffer.from(bytes);
    return true;
  }
}
