/**
 * Members: who is in the picture, and whose part of it has to be looked at again.
 *
 * A member is what its own `node` record says of it and what gossip says of its life. Looked at are those who are told
 * to have changed, or all; who stands as before, with a log as before, is passed over by comparing a few numbers.
 *
 * Pure: the memory of one node. merge.ts reads the logs of those that changed.
 */

import { updated } from "../base/sorted.ts";
import type { Role } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import type { Entry, OwnerLog } from "../model/log.ts";
import type { Member, Standing } from "../model/member.ts";
import type { NodeRecord } from "../model/record.ts";

import { newOwner, type Owner } from "./owner.ts";
import { compareMembers } from "./ranges.ts";
import type { Parse } from "./reading.ts";

/** Who there is, as gossip tells it. */
export interface MembersGiven {
  readonly self: NodeId;
  /** All standings but one's own; not read where `changed` is given. */
  readonly standings: readonly Standing[];
  /**
   * Whose log or standing may have changed since the last time, oneself included, with the standing now, null for who
   * has none; null or left out when that is not known, and all are looked at.
   */
  readonly changed?: ReadonlyMap<NodeId, Standing | null> | null;
  readonly logs: ReadonlyMap<NodeId, OwnerLog>;
  /** What a node's certificate makes it. Changes with its log alone, which the certificate is part of. */
  readonly roleOf: (id: NodeId) => Role;
  /** When this node started: since when it is alive in its own eyes. */
  readonly startedAtMs: number;
}

/** A member that has to be looked at again. */
export interface MemberChange {
  readonly owner: Owner;
  /** As it was; null for a new one. */
  readonly before: Member | null;
  /** Its log; null when it is no member any more. */
  readonly log: OwnerLog | null;
}

type Said = Omit<NodeRecord, "kind">;

const NO_LABELS: Readonly<Record<string, string>> = {};
const NO_PREFIXES: readonly string[] = [];

/** Remembers every member. */
export class Members {
  readonly #parse: Parse;
  readonly #ownerById = new Map<NodeId, Owner>();
  #unreadable: ReadonlyMap<NodeId, string> = new Map();
  #list: readonly Member[] = [];

  constructor(parse: Parse) {
    this.#parse = parse;
  }

  /** All members, sorted by name, then id; the same list while nothing in it changed. */
  get list(): readonly Member[] {
    return this.#list;
  }

  /** What is kept of every member. */
  get ownerById(): ReadonlyMap<NodeId, Owner> {
    return this.#ownerById;
  }

  /** Nodes whose own record makes no sense, and what is wrong with it; the same map while nothing in it changed. */
  get unreadable(): ReadonlyMap<NodeId, string> {
    return this.#unreadable;
  }

  /** Takes who there is now. @returns members that came, changed or are gone, or whose log has changed */
  update(given: MembersGiven): readonly MemberChange[] {
    const changes: MemberChange[] = [];
    for (const [id, standing] of this.#toLookAt(given)) {
      const change = this.#look(id, standing, given);
      if (change !== null) changes.push(change);
    }
    const gone: Member[] = [];
    const come: Member[] = [];
    for (const { owner, before, log } of changes) {
      const after = log === null ? null : owner.member;
      if (before === after) continue;
      if (before !== null) gone.push(before);
      if (after !== null) come.push(after);
    }
    this.#list = updated(this.#list, { gone, come }, compareMembers);
    return changes;
  }

  #toLookAt(given: MembersGiven): ReadonlyMap<NodeId, Standing | null> {
    const { self, standings, changed = null, startedAtMs } = given;
    const own: Standing = {
      id: self,
      state: "alive",
      sinceMs: startedAtMs,
      rttMs: null,
      via: null,
      settlesAtMs: null,
    };
    if (changed !== null) return changed.has(self) ? new Map([...changed, [self, own]]) : changed;
    const all = new Map<NodeId, Standing | null>(standings.map((standing) => [standing.id, standing]));
    all.set(self, own);
    for (const id of this.#ownerById.keys()) if (!all.has(id)) all.set(id, null);
    for (const id of this.#unreadable.keys()) if (!all.has(id)) all.set(id, null);
    return all;
  }

  #look(id: NodeId, standing: Standing | null, given: MembersGiven): MemberChange | null {
    const log = given.logs.get(id);
    const owner = this.#ownerById.get(id);
    const entry = log?.entryByKey.get("node");
    if (standing === null || log === undefined || entry === undefined) {
      this.#note(id, null);
      return this.#drop(id);
    }
    if (owner !== undefined && isAsBefore(owner, standing, log)) return null;
    // Without its record a member has no name to show and no address to use; it comes with its first exchange.
    const said = this.#said(id, entry, owner);
    if (said === null) return this.#drop(id);
    const role = given.roleOf(id);
    const member = memberOf(said, standing, { role, incarnation: log.incarnation, self: id === given.self });
    if (owner === undefined) {
      const come = newOwner(member, entry);
      this.#ownerById.set(id, come);
      return { owner: come, before: null, log };
    }
    const before = owner.member;
    owner.nodeEntry = entry;
    const isSame = said === before && before.role === role && before.incarnation === log.incarnation;
    if (!isSame || !isSameStanding(before, standing)) owner.member = member;
    return { owner, before, log };
  }

  #drop(id: NodeId): MemberChange | null {
    const owner = this.#ownerById.get(id);
    if (owner === undefined) return null;
    this.#ownerById.delete(id);
    return { owner, before: owner.member, log: null };
  }

  /** What a node says of itself; what is known of it already, when it says the same; null when it says nothing. */
  #said(id: NodeId, { body }: Entry, owner: Owner | undefined): Said | null {
    if (owner !== undefined && owner.nodeEntry.body === body) return owner.member;
    const result = body === null ? null : this.#parse("node", body);
    this.#note(id, result === null || result.ok ? null : result.failure.message);
    const record = result?.ok === true ? result.value : null;
    return record?.kind === "node" ? record : null;
  }

  #note(id: NodeId, text: string | null): void {
    if ((this.#unreadable.get(id) ?? null) === text) return;
    const unreadable = new Map(this.#unreadable);
    if (text === null) unreadable.delete(id);
    else unreadable.set(id, text);
    this.#unreadable = unreadable;
  }
}

function isAsBefore(owner: Owner, standing: Standing, log: OwnerLog): boolean {
  return owner.log === log && owner.version === log.version && isSameStanding(owner.member, standing);
}

function isSameStanding(member: Member, standing: Standing): boolean {
  return (
    member.state === standing.state &&
    member.sinceMs === standing.sinceMs &&
    member.rttMs === standing.rttMs &&
    member.via === standing.via &&
    member.settlesAtMs === standing.settlesAtMs
  );
}

/** Every field by itself: an object made by spreading takes half as much memory again, and there are very many. */
function memberOf(
  said: Said,
  standing: Standing,
  { role, incarnation, self }: Pick<Member, "role" | "incarnation" | "self">,
): Member {
  return {
    id: standing.id,
    name: said.name,
    host: said.host,
    port: said.port,
    zone: said.zone,
    labels: Object.keys(said.labels).length === 0 ? NO_LABELS : said.labels,
    role,
    software: said.software,
    prefixes: said.prefixes.length === 0 ? NO_PREFIXES : said.prefixes,
    ...(said.overlay === undefined ? null : { overlay: said.overlay }),
    ...(said.draining === undefined ? null : { draining: said.draining }),
    state: standing.state,
    incarnation,
    sinceMs: standing.sinceMs,
    rttMs: standing.rttMs,
    via: standing.via,
    settlesAtMs: standing.settlesAtMs,
    self,
  };
}
