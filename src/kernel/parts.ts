/**
 * Parts: all kinds of things that we make in the kernel, in the order in which they lean on each other.
 *
 * The guard comes first and goes last: at no moment is there a tunnel that takes clear packets of an encrypted network.
 * What lets our packets pass Docker's firewall is there before anything sends some. Links stand on the encrypted device,
 * and rules lead over links. This is the one place that names them all.
 *
 * Touches: nothing by itself; the kernel, through what it opens.
 */

import { openAccept, planAccept } from "./accept/accept.ts";
import { openGuard } from "./guard/guard.ts";
import { planGuard } from "./guard/plan.ts";
import { openLinks } from "./links/links.ts";
import { linksPlanner } from "./links/plan.ts";
import type { Applied, KernelPart } from "./part.ts";
import { planned, type PlannedPart } from "./planned.ts";
import { rulesPlanner } from "./rules/plan.ts";
import { openRules } from "./rules/rules.ts";
import { planWireguard, type WireguardPlan } from "./wireguard/plan.ts";
import { removeWireguard } from "./wireguard/wireguard.ts";

/** What they are made of. */
export interface PartsGiven {
  /** The clock of all else, Unix time: a replica's share may rise with it. */
  readonly nowMs: () => number;
  /** Null where nothing is to be encrypted: what an earlier life has made goes then. */
  readonly wireguard: KernelPart<WireguardPlan> | null;
}

/** All parts. */
export interface Parts {
  /** In the order in which they are made. */
  readonly all: readonly PlannedPart[];
  /** Leads no questions for names here any more: for a daemon that will not be there to answer them. */
  freeQuestions(): Promise<Applied>;
}

/** Opens all of them; nothing of the kernel is touched yet. */
export function openParts({ nowMs, wireguard }: PartsGiven): Parts {
  const rules = openRules();
  const all = [
    planned("guard", planGuard, openGuard()),
    planned("accept", planAccept, openAccept()),
    wireguard === null
      ? planned("wireguard", () => null, noWireguard())
      : planned("wireguard", planWireguard, wireguard),
    planned("links", linksPlanner(), openLinks()),
    planned("rules", rulesPlanner({ nowMs }), rules),
  ];
  return { all, freeQuestions: () => rules.freeQuestions() };
}

/** A host that does not encrypt, or does not know its key: all it can do is to take away. */
function noWireguard(remove: typeof removeWireguard = removeWireguard): KernelPart<null> {
  const nothing = { changes: 0, problems: [] };
  let isGone = false;
  return {
    async apply(_, { mayRemove }) {
      if (isGone || !mayRemove) return nothing;
      const removed = await remove();
      isGone = true;
      return removed;
    },
    repair: async () => nothing,
    remove,
  };
}
