/**
 * Returns: the way back of a connection that came in through another host: by a mark, to that host and none other.
 *
 * A replica sees the client's own address, so its answers would leave by the nearest way, past the host whose
 * translation the client waits for. The rules of nftables give them the mark of that host; here each mark of each
 * bridge has a rule and a table with one route.
 *
 * The kernel tries rules one by one for each packet, and the host's owner has some too. So one rule before those takes
 * what has a mark of ours to sections behind all of them, and what finds no way there asks the usual tables. What this
 * host itself sends is let past: a tunnel's packets carry the marks of what is in them, and are the owner's to route.
 * Sections are of up to 32 hosts: one rule is met for each, then those of the packet's own. Their preferences follow
 * from the network's number, so that a new one moves nothing; two may share theirs, which costs some tries.
 *
 * Pure.
 */

import {
  ingressMark,
  MARK_MASK,
  MARK_OURS,
  returnTable,
  RULE_PREFERENCE,
  RULE_PREFERENCE_BEHIND,
} from "../names.ts";

import { DEFAULT_TABLE, MAIN_TABLE, METRIC6, type Route, type Rule, type RuleAction } from "./state.ts";

/** Past the gate, the gate, and where it goes on. */
const PAST = RULE_PREFERENCE;
const GATE = RULE_PREFERENCE + 1;
const GOING_ON = RULE_PREFERENCE + 2;

/** Preferences of the rules that lead to sections, of the end of those, of the sections, two each, and of the end. */
const DISPATCH = RULE_PREFERENCE_BEHIND;
const DISPATCH_END = DISPATCH + 1;
const SECTIONS_FIRST = DISPATCH + 10;
const SECTIONS = 8192;
const END = SECTIONS_FIRST + 2 * SECTIONS;

const SECTION_BITS = 5;
const WHOLE = 0xffff_ffff;
const OURS = { value: MARK_OURS, mask: MARK_MASK };
/** What this host itself sends. */
const OWN_PACKETS = "lo";

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
    ruleOf(family, PAST, {
      action: { kind: "goto", preference: GOING_ON },
      mark: OURS,
      device: OWN_PACKETS,
    }),
    ruleOf(family, GATE, { action: { kind: "goto", preference: DISPATCH }, mark: OURS }),
    ruleOf(family, GOING_ON, { action: { kind: "nop" } }),
    // A jump needs its end to be there: this one always is.
    ruleOf(family, DISPATCH, { action: { kind: "nop" } }),
    ruleOf(family, DISPATCH_END, { action: { kind: "goto", preference: END } }),
    ruleOf(family, END, { action: { kind: "table", table: MAIN_TABLE } }),
    ruleOf(family, END + 1, { action: { kind: "table", table: DEFAULT_TABLE } }),
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
    const end = ruleOf(family, at + 1, { action: { kind: "goto", preference: END } });
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
  },
): Rule {
  const { action, mark = null, device = null } = given;
  return { kind: "rule", family, preference, inverts: false, mark, device, action };
}
