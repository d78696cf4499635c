/**
 * Ranges: do the addresses that this cluster gives away mean something else already, or may they soon?
 *
 * What some host leads to already is a problem of status, told with its name (view/overlap.ts). Here is told that
 * nothing does, and what may come: Docker takes networks from pools of its own, and the next one may lie in ours.
 *
 * Pure.
 */

import { overlaps, parsePrefix, type Prefix } from "../../base/ip.ts";
import type { Network } from "../../model/network.ts";
import { sharedPrefixes, type Member } from "../../model/member.ts";
import type { DoctorCheck } from "../contract-doctor.ts";

import { listed, made, type CheckId } from "./catalogue.ts";

/** The ranges of a cluster, and who may use them beside it. */
export interface RangeFacts {
  readonly vipPool: Prefix;
  readonly overlayPool: Prefix;
  /** What this host's Docker takes networks from, as prefixes. */
  readonly enginePools: readonly string[];
  readonly members: readonly Pick<Member, "name" | "state" | "prefixes">[];
  readonly networks: readonly Pick<Network, "range">[];
  /** False where status tells of what lies in vip.pool already. */
  readonly tellsVips: boolean;
}

/** Both ranges. */
export function judgeRanges(facts: RangeFacts): readonly DoctorCheck[] {
  const { vipPool, overlayPool } = facts;
  return [
    ...ofPool(facts, { id: "range.vip", key: "vip.pool", pool: vipPool }),
    ...ofPool(facts, { id: "range.overlay", key: "overlay.pool", pool: overlayPool }),
  ];
}

function ofPool(
  { enginePools, members, networks, tellsVips }: RangeFacts,
  { id, key, pool }: { readonly id: CheckId; readonly key: string; readonly pool: Prefix },
): readonly DoctorCheck[] {
  const subject = `${key} ${pool.text}`;
  const remedy = `set ${key} of all hosts to a range that nothing else uses`;
  const mine = networks.flatMap(({ range }) => prefixOf(range) ?? []);
  const used = members.flatMap((member) => {
    const shared = sharedPrefixes(member, pool).filter((text) => !isWithin(text, mine));
    return shared.length === 0 ? [] : [`${listed(shared)} on ${member.name}`];
  });
  const mayCome = enginePools.filter((text) => {
    const parsed = prefixOf(text);
    return parsed !== null && overlaps(parsed, pool);
  });
  const checks: DoctorCheck[] = [];
  if (used.length > 0 && (tellsVips || key !== "vip.pool")) {
    checks.push(made(id, { subject, state: "warn", text: `is in use already: ${listed(used)}`, remedy }));
  }
  if (mayCome.length > 0) {
    const text = `Docker takes networks from ${listed(mayCome)}: one of them may come to lie in it`;
    const other = `${remedy}, or Docker's (default-address-pools in daemon.json)`;
    checks.push(made(id, { subject, state: "warn", text, remedy: other }));
  }
  if (used.length > 0 || checks.length > 0) return checks;
  const text = `no host has a route into it, and Docker takes no networks from it`;
  return [made(id, { subject, state: "ok", text })];
}

function isWithin(text: string, ranges: readonly Prefix[]): boolean {
  const parsed = prefixOf(text);
  return parsed !== null && ranges.some((range) => range.bits <= parsed.bits && overlaps(range, parsed));
}

function prefixOf(text: string): Prefix | null {
  const parsed = parsePrefix(text);
  return parsed.ok ? parsed.value : null;
}
