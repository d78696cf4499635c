/**
 * Telling: what the followers of `watch` know by now, and what to tell them of the next snapshot.
 *
 * They are told what differs from what they were told last, not from the snapshot before: a round trip that drifts by
 * little each time is told when it has drifted far. Comparing is by value, but cheap: a view keeps the objects of what
 * did not change (view/merge.ts), so only services that are other objects are looked into. What moves all the time and
 * can be computed from the rest, such as how long the daemon runs, is no change.
 *
 * Pure.
 */

import type { ReplicaId, ServiceKey } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Service } from "../model/view.ts";

import type { NetworkLine } from "./contract-network.ts";
import type { DrainLine, Picture, PictureChange } from "./contract-live.ts";
import type { MemberLine, StatusReport } from "./contract.ts";
import { drainsOf } from "./drains.ts";
import {
  eventLine,
  foundHere,
  membersOf,
  serviceLine,
  statusOf,
  uptimeOf,
  type Snapshot,
} from "./handlers.ts";
import { networksOf } from "./networks.ts";

/** A round trip is told anew when it has moved by this share of what was told, and by this much. */
const RTT_SHARE = 0.2;
const RTT_STEP_MS = 0.2;

/** What followers know. */
export class Telling {
  #snapshot: Snapshot;
  #status: StatusReport;
  #members: ReadonlyMap<string, MemberLine>;
  #services: ReadonlyMap<ServiceKey, Service>;
  #networks: readonly NetworkLine[];
  #drains: readonly DrainLine[];
  #lastEventId: number;

  /** @param snapshot  what the first picture is of */
  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
    this.#status = statusOf(snapshot);
    this.#members = membersById(membersOf(snapshot));
    this.#services = servicesByKey(snapshot.view.services);
    this.#networks = networksOf(snapshot.view);
    this.#drains = drainsOf(snapshot.view);
    this.#lastEventId = snapshot.events.at(-1)?.id ?? 0;
  }

  /** All that they know, for one more of them. */
  get picture(): Picture {
    const { view, events } = this.#snapshot;
    return {
      status: { ...this.#status, uptimeMs: uptimeOf(this.#snapshot) },
      members: [...this.#members.values()],
      services: view.services.map(serviceLine),
      networks: this.#networks,
      drains: this.#drains,
      events: events.slice(-LIMITS.watchEventsMax).map(eventLine),
    };
  }

  /** Goes on to the next snapshot. @returns what to tell; null when nothing is other than what they know */
  advance(next: Snapshot): PictureChange | null {
    const last = this.#snapshot;
    this.#snapshot = next;
    const change: PictureChange = {
      ...this.#statusChange(next),
      ...this.#memberChange(next),
      ...this.#serviceChange(last, next),
      ...this.#networkChange(last, next),
      ...this.#drainChange(last, next),
      ...this.#newEvents(next),
    };
    return Object.keys(change).length === 0 ? null : change;
  }

  #statusChange(next: Snapshot): Pick<PictureChange, "status"> {
    const status = statusOf(next);
    const { uptimeMs } = this.#status;
    if (isSame(this.#status, { ...status, uptimeMs })) return {};
    this.#status = status;
    return { status };
  }

  #memberChange(next: Snapshot): Pick<PictureChange, "members"> {
    const told = this.#members;
    const lines = membersOf(next);
    const set = lines.filter((line) => !isSameMember(told.get(line.id), line));
    const ids = new Set(lines.map(({ id }) => id));
    const gone = [...told.keys()].filter((id) => !ids.has(id));
    if (set.length === 0 && gone.length === 0) return {};
    const changed = new Set(set);
    this.#members = membersById(
      lines.map((line) => (changed.has(line) ? line : (told.get(line.id) ?? line))),
    );
    return { members: { set, gone } };
  }

  #serviceChange(last: Snapshot, next: Snapshot): Pick<PictureChange, "services"> {
    const touched = touchedHere(last, next);
    const told = this.#services;
    if (last.view.services === next.view.services)
      return touched.size === 0 ? {} : { services: { set: [], gone: [], touched: [...touched] } };
    const { services } = next.view;
    const byKey = servicesByKey(services);
    const set = services.flatMap((service) => {
      const before = told.get(service.key);
      if (before === service || isSame(before, service)) return [];
      const line = serviceLine(service);
      if (before === undefined || !isSame(serviceLine(before), line)) return [line];
      touched.add(service.key);
      return [];
    });
    const gone = [...told.keys()].filter((key) => !byKey.has(key));
    this.#services = byKey;
    const isQuiet = set.length === 0 && gone.length === 0 && touched.size === 0;
    return isQuiet ? {} : { services: { set, gone, touched: [...touched] } };
  }

  #networkChange(last: Snapshot, { view }: Snapshot): Pick<PictureChange, "networks"> {
    if (last.view.services === view.services && last.view.networks === view.networks) return {};
    const networks = networksOf(view);
    if (isSame(this.#networks, networks)) return {};
    this.#networks = networks;
    return { networks };
  }

  #drainChange(last: Snapshot, { view }: Snapshot): Pick<PictureChange, "drains"> {
    if (last.view.services === view.services) return {};
    const drains = drainsOf(view);
    if (isSame(this.#drains, drains)) return {};
    this.#drains = drains;
    return { drains };
  }

  #newEvents({ events }: Snapshot): Pick<PictureChange, "events"> {
    const after = this.#lastEventId;
    if ((events.at(-1)?.id ?? 0) <= after) return {};
    const news = events.filter(({ id }) => id > after).slice(-LIMITS.watchEventsMax);
    this.#lastEventId = news.at(-1)?.id ?? after;
    return { events: news.map(eventLine) };
  }
}

/** Services of which only this host's own findings changed: whom its proxy keeps out, what it cannot serve. */
function touchedHere(last: Snapshot, next: Snapshot): Set<ServiceKey> {
  const touched = new Set<ServiceKey>();
  if (!isSame(last.ejections, next.ejections)) {
    const replicas = new Set<ReplicaId>([...last.ejections, ...next.ejections].map(({ replica }) => replica));
    for (const { key, replicas: own } of next.view.services)
      if (own.some(({ id }) => replicas.has(id))) touched.add(key);
  }
  if (last.problems === next.problems || isSame(last.problems, next.problems)) return touched;
  for (const service of next.view.services)
    if (!isSame(foundHere(last, service), foundHere(next, service))) touched.add(service.key);
  return touched;
}

function membersById(lines: readonly MemberLine[]): ReadonlyMap<string, MemberLine> {
  return new Map(lines.map((line) => [line.id, line]));
}

function servicesByKey(services: readonly Service[]): ReadonlyMap<ServiceKey, Service> {
  return new Map(services.map((service) => [service.key, service]));
}

function isSameMember(told: MemberLine | undefined, line: MemberLine): boolean {
  if (told === undefined || hasMoved(told.rttMs, line.rttMs)) return false;
  return isSame(told, { ...line, rttMs: told.rttMs });
}

function hasMoved(told: number | null, rttMs: number | null): boolean {
  if (told === null || rttMs === null) return told !== rttMs;
  const step = Math.abs(rttMs - told);
  return step > RTT_STEP_MS && step > told * RTT_SHARE;
}

/** Same value, written the same way: both sides come from the same functions, so their fields have one order. */
function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
