/**
 * Returns: the way back of a connection that came in through another host: by a mark, to that host and none other.
 *
 * A replica sees the client's own address, so its answers would leave by the nearest way, past the host whose
 * translation the client waits for. The rules of nftables give them the mark of that host; here each mark of each
 * bridge has a rule and a table with one route. Without the bridge in the rule the tunnel's own outer packets, which
 * inherit the mark, would go round in circles.
 *
 * The kernel tries rules one after the other for each packet. So the first one sends all without a mark of ours past
 * the rest, and the others are sections of up to 32 hosts: a packet meets one rule for each section, then those of its
 * own. Which preferences a section has follows from the network's number, not from its place among others: a new
 * network moves nothing. Two sections may share theirs, which costs some tries and changes nothing else.
 *
 * Pure.
 */

import { MARK_MASK, MARK_OURS, ingressMark, returnTable } from "../names.ts";

import { METRIC6, RULES_END, RULES_FIRST, type Route, type Rule, type RuleAction } from "./state.ts";

/** Preferences of the rules that lead to sections, of the end of those, and of the sections, two each. */
const DISPATCH = RULES_FIRST + 1;
const DISPATCH_END = RULES_FIRST + 2;
const SECTIONS_FIRST = RULES_FIRST + 10;
const SECTIONS = 8192;

const SECTION_BITS = 5;
const WHOLE = 0xffff_ffff;

/** One host's way back on one network, in one family. */
export interface WayBack {
  readonly family: 4 | 6;
  readonly vni: number;
  /** Which slice of the network the host has. */
  readonly index: number;
  readonly bridge: string;
  /** The VXLAN device, and the neighbour on it that is the host. */
  readonly device: string;
  readonly via: string;
}

/** The routes and rules of all ways back; none for none. */
export function planReturns(ways: readonly WayBack[]): readonly (Route | Rule)[] {
  const families = ([4, 6] as const).filter((family) => ways.some((way) => way.family === family));
  const shared = families.flatMap((family) => [
    ruleOf(family, RULES_FIRST, {
      action: { kind: "goto", preference: RULES_END },
      mark: { value: MARK_OURS, mask: MARK_MASK },
      inverts: true,
    }),
    ruleOf(family, DISPATCH_END, { action: { kind: "goto", preference: RULES_END } }),
    ruleOf(family, RULES_END, { action: { kind: "nop" } }),
  ]);
  const dispatchByKey = new Map<string, Rule>();
  const endByKey = new Map<string, Rule>();
  for (const way of ways) {
    const { family } = way;
    const at = sectionOf(way);
    const mask = (WHOLE << SECTION_BITS) >>> 0;
    const mark = { value: (ingressMark(way.index) & mask) >>> 0, mask };
    const dispatch = { action: { kind: "goto", preference: at }, mark, device: way.bridge } as const;
    dispatchByKey.set(`${family} ${way.bridge} ${mark.value}`, ruleOf(family, DISPATCH, dispatch));
    const end = ruleOf(family, at + 1, { action: { kind: "goto", preference: RULES_END } });
    endByKey.set(`${family} ${at}`, end);
  }
  return [...shared, ...dispatchByKey.values(), ...endByKey.values(), ...ways.flatMap(wayOf)];
}

function wayOf(way: WayBack): readonly (Route | Rule)[] {
  const { family, vni, index, device, via } = way;
  const table = returnTable(vni, index);
  const rule = ruleOf(family, sectionOf(way), {
    action: { kind: "table", table },
    mark: { value: ingressMark(index), mask: WHOLE },
    device: way.bridge,
  });
  const to = family === 4 ? "0.0.0.0/0" : "::/0";
  const metric = family === 4 ? 0 : METRIC6;
  const plain = { kind: "route", leads: true, source: null, mtu: null } as const;
  return [rule, { ...plain, to, table, metric, via, device }];
}

/** The first of the two preferences of the section in which a host's rule is. */
function sectionOf({ vni, index }: WayBack): number {
  const group = (ingressMark(index) - MARK_OURS) >>> SECTION_BITS;
  // A prime, so that neighbouring numbers of networks and groups seldom meet.
  return SECTIONS_FIRST + 2 * ((vni + group * 1021) % SECTIONS);
}

function ruleOf(
  family: 4 | 6,
  preference: number,
  given: {
    readonly action: RuleAction;
    readonly mark?: NonNullable<Rule["mark"]>;
    readonly device?: string;
    readonly inverts?: boolean;
  },
): Rule {
  const { action, mark = null, device = null, inverts = false } = given;
  return { kind: "rule", family, preference, inverts, mark, device, action };
}
