/**
 * Turns: whose frame is handed over next, when more links have something to say than there is time for.
 *
 * A node has one thread: what is spent on one link's frames the others wait for, and so do DNS and the proxy. So time
 * is what is shared, not bytes: each link has credit, in milliseconds, which its frames use up and which comes back at
 * a quarter of real time; all together have credit that comes back at two fifths. A link without credit is not read,
 * and TCP passes that on to its peer, in whose memory a flood then stays. Of those with credit the one that used the
 * least goes first, and whatever has waited for long goes by its age, so nobody waits for ever.
 *
 * Small frames go before large ones, and do not wait for their own link's credit for long. The pings by which members
 * are judged are smaller still: a few milliseconds of such frames in a second are calm, and go first whatever else
 * there is. So a quiet link passes all floods, and a peer whose news are dear is late but not dead. A turn of the event
 * loop ends soon, whatever is left for the next one. Large frames also need a place in memory before they are read,
 * and lose it, with their link, when they take for ever to come while others wait.
 *
 * Pure. lanes.ts asks once in a turn, and does what is told.
 */

import { LIMITS } from "../model/limits.ts";

/** What a link may have saved up, what it begins with, and how much of real time it gets back. */
const LINK_CREDIT_MS = 1000;
const NEW_CREDIT_MS = 500;
const LINK_SHARE = 0.25;
/**
 * What of a link's frames of a ping's size is calm: some hundred pings a second. A link begins with nothing of it, or
 * who comes again and again would always go first.
 */
const CALM_BYTES = 64;
const CALM_MS = 20;
const CALM_SHARE = 0.005;
const CALM_DEBT_MS = 500;
/**
 * The same for all links together: most of the time is for all else that a node does, and for the collector, which lets
 * a flood of garbage grow when it gets none. Little debt, or one dear frame would keep the next news for long.
 */
const ALL_CREDIT_MS = 20;
const ALL_DEBT_MS = 40;
const ALL_SHARE = 0.4;
/** A turn begins no more frames after this, nor more large ones than this; but always one large one. */
const TURN_MS = 20;
const TURN_BYTES = 256 * 1024;
/** After this a frame goes by its age; a small one needs no credit of its own link's then. */
const PATIENCE_MS = 100;
/** A large frame is whole after this, or gives its place to one that waits: 1 MiB at 1.7 Mbit/s. */
const GATHER_MS = 5000;

/** What is to be done in this turn, by the numbers of links. */
export interface Plan {
  /** To hand over one frame each, in this order, as far as `begins` allows. */
  readonly release: readonly number[];
  /** To read on: their large frames have a place. */
  readonly admit: readonly number[];
  /** To end: they keep a place from others. */
  readonly evict: readonly number[];
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
  calmMs: number;
}

const isLarge = ({ bytes }: Line): boolean => bytes > LIMITS.smallFrameBytes;
const isCalm = ({ bytes, calmMs }: Line): boolean => bytes <= CALM_BYTES && calmMs > 0;
const byAge = (one: Line, other: Line): number => one.order - other.order;
const byCredit = (one: Line, other: Line): number => other.creditMs - one.creditMs || byAge(one, other);
const isOverdue = ({ sinceMs }: Line, nowMs: number): boolean => nowMs - sinceMs >= PATIENCE_MS;

/** Who has waited for long goes first, by age; then who has used least. */
function inOrder(lines: readonly Line[], nowMs: number): Line[] {
  return [
    ...lines.filter((line) => isOverdue(line, nowMs)).sort(byAge),
    ...lines.filter((line) => !isOverdue(line, nowMs)).sort(byCredit),
  ];
}

/** The links of one daemon as they take turns. */
export class Turns {
  readonly #lineById = new Map<number, Line>();
  #allCreditMs = ALL_CREDIT_MS;
  #refilledAtMs: number;
  #order = 0;
  #turnMs = 0;
  #turnHasLarge = false;
  /** The link whose frame was begun last, when that frame was calm. */
  #calmId: number | null = null;

  constructor(nowMs: number) {
    this.#refilledAtMs = nowMs;
  }

  /** Links known, and large frames in memory. */
  get counts(): { readonly links: number; readonly large: number } {
    return { links: this.#lineById.size, large: this.#placesTaken() };
  }

  /** A link is there; its number is not that of another. */
  enter(id: number): void {
    const nothing = { doing: "idle", bytes: 0, sinceMs: 0, order: 0 } as const;
    this.#lineById.set(id, { id, ...nothing, creditMs: NEW_CREDIT_MS, calmMs: 0 });
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

  /** Begins a turn. What it admits counts as gathering from now on, what it evicts as gone. */
  next(nowMs: number): Plan {
    this.#refill(nowMs);
    this.#turnMs = 0;
    this.#turnHasLarge = false;
    const release = this.#due(nowMs);
    return {
      release: release.map(({ id }) => id),
      admit: this.#admit(nowMs),
      evict: this.#evict(nowMs),
    };
  }

  /** Whether there is time in this turn to hand over a frame of this link; if so it counts as handed over. */
  begins(id: number): boolean {
    const line = this.#lineById.get(id);
    if (line === undefined || line.doing !== "ready") return false;
    // Or small frames, of which there may be more than time, would keep the large ones for ever.
    const isFirstLarge = isLarge(line) && !this.#turnHasLarge;
    if (this.#turnMs >= TURN_MS && !isFirstLarge) return false;
    this.#turnHasLarge ||= isLarge(line);
    this.#calmId = isCalm(line) ? id : null;
    line.doing = "idle";
    return true;
  }

  /** Handing over the frame that was begun last took so long. */
  spent(id: number, ms: number): void {
    this.#turnMs += ms;
    // Not below: what a pause of the whole host took is nobody's debt.
    this.#allCreditMs = Math.max(-ALL_DEBT_MS, this.#allCreditMs - ms);
    const line = this.#lineById.get(id);
    if (line === undefined) return;
    line.creditMs = Math.max(-LINK_CREDIT_MS, line.creditMs - ms);
    if (this.#calmId === id) line.calmMs = Math.max(-CALM_DEBT_MS, line.calmMs - ms);
  }

  /** When there may be more to do: 0 is the next turn, null means when something is told. */
  againInMs(nowMs: number): number | null {
    if (this.#due(nowMs).length > 0) return 0;
    const allMs = Math.max(0, -this.#allCreditMs) / ALL_SHARE;
    const ownMs = ({ creditMs }: Line): number => Math.max(0, -creditMs) / LINK_SHARE;
    const waits = this.#those("ready").map((line) => {
      const patientMs = isLarge(line) ? Infinity : PATIENCE_MS - (nowMs - line.sinceMs);
      return Math.max(allMs, Math.min(ownMs(line), patientMs));
    });
    const wanting = this.#those("wants");
    const isFull = this.#placesTaken() >= LIMITS.largeFramesMax;
    if (!isFull) waits.push(...wanting.map(ownMs));
    else if (wanting.length > 0)
      waits.push(...this.#those("gathering").map(({ sinceMs }) => GATHER_MS - (nowMs - sinceMs)));
    // Not 0: without credit now there is none in the next turn, which may come within microseconds.
    return waits.length === 0 ? null : Math.max(1, Math.min(...waits));
  }

  #tell(id: number, doing: Doing, bytes: number, nowMs: number): void {
    const line = this.#lineById.get(id);
    // Told again it is the same frame, which does not lose its age.
    if (line === undefined || line.doing === doing) return;
    this.#order += 1;
    Object.assign(line, { doing, bytes, sinceMs: nowMs, order: this.#order });
  }

  #refill(nowMs: number): void {
    const pastMs = Math.max(0, nowMs - this.#refilledAtMs);
    this.#refilledAtMs = nowMs;
    this.#allCreditMs = Math.min(ALL_CREDIT_MS, this.#allCreditMs + pastMs * ALL_SHARE);
    for (const line of this.#lineById.values()) {
      line.creditMs = Math.min(LINK_CREDIT_MS, line.creditMs + pastMs * LINK_SHARE);
      line.calmMs = Math.min(CALM_MS, line.calmMs + pastMs * CALM_SHARE);
    }
  }

  /** Whose frame may be handed over now, in order. */
  #due(nowMs: number): Line[] {
    const ready = this.#those("ready");
    const calm = ready.filter(isCalm).sort(byAge);
    if (this.#allCreditMs <= 0) return calm;
    const hasTurn = (line: Line): boolean => line.creditMs > 0 || (!isLarge(line) && isOverdue(line, nowMs));
    const others = ready.filter((line) => !isCalm(line) && hasTurn(line));
    let largeBytes = 0;
    return [
      ...calm,
      ...inOrder(
        others.filter((line) => !isLarge(line)),
        nowMs,
      ),
      ...inOrder(others.filter(isLarge), nowMs).filter(({ bytes }, at) => {
        largeBytes += bytes;
        return at === 0 || largeBytes <= TURN_BYTES;
      }),
    ];
  }

  #admit(nowMs: number): number[] {
    const free = LIMITS.largeFramesMax - this.#placesTaken();
    const wanting = this.#those("wants").filter(({ creditMs }) => creditMs > 0);
    const admitted = inOrder(wanting, nowMs).slice(0, Math.max(0, free));
    for (const line of admitted) Object.assign(line, { doing: "gathering", sinceMs: nowMs });
    return admitted.map(({ id }) => id);
  }

  #evict(nowMs: number): number[] {
    if (this.#those("wants").length === 0 || this.#placesTaken() < LIMITS.largeFramesMax) return [];
    const evicted = this.#those("gathering").filter(({ sinceMs }) => nowMs - sinceMs >= GATHER_MS);
    for (const { id } of evicted) this.leave(id);
    return evicted.map(({ id }) => id);
  }

  #those(doing: Doing): Line[] {
    return Array.from(this.#lineById.values()).filter((line) => line.doing === doing);
  }

  #placesTaken(): number {
    const lines = Array.from(this.#lineById.values());
    return lines.filter((line) => line.doing === "gathering" || (line.doing === "ready" && isLarge(line)))
      .length;
  }
}
