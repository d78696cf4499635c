/**
 * Overlap: do the addresses that services and networks are given mean something else on some host already?
 *
 * A VIP that lies inside a host's network would hide a part of that network from the host, and reach nobody else. So
 * each member publishes the prefixes that its routing table leads to (its Docker networks among them), and every node
 * holds its pool against those of all members. Nothing is refused for it: services that work must not stop because
 * somebody made a network on one host. It is told, with both ranges and the host's name, until one of them is changed.
 *
 * Pure.
 */

import { overlaps, type Prefix } from "../base/ip.ts";
import type { Problem } from "../model/endpoint.ts";
import { sharedPrefixes, type Member } from "../model/member.ts";
import type { NetworkRange } from "../model/network.ts";

/** Prefixes named of one member, and members named at all: a host has one problem, however many routes it has. */
const PREFIXES_TOLD = 3;
const MEMBERS_TOLD = 50;

/** What shares addresses with the pool: a route of a member that is there, or the range of a network. */
export function poolOverlaps(
  pool: Prefix,
  members: readonly Member[],
  networks: readonly NetworkRange[],
): readonly Problem[] {
  const subject = "vip.pool";
  const texts = networks.flatMap(({ name, range }) => {
    return overlaps(range, pool) ? [`${range.text} of network ${name}`] : [];
  });
  let untold = 0;
  for (const member of members) {
    const shared = sharedPrefixes(member, pool);
    if (shared.length === 0) continue;
    if (texts.length < MEMBERS_TOLD) texts.push(`${listed(shared)} of ${member.name}`);
    else untold += 1;
  }
  const problems = texts.map((text) => {
    return {
      subject,
      text: `vip.pool ${pool.text} overlaps ${text}; expected a range that nothing else uses`,
    };
  });
  if (untold > 0)
    problems.push({ subject, text: `vip.pool ${pool.text} overlaps ranges of ${untold} more hosts` });
  return problems;
}

/** At most three of some prefixes, as text. */
export function listed(prefixes: readonly string[]): string {
  const told = prefixes.slice(0, PREFIXES_TOLD).join(", ");
  const rest = prefixes.length - PREFIXES_TOLD;
  return rest > 0 ? `${told} and ${rest} more` : told;
}
