/**
 * Ring: where each host stands when all are drawn on a ring, and what the line between two of them is.
 *
 * A ring shows every pair as one straight line that no other host stands in the way of. Both ends tell how they see
 * their link; one line is drawn, and it is the worse of both, since a link that works in one direction is broken.
 *
 * Pure.
 */

import type { LinkLine } from "../admin/contract-live.ts";

/** A host's place, and that of its name; the middle of the ring is 0, 0. */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly labelX: number;
  readonly labelY: number;
  readonly anchor: "start" | "middle" | "end";
}

/** A link without a direction: ids of both hosts; `rttMs` the longer of both. */
export interface Pair {
  readonly a: string;
  readonly b: string;
  readonly state: LinkLine["state"];
  readonly rttMs: number | null;
}

const RADIUS_X = 112;
const RADIUS_Y = 88;
const LABEL_AWAY = 17;
/** Below this share of the radius a name stands above or below its host, not beside it. */
const MIDDLE = 0.3;

const FRAME_X = 190;
/** Above the highest name, and below the lowest. */
const FRAME_Y = 36;

/** What an SVG must show to show them all (its viewBox). */
export function frameOf(places: ReadonlyMap<string, Place>): string {
  const heights = [...places.values()].map(({ y }) => y);
  const top = Math.min(...heights) - FRAME_Y;
  return `${-FRAME_X} ${top} ${2 * FRAME_X} ${Math.max(...heights) + FRAME_Y - top}`;
}

/** Places of the hosts by their ids, the first at the top, on their way round clockwise. */
export function ringOf(ids: readonly string[]): ReadonlyMap<string, Place> {
  return new Map(
    ids.map((id, index) => {
      // Two hosts side by side, not one above the other: their names need the width.
      const turn = ids.length === 2 ? 0.25 : 0;
      const angle = (index / ids.length - turn) * 2 * Math.PI;
      const [right, up] = [Math.sin(angle), Math.cos(angle)];
      const [x, y] = [right * RADIUS_X, -up * RADIUS_Y];
      const isMiddle = Math.abs(right) < MIDDLE;
      const place: Place = {
        x,
        y,
        labelX: isMiddle ? x : x + Math.sign(right) * LABEL_AWAY,
        labelY: isMiddle ? y + (up > 0 ? -LABEL_AWAY : LABEL_AWAY + 8) : y + 4,
        anchor: isMiddle ? "middle" : right > 0 ? "start" : "end",
      };
      return [id, place];
    }),
  );
}

const WORSE: Readonly<Record<LinkLine["state"], number>> = { none: 0, open: 1, via: 2, broken: 3 };

/** Links as pairs, what is worst last, so that it is drawn above the others. */
export function pairsOf(links: readonly LinkLine[]): readonly Pair[] {
  const pairs = new Map<string, Pair>();
  for (const { fromId, toId, state, rttMs } of links) {
    const [a, b] = fromId < toId ? [fromId, toId] : [toId, fromId];
    const key = `${a}\n${b}`;
    const other = pairs.get(key);
    const worse = other === undefined || WORSE[state] > WORSE[other.state] ? state : other.state;
    pairs.set(key, { a, b, state: worse, rttMs: longer(rttMs, other?.rttMs ?? null) });
  }
  return [...pairs.values()].toSorted((one, other) => WORSE[one.state] - WORSE[other.state]);
}

function longer(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
