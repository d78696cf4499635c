/**
 * Life: what a node says of its own being alive, as a record in its own log.
 *
 * An accusation names the refutation it was made at; only the accused raises that number, by writing this record. So a
 * refutation travels, is repaired and is remembered like any other write, and nobody can make one for another. A clean
 * stop is told the same way: `left` for good, or `away` for a while. A log without the record is of a node that was
 * never accused.
 *
 * Pure.
 */

/** The key of the record; gossip's own, no record of the catalog. */
export const LIFE_KEY = "life";

/** What a node says of itself. */
export interface Life {
  /** Raised above each accusation that it answers. */
  readonly refutation: number;
  readonly said: "alive" | "away" | "left";
  /** For `away`: how long it expects to be, in milliseconds; 0 otherwise. */
  readonly forMs: number;
}

/** The life of a node that has not said anything. */
export const FIRST_LIFE: Life = { refutation: 0, said: "alive", forMs: 0 };

/** Far above what accusations reach in an incarnation, and far below where counting ends. */
export const REFUTATION_MAX = 2 ** 31;

/** Longer than any upgrade of one host takes; what a hostile node says is held to it. */
const AWAY_MAX_MS = 3600 * 1000;

/** Renders a life as the body of its record. */
export function renderLife({ refutation, said, forMs }: Life): string {
  return JSON.stringify({ refutation, said, forMs });
}

/** Reads a life; a body that makes no sense says no more than an absent one. */
export function parseLife(body: string | null | undefined): Life {
  if (body === null || body === undefined) return FIRST_LIFE;
  let fields: unknown;
  try {
    fields = JSON.parse(body);
  } catch {
    return FIRST_LIFE;
  }
  if (typeof fields !== "object" || fields === null) return FIRST_LIFE;
  const { refutation, said, forMs } = fields as Readonly<Record<string, unknown>>;
  if (!isWhole(refutation, REFUTATION_MAX - 1) || !isWhole(forMs, Number.MAX_SAFE_INTEGER)) return FIRST_LIFE;
  if (said !== "alive" && said !== "away" && said !== "left") return FIRST_LIFE;
  return { refutation, said, forMs: said === "away" ? Math.min(forMs, AWAY_MAX_MS) : 0 };
}

function isWhole(value: unknown, greatest: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= greatest;
}
