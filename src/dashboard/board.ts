/**
 * Board: the picture of the cluster that the page keeps, and how each change of the stream is applied to it.
 *
 * The stream tells whole lines, so applying is putting lines in place of lines: nothing is computed that the daemon has
 * not said. Lists keep their order, which is that of the names; an unchanged line stays the same object, so that what
 * shows it can see by `===` that it need not be drawn again.
 *
 * Pure.
 */

import type { DrainLine, Picture, PictureChange } from "../admin/contract-live.ts";
import type { NetworkLine } from "../admin/contract-network.ts";
import type { EventLine, MemberLine, ServiceLine, StatusReport } from "../admin/contract.ts";
import { serviceKey, type ServiceKey } from "../model/ids.ts";

/** Events that the page keeps: as many as somebody would scroll through. */
export const EVENTS_KEPT = 1000;

/** What is known, as of the last message. */
export interface Board {
  readonly status: StatusReport;
  /** By name; this host's own daemon is among them. */
  readonly members: readonly MemberLine[];
  /** What each host is called, by its id: its name, with the id where another has that name too. */
  readonly hostNames: ReadonlyMap<string, string>;
  /** By network and name. */
  readonly services: readonly ServiceLine[];
  readonly networks: readonly NetworkLine[];
  readonly drains: readonly DrainLine[];
  /** Oldest first. */
  readonly events: readonly EventLine[];
  /** How often each service was said to have changed: whoever shows its replicas asks again when it rises. */
  readonly revisions: ReadonlyMap<ServiceKey, number>;
  /** How many pictures and changes are in it. */
  readonly version: number;
}

/** The key of a service's line. */
export function keyOf(line: Pick<ServiceLine, "network" | "name">): ServiceKey {
  return serviceKey(line.network, line.name);
}

/**
 * The board that a whole picture makes. A picture in place of an earlier one (`last`) is what a new connection begins
 * with: everything may have changed meanwhile, so every service counts as touched.
 */
export function boardOf(picture: Picture, last: Board | null = null): Board {
  const revisions = new Map<ServiceKey, number>();
  const version = (last?.version ?? 0) + 1;
  for (const line of picture.services) {
    const key = keyOf(line);
    revisions.set(key, (last?.revisions.get(key) ?? 0) + 1);
  }
  const members = picture.members.toSorted(byName);
  return {
    status: picture.status,
    members,
    hostNames: hostNamesOf(members),
    services: picture.services.toSorted(byKey),
    networks: picture.networks,
    drains: picture.drains,
    events: picture.events.slice(-EVENTS_KEPT),
    revisions,
    version,
  };
}

/** The board after a change. */
export function applyChange(board: Board, change: PictureChange): Board {
  const { services, events } = change;
  const members =
    change.members === undefined
      ? board.members
      : merged(board.members, change.members, { keyOf: (line) => line.id, order: byName });
  return {
    status: change.status ?? board.status,
    members,
    hostNames: members === board.members ? board.hostNames : hostNamesOf(members),
    services:
      services === undefined ? board.services : merged(board.services, services, { keyOf, order: byKey }),
    networks: change.networks ?? board.networks,
    drains: change.drains ?? board.drains,
    events: events === undefined ? board.events : withEvents(board.events, events),
    revisions: services === undefined ? board.revisions : revised(board.revisions, services),
    version: board.version + 1,
  };
}

/** As reports of traffic name them. */
function hostNamesOf(members: readonly MemberLine[]): Board["hostNames"] {
  const names = new Set<string>();
  const twice = new Set<string>();
  for (const { name } of members) (names.has(name) ? twice : names).add(name);
  return new Map(members.map(({ id, name }) => [id, twice.has(name) ? `${name} (${id})` : name]));
}

interface Order<Line> {
  readonly keyOf: (line: Line) => string;
  readonly order: (a: Line, b: Line) => number;
}

function merged<Line>(
  lines: readonly Line[],
  { set, gone }: { readonly set: readonly Line[]; readonly gone: readonly string[] },
  { keyOf: key, order }: Order<Line>,
): readonly Line[] {
  const put = new Map(set.map((line) => [key(line), line]));
  const lost = new Set(gone);
  const kept = lines.flatMap((line) => {
    const id = key(line);
    const now = put.get(id);
    put.delete(id);
    // Set and gone in one message: it is there, for the stream tells what is, not what happened.
    if (now !== undefined) return [now];
    return lost.has(id) ? [] : [line];
  });
  return put.size === 0 ? kept : [...kept, ...put.values()].sort(order);
}

function revised(
  revisions: Board["revisions"],
  { set, gone, touched }: NonNullable<PictureChange["services"]>,
): Board["revisions"] {
  const next = new Map(revisions);
  for (const key of gone) next.delete(key);
  for (const key of new Set([...set.map(keyOf), ...touched])) next.set(key, (next.get(key) ?? 0) + 1);
  return next;
}

function withEvents(kept: readonly EventLine[], more: readonly EventLine[]): readonly EventLine[] {
  const lastId = kept.at(-1)?.id ?? -1;
  const fresh = more.filter((event) => event.id > lastId);
  return fresh.length === 0 ? kept : [...kept, ...fresh].slice(-EVENTS_KEPT);
}

function byName(a: MemberLine, b: MemberLine): number {
  return compared(a.name, b.name) || compared(a.id, b.id);
}

function byKey(a: ServiceLine, b: ServiceLine): number {
  return compared(a.network, b.network) || compared(a.name, b.name);
}

/** By code units, with runs of digits as numbers: `host-2` before `host-10`. */
function compared(a: string, b: string): number {
  return ORDER.compare(a, b);
}

const ORDER = new Intl.Collator("en", { numeric: true });
