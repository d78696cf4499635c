/**
 * Parts: all kinds of things that we make in the kernel, in the order in which they lean on each other.
 *
 * The guard comes first and goes last: at no moment is there a tunnel that takes clear packets of an encrypted
 * network. What lets our packets pass Docker's firewall is there before anything sends some. Links stand on the
 * encrypted device, and rules lead over links. This is the one place that names them all.
 *
 * Touches: the kernel, through what it opens.
 */

import { openAccept } from "./accept/accept.ts";
import { planAccept } from "./accept/plan.ts";
import { openGuard } from "./guard/guard.ts";
import { planGuard } from "./guard/plan.ts";
import { openLinks } from "./links/links.ts";
import { linksPlanner } from "./links/plan.ts";
import type { Applied, KernelPart } from "./part.ts";
import { planned, type PlannedPart } from "./planned.ts";
import { rulesPlanner } from "./rules/plan.ts";
import { openRules } from "./rules/rules.ts";
import { planWireguard, type WireguardPlan } from "./wireguard/plan.ts";
import { openNoWireguard } from "./wireguard/wireguard.ts";

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
export async function openParts({ nowMs, wireguard }: PartsGiven): Promise<Parts> {
  const rules = openRules();
  const encrypted =
    wireguard === null
      ? planned("wireguard", () => null, await openNoWireguard())
      : planned("wireguard", planWireguard, wireguard);
  const all = [
    planned("guard", planGuard, openGuard()),
    planned("accept", planAccept, openAccept()),
    encrypted,
    planned("links", linksPlanner(), openLinks()),
    planned("rules", rulesPlanner({ nowMs }), rules),
  ];
  return { all, freeQuestions: () => rules.freeQuestions() };
}
