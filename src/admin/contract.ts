/**
 * Contract: what the admin API says, as types, and the routes on which it says it.
 *
 * Scripts, the CLI and the dashboard rely on these shapes, and SemVer covers them: the fields that interface.md lists
 * come first, under exactly those names; the ones after them were added and may grow, never change. Times are Unix
 * milliseconds (`...Ms`); "there is none" is null, never a missing field. This, contract-trust.ts, which has
 * the shapes of joining and of the authority, and contract-network.ts are all that cli/ and dashboard/ may know of
 * admin/; routes.ts lists where each shape is served.
 *
 * Pure.
 */

import { CODES, Failure, type FailureCode } from "../base/failure.ts";
import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";
import type { Role } from "../model/credential.ts";
import type { MemberState } from "../model/member.ts";
import type { ReplicaState } from "../model/record.ts";
import type { Delivery, HttpRoute, PublishedPort, ServicePort, TrafficPolicy } from "../model/service.ts";
import type { Tier } from "../model/view.ts";

import type { CertificateLine } from "./contract-trust.ts";

/** One line of `node ls`. */
export interface MemberLine {
  readonly name: string;
  readonly id: NodeId;
  readonly state: MemberState;
  /** As its certificate says. */
  readonly role: Role;
  /** `host:port` of its mesh listener; empty while unknown. */
  readonly address: string;
  /** How many replicas run there, as far as this node knows. */
  readonly replicas: number;
  readonly zone: string;
  readonly version: string;
  readonly rttMs: number | null;
  readonly sinceMs: number;
  readonly self: boolean;
  /** Rises with each of its lives. */
  readonly incarnation: number;
  /** Name of the member that reaches it while this node's own link to it is broken; null while it is not. */
  readonly via: string | null;
  /** Until when it settles after it came and went too often, its replicas not eligible; null when it does not. */
  readonly settlesAtMs: number | null;
  /** All that it runs is drained by command, now and later. */
  readonly draining: boolean;
}

/** `node inspect NAME`: all that is known of a member. */
export interface MemberDetail extends MemberLine {
  readonly labels: Readonly<Record<string, string>>;
  /** What its routing table leads to, as IPv4 prefixes. */
  readonly prefixes: readonly string[];
  /** Its replicas, by service. */
  readonly runs: readonly MemberReplica[];
  /** Null while this node has not seen its certificate. */
  readonly certificate: CertificateLine | null;
}

/** A replica in `node inspect`. */
export interface MemberReplica {
  /** `<network>/<service>` */
  readonly service: ServiceKey;
  readonly id: ReplicaId;
  readonly name: string;
  readonly address: string;
  readonly eligible: boolean;
  readonly reason: string;
}

/** One line of `service ls`. */
export interface ServiceLine {
  readonly network: string;
  readonly name: string;
  readonly vip: string | null;
  readonly ports: readonly ServicePort[];
  /** How many replicas are known. */
  readonly replicas: number;
  /** How many of them are eligible for traffic. */
  readonly ready: number;
  readonly stack: string | null;
  readonly endpointMode: "vip" | "dnsrr";
  readonly publish: readonly PublishedPort[];
  readonly http: readonly HttpRoute[];
  readonly problems: readonly string[];
}

/** One replica in `explain` and `service inspect`: in or out, why, since when, who says so. */
export interface ReplicaReport {
  readonly id: ReplicaId;
  /** Name of the node it runs on. */
  readonly node: string;
  readonly address: string;
  /** True when the cluster lets it take new traffic; `ejected` tells what this node's proxy thinks besides. */
  readonly eligible: boolean;
  readonly reason: string;
  readonly sinceMs: number;
  /** Name of the node whose word that is. */
  readonly saidBy: string;
  readonly tier: Tier;
  readonly state: ReplicaState;
  readonly name: string;
  readonly slot: number | null;
  readonly local: boolean;
  readonly weight: number;
  readonly delivery: Delivery;
  /** Where it listens for each service port. */
  readonly ports: readonly ServicePort[];
  /** For a draining one: every live member has applied it. */
  readonly drainApplied: boolean;
  /** For a draining one that takes longer than a second: names of members that have not applied it, 16 at most. */
  readonly drainPending: readonly string[];
  /** This node's proxy keeps it out for a while, from what it saw in its own traffic; null when it does not. */
  readonly ejected: { readonly reason: string; readonly untilMs: number } | null;
}

/** `explain NAME`. */
export interface Explanation {
  readonly network: string;
  readonly name: string;
  readonly vip: string | null;
  readonly replicas: readonly ReplicaReport[];
  readonly problems: readonly string[];
  /** True while the address is so new that it may still be lost: DNS tells nobody to remember it. */
  readonly vipTentative: boolean;
  /** Addresses that it had a while ago: still served here, told to nobody. */
  readonly aliasVips: readonly string[];
  /** Its IPv6 address; nothing where it has none on this host. */
  readonly vip6?: string;
}

/** `service inspect NAME`: all that is known of a service. */
export interface ServiceDetail extends Explanation {
  readonly stack: string | null;
  readonly endpointMode: "vip" | "dnsrr";
  readonly aliases: readonly string[];
  readonly ports: readonly ServicePort[];
  readonly publish: readonly PublishedPort[];
  readonly http: readonly HttpRoute[];
  /** Hosts whose TLS passes unopened. */
  readonly passthrough: readonly string[];
  readonly traffic: TrafficPolicy;
}

/** `resolve`: what DNS would answer, and to whom. */
export interface ResolveReport {
  readonly name: string;
  /** Query type in capitals: `A`. */
  readonly type: string;
  /** In capitals: `NOERROR`, `NXDOMAIN`. */
  readonly rcode: string;
  readonly answers: readonly ResolveAnswer[];
  /** Why, in words, where the answer does not tell: several networks have the name, only others see it. */
  readonly note?: string;
  /** Who was taken to ask, in words: `this host`, `container web-1 (networks front, default)`. */
  readonly as: string;
}

/** One record of an answer; `ttl` in seconds, as on the wire; `data` in the text form of zone files. */
export interface ResolveAnswer {
  readonly type: string;
  readonly ttl: number;
  readonly data: string;
}

/** What `auto` became: the config key, what was picked, and why. */
export interface Choice {
  readonly key: string;
  readonly value: string;
  readonly reason: string;
}

/** What one source of services knows; `stale` says why its set may be out of date, null when it is fresh. */
export interface SourceLine {
  readonly name: string;
  readonly endpoints: number;
  readonly stale: string | null;
}

/** What a problem is about: ProblemLine tells what each means. */
export const PROBLEM_AREAS = [
  "label",
  "port",
  "bind",
  "state",
  "service",
  "source",
  "network",
  "trust",
  "tls",
  "log",
  "upstream",
  "kernel",
] as const;

/**
 * Something wrong that the daemon lives with. `area`: where to look: `label`, `port`, `bind`, `state`, `service`,
 * `source`, `network` (ranges of addresses), `trust` (certificates of nodes), `tls` (those of the HTTPS ingress), `log`
 * (of traffic), `upstream` (a server for foreign names), `kernel` (rules and links of the data plane).
 */
export interface ProblemLine {
  readonly area: (typeof PROBLEM_AREAS)[number];
  readonly subject: string;
  readonly text: string;
}

/** Addresses the daemon listens on, as text; an empty list where it does not. */
export interface ListenReport {
  readonly mesh: readonly string[];
  readonly dns: readonly string[];
  readonly admin: readonly string[];
  readonly ingress: readonly string[];
}

/** `status`: this daemon. */
export interface StatusReport {
  readonly node: {
    readonly id: NodeId;
    readonly name: string;
    readonly version: string;
    readonly role: Role;
    readonly zone: string;
    readonly address: string;
    /** How slow it is in its own eyes: 0, well, to 7; it judges others that much more slowly. */
    readonly healthScore: number;
  };
  readonly startedAtMs: number;
  readonly uptimeMs: number;
  readonly dataPlane: { readonly mode: "kernel" | "proxy"; readonly reason: string };
  readonly choices: readonly Choice[];
  readonly listen: ListenReport;
  readonly cluster: {
    readonly id: string;
    readonly size: number;
    readonly states: Readonly<Record<MemberState, number>>;
  };
  readonly view: {
    readonly version: number;
    readonly complete: boolean;
    readonly services: number;
    readonly replicas: number;
    readonly ready: number;
  };
  readonly sources: readonly SourceLine[];
  readonly problems: readonly ProblemLine[];
  readonly warnings: readonly string[];
  /** This node's own certificate, and the generation of the newest authority of its cluster. */
  readonly certificate: CertificateLine;
  readonly authorityGeneration: number;
}

/** One event. In the stream (server-sent events) it is the data of a message. */
export interface EventLine {
  readonly id: number;
  readonly atMs: number;
  readonly kind: string;
  readonly level: "info" | "warn";
  readonly subject: string;
  readonly text: string;
}

/** Data of the stream's message `gap`: how many events were dropped between the asked one and the oldest kept. */
export interface EventGap {
  readonly missed: number;
}

/** Body of `POST drains`. `replica`: an id, a unique start of one, or a name that only one replica has. */
export interface DrainRequest {
  readonly replica: string;
  /** True to be answered when every live member has applied it, or after 10 s. */
  readonly wait: boolean;
  /** True to take a drain back: the replica is in again once it is ready. Left out for false. */
  readonly undo?: boolean;
}

/** What became of a drain. HTTP 200 when `applied`, 202 while members are missing. */
export interface DrainResult {
  readonly replica: ReplicaId;
  /** True when every live member has applied it. */
  readonly applied: boolean;
  /**
   * Names of the live members that have not applied it yet, 16 at most; only that of its own node when that tells
   * nothing; none in its first second.
   */
  readonly pending: readonly string[];
}

/** Body of `POST leave`. */
export interface LeaveRequest {
  /** True to go though this is the last manager and others remain. Left out for false. */
  readonly force?: boolean;
}

/** What became of `POST leave`: told when farewell is said; the daemon ends right after. */
export interface LeaveResult {
  /** Name of the node that went. */
  readonly node: string;
  /** `left`: for good. `away`: it was being stopped already, as for a restart. */
  readonly farewell: "left" | "away";
  /** Names of members that had not heard by then that its replicas drain: a request of theirs may have failed. */
  readonly pending: readonly string[];
}

/** An error (RFC 9457 3.1); `code` is a code of base/failure.ts, which decides the CLI's exit status, or our bug. */
export interface Problem {
  readonly type: "about:blank";
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: FailureCode | "internal";
}

/**
 * Makes the problem that tells of a failure. The type is `about:blank`, so the title is the status's own phrase
 * (RFC 9457 4.2.1); programs read `code`.
 *
 * @param status  HTTP status where it says more than the code's own (405, 413)
 */
export function problemOf(code: FailureCode, detail: string, status: number = CODES[code].http): Problem {
  return { type: "about:blank", title: PHRASES[status] ?? "Error", status, detail, code };
}

/** Status phrases (RFC 9110 15) of the statuses we answer with. Not node:http's: the dashboard has none. */
const PHRASES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** The problem that tells of our own bug: nothing of it may reach a caller. */
export const INTERNAL: Problem = {
  type: "about:blank",
  title: "Internal Server Error",
  status: 500,
  detail: "the daemon failed to answer; its log says why",
  code: "internal",
};

/** The failure that a problem told of; null for a JSON value that is none of ours. */
export function failureFrom(value: unknown): Failure | null {
  if (typeof value !== "object" || value === null || !("code" in value) || !("detail" in value)) return null;
  if (typeof value.code !== "string" || typeof value.detail !== "string") return null;
  return Object.hasOwn(CODES, value.code)
    ? new Failure(value.code as FailureCode, value.detail)
    : new Failure("invalid", value.detail);
}

/** On every answer, so that nobody takes something else behind the socket for a daemon; and what it says. */
export const API_HEADER = "skein-api";
export const API_VERSION = "1";

/** What decides where the admin socket is; `runtimeDir` is XDG_RUNTIME_DIR. */
export interface SocketPlace {
  readonly root: boolean;
  readonly runtimeDir: string | null;
  readonly dataDir: string;
}

/** What a connection that asks for a handover becomes (RFC 9110 7.8); what is said over it is the daemons' matter. */
export const HANDOVER_PROTOCOL = "skein-handover";
/** Where it is asked for. */
export const HANDOVER_PATH = "/api/v1/handover";

/** The admin socket's path when `admin.socket` is `auto`; the daemon listens there, the CLI looks there. */
export function defaultSocketPath(place: SocketPlace): string {
  if (place.root) return "/run/skein/skein.sock";
  return `${place.runtimeDir ?? place.dataDir}/skein.sock`;
}
