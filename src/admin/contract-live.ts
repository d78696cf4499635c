/**
 * Contract, live: what the admin API says of traffic, of links between hosts, of drains, and as it happens.
 *
 * Numbers of traffic are rates over the last second or so, by what this host's own data plane saw: whoever wants them
 * whole asks for the scope `cluster`, and this host asks the others. The stream of `watch` is level, not edge: it
 * begins with the whole picture, and each change carries whole lines, so a page that was away shows the truth with the
 * next message and never replays. As in contract.ts, these shapes may grow and never change.
 *
 * Types only. Pure.
 */

import type { NodeId, ReplicaId, ServiceKey } from "../model/ids.ts";

import type { NetworkLine } from "./contract-network.ts";
import type { EventLine, MemberLine, ServiceLine, StatusReport } from "./contract.ts";

/** Percentiles of the time from a request's head to the end of its answer, milliseconds. */
export interface LatencyMs {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** What passed in the last window; all but `open` per second. */
export interface Rates {
  /** HTTP requests through the proxy. */
  readonly requests: number;
  /** TCP connections, UDP flows: through the proxy and, where it counts them, through the kernel. */
  readonly connections: number;
  /** Of the connections: those that the kernel led on by itself. */
  readonly kernelConnections: number;
  /** Requests answered with 5xx or not at all, connections that found no replica. */
  readonly errors: number;
  /** Attempts moved on to another replica. */
  readonly retries: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Requests and connections that are open in the proxy now. */
  readonly open: number;
}

/** One service. */
export interface ServiceTraffic {
  readonly key: ServiceKey;
  readonly rates: Rates;
  /** Null while no request ended in the window. */
  readonly latencyMs: LatencyMs | null;
  /** Replicas that this host's proxy keeps out now (in the scope `cluster`: on any host). */
  readonly ejected: number;
}

/** One replica, as an upstream of this host's proxy. */
export interface ReplicaTraffic {
  readonly id: ReplicaId;
  readonly service: ServiceKey;
  readonly name: string;
  readonly node: string;
  readonly rates: Rates;
}

/** Questions for names, per second. */
export interface DnsTraffic {
  readonly queries: number;
  /** By answer code: `NOERROR`, `NXDOMAIN`, ... */
  readonly byCode: Readonly<Record<string, number>>;
  /** By where the answer came from: `zone`, `cache`, `upstream`, ... */
  readonly bySource: Readonly<Record<string, number>>;
  readonly latencyMs: LatencyMs | null;
}

/** One link between two members, as `from` sees it. */
export interface LinkLine {
  /** Names of members, and their ids. */
  readonly from: string;
  readonly to: string;
  readonly fromId: NodeId;
  readonly toId: NodeId;
  /** `open`; `via` another member while its own is broken; `broken`; `none`: beyond 24 members not all are linked. */
  readonly state: "open" | "via" | "broken" | "none";
  readonly rttMs: number | null;
}

/** `traffic`: services and replicas with traffic first, the busiest first. */
export interface TrafficReport {
  readonly atMs: number;
  /** Length of the window that the rates are of. */
  readonly windowMs: number;
  readonly scope: "host" | "cluster";
  /** Names of the members whose numbers are in it, and of those that did not answer in time. */
  readonly hosts: readonly string[];
  readonly silent: readonly string[];
  readonly total: Rates;
  readonly latencyMs: LatencyMs | null;
  readonly dns: DnsTraffic;
  readonly services: readonly ServiceTraffic[];
  readonly replicas: readonly ReplicaTraffic[];
  readonly links: readonly LinkLine[];
}

/** A replica that is being taken out of traffic, or is out by command. */
export interface DrainLine {
  readonly replica: ReplicaId;
  readonly name: string;
  readonly service: ServiceKey;
  readonly node: string;
  readonly reason: string;
  readonly sinceMs: number;
  /** Every live member has applied it. */
  readonly applied: boolean;
  /** Names of members that have not, 16 at most; none in its first second. */
  readonly pending: readonly string[];
}

/** Body of `POST members/{name}/drain`. Both left out for false. */
export interface NodeDrainRequest {
  /** True to be answered when every live member has applied it, or after 10 s. */
  readonly wait?: boolean;
  /** True to take the drain back (`node activate`). */
  readonly undo?: boolean;
}

/** What became of the drain of a whole host. HTTP 200 when `applied`, 202 while members are missing. */
export interface NodeDrainResult {
  /** Name of the host. */
  readonly node: string;
  readonly id: NodeId;
  /** Whether it is drained now. */
  readonly draining: boolean;
  /** How many replicas run there. */
  readonly replicas: number;
  /** True when every live member has applied it for each of them. */
  readonly applied: boolean;
  /** As of DrainResult. */
  readonly pending: readonly string[];
}

/** The whole picture: data of the stream's message `picture`, its first. */
export interface Picture {
  readonly status: StatusReport;
  readonly members: readonly MemberLine[];
  readonly services: readonly ServiceLine[];
  readonly networks: readonly NetworkLine[];
  readonly drains: readonly DrainLine[];
  /** The last ones, oldest first. */
  readonly events: readonly EventLine[];
}

/**
 * What became different, at most four times a second: data of the message `change`. What is left out is as before;
 * lists of lines hold those that are new or other, and the keys of those that are gone.
 */
export interface PictureChange {
  readonly status?: StatusReport;
  readonly members?: { readonly set: readonly MemberLine[]; readonly gone: readonly NodeId[] };
  readonly services?: {
    readonly set: readonly ServiceLine[];
    readonly gone: readonly ServiceKey[];
    /** Services of which something changed that no line tells, such as a replica's reason: ask again. */
    readonly touched: readonly ServiceKey[];
  };
  readonly networks?: readonly NetworkLine[];
  readonly drains?: readonly DrainLine[];
  /** New events, oldest first. */
  readonly events?: readonly EventLine[];
}

// Beside these the stream carries the message `traffic`, each second, whose data is a TrafficReport of scope `cluster`.
