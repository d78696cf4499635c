/**
 * Parts: what the gossip of one node is made of.
 *
 * Each part decides one thing and knows none of the others but those it is handed; the files that join them (hellos.ts,
 * messages.ts, rounds.ts) are functions over this one record, so that none of them becomes the object that holds it
 * all.
 *
 * Pure.
 */

import type { HostPort } from "../base/ip.ts";
import type { Random } from "../base/random.ts";
import type { Credential } from "../model/credential.ts";
import type { NodeId } from "../model/ids.ts";
import type { Acquaintance } from "../model/member.ts";
import type { Seals } from "../model/seal.ts";

import { Asks } from "./asks.ts";
import { Awareness } from "./awareness.ts";
import { Carrier } from "./carrier.ts";
import { Complaints } from "./complaints.ts";
import { Completeness } from "./completeness.ts";
import { Dialer } from "./dialer.ts";
import { Disputes } from "./disputes.ts";
import { Outbox } from "./effects.ts";
import { Favours } from "./favours.ts";
import { Hearsay } from "./hearsay.ts";
import { Links, type OpenLink } from "./links.ts";
import { Membership } from "./membership.ts";
import { Replication } from "./replication.ts";
import { Reports } from "./reports.ts";
import { Topology } from "./topology.ts";
import { Voice } from "./voice.ts";
import { Watch } from "./watch.ts";

/** After a pause, or a time without any link, nothing is judged until an exchange is done, but for so long at most. */
export const HOLD_MS = 2000;

/** Who this node is, and where others may find it. */
export interface GossipOptions {
  readonly self: Acquaintance;
  readonly incarnation: number;
  readonly seeds: readonly HostPort[];
  readonly seals: Seals;
  readonly random: Random;
  readonly nowMs: number;
}

/** All parts of one node's gossip. */
export interface Parts {
  readonly self: Acquaintance;
  readonly nonce: number;
  readonly startedAtMs: number;
  readonly seals: Seals;
  readonly asks: Asks;
  readonly complaints: Complaints;
  readonly outbox: Outbox;
  readonly awareness: Awareness;
  readonly membership: Membership;
  readonly watch: Watch;
  readonly links: Links;
  readonly topology: Topology;
  readonly dialer: Dialer;
  readonly disputes: Disputes;
  readonly carrier: Carrier;
  readonly replication: Replication;
  readonly reports: Reports;
  readonly favours: Favours;
  readonly hearsay: Hearsay;
  readonly voice: Voice;
  readonly completeness: Completeness;
  readonly changes: Changes;
  readonly spreading: Spreading;
  readonly sync: Sync;
}

/** Whose log, state or path has changed since somebody last looked. */
export class Changes {
  #owners = new Set<NodeId>();
  #revision = 0;

  /** Rises with each change. */
  get revision(): number {
    return this.#revision;
  }

  /** Notes a change of a node. */
  note(owner: NodeId): void {
    this.#revision += 1;
    this.#owners.add(owner);
  }

  /** Notes a change that concerns no node in particular. */
  noteWhole(): void {
    this.#revision += 1;
  }

  /** The nodes noted since the last call. */
  take(): ReadonlySet<NodeId> {
    const owners = this.#owners;
    if (owners.size > 0) this.#owners = new Set();
    return owners;
  }
}

/** How far own writes have got. */
export interface Spreading {
  /** The oldest own write that not every member has applied; null when all have everything. */
  oldest: { readonly version: number; readonly writtenAtMs: number } | null;
  /** When members were last asked what they have applied; null while nobody waits for it. */
  askedAtMs: number | null;
}

/** From whom this node, as long as its picture is not complete, takes all there is. */
export interface Sync {
  /** The link; null while there is none. */
  source: number | null;
  /** When something last came from there, or was asked of it. */
  movedAtMs: number;
}

/** Makes the parts of a node that starts now. */
export function openParts({ self, incarnation, seeds, seals, random, nowMs }: GossipOptions): Parts {
  const nonce = Math.floor(random() * 2 ** 48) + 1;
  const outbox = new Outbox();
  const links = new Links();
  const awareness = new Awareness();
  const topology = new Topology(self.id);
  const carrier = new Carrier(self.id, { topology, links, outbox });
  const dialer = new Dialer(seeds, random);
  dialer.own({ host: self.host, port: self.port });
  const options = { self: self.id, incarnation, carrier, outbox, random, seals, nowMs };
  const replication = new Replication(options);
  const credentialOf = (id: NodeId): Credential | undefined => replication.store.credentialOf(id);
  return {
    self,
    nonce,
    startedAtMs: nowMs,
    seals,
    asks: new Asks(),
    complaints: new Complaints(outbox),
    outbox,
    awareness,
    links,
    carrier,
    dialer,
    membership: new Membership(self.id),
    watch: new Watch(awareness, random),
    topology,
    disputes: new Disputes(),
    replication,
    reports: new Reports({ self: self.id, carrier, seals, credentialOf }),
    favours: new Favours(),
    hearsay: new Hearsay(),
    voice: new Voice(),
    completeness: new Completeness(nowMs),
    changes: new Changes(),
    spreading: { oldest: null, askedAtMs: null },
    sync: { source: null, movedAtMs: nowMs },
  };
}

/** Closes a link; what still comes over it does not count. */
export function closeLink({ links, outbox }: Parts, linkId: number, reason: string): void {
  const link = links.get(linkId);
  if (link === undefined || link.closing) return;
  link.closing = true;
  outbox.wanted.close.push({ link: link.id, reason });
}

/** Closes a link over which the rules were broken, and tells of it. */
export function refuseLink(parts: Parts, link: OpenLink, text: string, atMs: number): void {
  const subject = link.peer?.name ?? link.remote;
  const { refused, happenings } = parts.outbox.wanted;
  refused.push("frame");
  happenings.push({ kind: "member.refused", level: "warn", subject, text, atMs });
  closeLink(parts, link.id, text);
}
