/**
 * Changes: what a person would want to be told between two views.
 *
 * Compares by object where it can: merge.ts hands out the same object for whatever did not change, so ten thousand
 * quiet replicas cost nothing. What did change is found by going through both views side by side, since their lists
 * are sorted alike. A change of very many at once (a host with a thousand replicas joins) is told as a count, since a
 * list that long tells nobody anything.
 *
 * Pure.
 */

import { compareText } from "../base/sorted.ts";
import type { EventKind, Happening } from "../model/event.ts";
import type { Replica, Service, Tier, View } from "../model/view.ts";

import { compareMembers } from "./ranges.ts";

/** More happenings than this from one pair of views are told as one line a kind. */
const TOLD_MAX = 100;

/** Collects what happened: the first ones as they are, all of them as counts. Never grows with the cluster. */
class Tale {
  readonly #atMs: number;
  readonly #told: Happening[] = [];
  readonly #countByKind = new Map<EventKind, number>();
  #count = 0;

  constructor(atMs: number) {
    this.#atMs = atMs;
  }

  tell(
    kind: EventKind,
    level: Happening["level"],
    about: { readonly subject: string; readonly text: string },
  ): void {
    this.#count += 1;
    this.#countByKind.set(kind, (this.#countByKind.get(kind) ?? 0) + 1);
    if (this.#told.length < TOLD_MAX) this.#told.push({ kind, level, ...about, atMs: this.#atMs });
  }

  get happenings(): Happening[] {
    if (this.#count <= TOLD_MAX) return this.#told;
    return Array.from(this.#countByKind, ([kind, count]) => {
      return { kind, level: "info", subject: `${count} at once`, text: "told as a count", atMs: this.#atMs };
    });
  }
}

/** What happened between two views, in the order of services, those that are gone at the end. */
export function changesBetween(before: View | null, after: View, nowMs: number): Happening[] {
  const tale = new Tale(nowMs);
  rangeChanges(before, after, tale);
  memberChanges(before, after, tale);
  const gone: Service[] = [];
  const compare = (one: Service, other: Service): number => compareText(one.key, other.key);
  sideBySide(before?.services ?? NONE, after.services, compare, (last, service) => {
    if (service !== undefined) serviceChanges(last, service, tale);
    else if (last !== undefined) gone.push(last);
  });
  for (const service of gone) {
    replicaChanges(service.replicas, NONE, { service, tale });
    tale.tell("service.removed", "info", { subject: service.key, text: "no replica is left" });
  }
  return tale.happenings;
}

/** What is told of records that cannot be read, where it was not told already. */
export function refusalsBetween(
  before: readonly string[],
  after: readonly string[],
  atMs: number,
): Happening[] {
  const known = new Set(before);
  const fresh = after.filter((text) => !known.has(text));
  return fresh.map((text) => ({ kind: "member.refused", level: "warn", subject: "record", text, atMs }));
}

const NONE: readonly never[] = [];

/** Goes through two lists of one order, and tells each pair of elements that belong together and are not one object. */
function sideBySide<T extends object>(
  before: readonly T[],
  after: readonly T[],
  compare: (one: T, other: T) => number,
  tell: (last: T | undefined, next: T | undefined) => void,
): void {
  if (before === after) return;
  let at = 0;
  for (const next of after) {
    let last = before[at];
    while (last !== undefined && last !== next && compare(last, next) < 0) {
      tell(last, undefined);
      at += 1;
      last = before[at];
    }
    const isPair = last !== undefined && (last === next || compare(last, next) === 0);
    if (isPair) at += 1;
    if (last !== next) tell(isPair ? last : undefined, next);
  }
  for (const last of before.slice(at)) tell(last, undefined);
}

/** Hosts that are drained or activated by command; whether they live is told by gossip. */
function memberChanges(before: View | null, after: View, tale: Tale): void {
  sideBySide(before?.members ?? NONE, after.members, compareMembers, (last, member) => {
    if (last === undefined || member === undefined || last.draining === member.draining) return;
    const { name: subject } = member;
    if (member.draining === true)
      tale.tell("member.draining", "info", { subject, text: "all that runs there drains, by command" });
    else tale.tell("member.activated", "info", { subject, text: "its drain by command is over" });
  });
}

/** Networks that come and go; ranges that overlap, slices that two nodes want: told once, when they show. */
function rangeChanges(before: View | null, after: View, tale: Tale): void {
  const known = new Set(before?.problems.map(({ text }) => text));
  for (const { subject, text } of after.problems)
    if (!known.has(text)) tale.tell("vip.conflict", "warn", { subject, text });
  if (before?.networks === after.networks) return;
  for (const { name } of before?.networks ?? NONE) {
    if (after.networks.some((network) => network.name === name)) continue;
    tale.tell("network.removed", "info", { subject: `network ${name}`, text: "a manager removed it" });
  }
  for (const { name, range, problems } of after.networks) {
    const last = before?.networks.find((network) => network.name === name);
    if (last === undefined) tale.tell("network.added", "info", { subject: `network ${name}`, text: range });
    for (const text of problems) {
      if (last?.problems.includes(text) === true) continue;
      tale.tell("network.problem", "warn", { subject: `network ${name}`, text });
    }
  }
}

function counted(replicas: number): string {
  return `${replicas} ${replicas === 1 ? "replica" : "replicas"}`;
}

function serviceChanges(last: Service | undefined, service: Service, tale: Tale): void {
  const tell = (kind: EventKind, level: Happening["level"], text: string): void => {
    tale.tell(kind, level, { subject: service.key, text });
  };
  if (last === undefined) tell("service.added", "info", counted(service.replicas.length));
  if (service.vip !== null && service.vip !== last?.vip) {
    const was = last?.vip ?? null;
    const kept =
      was !== null && service.aliasVips.includes(was) ? `; ${was} stays reachable for a while` : "";
    tell("vip.assigned", "info", `${service.vip}${kept}`);
  }
  for (const problem of service.problems) {
    if (last?.problems.includes(problem) === true) continue;
    tell(problem.startsWith("vip ") ? "vip.conflict" : "service.problem", "warn", problem);
  }
  replicaChanges(last?.replicas ?? [], service.replicas, { service, tale });
}

const KIND_BY_TIER: Readonly<Record<Tier, EventKind>> = {
  eligible: "replica.ready",
  draining: "replica.draining",
  panic: "replica.unready",
  never: "replica.unready",
};

function replicaChanges(
  before: readonly Replica[],
  after: readonly Replica[],
  { service, tale }: { readonly service: Service; readonly tale: Tale },
): void {
  const tell = (replica: Replica, kind: EventKind, text: string): void => {
    const level = kind === "replica.unready" ? "warn" : "info";
    tale.tell(kind, level, { subject: `${service.key} ${replica.name}@${replica.nodeName}`, text });
  };
  const gone: Replica[] = [];
  sideBySide(before, after, compareReplicas, (last, replica) => {
    if (replica === undefined) {
      if (last !== undefined) gone.push(last);
      return;
    }
    // A copy that is only starting has nothing to tell yet.
    const isQuiet = last === undefined && replica.state === "starting";
    if (last?.tier !== replica.tier && !isQuiet) tell(replica, KIND_BY_TIER[replica.tier], replica.reason);
    if (replica.drainApplied && last?.drainApplied === false) {
      tell(replica, "replica.drained", "every live member has applied it");
    }
  });
  for (const replica of gone) tell(replica, "replica.gone", "its record is gone");
}

function compareReplicas(one: Replica, other: Replica): number {
  return compareText(one.id, other.id) || compareText(one.node, other.node);
}
