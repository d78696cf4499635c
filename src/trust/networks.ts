/**
 * Networks: how decisions on overlay networks are read, merged and bounded, and which networks follow from them.
 *
 * The last decision on a name counts: the one of the higher order; of two managers who decided at the same moment a
 * removal, else the greater text, for no other reason than that all must choose the same. What was removed is
 * remembered, or a manager that was away would bring it back. Of too many decisions those of the lowest orders are
 * forgotten; so that no network in use is among them, its decision is said anew in time (`decisionsFor`).
 *
 * Invariant: merging is commutative, associative and idempotent, bounds included: a decision ranks in the list as it
 * does among those on its name.
 *
 * Pure. network-plan.ts works out what a new network is to be; charter.ts carries the decisions.
 */

import { contains, parsePrefix, type Prefix } from "../base/ip.ts";
import { ulaPrefix } from "../base/ip6.ts";
import { compareText } from "../base/sorted.ts";
import type { Charter, NetworkDecision, NetworkDefinition } from "../model/charter.ts";
import { isObject, isWhole, type Fields } from "../model/fields.ts";
import { LIMITS } from "../model/limits.ts";
import { shortNumber, type NetworkRange } from "../model/network.ts";
import { ORDER_MAX } from "../model/record.ts";

/** Numbers of networks on the wire: those below 4096 are left to what people number by hand. */
export const VNI_MIN = 4096;
export const VNI_MAX = 2 ** 24 - 1;

/** The shortest prefix of a slice that makes sense: a gateway and five more addresses. */
export const SLICE_BITS_MAX = 29;

/** Said anew once so many decisions are remembered. */
const REFRESH_AT = (LIMITS.networkDecisionsMax / 4) * 3;

const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"].flatMap((text) => {
  const parsed = parsePrefix(text);
  return parsed.ok ? [parsed.value] : [];
});

/** True for what may be a network's name: it becomes a device's, a bridge's and a part of DNS names. */
export function isNetworkName(name: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name);
}

/** True for a range that is private as a whole (RFC 1918, 6598): nobody else's addresses are hidden by it. */
export function isPrivateRange(range: Prefix): boolean {
  const [first = ""] = range.text.split("/");
  return PRIVATE.some((wide) => range.bits >= wide.bits && contains(wide, first));
}

/** The decisions of two charters as one list. @returns `one` itself when the other brings nothing new */
export function mergeDecisions(
  one: readonly NetworkDecision[],
  other: readonly NetworkDecision[],
): readonly NetworkDecision[] {
  if (one === other || other.length === 0) return one;
  const merged = boundDecisions([...one, ...other]);
  const isSame = merged.length === one.length && merged.every((decision, index) => decision === one[index]);
  return isSame ? one : merged;
}

/** The last decision on each name, the ones of the highest orders in number, by name. */
export function boundDecisions(decisions: readonly NetworkDecision[]): readonly NetworkDecision[] {
  const lastByName = new Map<string, NetworkDecision>();
  for (const decision of decisions) {
    const known = lastByName.get(decision.name);
    if (known === undefined || compareDecisions(decision, known) > 0) lastByName.set(decision.name, decision);
  }
  const all = [...lastByName.values()];
  const kept = all.length <= LIMITS.networkDecisionsMax ? all : newest(all);
  return kept.sort((one, other) => compareText(one.name, other.name));
}

/** The networks there are, in the order in which they were made: of two that clash the first counts. */
export function networkRanges({
  clusterId,
  networks,
}: Pick<Charter, "clusterId" | "networks">): readonly NetworkRange[] {
  return networks
    .toSorted((one, other) => one.order - other.order || compareText(one.name, other.name))
    .flatMap(({ name, definition }) => (definition === null ? [] : [rangeOf(name, definition, clusterId)]))
    .slice(0, LIMITS.networksMax);
}

/** A network as the view knows it. @throws Failure for a range that was not checked */
export function rangeOf(name: string, definition: NetworkDefinition, clusterId: string): NetworkRange {
  const { range: text, sliceBits, vni, encrypted, ipv6 } = definition;
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw parsed.failure;
  const range = { name, range: parsed.value, sliceBits, vni, encrypted };
  return ipv6 ? { ...range, range6: ulaPrefix(clusterId, shortNumber(vni)) } : range;
}

/**
 * What a manager says to decide on a name: that decision, after all there are; and those on the networks in use, in
 * their order, when so much is remembered that they might be forgotten.
 *
 * @param definition  null to remove the network
 */
export function decisionsFor(
  known: readonly NetworkDecision[],
  name: string,
  definition: NetworkDefinition | null,
): readonly NetworkDecision[] {
  let order = known.reduce((greatest, decision) => Math.max(greatest, decision.order), 0);
  const next = (): number => {
    order = Math.min(order + 1, ORDER_MAX);
    return order;
  };
  const isFull = known.length >= REFRESH_AT;
  const inUse = known.filter((decision) => decision.definition !== null && decision.name !== name);
  const again = isFull ? inUse.toSorted(compareDecisions) : [];
  const refreshed = again.map((decision) => ({ ...decision, order: next() }));
  return [...refreshed, { name, order: next(), definition }];
}

/** What a manager writes of a decision into its log. */
export function renderDecision({ order, definition }: NetworkDecision): string {
  if (definition === null) return JSON.stringify({ order, removed: true });
  const { range, sliceBits, vni, encrypted, ipv6 } = definition;
  return JSON.stringify({ order, range, sliceBits, vni, encrypted, ipv6 });
}

/** Reads a decision from an entry of a log or from a charter's file; undefined when it does not fit. */
export function decisionFrom(name: unknown, fields: Fields): NetworkDecision | undefined {
  if (typeof name !== "string" || !isNetworkName(name)) return undefined;
  const { order } = fields;
  if (!isWhole(order, ORDER_MAX)) return undefined;
  if (fields["removed"] === true || fields["definition"] === null) return { name, order, definition: null };
  const told = fields["definition"] ?? fields;
  const definition = isObject(told) ? definitionFrom(told) : undefined;
  return definition === undefined ? undefined : { name, order, definition };
}

function definitionFrom({ range, sliceBits, vni, encrypted, ipv6 }: Fields): NetworkDefinition | undefined {
  const parsed = typeof range === "string" ? parsePrefix(range) : null;
  if (parsed?.ok !== true || parsed.value.text !== range || !isPrivateRange(parsed.value)) return undefined;
  if (!isWhole(sliceBits, SLICE_BITS_MAX) || sliceBits <= parsed.value.bits) return undefined;
  if (2 ** (sliceBits - parsed.value.bits) > LIMITS.slicesPerNetwork) return undefined;
  if (!isWhole(vni, VNI_MAX) || vni < VNI_MIN || shortNumber(vni) === 0) return undefined;
  if (typeof encrypted !== "boolean" || typeof ipv6 !== "boolean") return undefined;
  return { range, sliceBits, vni, encrypted, ipv6 };
}

function newest(decisions: readonly NetworkDecision[]): NetworkDecision[] {
  return decisions
    .toSorted((one, other) => -compareDecisions(one, other))
    .slice(0, LIMITS.networkDecisionsMax);
}

/** The one that counts less first. The order counts before all else, so a later decision never ranks lower. */
function compareDecisions(one: NetworkDecision, other: NetworkDecision): number {
  if (one.order !== other.order) return one.order - other.order;
  if ((one.definition === null) !== (other.definition === null)) return one.definition === null ? 1 : -1;
  return compareText(renderDecision(one), renderDecision(other)) || compareText(one.name, other.name);
}
