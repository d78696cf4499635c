/**
 * Tier: may this replica get traffic?
 *
 * The one place that decides it, from three facts: what the owner says of the replica, how this node judges the owner,
 * and the weight. DNS, proxy, kernel and dashboard read the outcome and never ask again. A starting replica gets
 * nothing, not even in an emergency: it has not earned its first traffic. A suspect node's replicas are kept for the
 * emergency; a dead node's are not worth a try, but stay in the picture so that people see why.
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
}

/**
 * Rules on one replica.
 *
 * @param observer  name of the node whose view this is: it speaks for its own verdicts on members
 */
export function rule(record: ReplicaRecord, owner: Member, observer: string): Ruling {
  if (owner.state === "dead" || owner.state === "left") {
    return { tier: "never", reason: `node ${owner.name} is ${owner.state}`, saidBy: observer };
  }
  const own = ownRuling(record, owner.name);
  if (owner.state === "suspect" && own.tier !== "never") {
    return { tier: "panic", reason: `node ${owner.name} does not answer`, saidBy: observer };
  }
  return own;
}

function ownRuling(record: ReplicaRecord, saidBy: string): Ruling {
  const reason = record.reason === "" ? record.state : record.reason;
  if (record.weight === 0) return { tier: "never", reason: "weight is 0", saidBy };
  switch (record.state) {
    case "ready":
      return { tier: "eligible", reason, saidBy };
    case "draining":
      return { tier: "draining", reason, saidBy };
    case "unready":
      return { tier: "panic", reason, saidBy };
    case "starting":
      return { tier: "never", reason, saidBy };
    default:
      return unreachable(record.state);
  }
}
