/**
 * Happenings: what the node says has happened, told to whoever reads the log or follows the events.
 *
 * A peer that is refused comes back each second: told each time it would drown the log and push everything else out of
 * the events kept. So the same refusal of the same peer is told once a minute; metrics count each.
 *
 * Touches: the log, the journal.
 */

import { Repeats } from "../base/repeats.ts";
import type { EventKind, Happening } from "../model/event.ts";
import { LIMITS } from "../model/limits.ts";

import type { Base } from "./base.ts";

const TOLD_EVERY_MS = 60_000;
/** Kinds that come again and again from who does not give up. */
const REFUSALS: ReadonlySet<EventKind> = new Set(["member.refused", "join.refused", "admin.refused"]);

/** Opens what tells of happenings, in their order. */
export function openHappenings({ options, journal }: Base): (happenings: readonly Happening[]) => void {
  const refusals = new Repeats(TOLD_EVERY_MS, LIMITS.repeatsKept);
  const isWorthTelling = ({ kind, subject, text, atMs }: Happening): boolean => {
    // Not the port: a peer that dials anew has another one.
    return !REFUSALS.has(kind) || refusals.isNew(`${subject.replace(/:\d+$/, "")} ${text}`, atMs);
  };
  return (happenings) => {
    const told = happenings.filter(isWorthTelling);
    for (const { kind, level, subject, text } of told) options.log[level](`${kind} ${subject}: ${text}`);
    if (told.length > 0) journal.append(told);
  };
}
