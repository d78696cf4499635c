/**
 * Timeline: which events fit what was asked, newest first, and how they fall into minutes.
 *
 * By minutes, since what belongs together happens within seconds, and a heading per minute makes a long list one that
 * can be read. Filtering is by whole words asked for, each anywhere in what an event says.
 *
 * Pure.
 */

import type { EventLine } from "../admin/contract.ts";

const MINUTE_MS = 60_000;

/** What is asked of the events. */
export interface EventWish {
  readonly text: string;
  /** Only those of the level `warn`. */
  readonly isGrave: boolean;
}

/** Events of one minute, newest first. */
export interface Minute {
  /** When the minute begins. */
  readonly atMs: number;
  readonly events: readonly EventLine[];
}

/** The events that fit, newest first. `events` are oldest first. */
export function chosenEvents(
  events: readonly EventLine[],
  { text, isGrave }: EventWish,
): readonly EventLine[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return events
    .filter((event) => !isGrave || event.level === "warn")
    .filter((event) => {
      const all = `${event.kind} ${event.subject} ${event.text}`.toLowerCase();
      return words.every((word) => all.includes(word));
    })
    .toReversed();
}

/** Events by minute; their order stays. A clock that was set back begins a new minute, never an old one. */
export function minutesOf(events: readonly EventLine[]): readonly Minute[] {
  const minutes: { readonly atMs: number; readonly events: EventLine[] }[] = [];
  for (const event of events) {
    const atMs = Math.floor(event.atMs / MINUTE_MS) * MINUTE_MS;
    const last = minutes.at(-1);
    if (last?.atMs === atMs) last.events.push(event);
    else minutes.push({ atMs, events: [event] });
  }
  return minutes;
}
