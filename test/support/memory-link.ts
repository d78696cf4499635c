// A pair of links in memory, for tests where sockets are in the way; it passes test/contracts/link.ts.

import assert from "node:assert/strict";

import type { Link, LinkEnd, LinkReceiver, SendOutcome, WhenBehind } from "../../src/mesh/link.ts";
import { LIMITS } from "../../src/model/limits.ts";

/** Opens two links joined to each other; `ids` become theirs. The first counts as the one that dialled. */
export function openMemoryLinks(ids: readonly [number, number]): { dialled: Link; accepted: Link } {
  const dialled = new MemoryLink(ids[0], "dialled");
  const accepted = new MemoryLink(ids[1], "accepted");
  dialled.peer = accepted;
  accepted.peer = dialled;
  return { dialled, accepted };
}

class MemoryLink implements Link {
  readonly id: number;
  readonly direction: "dialled" | "accepted";
  readonly remote: { readonly host: string; readonly port: number };
  peer: MemoryLink | null = null;

  /** What the peer sent and we have not been given yet. */
  private readonly inbound: Uint8Array[] = [];
  private inboundBytes = 0;
  private receiver: LinkReceiver | null = null;
  /** Decided here: nothing more goes in or out. */
  private ending: LinkEnd | null = null;
  /** What the peer's end means to us; counts once the frames sent before it are through. */
  private peersEnding: LinkEnd | null = null;
  private told = false;
  private scheduled = false;

  constructor(id: number, direction: "dialled" | "accepted") {
    this.id = id;
    this.direction = direction;
    this.remote = { host: "memory", port: id };
  }

  get bufferedBytes(): number {
    return this.peer?.inboundBytes ?? 0;
  }

  start(receiver: LinkReceiver): void {
    assert.equal(this.receiver, null, "a link is started once");
    this.receiver = receiver;
    this.schedule();
  }

  send(frame: Uint8Array, whenBehind: WhenBehind = "skip"): SendOutcome {
    if (this.ending !== null || this.peer === null) return "closed";
    if (frame.byteLength > LIMITS.frameBytes) return "oversize";
    const behindBytes = this.bufferedBytes;
    if (behindBytes > LIMITS.linkOverfullBytes) {
      this.end({ kind: "overfull", text: `the peer left ${behindBytes} bytes unread` });
      return "closed";
    }
    if (behindBytes > LIMITS.linkBufferedBytes && whenBehind === "skip") return "skipped";
    // A copy, as a wire makes one: the reader must not see what the sender does to its buffer afterwards.
    this.peer.take(frame.slice());
    return "sent";
  }

  close(reason: string): void {
    if (this.ending === null) this.end({ kind: "ours", text: reason });
  }

  private end(ending: LinkEnd): void {
    this.ending = ending;
    this.schedule();
    this.peer?.learn(
      ending.kind === "ours"
        ? { kind: "goodbye", text: `the peer said goodbye: ${ending.text}` }
        : { kind: "lost", text: "the connection ended without goodbye" },
    );
  }

  private take(frame: Uint8Array): void {
    // Like a wire: what is sent to an end that has closed goes nowhere.
    if (this.ending !== null) return;
    this.inbound.push(frame);
    this.inboundBytes += frame.byteLength;
    this.schedule();
  }

  private learn(ending: LinkEnd): void {
    this.peersEnding = ending;
    this.schedule();
  }

  /** One frame, or the end, in each turn of the event loop, as on the wire. */
  private schedule(): void {
    const { receiver } = this;
    if (this.scheduled || this.told || receiver === null) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.deliver(receiver);
    });
  }

  private deliver(receiver: LinkReceiver): void {
    const frame = this.ending === null ? this.inbound.shift() : undefined;
    if (frame !== undefined) {
      this.inboundBytes -= frame.byteLength;
      receiver.frame(frame);
      this.schedule();
      return;
    }
    this.ending ??= this.peersEnding;
    if (this.ending === null) return;
    this.told = true;
    this.inbound.length = 0;
    this.inboundBytes = 0;
    receiver.closed(this.ending);
  }
}
