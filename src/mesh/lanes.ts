/**
 * Lanes: what the links of one daemon share, its time and its memory.
 *
 * A link has a lane here. It tells what has come and is told when it may hand that over, once in a turn of the event
 * loop at most; and it asks before it sends, so that the unsent of all links stays within a bound. What is decided in
 * turns.ts and backlog.ts is done here.
 *
 * In the check phase of a turn (setImmediate), since all that arrived in that turn is known by then: a ping that came
 * last goes before a delta that came first.
 *
 * Touches: the clock, immediates, one timer.
 */

import { assert } from "../base/assert.ts";
import { nowMs } from "../runtime/clock.ts";

import { Backlog, type Room } from "./backlog.ts";
import type { WhenBehind } from "./link.ts";
import { Turns } from "./turns.ts";

/** What a link does when it is its turn. */
export interface Gate {
  /** Hand over the frame that is ready. */
  release(): void;
  /** Read the large frame that wanted a place. */
  admit(): void;
  /** End the link: its large frame does not come and others wait. */
  evict(): void;
}

/** One link's place among the others. All it tells may be told again; nothing has an effect after `leave`. */
export interface Lane {
  /** Bytes sent over this link that the system has not taken. */
  readonly unsentBytes: number;
  /** A large frame begins: `bytes` in all. */
  wants(bytes: number): void;
  /** A whole frame of `bytes` is there. */
  ready(bytes: number): void;
  /** Hands a frame over, on this link's account. Its memory is taken back when this returns. */
  handle(frame: Uint8Array, to: (frame: Uint8Array) => void): void;
  /** Asks to send a frame; counts it unless it is to be skipped or the link to end. */
  queue(frame: Uint8Array, whenBehind: WhenBehind): Room;
  /** The system took a frame that was queued. */
  taken(bytes: number): void;
  leave(): void;
}

/** All lanes of a daemon. */
export interface Lanes {
  enter(gate: Gate): Lane;
  /** Links there are, large frames in memory, and bytes unsent. */
  readonly counts: { readonly links: number; readonly large: number; readonly unsentBytes: number };
}

/** Opens an empty set of lanes. Nothing needs to be closed: a lane without a link holds nothing. */
export function openLanes(): Lanes {
  const turns = new Turns(nowMs());
  const backlog = new Backlog();
  const gates = new Map<number, Gate>();
  let lastId = 0;
  /** The memory of the frame that is being handled. */
  let lent: ArrayBufferLike | null = null;
  let immediate: NodeJS.Immediate | null = null;
  let timer: NodeJS.Timeout | null = null;

  const takeTurn = (): void => {
    immediate = null;
    const { release, admit, evict } = turns.next(nowMs());
    for (const id of admit) gates.get(id)?.admit();
    // A link may be gone by its turn: what another link said may have ended it.
    for (const id of release) if (turns.begins(id)) gates.get(id)?.release();
    for (const id of evict) gates.get(id)?.evict();
    const againInMs = turns.againInMs(nowMs());
    if (againInMs === 0) wake();
    else if (againInMs !== null) timer ??= setTimeout(wake, againInMs);
  };
  const wake = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    immediate ??= setImmediate(takeTurn);
  };

  return {
    get counts() {
      return { ...turns.counts, unsentBytes: backlog.allBytes };
    },
    enter(gate) {
      lastId += 1;
      const id = lastId;
      gates.set(id, gate);
      turns.enter(id);
      return {
        get unsentBytes() {
          return backlog.bytesOf(id);
        },
        wants(bytes) {
          turns.wants(id, bytes, nowMs());
          wake();
        },
        ready(bytes) {
          turns.ready(id, bytes, nowMs());
          wake();
        },
        handle(frame, to) {
          const startedMs = nowMs();
          lent = frame.buffer;
          to(frame);
          lent = null;
          turns.spent(id, nowMs() - startedMs);
        },
        queue(frame, whenBehind) {
          // It would be on its way to the wire when its memory is gone.
          assert(frame.buffer !== lent, "a received frame is copied before any of it is sent");
          return gates.has(id) ? backlog.add(id, frame.byteLength, whenBehind) : "end";
        },
        taken: (bytes) => backlog.taken(id, bytes),
        leave() {
          if (!gates.delete(id)) return;
          turns.leave(id);
          backlog.leave(id);
          // The place it may have had is free now.
          wake();
        },
      };
    },
  };
}
