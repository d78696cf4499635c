// Pictures: typed pictures of clusters of any size, for the page's tests.

import type { DrainLine, LinkLine, Picture, Rates, TrafficReport } from "../../src/admin/contract-live.ts";
import type { NetworkLine } from "../../src/admin/contract-network.ts";
import type {
  EventLine,
  MemberLine,
  ReplicaReport,
  ServiceLine,
  StatusReport,
} from "../../src/admin/contract.ts";
import { NO_RATES } from "../../src/admin/rates.ts";
import { DEFAULT_DELIVERY } from "../../src/model/service.ts";

/** When all of it is. */
export const T0 = 1_795_000_000_000;

/** One host. */
export function member(name: string, more: Partial<MemberLine> = {}): MemberLine {
  return {
    name,
    id: `id-${name}`,
    state: "alive",
    role: "worker",
    address: "192.168.10.11:7650",
    replicas: 4,
    zone: "a",
    version: "0.1.0",
    rttMs: 0.4,
    sinceMs: T0 - 3_600_000,
    self: false,
    incarnation: 1,
    via: null,
    settlesAtMs: null,
    draining: false,
    ...more,
  };
}

/** One service. */
export function service(name: string, more: Partial<ServiceLine> = {}): ServiceLine {
  return {
    network: "default",
    name,
    vip: "10.96.0.10",
    ports: [{ name: "web", port: 80, target: 8080, protocol: "http" }],
    replicas: 3,
    ready: 3,
    stack: "shop",
    endpointMode: "vip",
    publish: [],
    http: [],
    problems: [],
    ...more,
  };
}

/** One replica of `explain`. */
export function replica(name: string, more: Partial<ReplicaReport> = {}): ReplicaReport {
  return {
    id: `${name}-id`,
    node: "host-1",
    address: "172.17.0.5",
    eligible: true,
    reason: "probe: connected",
    sinceMs: T0 - 600_000,
    saidBy: "host-1",
    tier: "eligible",
    state: "ready",
    name,
    slot: 1,
    local: true,
    weight: 1,
    delivery: DEFAULT_DELIVERY,
    ports: [{ name: "web", port: 80, target: 8080, protocol: "http" }],
    drainApplied: false,
    drainPending: [],
    ejected: null,
    ...more,
  };
}

/** One event. */
export function event(id: number, more: Partial<EventLine> = {}): EventLine {
  return {
    id,
    atMs: T0 + id * 1000,
    kind: "replica.ready",
    level: "info",
    subject: "default/web web-1@host-1",
    text: "is in: probe: connected",
    ...more,
  };
}

/** One drain. */
export function drain(name: string, more: Partial<DrainLine> = {}): DrainLine {
  return {
    replica: `${name}-id`,
    name,
    service: "default/web",
    node: "host-1",
    reason: "drained by command",
    sinceMs: T0 - 2000,
    applied: false,
    pending: ["host-3"],
    ...more,
  };
}

/** One network. */
export function network(name: string, more: Partial<NetworkLine> = {}): NetworkLine {
  return {
    name,
    services: 2,
    replicas: 6,
    ready: 6,
    kind: "overlay",
    range: "10.160.0.0/16",
    range6: "fd12:3456:789a::/56",
    encrypted: true,
    slices: { used: 3, total: 256, bits: 24 },
    vni: 4097,
    sound: true,
    problems: [],
    ...more,
  };
}

/** What the daemon says of itself. */
export function status(more: Partial<StatusReport> = {}): StatusReport {
  return {
    node: {
      id: "id-host-1",
      name: "host-1",
      version: "0.1.0",
      role: "manager",
      zone: "a",
      address: "192.168.10.11:7650",
      healthScore: 0,
    },
    startedAtMs: T0 - 3_600_000,
    uptimeMs: 3_600_000,
    dataPlane: { mode: "kernel", reason: "nft and NET_ADMIN are here" },
    choices: [{ key: "dataplane.mode", value: "kernel", reason: "nft and NET_ADMIN are here" }],
    listen: {
      mesh: ["0.0.0.0:7650"],
      dns: ["127.0.0.1:5300"],
      admin: ["127.0.0.1:7651"],
      ingress: ["0.0.0.0:8080"],
    },
    cluster: { id: "c1a7", size: 3, states: { alive: 3, suspect: 0, dead: 0, away: 0, left: 0 } },
    view: { version: 12, complete: true, services: 3, replicas: 9, ready: 9 },
    sources: [{ name: "docker", endpoints: 9, stale: null }],
    problems: [],
    warnings: [],
    certificate: { endsAtMs: T0 + 86_400_000, issuerGeneration: 1 },
    authorityGeneration: 1,
    ...more,
  };
}

/** A picture of these parts. */
export function picture(more: Partial<Picture> = {}): Picture {
  return {
    status: status(),
    members: [member("host-1", { self: true, role: "manager" }), member("host-2"), member("host-3")],
    services: [service("web"), service("api", { vip: "10.96.0.11" }), service("db", { vip: "10.96.0.12" })],
    networks: [
      network("app"),
      network("default", {
        kind: "named",
        range: null,
        range6: null,
        slices: null,
        vni: null,
        encrypted: false,
      }),
    ],
    drains: [],
    events: [event(1), event(2, { level: "warn", kind: "replica.unready", text: "is out: probe: refused" })],
    ...more,
  };
}

/** Rates, nothing but what is given. */
export function rates(more: Partial<Rates> = {}): Rates {
  return { ...NO_RATES, ...more };
}

/** A report of traffic. */
export function report(atMs: number, more: Partial<TrafficReport> = {}): TrafficReport {
  return {
    atMs,
    windowMs: 1000,
    scope: "cluster",
    hosts: ["host-1", "host-2", "host-3"],
    silent: [],
    total: rates({ requests: 120, connections: 12 }),
    latencyMs: { p50: 2, p95: 9, p99: 20 },
    dns: {
      queries: 40,
      byCode: { NOERROR: 38, NXDOMAIN: 2 },
      bySource: { zone: 30, cache: 10 },
      latencyMs: null,
    },
    services: [
      {
        key: "default/web",
        rates: rates({ requests: 120, connections: 12 }),
        latencyMs: { p50: 2, p95: 9, p99: 20 },
        ejected: 0,
      },
    ],
    replicas: [],
    links: linksOf(["host-1", "host-2", "host-3"]),
    ...more,
  };
}

/** Links between all of these hosts, whose ids are as `member` makes them. */
export function linksOf(names: readonly string[], more: Partial<LinkLine> = {}): readonly LinkLine[] {
  return names.flatMap((from, a) =>
    names.flatMap((to, b) =>
      from === to ? [] : [{ ...link(from, to), rttMs: 0.3 + ((a * 7 + b * 3) % 11) / 10, ...more }],
    ),
  );
}

/** One link. */
export function link(from: string, to: string, more: Partial<LinkLine> = {}): LinkLine {
  return { from, to, fromId: `id-${from}`, toId: `id-${to}`, state: "open", rttMs: 0.3, ...more };
}

/** A cluster of this size, with some of everything that may be wrong. */
export function largePicture(hosts: number, services: number): Picture {
  const members = Array.from({ length: hosts }, (_, at) =>
    member(`host-${at + 1}`, {
      address: `192.168.${10 + Math.floor(at / 200)}.${(at % 200) + 10}:7650`,
      zone: "abc"[at % 3] ?? "a",
      self: at === 0,
      role: at < 3 ? "manager" : "worker",
      state: at % 37 === 36 ? "dead" : "alive",
    }),
  );
  const lines = Array.from({ length: services }, (_, at) =>
    service(`service-${at + 1}`, {
      network: at % 5 === 0 ? "app" : "default",
      vip: `10.96.${Math.floor(at / 250)}.${(at % 250) + 1}`,
      replicas: 10,
      ready: at % 97 === 96 ? 0 : at % 41 === 40 ? 7 : 10,
      http: at % 3 === 0 ? [{ host: `s${at + 1}.example.com`, path: "/" }] : [],
      publish: at % 11 === 0 ? [{ published: 8000 + at, port: 80, protocol: "tcp", mode: "ingress" }] : [],
    }),
  );
  const events = Array.from({ length: 200 }, (_, at) =>
    event(at + 1, { level: at % 9 === 0 ? "warn" : "info", subject: `default/service-${at + 1}` }),
  );
  return picture({ members, services: lines, events });
}
