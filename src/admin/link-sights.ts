/**
 * Link sights: how the links to all other members are, as this host sees them.
 *
 * A link to a member that lives is open, or there is none, or it is led round while another member still reaches it.
 * One to a member that does not answer is broken. A daemon that said it goes, to be back soon (an upgrade), has none:
 * nothing is broken there. Beyond 24 members most are not linked to each other and never will be: that is no news, and
 * telling it would be as long as the square of their number, so it is left out.
 *
 * Pure.
 */

import type { NodeId } from "../model/ids.ts";
import type { Member } from "../model/member.ts";

import type { LinkSight } from "./rates.ts";

/** Up to so many members everybody is linked to everybody (gossip/ring.ts). */
const MESH_MAX = 24;

/**
 * @param roundTripMs  of the last pings; null for a member that is not linked
 * @returns one for each member that has not left for good
 */
export function linkSightsOf(
  members: readonly Member[],
  roundTripMs: (member: NodeId) => number | null,
): readonly LinkSight[] {
  const there = members.filter(({ state }) => state !== "left");
  const sights = there.flatMap((member): readonly LinkSight[] => {
    if (member.self) return [];
    const rttMs = member.via === null ? roundTripMs(member.id) : null;
    const state = stateOf(member, rttMs);
    return [{ to: member.id, state, rttMs: state === "none" ? null : rttMs }];
  });
  return there.length <= MESH_MAX ? sights : sights.filter(({ state }) => state !== "none");
}

function stateOf({ state, via }: Member, rttMs: number | null): LinkSight["state"] {
  if (via !== null) return "via";
  if (state === "away") return "none";
  if (state !== "alive") return "broken";
  return rttMs === null ? "none" : "open";
}
