/**
 * Turns: whose frame is handed over next, when more links have something to say than there is time for.
 *
 * A node has one thread: what is spent on one link's frames the others wait for, and so do DNS and the proxy. So time
 * is what is shared, not bytes: each link has credit, in milliseconds, which its frames use up and which comes back at
 * a quarter of real time; all together have credit that comes back at half of it. A link without credit is not read,
 * and TCP passes that on to its peer, in whose memory a flood then stays. Of those with credit the one that used the
 * least goes first, so a link that was quiet passes the floods of all others.
 *
 * Small frames go before large ones: they are the pings by which members are judged, and they cost nothing. Those of
 * quiet links always go; any goes after a tenth of a second, so that a peer whose frames are dear is late but not dead.
 * Large frames also need a place in memory before they are read, are handed over a few in a turn, and lose their place,
 * with their link, when they take for ever to come while others wait.
 *
 * Pure. lanes.ts asks once in a turn of the event loop, and does what is told.
 */

import { LIMITS } from "../model/limits.ts";

/** What a link may have saved up, what it begins with, and how much of real time it gets back. */
const LINK_CREDIT_MS = 1000;
const NEW_CREDIT_MS = 500;
const LINK_SHARE = 0.25;
/** The same for all links together: half of the time is for everything else that this node does. */
const ALL_CREDIT_MS = 250;
const ALL_SHARE = 0.5;
/** Handed over in one turn, but for one large frame that may be larger: tens of milliseconds on a slow machine. */
const TURN_BYTES = 256 * 1024;
/** A small frame waits for credit no longer than this. */
const PATIENCE_MS = 100;
/** A large frame is whole after this, or gives its place to one that waits: 1 MiB at 1.7 Mbit/s. */
const GATHER_MS = 5000;

/** What is to be done in this turn, by the numbers of links. */
export interface Plan {
  /** To hand over one frame each, in this order. */
  readonly release: readonly number[];
  /** To read on: their large frames have a place. */
  readonly admit: readonly number[];
  /** To end: they keep a place from others. */
  readonly evict: readonly number[];
  /** When there may be more to do: 0 is the next turn, null means when something is told. */
  readonly againInMs: number | null;
}

/** `wants` a place for a large frame; is `gathering` it; is `ready` to hand over a frame. */
type Doing = "idle" | "wants" | "gathering" | "ready";

interface Line {
  readonly id: number;
  doing: Doing;
  /** Size of the frame it is about. */
  bytes: number;
  sinceMs: number;
  /** Rises with each frame told: of equals the one that waits longest goes first. */
  order: number;
  creditMs: number;
}

const isLarge = ({ bytes }: Line): boolean => bytes > LIMITS.smallFrameBytes;
const firstWaiting = (one: Line, other: Line): number =>
  other.creditMs - one.creditMs || one.order - other.order;

/** The links of one daemon as they take turns. */
export class Turns {
  readonly #lineById = new Map<number, Line>();
  #allCreditMs = ALL_CREDIT_MS;
  #refilledAtMs: number;
  #order = 0;

  constructor(nowMs: number) {
    this.#refilledAtMs = nowMs;
  }

  /** Links known, and large frames in memory. */
  get counts(): { readonly links: number; readonly large: number } {
    return { links: this.#lineById.size, large: this.#placesTaken() };
  }

  /** A link is there; its number is not that of another. */
  enter(id: number): void {
    const line = { id, doing: "idle", bytes: 0, sinceMs: 0, order: 0, creditMs: NEW_CREDIT_MS } as const;
    this.#lineById.set(id, { ...line });
  }

  /** A link is gone, and with it whatever it held. */
  leave(id: number): void {
    this.#lineById.delete(id);
  }

  /** The head of a frame has come: `bytes` in all, too many to be read without a place. */
  wants(id: number, bytes: number, nowMs: number): void {
    this.#tell(id, "wants", bytes, nowMs);
  }

  /** A whole frame has come and waits to be handed over. */
  ready(id: number, bytes: number, nowMs: number): void {
    this.#tell(id, "ready", bytes, nowMs);
  }

  /** A frame that was handed over took so long. */
  spent(id: number, ms: number): void {
    // Not below: what a pause of the whole host took is nobody's debt.
    this.#allCreditMs = Math.max(-ALL_CREDIT_MS, this.#allCreditMs - ms);
    const line = this.#lineById.get(id);
    if (line !== undefined) line.creditMs = Math.max(-LINK_CREDIT_MS, line.creditMs - ms);
  }

  /** Decides a turn. What it releases counts as handed over, what it admits as gathering, what it evicts as gone. */
  next(nowMs: number): Plan {
    this.#refill(nowMs);
    const release = this.#release(nowMs);
    for (const line of release) line.doing = "idle";
    const admit = this.#admit(nowMs);
    const evict = this.#evict(nowMs);
    return {
      release: release.map(({ id }) => id),
      admit: admit.map(({ id }) => id),
      evict: evict.map(({ id }) => id),
      againInMs: this.#againInMs(release.length + evict.length > 0, nowMs),
    };
  }

  #tell(id: number, doing: Doing, bytes: number, nowMs: number): void {
    const line = this.#lineById.get(id);
    if (line === undefined) return;
    this.#order += 1;
    Object.assign(line, { doing, bytes, sinceMs: nowMs, order: this.#order });
  }

  #refill(nowMs: number): void {
    const pastMs = Math.max(0, nowMs - this.#refilledAtMs);
    this.#refilledAtMs = nowMs;
    this.#allCreditMs = Math.min(ALL_CREDIT_MS, this.#allCreditMs + pastMs * ALL_SHARE);
    for (const line of this.#lineById.values())
      line.creditMs = Math.min(LINK_CREDIT_MS, line.creditMs + pastMs * LINK_SHARE);
  }

  #release(nowMs: number): Line[] {
    const ready = this.#those("ready").sort(firstWaiting);
    const small = ready.filter((line) => !isLarge(line));
    const isDue = ({ creditMs, sinceMs }: Line): boolean =>
      creditMs >= NEW_CREDIT_MS || nowMs - sinceMs >= PATIENCE_MS;
    const released = small.filter(isDue);
    if (this.#allCreditMs <= 0) return released;
    const large = ready.filter(isLarge);
    let bytes = 0;
    for (const line of [...small.filter((one) => !isDue(one)), ...large]) {
      if (line.creditMs <= 0) continue;
      // The first large frame goes, however large, or many small ones could keep it for ever.
      const isFirst = line === large[0];
      if (!isFirst && bytes + line.bytes > TURN_BYTES) continue;
      bytes += line.bytes;
      released.push(line);
    }
    return released;
  }

  #admit(nowMs: number): Line[] {
    const free = LIMITS.largeFramesMax - this.#placesTaken();
    const admitted = this.#those("wants")
      .filter(({ creditMs }) => creditMs > 0)
      .sort(firstWaiting)
      .slice(0, Math.max(0, free));
    for (const line of admitted) Object.assign(line, { doing: "gathering", sinceMs: nowMs });
    return admitted;
  }

  #evict(nowMs: number): Line[] {
    if (this.#those("wants").length === 0 || this.#placesTaken() < LIMITS.largeFramesMax) return [];
    const evicted = this.#those("gathering").filter(({ sinceMs }) => nowMs - sinceMs >= GATHER_MS);
    for (const { id } of evicted) this.leave(id);
    return evicted;
  }

  #againInMs(hasMadeRoom: boolean, nowMs: number): number | null {
    const ready = this.#those("ready");
    const wanting = this.#those("wants");
    if (ready.length === 0 && wanting.length === 0) return null;
    // In this turn's budget or in memory.
    if (hasMadeRoom) return 0;
    const allMs = Math.max(0, -this.#allCreditMs) / ALL_SHARE;
    const creditMs = ({ creditMs: own }: Line): number => Math.max(0, -own) / LINK_SHARE;
    const waits = ready.map((line) => {
      const waitMs = Math.max(allMs, creditMs(line));
      return isLarge(line) ? waitMs : Math.min(waitMs, PATIENCE_MS - (nowMs - line.sinceMs));
    });
    const places = this.#those("gathering").map(({ sinceMs }) => GATHER_MS - (nowMs - sinceMs));
    const isFull = this.#placesTaken() >= LIMITS.largeFramesMax;
    const again = [...waits, ...(isFull ? places : wanting.map(creditMs))];
    // Not 0: without credit in this turn there is none in the next, which may come within microseconds.
    return again.length === 0 ? null : Math.max(1, Math.min(...again));
  }

  #those(doing: Doing): Line[] {
    return Array.from(this.#lineById.values()).filter((line) => line.doing === doing);
  }

  #placesTaken(): number {
    const lines = Array.from(this.#lineById.values());
    return lines.filter((line) => line.doing === "gathering" || (line.doing === "ready" && isLarge(line))).length;
  }
}
