/**
 * Tier: may this replica get traffic?
 *
 * The one place that decides it, from three facts: what the owner says of the replica, how this node judges the owner,
 * and the weight. DNS, proxy, kernel and dashboard read the outcome and never ask again. A starting replica gets
 * nothing, not even in an emergency: it has not earned its first traffic. A suspect node's replicas are kept for the
 * emergency, and so are those of a node that came and went until it has settled; a dead node's are not worth a try, but
 * stay in the picture so that people see why. A daemon that is away relays nothing, so what it would relay gets
 * nothing; what is reached without it goes on as if it were there. A host that does not carry the overlay would have to
 * have it relayed all the same: only it knows that, and its own routes leave such a replica out (proxy/plan.ts).
 *
 * Pure.
 */

import { unreachable } from "../base/assert.ts";
import type { Member } from "../model/member.ts";
import type { ReplicaRecord } from "../model/record.ts";
import type { Tier } from "../model/view.ts";

/** A tier, the reason in words, and the name of who says so. */
export interface Ruling {
  readonly tier: Tier;
  readonly reason: string;
  readonly saidBy: string;
  /** False when connections to it lead nowhere any more: whoever has one is to be told. */
  readonly keepsConnections: boolean;
}

/** What an owner says of a replica that matters here. */
export type Said = Pick<ReplicaRecord, "state" | "reason" | "weight" | "reach">;

/**
 * Rules on one replica.
 *
 * @param observer  name of the node whose view this is: it speaks for its own verdicts on members
 */
export function rule(said: Said, owner: Member, observer: string): Ruling {
  const isRelayed = said.reach === "stream" || (said.reach === "overlay" && owner.overlay === undefined);
  const isUnrelayed = owner.state === "away" && isRelayed;
  if (owner.state === "dead" || owner.state === "left" || isUnrelayed) {
    // A daemon that is away ends what it relays by itself, when it has given it time.
    const keepsConnections = owner.state === "away";
    return {
      tier: "never",
      reason: `node ${owner.name} is ${owner.state}`,
      saidBy: observer,
      keepsConnections,
    };
  }
  const own = { ...ownRuling(said, owner.name), keepsConnections: true };
  if (owner.state === "suspect" && own.tier !== "never") {
    return {
      tier: "panic",
      reason: `node ${owner.name} does not answer`,
      saidBy: observer,
      keepsConnections: true,
    };
  }
  if (owner.settlesAtMs !== null && own.tier === "eligible") {
    return {
      tier: "panic",
      reason: `node ${owner.name} came and went; settling`,
      saidBy: observer,
      keepsConnections: true,
    };
  }
  return own;
}

function ownRuling(said: Said, saidBy: string): Omit<Ruling, "keepsConnections"> {
  const reason = said.reason === "" ? said.state : said.reason;
  if (said.weight === 0) return { tier: "never", reason: "weight is 0", saidBy };
  switch (said.state) {
    case "ready":
      return { tier: "eligible", reason, saidBy };
    case "draining":
      return { tier: "draining", reason, saidBy };
    case "unready":
      return { tier: "panic", reason, saidBy };
    case "starting":
      return { tier: "never", reason, saidBy };
    default:
      return unreachable(said.state);
  }
}
