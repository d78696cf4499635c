/**
 * Changes: the difference between two rulesets, as one script for nft.
 *
 * nft takes a script whole or not at all, so packets meet the old table or the new one and nothing between. What is the
 * same is not mentioned: its counters, and whose turn it is, go on. Chains come before what leads to them and go after
 * it. While not all is known nothing is taken away, and at first what an earlier life of the daemon left stands as it
 * is: it knows more than we do yet.
 *
 * Pure.
 */

import { overlaps, parsePrefix } from "../../base/ip.ts";
import { overlaps6, parsePrefix6 } from "../../base/ip6.ts";
import type { ServiceKey } from "../../model/ids.ts";

import { TABLE } from "../names.ts";
import {
  INTERVALS,
  LAYOUT,
  SELF_FILLED,
  SETS,
  SET_NAMES,
  type Chain,
  type Elements,
  type Ruleset,
  type SetName,
} from "./ruleset.ts";

/** What a table holds: the digests of each chain's rules in their order, the elements of each set, named counters. */
export interface TableState {
  readonly chains: ReadonlyMap<string, readonly string[]>;
  readonly sets: ReadonlyMap<string, Elements>;
  readonly counters: ReadonlySet<string>;
}

/** What leads from one to the other. */
export interface Change {
  /** Empty when nothing differs. */
  readonly script: string;
  /** Chains and elements that are added, changed and removed. */
  readonly count: number;
  /** The services whose chains are in it. */
  readonly services: ReadonlySet<ServiceKey>;
  /** What the table holds afterwards. */
  readonly after: TableState;
}

/** How far a change may go. */
export interface ChangeOptions {
  /** False while not all is known. */
  readonly mayRemove: boolean;
  /** True where what an earlier life of the daemon left may be made another; as `mayRemove` unless told. */
  readonly mayChange?: boolean;
  /** Chains that were written in this life of the daemon, and may be changed though not all is known. */
  readonly own?: ReadonlySet<string>;
}

const IN_TABLE = `inet ${TABLE}`;

/** The script that makes a table from nothing. */
export function renderRules(desired: Ruleset): string {
  return diffRules(null, desired, { mayRemove: true }).script;
}

/** The script that takes the table away, there or not. */
export function renderRemoval(): string {
  return `add table ${IN_TABLE}\ndelete table ${IN_TABLE}\n`;
}

/** The script that leaves nothing in these sets. */
export function renderEmptying(names: readonly SetName[]): string {
  return names.map((name) => `flush ${SETS[name].split(" ", 1)[0] ?? ""} ${IN_TABLE} ${name}\n`).join("");
}

/** @param observed  what is there; null for no table */
export function diffRules(observed: TableState | null, desired: Ruleset, options: ChangeOptions): Change {
  const isFitting = observed !== null && observed.chains.has(LAYOUT) && hasSets(observed);
  // A table of another layout goes whole, and with it what only an earlier life knows.
  if (observed !== null && !isFitting && !mayChangeBy(options)) return nothing(observed);
  const lines = isFitting ? [] : foundation(observed !== null);
  const before = isFitting ? observed : { chains: new Map([[LAYOUT, []]]), sets: new Map(), counters: NONE };
  const chains = diffChains(before, desired, options);
  const sets = diffSets(before, desired, options);
  const counters = diffCounters(before, desired, options);
  lines.push(...counters.begin, ...chains.begin, ...sets.lines, ...chains.end, ...counters.end);
  return {
    script: lines.length === 0 ? "" : `${lines.join("\n")}\n`,
    count: chains.count + sets.count + (isFitting ? 0 : 1),
    services: chains.services,
    after: { chains: chains.after, sets: sets.after, counters: counters.after },
  };
}

const NONE: ReadonlySet<string> = new Set();

/** Counters of what is led: those that rules name come first, and go when no rule can name them any more. */
function diffCounters(
  { counters }: TableState,
  { chains }: Ruleset,
  { mayRemove }: ChangeOptions,
): {
  readonly begin: readonly string[];
  readonly end: readonly string[];
  readonly after: ReadonlySet<string>;
} {
  const wanted = new Set(
    Array.from(chains.values(), ({ counter }) => counter).filter((name) => name !== null),
  );
  const gone = mayRemove ? [...counters].filter((name) => !wanted.has(name)) : [];
  return {
    begin: [...wanted].filter((name) => !counters.has(name)).map((name) => `add counter ${IN_TABLE} ${name}`),
    end: gone.map((name) => `delete counter ${IN_TABLE} ${name}`),
    after: mayRemove ? wanted : new Set([...counters, ...wanted]),
  };
}

function mayChangeBy({ mayRemove, mayChange = mayRemove }: ChangeOptions): boolean {
  return mayChange;
}

function nothing(observed: TableState): Change {
  return { script: "", count: 0, services: new Set(), after: observed };
}

function hasSets({ sets }: TableState): boolean {
  return SET_NAMES.every((name) => sets.has(name));
}

/** The table, its sets and the mark of their layout; a table of another layout goes. */
function foundation(isThere: boolean): string[] {
  const definitions = SET_NAMES.map((name) => {
    const [kind = "", ...body] = SETS[name].split(" ");
    return `add ${kind} ${IN_TABLE} ${name} ${body.join(" ")}`;
  });
  const gone = isThere ? [`delete table ${IN_TABLE}`] : [];
  return [...gone, `add table ${IN_TABLE}`, ...definitions, `add chain ${IN_TABLE} ${LAYOUT}`];
}

interface ChainDifference {
  /** Chains and their rules. */
  readonly begin: readonly string[];
  /** What goes, after everything that leads there. */
  readonly end: readonly string[];
  readonly count: number;
  readonly services: ReadonlySet<ServiceKey>;
  readonly after: ReadonlyMap<string, readonly string[]>;
}

function diffChains(before: TableState, { chains, left }: Ruleset, options: ChangeOptions): ChainDifference {
  const { mayRemove, own } = options;
  const added: string[] = [];
  const filled: string[] = [];
  const services = new Set<ServiceKey>();
  const after = new Map<string, readonly string[]>([[LAYOUT, []]]);
  let count = 0;
  for (const chain of chains.values()) {
    const known = before.chains.get(chain.name);
    const digests = chain.rules.map(({ digest }) => digest);
    const isKept = known !== undefined && !mayChangeBy(options) && own?.has(chain.name) !== true;
    if (known !== undefined && (isKept || isSame(known, digests))) {
      after.set(chain.name, known);
      continue;
    }
    if (known === undefined) added.push(creation(chain));
    else filled.push(`flush chain ${IN_TABLE} ${chain.name}`);
    filled.push(...chain.rules.map((rule) => addition(chain.name, rule)));
    if (chain.service !== null) services.add(chain.service);
    after.set(chain.name, digests);
    count += 1;
  }
  const gone = [...before.chains.keys()].filter((name) => !after.has(name));
  for (const name of mayRemove ? [] : gone) {
    const known = before.chains.get(name) ?? [];
    // What led here stays, and arrives at the proxy, which knows whom to ask.
    const isEmptied = left.has(name) && known.length > 0 && (mayChangeBy(options) || own?.has(name) === true);
    if (isEmptied) filled.push(`flush chain ${IN_TABLE} ${name}`);
    after.set(name, isEmptied ? [] : known);
    count += isEmptied ? 1 : 0;
  }
  const leaving = mayRemove ? gone : [];
  return {
    begin: [...added, ...filled],
    end: [
      ...leaving.map((name) => `flush chain ${IN_TABLE} ${name}`),
      ...leaving.map((name) => `delete chain ${IN_TABLE} ${name}`),
    ],
    count: count + leaving.length,
    services,
    after,
  };
}

function creation({ name, hook }: Chain): string {
  return `add chain ${IN_TABLE} ${name}${hook === null ? "" : ` { ${hook} }`}`;
}

function addition(name: string, { text, digest }: Chain["rules"][number]): string {
  return `add rule ${IN_TABLE} ${name} ${text} comment "${digest}"`;
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((digest, at) => digest === other[at]);
}

interface SetDifference {
  readonly lines: readonly string[];
  readonly count: number;
  readonly after: ReadonlyMap<string, Elements>;
}

function diffSets(before: TableState, { sets }: Ruleset, options: ChangeOptions): SetDifference {
  const { mayRemove } = options;
  const mayChange = mayChangeBy(options);
  const none: Elements = new Map();
  const removals: string[] = [];
  const additions: string[] = [];
  const after = new Map<string, Elements>();
  let count = 0;
  for (const name of SET_NAMES) {
    const known = before.sets.get(name) ?? none;
    const desired = SELF_FILLED.has(name) ? known : (sets.get(name) ?? none);
    // Removed before it is added: the value of an element cannot be changed.
    const gone = [...known].filter(([key, value]) => desired.get(key) !== value).map(([key]) => key);
    const removed = gone.filter((key) => mayRemove || (mayChange && desired.has(key)));
    const kept = mayChange ? none : known;
    const meant = mayRemove || !INTERVALS.has(name) ? desired : withoutOverlaps(desired, known);
    const added = [...meant].filter(([key, value]) => known.get(key) !== value && !kept.has(key));
    if (removed.length > 0) removals.push(elementsLine("delete", name, removed));
    if (added.length > 0) additions.push(elementsLine("add", name, added.map(elementText)));
    after.set(name, mayRemove ? desired : new Map(mayChange ? [...known, ...meant] : [...meant, ...known]));
    count += new Set([...removed, ...added.map(([key]) => key)]).size;
  }
  return { lines: [...removals, ...additions], count, after };
}

/** Those that share nothing with one that stays: nft would refuse the whole change. */
function withoutOverlaps(desired: Elements, known: Elements): Elements {
  const sharing = (key: string): boolean =>
    [...known.keys()].some((other) => other !== key && overlap(key, other));
  return new Map([...desired].filter(([key]) => known.has(key) || !sharing(key)));
}

function overlap(one: string, other: string): boolean {
  const [host, prefix = ""] = one.split(" . ");
  const [otherHost, otherPrefix = ""] = other.split(" . ");
  if (host !== otherHost) return false;
  const [four, otherFour] = [parsePrefix(prefix), parsePrefix(otherPrefix)];
  if (four.ok && otherFour.ok) return overlaps(four.value, otherFour.value);
  const [six, otherSix] = [parsePrefix6(prefix), parsePrefix6(otherPrefix)];
  return six.ok && otherSix.ok && overlaps6(six.value, otherSix.value);
}

function elementText([key, value]: readonly [string, string]): string {
  return value === "" ? key : `${key} : ${value}`;
}

function elementsLine(verb: "add" | "delete", name: SetName, elements: readonly string[]): string {
  return `${verb} element ${IN_TABLE} ${name} { ${elements.join(", ")} }`;
}

/** A ruleset without the rules of some services: what comes for them arrives at the proxy. */
export function withoutServices(ruleset: Ruleset, left: ReadonlySet<ServiceKey>): Ruleset {
  if (left.size === 0) return ruleset;
  const isLeft = (name: string): boolean => {
    const service = ruleset.chains.get(name)?.service ?? null;
    return service !== null && left.has(service);
  };
  const chains = new Map([...ruleset.chains].filter(([name]) => !isLeft(name)));
  const leadsOn = (value: string): boolean =>
    !value.startsWith("jump ") || !isLeft(value.slice("jump ".length));
  const sets = new Map(
    [...ruleset.sets].map(([name, elements]) => [
      name,
      new Map([...elements].filter(([, value]) => leadsOn(value))),
    ]),
  );
  return { ...ruleset, chains, sets };
}
