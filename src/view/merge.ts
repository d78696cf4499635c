/**
 * Merge: members' records become services with replicas and VIPs.
 *
 * Each node writes only its own records, so merging is grouping: replicas by service, declarations by newest start,
 * claims by the rules of vip.ts. Records of a dead member stay in the picture as replicas that are never used, so a
 * name does not vanish because its host did; those of a member that left are gone. A malformed record is left out and
 * named; its neighbours count.
 *
 * A change costs what it touches: only owners that changed are read, only services that hold something of theirs are
 * put together, and everything else is the same object as in the last view, whole lists included. The outcome is that
 * of merging everything anew, but for what only a memory can tell: since when a replica is in its tier, and which
 * addresses a service had before.
 *
 * Pure: the memory of one node.
 */

import type { Prefix } from "../base/ip.ts";
import { Shared } from "../base/shared.ts";
import { compareText, replaced, updated } from "../base/sorted.ts";
import { serviceKey, type ServiceKey } from "../model/ids.ts";
import type { OwnerLog } from "../model/log.ts";
import type { Member } from "../model/member.ts";
import type { NetworkRange } from "../model/network.ts";
import { parseRecord, type ReplicaRecord, type SubnetRecord } from "../model/record.ts";
import type { ServiceDeclaration, ServicePort } from "../model/service.ts";
import type { Replica, Service, View } from "../model/view.ts";
import type { Vip6Rule } from "../model/vip6.ts";

import { Addresses } from "./addresses.ts";
import { Gathering } from "./gathering.ts";
import { Holders } from "./holders.ts";
import { Members, type MemberChange, type MembersGiven } from "./members.ts";
import { forgetLog, placedAt, type Owner, type Placed } from "./owner.ts";
import { compareMembers, Ranges } from "./ranges.ts";
import { readLog, type Found, type Parse, type Reading } from "./reading.ts";
import { replicaOf, type Copy } from "./replica.ts";
import type { SliceAssignment } from "./subnet.ts";
import type { Assignment, PublishedClaim } from "./vip.ts";
import { Vip6s } from "./vip6.ts";

/** What a view is made of. */
export interface MergeInput extends MembersGiven {
  readonly incarnation: number;
  readonly complete: boolean;
  readonly pool: Prefix;
  /** Which services have an IPv6 address here; none unless told. */
  readonly vip6?: Vip6Rule | null;
  /** Networks with a range of their own. */
  readonly networks: readonly NetworkRange[];
  readonly nowMs: number;
}

/** A view, and what it was made from. Each list and map is the last merge's own while nothing in it changed. */
export interface Merged {
  readonly view: View;
  readonly assignment: Assignment;
  /** By network. */
  readonly slices: ReadonlyMap<string, SliceAssignment>;
  /** When the view changes by time alone: an alias ends; null when it does not. */
  readonly dueAtMs: number | null;
  /** Malformed records: owner's name and what is wrong. */
  readonly malformed: readonly string[];
  readonly replicaCount: number;
}

/** What a record says of a replica: what the view shows of it, and what it does not. */
interface Said extends Omit<Placed, "owner" | "key" | "replica"> {
  readonly copy: Copy;
}

/** Malformed records told at once: a peer that sends nothing else must not fill a list with it. */
const MALFORMED_MAX = 100;

/** Distinct declarations, claims and reasons remembered for sharing. */
const SHARED_MAX = 4096;

/** Makes views, one after the other, each from the last one and what has changed since. */
export class Merger {
  readonly #parse: Parse;
  readonly #declarations = new Shared<ServiceDeclaration>(SHARED_MAX);
  readonly #ports = new Shared<readonly ServicePort[]>(SHARED_MAX);
  readonly #claims = new Shared<PublishedClaim>(SHARED_MAX);
  readonly #texts = new Shared<string>(SHARED_MAX);
  readonly #members: Members;
  readonly #gatherings = new Map<ServiceKey, Gathering>();
  readonly #touched = new Set<Gathering>();
  readonly #holders = new Holders();
  readonly #vip6s = new Vip6s();
  readonly #malformedOwners = new Set<Owner>();
  #addresses: Addresses | null = null;
  #ranges: Ranges | null = null;
  #services: readonly Service[] = [];
  #malformed: readonly string[] = [];
  #malformedIsDue = false;
  #replicaCount = 0;
  #version = 0;
  #observer = "";
  #nowMs = 0;

  /** @param parse  another reader of records, for a process with many nodes that remembers what it has parsed */
  constructor(parse: Parse = parseRecord) {
    this.#parse = parse;
    this.#members = new Members(parse);
  }

  /** The picture as it is now. What did not change is the same object as in the last one. */
  merge(input: MergeInput): Merged {
    const { pool, networks, self, nowMs } = input;
    const addresses = (this.#addresses ??= new Addresses(pool));
    const ranges = (this.#ranges ??= new Ranges({ pool, networks }));
    this.#nowMs = nowMs;
    this.#followAll(input, ranges);
    const gone = this.#gather(addresses);
    this.#settle(addresses, input);
    this.#show(addresses, gone);
    ranges.settle({ pool, networks }, this.#members.ownerById);
    this.#version += 1;
    const view: View = {
      version: this.#version,
      complete: input.complete,
      self,
      members: this.#members.list,
      services: this.#services,
      networks: ranges.networks,
      problems: ranges.problems,
    };
    return {
      view,
      assignment: addresses.assignment,
      slices: ranges.assignmentByNetwork,
      dueAtMs: addresses.dueAtMs,
      malformed: this.#listMalformed(),
      replicaCount: this.#replicaCount,
    };
  }

  #followAll(input: MergeInput, ranges: Ranges): void {
    const { unreadable } = this.#members;
    const changes = this.#members.update(input);
    this.#malformedIsDue ||= unreadable !== this.#members.unreadable;
    const observer = this.#members.ownerById.get(input.self)?.member.name ?? input.self;
    const isRenamed = observer !== this.#observer && this.#version > 0;
    this.#observer = observer;
    for (const change of changes) this.#follow(change, ranges);
    if (isRenamed) for (const owner of this.#members.ownerById.values()) this.#judge(owner);
  }

  #follow({ owner, before, log }: MemberChange, ranges: Ranges): void {
    const after = log === null ? null : owner.member;
    ranges.setMember(before, after);
    if (before?.name !== after?.name && owner.malformedKeys.size > 0) this.#malformedIsDue = true;
    // What is still known of an owner that left counts for nothing, and is read anew if it returns.
    if (before?.state === "left" || after === null || after.state === "left") this.#withdraw(owner, ranges);
    if (log === null) return;
    const isRead = owner.log === log && owner.version === log.version;
    if (!isRead && owner.member.state !== "left") this.#read(owner, log, ranges);
    owner.log = log;
    owner.version = log.version;
    if (before !== null && isJudgedOtherwise(before, owner.member)) this.#judge(owner);
  }

  /** Takes everything of an owner out of the picture. */
  #withdraw(owner: Owner, ranges: Ranges): void {
    for (const placed of owner.placed) this.#remove(placed);
    if (owner.slices.length > 0) ranges.touchSlices();
    if (this.#malformedOwners.delete(owner)) this.#malformedIsDue = true;
    forgetLog(owner);
  }

  #read(owner: Owner, log: OwnerLog, ranges: Ranges): void {
    const reading = readLog(owner, log, this.#parse);
    const gone = [...reading.gone];
    const come = reading.come.map((found) => this.#place(owner, found));
    for (const { placed, ...found } of reading.again) {
      if (placed.key === keyOf(found.record)) this.#renew(placed, found);
      else {
        gone.push(placed);
        come.push(this.#place(owner, found));
      }
    }
    for (const placed of gone) this.#remove(placed);
    owner.placed = updated(owner.placed, { gone, come }, compareReplicas);
    this.#takeClaims(owner, reading, ranges);
    if (reading.malformedKeys === owner.malformedKeys) return;
    owner.malformedKeys = reading.malformedKeys;
    this.#malformedIsDue = true;
    if (owner.malformedKeys.size > 0) this.#malformedOwners.add(owner);
    else this.#malformedOwners.delete(owner);
  }

  #takeClaims(owner: Owner, { claims, slices }: Reading, ranges: Ranges): void {
    const come = claims.come.map((claim) => this.#claims.of(claimText(claim), () => claim));
    owner.claims = updated(owner.claims, { gone: claims.gone, come }, compareKeys);
    for (const { key } of [...claims.gone, ...come]) {
      const gathering = this.#gatherings.get(key);
      if (gathering === undefined) continue;
      gathering.touchClaims();
      this.#touched.add(gathering);
    }
    const before = owner.slices;
    owner.slices = updated(before, slices, compareNetworks);
    if (owner.slices !== before) ranges.touchSlices();
  }

  #place(owner: Owner, found: Found): Placed {
    const key = keyOf(found.record);
    const gathering = this.#gatherings.get(key) ?? new Gathering(key);
    this.#gatherings.set(key, gathering);
    const said = this.#said(found);
    const placed = placedAt(owner, gathering.key, { ...said, replica: this.#replica(owner, said, null) });
    gathering.put(placed);
    this.#touched.add(gathering);
    this.#replicaCount += 1;
    return placed;
  }

  #renew(placed: Placed, found: Found): void {
    const said = this.#said(found);
    const { copy: _copy, ...unshown } = said;
    Object.assign(placed, unshown);
    placed.replica = this.#replica(placed.owner, said, placed.replica);
    this.#touchKey(placed.key);
  }

  #remove(placed: Placed): void {
    this.#replicaCount -= 1;
    this.#gatherings.get(placed.key)?.remove(placed);
    this.#touchKey(placed.key);
  }

  /** Rules anew on everything that an owner offers. */
  #judge(owner: Owner): void {
    for (const placed of owner.placed) {
      const { replica, reason } = placed;
      placed.replica = this.#replica(owner, { copy: replica, reason }, replica);
      this.#touchKey(placed.key);
    }
  }

  #replica(owner: Owner, said: Pick<Said, "copy" | "reason">, last: Replica | null): Replica {
    const circumstances = { owner: owner.member, observer: this.#observer, last, nowMs: this.#nowMs };
    return replicaOf(said.copy, { reason: said.reason, ...circumstances });
  }

  /** What a record says; what many records say alike is one object. */
  #said({ entry, record }: Found): Said {
    const declaration = this.#declared(record.declaration);
    const reason = this.#text(record.reason);
    const stack = record.stack === null ? null : this.#text(record.stack);
    const copy: Copy = { ...record, ports: declaration.ports };
    return { entry, reason, stack, declaration, startedAtMs: record.startedAtMs, copy };
  }

  #declared(declaration: ServiceDeclaration): ServiceDeclaration {
    return this.#declarations.of(JSON.stringify(declaration), () => {
      const ports = this.#ports.of(JSON.stringify(declaration.ports), () => declaration.ports);
      return { ...declaration, ports };
    });
  }

  #text(text: string): string {
    return this.#texts.of(text, () => text);
  }

  #touchKey(key: ServiceKey): void {
    const gathering = this.#gatherings.get(key);
    if (gathering !== undefined) this.#touched.add(gathering);
  }

  /** Gathers what was touched. @returns services of which nothing is left */
  #gather(addresses: Addresses): readonly Service[] {
    const gone: Service[] = [];
    for (const gathering of this.#touched) {
      if (gathering.gather()) addresses.setClaims(gathering.key, gathering.claims);
      if (!gathering.isEmpty) continue;
      this.#touched.delete(gathering);
      this.#gatherings.delete(gathering.key);
      this.#want(gathering, addresses);
      if (gathering.service !== null) gone.push(gathering.service);
    }
    return gone;
  }

  /** Settles addresses, then ports and routes, which go by the right of addresses; adds whom that concerns. */
  #settle(addresses: Addresses, { pool, vip6 = null, networks, nowMs }: MergeInput): void {
    const concerned = addresses.settle(pool, nowMs);
    const concernsAll = this.#vip6s.set(vip6, networks) || concerned === null;
    for (const key of concernsAll ? this.#gatherings.keys() : concerned) this.#touchKey(key);
    for (const gathering of this.#touched) this.#want(gathering, addresses);
    for (const key of this.#holders.settle()) this.#touchKey(key);
  }

  #want(gathering: Gathering, addresses: Addresses): void {
    const wanting = gathering.wanting((key) => addresses.order(key));
    if (wanting !== null) this.#holders.set(wanting);
  }

  #show(addresses: Addresses, gone: readonly Service[]): void {
    const nextByService = new Map<Service, Service>();
    const come: Service[] = [];
    for (const gathering of this.#touched) {
      const { key, service: before } = gathering;
      const after = gathering.show({
        ...addresses.of(key),
        vip6Of: (network, service) => this.#vip6s.of(network, service),
        vipProblems: () => addresses.problems(key),
        refused: this.#holders.refused(key),
      });
      if (before === null) come.push(after);
      else if (before !== after) nextByService.set(before, after);
    }
    this.#touched.clear();
    this.#services = updated(replaced(this.#services, nextByService), { gone, come }, compareKeys);
  }

  #listMalformed(): readonly string[] {
    if (!this.#malformedIsDue) return this.#malformed;
    this.#malformedIsDue = false;
    const texts = Array.from(this.#members.unreadable, ([id, text]) => `${id}: ${text}`);
    const owners = [...this.#malformedOwners].sort((one, other) => compareMembers(one.member, other.member));
    for (const { member, log, malformedKeys } of owners) {
      for (const key of malformedKeys) {
        if (texts.length >= MALFORMED_MAX) break;
        // Parsed once more, so that nothing has to be kept of records that make no sense but their keys.
        const result = this.#parse(key, log?.entryByKey.get(key)?.body ?? "");
        if (!result.ok) texts.push(`${member.name}: ${result.failure.message}`);
      }
    }
    const told = texts.slice(0, MALFORMED_MAX);
    if (told.join("\n") !== this.#malformed.join("\n")) this.#malformed = told;
    return this.#malformed;
  }
}

function keyOf({ network, service }: ReplicaRecord): ServiceKey {
  return serviceKey(network, service);
}

/** Whether a change of a member is one to its replicas, too. */
function isJudgedOtherwise(before: Member, after: Member): boolean {
  const isSettled = (before.settlesAtMs === null) === (after.settlesAtMs === null);
  return before.state !== after.state || before.name !== after.name || !isSettled;
}

function claimText({ key, address, order, settled }: PublishedClaim): string {
  return `${key} ${address} ${order} ${settled}`;
}

function compareKeys(one: { readonly key: ServiceKey }, other: { readonly key: ServiceKey }): number {
  return compareText(one.key, other.key);
}

function compareNetworks(one: SubnetRecord, other: SubnetRecord): number {
  return compareText(one.network, other.network);
}

function compareReplicas(one: Placed, other: Placed): number {
  return compareText(one.replica.id, other.replica.id);
}
