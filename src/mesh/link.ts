/**
 * Link: what the rest of the daemon sees of a connection to a peer.
 *
 * A link carries whole binary frames, in order, without loss while it lives, and says once how it ended. It
 * reads nothing before `start`, so no frame can arrive where nobody listens yet and a slow start holds no
 * memory. It never queues without bound: past LIMITS.linkBufferedBytes a frame that may be skipped is skipped
 * (repair covers it), past LIMITS.linkOverfullBytes the link ends, since its peer does not read. The links of
 * a daemon share its time and its memory: see lanes.ts for when a frame is handed over, and when one is
 * skipped because the others have much unsent.
 *
 * How a link ends is told in kinds, not text, because failure detection rests on the difference: a peer that
 * closed with a word is alive, one whose socket vanished may be dead. (A refused dial is not a link: see
 * dialLink.)
 *
 * Pure. websocket.ts is the real one, test/support/memory-link.ts the other; both pass
 * test/contracts/link.ts.
 */

import type { HostPort } from "../base/ip.ts";
import type { Credential } from "../model/credential.ts";

/** What became of a frame: handed to the wire, left out, larger than LIMITS.frameBytes, or too late. */
export type SendOutcome = "sent" | "skipped" | "oversize" | "closed";

/**
 * What to do with a frame while the peer is behind: leave it out, or queue it up to the bound that ends the
 * link.
 */
export type WhenBehind = "skip" | "queue";

/**
 * How a link ended. `ours`: we closed it. `goodbye`: the peer closed it in form. `lost`: the connection broke
 * or ended without a word, as when a process is killed. `violation`: either side broke the rules of the wire.
 * `overfull`: the peer did not read. The text is for people; a `goodbye` or `violation` may quote up to 123
 * bytes from the peer.
 */
export interface LinkEnd {
  readonly kind: "ours" | "goodbye" | "lost" | "violation" | "overfull";
  readonly text: string;
}

/** Who listens to a link. */
export interface LinkReceiver {
  /**
   * One frame, at most LIMITS.frameBytes. Called at most once per link in a turn of the event loop, and for
   * the small frames of quiet links before the large or many of others, so a peer that floods delays its own
   * frames and nobody else's. The bytes are gone when this returns: copy what you keep or send.
   */
  frame(frame: Uint8Array): void;
  /** Called once, after the last frame. */
  closed(end: LinkEnd): void;
}

/** A connection to a peer. */
export interface Link {
  /** Unique among the links of this process. */
  readonly id: number;
  /** As it was dialled; for an accepted link the address and port the peer dialled from. */
  readonly remote: HostPort;
  readonly direction: "dialled" | "accepted";
  /** Who is at the other end, as its certificate proved when the link was opened. */
  readonly peer: Credential;
  /** Bytes sent but not yet taken by the system. */
  readonly bufferedBytes: number;
  /** Whether any frame has come. */
  readonly hasSpoken: boolean;
  /** Begins to deliver. A link that had ended before says so after this returns. May be called once. */
  start(receiver: LinkReceiver): void;
  /**
   * Sends one frame; its bytes must not change afterwards. `whenBehind` is `skip` unless told. Never throws.
   */
  send(frame: Uint8Array, whenBehind?: WhenBehind): SendOutcome;
  /**
   * Ends the link once what was sent is on its way. No frame is delivered after this. May be called again.
   */
  close(reason: string): void;
}
