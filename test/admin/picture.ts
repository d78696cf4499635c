// A cluster to tell of: builders of members, replicas, services and snapshots for the tests of admin and cli.

import type { Snapshot } from "../../src/admin/handlers.ts";
import type { Event } from "../../src/model/event.ts";
import type { Member } from "../../src/model/member.ts";
import type { Replica, View } from "../../src/model/view.ts";
import { plainMember, plainReplica, plainService } from "../support/view.ts";

export { plainService as service } from "../support/view.ts";

/** A round moment: 2025-11-21T03:00:00Z. */
export const NOW_MS = Date.UTC(2025, 10, 21, 3, 0, 0);

export const SELF = "aaaaaaaaaaaaaaaaaaaa";
export const OTHER = "bbbbbbbbbbbbbbbbbbbb";
const THIRD = "cccccccccccccccccccc";
export const CLUSTER = "kkkkkkkkkkkkkkkkkkkk";
const DAY_MS = 86_400_000;

export function member(fields: Partial<Member> = {}): Member {
  const born = { role: "manager", software: "0.1.0", sinceMs: NOW_MS - 3_600_000, self: true } as const;
  return plainMember(SELF, "host-1", { ...born, ...fields });
}

export function replica(fields: Partial<Replica> = {}): Replica {
  return plainReplica("0123456789ab", {
    name: "web-1",
    slot: 1,
    node: SELF,
    address: "172.18.0.2",
    reach: "stream",
    ports: [{ name: "http", port: 80, target: 8080, protocol: "http" }],
    reason: "probe: passed",
    sinceMs: NOW_MS - 42_000,
    ...fields,
  });
}

export function view(fields: Partial<View> = {}): View {
  const empty = { services: [], networks: [], problems: [] };
  return { version: 7, complete: true, self: SELF, members: [member()], ...empty, ...fields };
}

export function event(id: number, fields: Partial<Event> = {}): Event {
  return {
    id,
    atMs: NOW_MS + id,
    kind: "replica.ready",
    level: "info",
    subject: "web-1",
    text: "probe: passed",
    ...fields,
  };
}

export function snapshot(fields: Partial<Snapshot> = {}): Snapshot {
  return {
    atMs: NOW_MS,
    view: view(),
    nodeName: "host-1",
    version: "0.1.0",
    startedAtMs: NOW_MS - 90_000,
    dataPlane: { mode: "proxy", reason: "no NET_ADMIN" },
    choices: [{ key: "vip.pool", value: "127.96.0.0/12", reason: "no NET_ADMIN" }],
    listen: { mesh: ["0.0.0.0:7650"], dns: ["127.0.0.1:5300"], admin: [], ingress: [] },
    sources: [{ name: "docker", endpoints: 2, stale: null }],
    problems: [],
    warnings: [],
    trust: {
      clusterId: CLUSTER,
      role: "manager",
      certificate: { endsAtMs: NOW_MS + 88 * DAY_MS, issuerGeneration: 1 },
      authorityGeneration: 1,
      certificateOf: (id) => (id === THIRD ? null : { endsAtMs: NOW_MS + 30 * DAY_MS, issuerGeneration: 1 }),
    },
    roundTripMs: (id) => (id === OTHER ? 1.234 : null),
    healthScore: 0,
    hiderByService: new Map(),
    ejections: [],
    events: [],
    ...fields,
  };
}

/** Two hosts, three services, a replica in every tier: what the golden tables show. */
export function exampleSnapshot(): Snapshot {
  const web = plainService("default", "web", {
    stack: "shop",
    vip: "10.96.0.5",
    ports: [{ name: "http", port: 80, target: 8080, protocol: "http" }],
    publish: [{ published: 8088, port: 80, protocol: "tcp", mode: "ingress" }],
    http: [{ host: "app.example.com", path: "/" }],
    aliases: ["www"],
    replicas: [
      replica(),
      replica({
        id: "11aa22bb33cc",
        name: "web-2",
        address: "172.18.0.3",
        tier: "panic",
        state: "unready",
        reason: "probe: connection refused at 172.18.0.3:8080",
      }),
      replica({
        id: "22bb33cc44dd",
        name: "web-3",
        node: OTHER,
        nodeName: "host-2",
        local: false,
        address: "10.0.0.9",
        reason: "healthy since its start",
        saidBy: "host-2",
      }),
      replica({
        id: "33cc44dd55ee",
        name: "web-4",
        node: OTHER,
        nodeName: "host-2",
        local: false,
        address: "10.0.0.10",
        tier: "draining",
        state: "draining",
        reason: "stop signal",
        saidBy: "host-2",
        sinceMs: NOW_MS - 900,
      }),
    ],
    problems: ["port 8088 is also wanted by default/api; default/web has it"],
  });
  const db = plainService("back", "db", {
    endpointMode: "dnsrr",
    ports: [{ name: "tcp-5432", port: 5432, target: 5432, protocol: "tcp" }],
    replicas: [replica({ id: "db-zz", name: "db", slot: null, tier: "never", reason: "host-2 is dead" })],
  });
  const log = plainService("default", "日志", { vip: "10.96.0.6" });
  const other = {
    id: OTHER,
    name: "host-2",
    host: "192.0.2.2",
    zone: "rack-2",
    role: "worker",
    self: false,
  } as const;
  const gone = { id: THIRD, name: "host-3", host: "", port: 0, role: "worker" } as const;
  const members = [
    member(),
    member({ ...other, state: "suspect", sinceMs: NOW_MS - 5000 }),
    member({ ...gone, state: "dead", self: false, sinceMs: NOW_MS - 172_800_000 }),
  ];
  return snapshot({
    view: view({ version: 42, members, services: [db, web, log] }),
    problems: [{ area: "label", subject: "container web-1", text: 'label "skein.port" is "80a"' }],
    warnings: ["this daemon is slow"],
    sources: [
      { name: "docker", endpoints: 2, stale: "socket /var/run/docker.sock does not answer" },
      { name: "static", endpoints: 1, stale: null },
    ],
    ejections: [{ replica: "22bb33cc44dd", reason: "3 refused connects", untilMs: NOW_MS + 12_000 }],
    events: [
      event(1, { kind: "daemon.started", subject: "host-1", text: "version 0.1.0" }),
      event(2),
      event(3, { kind: "member.suspect", level: "warn", subject: "host-2", text: "no answer for 3 s" }),
    ],
  });
}
