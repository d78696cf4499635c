// Pairs of links in memory, for tests where sockets are in the way; they pass test/contracts/link.ts. Whose turn it is
// and what may be sent is decided by the product's own lanes.

import assert from "node:assert/strict";

import { openLanes, type Lane, type Lanes } from "../../src/mesh/lanes.ts";
import type { Link, LinkEnd, LinkReceiver, SendOutcome, WhenBehind } from "../../src/mesh/link.ts";
import type { Credential } from "../../src/model/credential.ts";
import { LIMITS } from "../../src/model/limits.ts";

/**
 * Opens two links joined to each other; `ids` become theirs. The first counts as the one that dialled.
 *
 * @param lanes  those of the daemon at each end; of their own unless told
 * @param peers  whom the end that dialled sees, and whom the other
 */
export function openMemoryLinks(
  ids: readonly [number, number],
  lanes: readonly [Lanes, Lanes] = [openLanes(), openLanes()],
  peers: readonly [Credential, Credential] = [credentialOf("a"), credentialOf("b")],
): { dialled: Link; accepted: Link } {
  const dialled = new MemoryLink({ id: ids[0], direction: "dialled", peer: peers[0] }, lanes[0]);
  const accepted = new MemoryLink({ id: ids[1], direction: "accepted", peer: peers[1] }, lanes[1]);
  dialled.other = accepted;
  accepted.other = dialled;
  return { dialled, accepted };
}

/** A worker whose id is one character, again and again. */
export function credentialOf(character: string): Credential {
  return {
    id: character.repeat(20),
    role: "worker",
    issuer: "0".repeat(64),
    notAfterMs: Number.MAX_SAFE_INTEGER,
  };
}

class MemoryLink implements Link {
  readonly id: number;
  readonly direction: "dialled" | "accepted";
  readonly remote: { readonly host: string; readonly port: number };
  readonly peer: Credential;
  other: MemoryLink | null = null;
  hasSpoken = false;

  readonly #lane: Lane;
  /** What the peer sent and we have not been given yet. */
  readonly #inbound: Uint8Array[] = [];
  #receiver: LinkReceiver | null = null;
  /** Decided here: nothing more goes in or out. */
  #ending: LinkEnd | null = null;
  /** What the peer's end means to us; counts once the frames sent before it are through. */
  #peersEnding: LinkEnd | null = null;
  #isTold = false;

  constructor({ id, direction, peer }: Pick<Link, "id" | "direction" | "peer">, lanes: Lanes) {
    this.id = id;
    this.direction = direction;
    this.peer = peer;
    this.remote = { host: "memory", port: id };
    const release = (): void => this.#deliver();
    this.#lane = lanes.enter({ release, admit: () => undefined, evict: () => undefined });
  }

  get bufferedBytes(): number {
    return this.#lane.unsentBytes;
  }

  start(receiver: LinkReceiver): void {
    assert.equal(this.#receiver, null, "a link is started once");
    this.#receiver = receiver;
    this.#offer();
  }

  send(frame: Uint8Array, whenBehind: WhenBehind = "skip"): SendOutcome {
    if (this.#ending !== null || this.other === null) return "closed";
    if (frame.byteLength > LIMITS.frameBytes) return "oversize";
    const room = this.#lane.queue(frame, whenBehind);
    if (room === "skip") return "skipped";
    if (room === "end") {
      this.#end({ kind: "overfull", text: `the peer left ${this.bufferedBytes} bytes unread` });
      return "closed";
    }
    // A copy, as a wire makes one: the reader must not see what the sender does to its buffer afterwards.
    this.other.#take(new Uint8Array(frame));
    return "sent";
  }

  close(reason: string): void {
    if (this.#ending === null) this.#end({ kind: "ours", text: reason });
  }

  #end(ending: LinkEnd): void {
    this.#ending = ending;
    this.#inbound.length = 0;
    this.#offer();
    if (this.other === null) return;
    this.other.#learn(
      ending.kind === "ours"
        ? { kind: "goodbye", text: `the peer said goodbye: ${ending.text}` }
        : { kind: "lost", text: "the connection ended without goodbye" },
    );
  }

  #take(frame: Uint8Array): void {
    // Like a wire: what is sent to an end that has closed goes nowhere.
    if (this.#ending === null) this.#inbound.push(frame);
    else this.#gone(frame);
    this.#offer();
  }

  /** What the peer sent is on its way no more. */
  #gone(frame: Uint8Array): void {
    if (this.other !== null) this.other.#lane.taken(frame.byteLength);
  }

  #learn(ending: LinkEnd): void {
    this.#peersEnding = ending;
    this.#offer();
  }

  /** Tells the lane of the next frame; after the last one the end follows in a turn of its own. */
  #offer(): void {
    if (this.#receiver === null) return;
    const [next] = this.#inbound;
    if (next !== undefined) this.#lane.ready(next.byteLength);
    else if (this.#ending !== null || this.#peersEnding !== null) setImmediate(() => this.#tellEnd());
  }

  #deliver(): void {
    const receiver = this.#receiver;
    const frame = this.#inbound.shift();
    if (receiver === null || frame === undefined) return;
    this.hasSpoken = true;
    this.#gone(frame);
    this.#lane.handle(frame, (bytes) => receiver.frame(bytes));
    // Gone, as on the wire.
    (frame.buffer as ArrayBuffer).transfer(0);
    this.#offer();
  }

  #tellEnd(): void {
    if (this.#isTold || (this.#ending === null && this.#inbound.length > 0)) return;
    this.#isTold = true;
    this.#ending ??= this.#peersEnding;
    this.#lane.leave();
    if (this.#ending !== null) this.#receiver?.closed(this.#ending);
  }
}
