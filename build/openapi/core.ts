/**
 * Core: schemas of src/admin/contract.ts and of the parts of the model that it shows.
 *
 * Names are those of the types.
 *
 * Pure.
 */

import * as v from "valibot";

import type * as contract from "../../src/admin/contract.ts";
import { PROBLEM_AREAS } from "../../src/admin/contract.ts";
import { CODES, type FailureCode } from "../../src/base/failure.ts";
import type { MemberState } from "../../src/model/member.ts";
import { BALANCES } from "../../src/model/service.ts";
import type * as model from "../../src/model/service.ts";

import { COUNT, FLAG, MS, MS_OR_NULL, PORT, schemaOf, TEXT, TEXT_OR_NULL, TEXTS } from "./schema.ts";
import { CertificateLine, ROLE } from "./trust.ts";

export const ServicePort = schemaOf<model.ServicePort>()(
  v.strictObject({
    name: TEXT,
    port: PORT,
    target: PORT,
    protocol: v.picklist(["tcp", "udp", "http"]),
  }),
);

export const PublishedPort = schemaOf<model.PublishedPort>()(
  v.strictObject({
    published: PORT,
    port: PORT,
    protocol: v.picklist(["tcp", "udp"]),
    mode: v.picklist(["ingress", "host"]),
  }),
);

export const HttpRoute = schemaOf<model.HttpRoute>()(v.strictObject({ host: TEXT, path: TEXT }));

export const TrafficPolicy = schemaOf<model.TrafficPolicy>()(
  v.strictObject({
    balance: v.picklist(BALANCES),
    prefer: v.picklist(["any", "local"]),
    slowStartMs: MS,
    firstByteMs: MS_OR_NULL,
    udpMode: v.picklist(["flow", "datagram"]),
    udpIdleMs: MS_OR_NULL,
    source: v.picklist(["keep", "masquerade"]),
  }),
);

export const Delivery = schemaOf<model.Delivery>()(
  v.strictObject({ proxyProtocol: v.picklist(["off", "v1", "v2"]), drainMs: MS }),
);

const MEMBER_STATES = ["alive", "suspect", "dead", "away", "left"] as const satisfies MemberState[];
export const MEMBER_STATE = v.picklist(MEMBER_STATES);

export const MemberLine = schemaOf<contract.MemberLine>()(
  v.strictObject({
    name: TEXT,
    id: TEXT,
    state: MEMBER_STATE,
    role: ROLE,
    address: TEXT,
    replicas: COUNT,
    zone: TEXT,
    version: TEXT,
    rttMs: MS_OR_NULL,
    sinceMs: MS,
    self: FLAG,
    incarnation: COUNT,
    via: TEXT_OR_NULL,
    settlesAtMs: MS_OR_NULL,
    draining: FLAG,
  }),
);

export const MemberReplica = schemaOf<contract.MemberReplica>()(
  v.strictObject({
    service: TEXT,
    id: TEXT,
    name: TEXT,
    address: TEXT,
    eligible: FLAG,
    reason: TEXT,
  }),
);

export const MemberDetail = schemaOf<contract.MemberDetail>()(
  v.strictObject({
    ...MemberLine.entries,
    labels: v.record(TEXT, TEXT),
    prefixes: TEXTS,
    runs: v.array(MemberReplica),
    certificate: v.nullable(CertificateLine),
  }),
);

const ENDPOINT_MODE = v.picklist(["vip", "dnsrr"]);

export const ServiceLine = schemaOf<contract.ServiceLine>()(
  v.strictObject({
    network: TEXT,
    name: TEXT,
    vip: TEXT_OR_NULL,
    ports: v.array(ServicePort),
    replicas: COUNT,
    ready: COUNT,
    stack: TEXT_OR_NULL,
    endpointMode: ENDPOINT_MODE,
    publish: v.array(PublishedPort),
    http: v.array(HttpRoute),
    problems: TEXTS,
  }),
);

export const ReplicaReport = schemaOf<contract.ReplicaReport>()(
  v.strictObject({
    id: TEXT,
    node: TEXT,
    address: TEXT,
    eligible: FLAG,
    reason: TEXT,
    sinceMs: MS,
    saidBy: TEXT,
    tier: v.picklist(["eligible", "draining", "panic", "never"]),
    state: v.picklist(["starting", "ready", "unready", "draining"]),
    name: TEXT,
    slot: v.nullable(COUNT),
    local: FLAG,
    weight: COUNT,
    delivery: Delivery,
    ports: v.array(ServicePort),
    drainApplied: FLAG,
    drainPending: TEXTS,
    ejected: v.nullable(v.strictObject({ reason: TEXT, untilMs: MS })),
  }),
);

export const Explanation = schemaOf<contract.Explanation>()(
  v.strictObject({
    network: TEXT,
    name: TEXT,
    vip: TEXT_OR_NULL,
    replicas: v.array(ReplicaReport),
    problems: TEXTS,
    vipTentative: FLAG,
    aliasVips: TEXTS,
    vip6: v.exactOptional(TEXT),
  }),
);

export const ServiceDetail = schemaOf<contract.ServiceDetail>()(
  v.strictObject({
    ...Explanation.entries,
    stack: TEXT_OR_NULL,
    endpointMode: ENDPOINT_MODE,
    aliases: TEXTS,
    ports: v.array(ServicePort),
    publish: v.array(PublishedPort),
    http: v.array(HttpRoute),
    passthrough: TEXTS,
    traffic: TrafficPolicy,
  }),
);

export const ResolveAnswer = schemaOf<contract.ResolveAnswer>()(
  v.strictObject({ type: TEXT, ttl: COUNT, data: TEXT }),
);

export const ResolveReport = schemaOf<contract.ResolveReport>()(
  v.strictObject({
    name: TEXT,
    type: TEXT,
    rcode: TEXT,
    answers: v.array(ResolveAnswer),
    note: v.exactOptional(TEXT),
    as: TEXT,
  }),
);

export const Choice = schemaOf<contract.Choice>()(v.strictObject({ key: TEXT, value: TEXT, reason: TEXT }));

export const SourceLine = schemaOf<contract.SourceLine>()(
  v.strictObject({ name: TEXT, endpoints: COUNT, stale: TEXT_OR_NULL }),
);

export const ProblemLine = schemaOf<contract.ProblemLine>()(
  v.strictObject({
    area: v.picklist(PROBLEM_AREAS),
    subject: TEXT,
    text: TEXT,
  }),
);

export const ListenReport = schemaOf<contract.ListenReport>()(
  v.strictObject({ mesh: TEXTS, dns: TEXTS, admin: TEXTS, ingress: TEXTS }),
);

export const StatusReport = schemaOf<contract.StatusReport>()(
  v.strictObject({
    node: v.strictObject({
      id: TEXT,
      name: TEXT,
      version: TEXT,
      role: ROLE,
      zone: TEXT,
      address: TEXT,
      healthScore: COUNT,
    }),
    startedAtMs: MS,
    uptimeMs: MS,
    dataPlane: v.strictObject({ mode: v.picklist(["kernel", "proxy"]), reason: TEXT }),
    choices: v.array(Choice),
    listen: ListenReport,
    cluster: v.strictObject({
      id: TEXT,
      size: COUNT,
      states: v.strictObject({ alive: COUNT, suspect: COUNT, dead: COUNT, away: COUNT, left: COUNT }),
    }),
    view: v.strictObject({
      version: COUNT,
      complete: FLAG,
      services: COUNT,
      replicas: COUNT,
      ready: COUNT,
    }),
    sources: v.array(SourceLine),
    problems: v.array(ProblemLine),
    warnings: TEXTS,
    certificate: CertificateLine,
    authorityGeneration: COUNT,
  }),
);

export const EventLine = schemaOf<contract.EventLine>()(
  v.strictObject({
    id: COUNT,
    atMs: MS,
    kind: TEXT,
    level: v.picklist(["info", "warn"]),
    subject: TEXT,
    text: TEXT,
  }),
);

export const EventGap = schemaOf<contract.EventGap>()(v.strictObject({ missed: COUNT }));

export const DrainRequest = schemaOf<contract.DrainRequest>()(
  v.strictObject({ replica: TEXT, wait: FLAG, undo: v.exactOptional(FLAG) }),
);

export const DrainResult = schemaOf<contract.DrainResult>()(
  v.strictObject({ replica: TEXT, applied: FLAG, pending: TEXTS }),
);

export const LeaveRequest = schemaOf<contract.LeaveRequest>()(
  v.strictObject({ force: v.exactOptional(FLAG) }),
);

export const LeaveResult = schemaOf<contract.LeaveResult>()(
  v.strictObject({ node: TEXT, farewell: v.picklist(["left", "away"]), pending: TEXTS }),
);

const FAILURE_CODES = Object.keys(CODES) as FailureCode[];

export const Problem = schemaOf<contract.Problem>()(
  v.strictObject({
    type: v.literal("about:blank"),
    title: TEXT,
    status: v.pipe(v.number(), v.integer(), v.minValue(400), v.maxValue(599)),
    detail: TEXT,
    code: v.picklist([...FAILURE_CODES, "internal"]),
  }),
);
