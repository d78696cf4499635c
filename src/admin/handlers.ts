/**
 * Handlers: the snapshot of a daemon, told in the shapes of the contract.
 *
 * The admin API is one more projection of the View: it says of each replica what view/merge.ts decided, and decides
 * nothing itself. What it adds are facts of this daemon that are in no view: how it was set up, what its sources know,
 * and whom its own proxy keeps out for a while. Each function takes the whole snapshot, so that one answer never
 * mixes two moments.
 *
 * Pure.
 */

import { success, type Result } from "../base/failure.ts";
import { renderHostPort } from "../base/ip.ts";
import type { Event } from "../model/event.ts";
import type { Role } from "../model/credential.ts";
import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";
import type { Member, MemberState } from "../model/member.ts";
import type { Replica, Service, View } from "../model/view.ts";

import type { CertificateLine } from "./contract-trust.ts";
import type {
  Choice,
  EventLine,
  Explanation,
  ListenReport,
  MemberDetail,
  MemberLine,
  MemberReplica,
  ProblemLine,
  ReplicaReport,
  ServiceDetail,
  ServiceLine,
  SourceLine,
  StatusReport,
} from "./contract.ts";
import { findMember, findService } from "./lookup.ts";

/** A replica that this node's proxy keeps out, from what it saw in its own traffic. */
export interface Ejection {
  readonly replica: ReplicaId;
  readonly reason: string;
  readonly untilMs: number;
}

/** What a daemon knows of certificates. */
export interface TrustSnapshot {
  readonly clusterId: string;
  readonly role: Role;
  /** This node's own. */
  readonly certificate: CertificateLine;
  /** Of the newest authority of the cluster. */
  readonly authorityGeneration: number;
  /** A member's certificate, as its log has it; null while it is not known. */
  readonly certificateOf: (member: NodeId) => CertificateLine | null;
}

/** All that the admin API tells, at one moment. */
export interface Snapshot {
  /** When it was taken, Unix milliseconds. */
  readonly atMs: number;
  readonly view: View;
  /** Name and software version of this daemon; the view may not know its own member yet. */
  readonly nodeName: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly dataPlane: StatusReport["dataPlane"];
  /** Everything that `auto` became. */
  readonly choices: readonly Choice[];
  readonly listen: ListenReport;
  readonly sources: readonly SourceLine[];
  readonly problems: readonly ProblemLine[];
  readonly warnings: readonly string[];
  /** This node's membership. */
  readonly trust: TrustSnapshot;
  /** Round trip to a member by now, milliseconds: too restless to be in the view. */
  readonly roundTripMs: (member: NodeId) => number | null;
  /** This daemon's health in its own eyes: 0, well, to 7. */
  readonly healthScore: number;
  readonly ejections: readonly Ejection[];
  /** Services for whose names Docker's own server answers on this host, and the container that it answers with. */
  readonly hiderByService: ReadonlyMap<ServiceKey, string>;
  /** The last ones, oldest first, ids rising by one. */
  readonly events: readonly Event[];
}

/** `status`; problems of ranges and services stand behind the daemon's own. */
export function statusOf(snapshot: Snapshot): StatusReport {
  const { view, version } = snapshot;
  const self = view.members.find((member) => member.self);
  let replicas = 0;
  let ready = 0;
  for (const service of view.services) {
    replicas += service.replicas.length;
    ready += readyOf(service.replicas);
  }
  const ofServices = view.services.flatMap((service) =>
    [...service.problems, ...hiddenHere(snapshot, service)].map((text): ProblemLine => {
      return { area: "service", subject: service.key, text };
    }),
  );
  return {
    node: {
      id: view.self,
      name: snapshot.nodeName,
      version,
      role: snapshot.trust.role,
      zone: self?.zone ?? "",
      address: self === undefined ? "" : addressOf(self),
      healthScore: snapshot.healthScore,
    },
    startedAtMs: Math.round(snapshot.startedAtMs),
    uptimeMs: uptimeOf(snapshot),
    dataPlane: snapshot.dataPlane,
    choices: snapshot.choices,
    listen: snapshot.listen,
    cluster: { id: snapshot.trust.clusterId, size: view.members.length, states: statesOf(view.members) },
    view: {
      version: view.version,
      complete: view.complete,
      services: view.services.length,
      replicas,
      ready,
    },
    sources: snapshot.sources,
    problems: [...snapshot.problems, ...ofRanges(view), ...ofServices],
    warnings: [...snapshot.warnings, ...ofHealth(snapshot), ...ofMembers(snapshot)],
    certificate: snapshot.trust.certificate,
    authorityGeneration: snapshot.trust.authorityGeneration,
  };
}

function ofHealth({ healthScore }: Snapshot): readonly string[] {
  if (healthScore === 0) return [];
  const waits = `waits ${healthScore + 1} times as long before it thinks ill of others`;
  return [`this daemon is slow: its timers or its answers are late (${healthScore} of 7); it ${waits}`];
}

/** What is not as it should be with members that live. */
function ofMembers({ view, atMs }: Snapshot): readonly string[] {
  return view.members.flatMap((member) => {
    const { name, via, settlesAtMs } = member;
    const texts: string[] = [];
    if (via !== null) texts.push(`link to ${name} is broken: reached via ${nameOf(view, via)}`);
    if (settlesAtMs === null || settlesAtMs <= atMs) return texts;
    const seconds = Math.ceil((settlesAtMs - atMs) / 1000);
    return [...texts, `${name} came and went: its replicas are not used for another ${seconds} s`];
  });
}

function ofRanges({ problems, networks }: View): readonly ProblemLine[] {
  const ofNetworks = networks.flatMap(({ name, problems: texts }) => {
    return texts.map((text) => ({ subject: `network ${name}`, text }));
  });
  return [...problems, ...ofNetworks].map(({ subject, text }) => ({ area: "network", subject, text }));
}

/** `node ls`, in the view's order: by name, then id. */
export function membersOf(snapshot: Snapshot): readonly MemberLine[] {
  const countByNode = new Map<string, number>();
  for (const { replicas } of snapshot.view.services)
    for (const { node } of replicas) countByNode.set(node, (countByNode.get(node) ?? 0) + 1);
  return snapshot.view.members.map((member) => lineOf(snapshot, member, countByNode.get(member.id) ?? 0));
}

/** `node inspect NAME`; `not-found` or `usage` when the name leads to no member, or to several. */
export function memberOf(snapshot: Snapshot, name: string): Result<MemberDetail> {
  const { view } = snapshot;
  const found = findMember(view, name);
  if (!found.ok) return found;
  const member = found.value;
  const runs = view.services.flatMap(({ key, replicas }) => {
    return replicas.filter(({ node }) => node === member.id).map((replica) => runOf(key, replica));
  });
  const { labels, prefixes } = member;
  const certificate = snapshot.trust.certificateOf(member.id);
  return success({ ...lineOf(snapshot, member, runs.length), labels, prefixes, runs, certificate });
}

function lineOf({ view, roundTripMs }: Snapshot, member: Member, replicas: number): MemberLine {
  return {
    name: member.name,
    id: member.id,
    state: member.state,
    role: member.role,
    address: addressOf(member),
    replicas,
    zone: member.zone,
    version: member.software,
    rttMs: roundTripMs(member.id),
    sinceMs: Math.round(member.sinceMs),
    self: member.self,
    incarnation: member.incarnation,
    via: member.via === null ? null : nameOf(view, member.via),
    settlesAtMs: member.settlesAtMs === null ? null : Math.round(member.settlesAtMs),
    draining: member.draining === true,
  };
}

function runOf(service: ServiceKey, { id, name, address, tier, reason }: Replica): MemberReplica {
  return { service, id, name, address, eligible: tier === "eligible", reason };
}

function nameOf({ members }: View, id: NodeId): string {
  return members.find((member) => member.id === id)?.name ?? id;
}

/** `service ls`, in the view's order: by network, then name. `network`: only its services; null for all. */
export function servicesOf(snapshot: Snapshot, network: string | null): readonly ServiceLine[] {
  const services = snapshot.view.services.filter(
    (service) => network === null || service.network === network,
  );
  return services.map(serviceLine);
}

/** One line of `service ls`. */
export function serviceLine(service: Service): ServiceLine {
  return {
    network: service.network,
    name: service.name,
    vip: service.vip,
    ports: service.ports,
    replicas: service.replicas.length,
    ready: readyOf(service.replicas),
    stack: service.stack,
    endpointMode: service.endpointMode,
    publish: service.publish,
    http: service.http,
    problems: service.problems,
  };
}

/** `service inspect`. Names are found as lookup.ts tells; fails as findService does. */
export function serviceOf(snapshot: Snapshot, name: string, network: string | null): Result<ServiceDetail> {
  const found = findService(snapshot.view, name, network);
  if (!found.ok) return found;
  const service = found.value;
  return success({
    ...explained(snapshot, service),
    stack: service.stack,
    endpointMode: service.endpointMode,
    aliases: service.aliases,
    ports: service.ports,
    publish: service.publish,
    http: service.http,
    passthrough: service.passthrough,
    traffic: service.traffic,
  });
}

/** `explain`. Names are found as lookup.ts tells; fails as findService does. */
export function explain(snapshot: Snapshot, name: string, network: string | null): Result<Explanation> {
  const found = findService(snapshot.view, name, network);
  return found.ok ? success(explained(snapshot, found.value)) : found;
}

/** The events kept whose id is greater than `afterId`, oldest first; 0 for all. */
export function eventsAfter(events: readonly Event[], afterId: number): readonly EventLine[] {
  return events.filter((event) => event.id > afterId).map(eventLine);
}

/** How long the daemon has run, whole milliseconds. Not below 0, whatever the clock does. */
export function uptimeOf({ atMs, startedAtMs }: Pick<Snapshot, "atMs" | "startedAtMs">): number {
  return Math.max(0, Math.round(atMs - startedAtMs));
}

/** One event in the shape of the contract. */
export function eventLine(event: Event): EventLine {
  const { id, atMs, kind, level, subject, text } = event;
  return { id, atMs: Math.round(atMs), kind, level, subject, text };
}

function explained(snapshot: Snapshot, service: Service): Explanation {
  const { network, name, vip, vip6, vipTentative, aliasVips } = service;
  const replicas = service.replicas.map((replica) => reportOf(snapshot, replica));
  const problems = [...service.problems, ...foundHere(snapshot, service)];
  const addresses = { vipTentative, aliasVips, ...(vip6 !== undefined && { vip6 }) };
  return { network, name, vip, replicas, problems, ...addresses };
}

/**
 * What only this host knows to be wrong with a service: labels of its copies here, ports it cannot serve, and that
 * Docker's own server answers for its name with one copy where there are several.
 */
export function foundHere(
  snapshot: Pick<Snapshot, "problems" | "hiderByService">,
  service: Service,
): readonly string[] {
  const { key, name, replicas } = service;
  const copies = replicas.filter((replica) => replica.local).map((replica) => replica.name);
  const subjects = new Set([
    `service ${name}`,
    ...copies.flatMap((copy) => [`container ${copy}`, `replica ${copy}`]),
  ]);
  const told = snapshot.problems
    .filter(({ subject, text }) => subjects.has(subject) || text.startsWith(`service ${key}: `))
    .map(({ subject, text }) => (text.startsWith(`service ${key}: `) ? text : `${subject}: ${text}`));
  return [...told, ...hiddenHere(snapshot, service)];
}

/** Docker's own server asks nobody for names of the containers, and of compose services, that it has itself. */
function hiddenHere(
  { hiderByService }: Pick<Snapshot, "hiderByService">,
  { key, network, name, replicas }: Service,
): readonly string[] {
  const container = hiderByService.get(key);
  if (container === undefined || replicas.length < 2) return [];
  const whom = `Docker itself answers containers of this host for "${name}", with ${container} and no other replica`;
  return [`${whom}: ask for the full name in ${network}, or call the container or compose service otherwise`];
}

function reportOf(snapshot: Snapshot, replica: Replica): ReplicaReport {
  const ejection = snapshot.ejections.find((one) => one.replica === replica.id);
  return {
    id: replica.id,
    node: replica.nodeName,
    address: replica.address,
    eligible: replica.tier === "eligible",
    reason: replica.reason,
    sinceMs: Math.round(replica.sinceMs),
    saidBy: replica.saidBy,
    tier: replica.tier,
    state: replica.state,
    name: replica.name,
    slot: replica.slot,
    local: replica.local,
    weight: replica.weight,
    delivery: replica.delivery,
    ports: replica.ports,
    drainApplied: replica.drainApplied,
    drainPending: replica.drainPending,
    ejected:
      ejection === undefined ? null : { reason: ejection.reason, untilMs: Math.round(ejection.untilMs) },
  };
}

function readyOf(replicas: readonly Replica[]): number {
  let count = 0;
  for (const { tier } of replicas) if (tier === "eligible") count += 1;
  return count;
}

function addressOf(member: Member): string {
  return member.host === "" ? "" : renderHostPort(member);
}

function statesOf(members: readonly Member[]): Record<MemberState, number> {
  const states: Record<MemberState, number> = { alive: 0, suspect: 0, dead: 0, away: 0, left: 0 };
  for (const member of members) states[member.state] += 1;
  return states;
}
