/**
 * Logs: nobody but its owner writes a log, and no log goes back.
 *
 * What each owner ever wrote is remembered, by incarnation and version. Whenever a holder took something in, what is
 * new in its logs must be what the owner wrote, and must not be older than what it held. Which logs may have changed is
 * read from the frame; small clusters are looked at whole after every step, since a log may also change otherwise.
 */

import type { NodeId } from "../../src/model/ids.ts";
import type { OwnerLog } from "../../src/model/log.ts";
import type { Effects, Input } from "../../src/step.ts";

import type { Simulation } from "./engine.ts";
import type { Host } from "./host.ts";
import { Violation, type Observer } from "./observer.ts";
import { deltasOf } from "./wire.ts";

/** Up to this many hosts every log of the stepped node is looked at after every step. */
const WHOLE_UP_TO = 12;

interface Written {
  readonly key: string;
  readonly body: string | null;
  /** Another write with the same number: by a life on an old copy of the disk, or by a second node with the id. */
  readonly other: Written | null;
}

interface Position {
  incarnation: number;
  version: number;
}

/** How a holder's log looked when it was last looked at. */
interface Seen extends Position {
  size: number;
  /** The version at which each deleted key was deleted, in this incarnation. */
  readonly buriedAt: Map<string, number>;
}

/** Remembers what owners wrote and checks what holders hold. */
export class LogCheck implements Observer {
  readonly #sim: Simulation;
  /** By owner, incarnation and version. */
  readonly #written = new Map<NodeId, Map<number, Map<number, Written>>>();
  /** How far each host's own log has been remembered in its present life. */
  readonly #ownByHost = new Map<Host, Position>();
  readonly #seenByHost = new Map<Host, Map<NodeId, Seen>>();
  /** Owners with the heads that the stepped node held of them before. */
  readonly #before = new Map<NodeId, Position>();

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  started(host: Host): void {
    this.#ownByHost.set(host, { incarnation: 0, version: 0 });
    this.#seenByHost.set(host, new Map());
  }

  before(host: Host, input: Input): void {
    this.#before.clear();
    if (this.#isWhole || input.kind !== "frame" || host.node === null) return;
    for (const { owner } of deltasOf(input.frame)) {
      const log = host.logs.get(owner);
      this.#before.set(owner, { incarnation: log?.incarnation ?? 0, version: log?.version ?? 0 });
    }
  }

  stepped(host: Host, _input: Input, effects: Effects): void {
    if (host.node === null) return;
    const { logs } = host;
    this.#remember(host, logs.get(host.id), effects);
    if (this.#isWhole) {
      for (const log of logs.values()) if (log.owner !== host.id) this.#checkWhole(host, log);
      return;
    }
    for (const [owner, before] of this.#before) {
      const log = logs.get(owner);
      if (log !== undefined && owner !== host.id) this.#checkNews(host, log, before);
    }
  }

  /** The bodies an owner wrote to a key, with their versions, in one incarnation; for messages. */
  historyOf(owner: NodeId, incarnation: number, key: string): string {
    const writes = this.#written.get(owner)?.get(incarnation) ?? new Map<number, Written>();
    const ofKey = [...writes].filter(([, write]) => write.key === key);
    return ofKey.map(([version, { body }]) => `${version}${body === null ? "-" : "+"}`).join(" ");
  }

  /** True when the owner ever wrote a deletion of a key in this incarnation up to a version. */
  isDeletedBy(owner: NodeId, at: Position, key: string): boolean {
    const writes = this.#written.get(owner)?.get(at.incarnation) ?? new Map<number, Written>();
    for (const [version, write] of writes) {
      for (let one: Written | null = write; one !== null; one = one.other) {
        if (version <= at.version && one.key === key && one.body === null) return true;
      }
    }
    return false;
  }

  get #isWhole(): boolean {
    return this.#sim.hosts.length <= WHOLE_UP_TO;
  }

  #remember(host: Host, own: OwnerLog | undefined, effects: Effects): void {
    const done = this.#ownByHost.get(host);
    if (own === undefined || done === undefined) return;
    const { incarnation, version } = own;
    if (incarnation === done.incarnation && version === done.version) return;
    if (incarnation < done.incarnation || (incarnation === done.incarnation && version < done.version))
      throw this.#broken(host, `its own log went back from ${text(done)} to ${text(own)}`);
    // A write may be overwritten in the step that pushed it.
    for (const { frame, kind } of effects.send) {
      if (kind !== "delta") continue;
      for (const delta of deltasOf(frame)) {
        if (delta.owner !== host.id) continue;
        for (const write of delta.writes) this.#write(host, delta.incarnation, write);
      }
    }
    const from = incarnation === done.incarnation ? done.version : 0;
    for (const [key, entry] of own.entryByKey) {
      if (entry.version > from) this.#write(host, incarnation, { key, ...entry });
    }
    Object.assign(done, { incarnation, version });
  }

  #write(
    host: Host,
    incarnation: number,
    write: { key: string; version: number; body: string | null },
  ): void {
    const { key, version, body } = write;
    const byIncarnation = childOf(this.#written, host.id);
    let byVersion = byIncarnation.get(incarnation);
    if (byVersion === undefined) byIncarnation.set(incarnation, (byVersion = new Map()));
    const known = byVersion.get(version);
    for (let one = known ?? null; one !== null; one = one.other) {
      if (one.key === key && one.body === body) return;
    }
    if (known !== undefined && !host.isRestored && !this.#hasTwin(host)) {
      const was = `${known.key} ${known.body?.slice(0, 60) ?? "deleted"}`;
      const is = `${key} ${body?.slice(0, 60) ?? "deleted"}`;
      throw this.#broken(host, `wrote ${incarnation}.${version} twice: ${was}, then ${is}`);
    }
    byVersion.set(version, { key, body, other: known ?? null });
  }

  #hasTwin(host: Host): boolean {
    return this.#sim.hosts.some((other) => other !== host && other.id === host.id);
  }

  #checkWhole(host: Host, log: OwnerLog): void {
    const seenByOwner = this.#seenByHost.get(host);
    if (seenByOwner === undefined) return;
    const { owner, incarnation, version, entryByKey } = log;
    let seen = seenByOwner.get(owner);
    if (seen === undefined) {
      seen = { incarnation: -1, version: 0, size: 0, buriedAt: new Map() };
      seenByOwner.set(owner, seen);
    }
    if (seen.incarnation === incarnation && seen.version === version && seen.size === entryByKey.size) return;
    if (seen.incarnation !== incarnation) seen.buriedAt.clear();
    const before = { incarnation: seen.incarnation, version: seen.version };
    this.#checkNews(host, log, before);
    for (const [key, entry] of entryByKey) {
      const buriedAt = seen.buriedAt.get(key);
      if (entry.body === null) seen.buriedAt.set(key, entry.version);
      else if (buriedAt !== undefined && entry.version < buriedAt)
        throw this.#broken(
          host,
          `${nameOf(owner, key)} came back at ${entry.version}, deleted at ${buriedAt}`,
        );
    }
    Object.assign(seen, { incarnation, version, size: entryByKey.size });
  }

  /** What is newer in a log than its head was must be the owner's, and the head must not have gone back. */
  #checkNews(host: Host, log: OwnerLog, before: Position): void {
    const { owner, incarnation, version, entryByKey } = log;
    const isBack =
      incarnation < before.incarnation || (incarnation === before.incarnation && version < before.version);
    if (isBack) throw this.#broken(host, `${owner}'s log went back from ${text(before)} to ${text(log)}`);
    if (incarnation === before.incarnation && version === before.version) return;
    const from = incarnation === before.incarnation ? before.version : 0;
    const byVersion = this.#written.get(owner)?.get(incarnation);
    for (const [key, entry] of entryByKey) {
      if (entry.version <= from) continue;
      let write = byVersion?.get(entry.version) ?? null;
      while (write !== null && (write.key !== key || write.body !== entry.body)) write = write.other;
      if (write === null) {
        const held = `${nameOf(owner, key)} ${incarnation}.${entry.version} ${entry.body?.slice(0, 80)}`;
        throw this.#broken(host, `holds ${held}, which its owner never wrote`);
      }
    }
  }

  #broken(host: Host, what: string): Violation {
    return new Violation(this.#sim.at(host, what));
  }
}

function childOf<K, A, B>(map: Map<K, Map<A, B>>, key: K): Map<A, B> {
  let child = map.get(key);
  if (child === undefined) map.set(key, (child = new Map()));
  return child;
}

function text({ incarnation, version }: Position): string {
  return `${incarnation}.${version}`;
}

function nameOf(owner: NodeId, key: string): string {
  return `${owner.slice(0, 6)}:${key}`;
}
