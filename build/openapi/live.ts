/**
 * Live: schemas of src/admin/contract-live.ts.
 *
 * Names are those of the types.
 *
 * Pure.
 */

import * as v from "valibot";

import type * as contract from "../../src/admin/contract-live.ts";

import { EventLine, MemberLine, ServiceLine, StatusReport } from "./core.ts";
import { NetworkLine } from "./network.ts";
import { COUNT, FLAG, MS, MS_OR_NULL, schemaOf, TEXT, TEXTS } from "./schema.ts";

const RATE = v.pipe(v.number(), v.minValue(0));

export const LatencyMs = schemaOf<contract.LatencyMs>()(v.strictObject({ p50: MS, p95: MS, p99: MS }));

export const Rates = schemaOf<contract.Rates>()(
  v.strictObject({
    requests: RATE,
    connections: RATE,
    kernelConnections: RATE,
    errors: RATE,
    retries: RATE,
    receivedBytes: RATE,
    sentBytes: RATE,
    open: COUNT,
  }),
);

export const ServiceTraffic = schemaOf<contract.ServiceTraffic>()(
  v.strictObject({ key: TEXT, rates: Rates, latencyMs: v.nullable(LatencyMs), ejected: COUNT }),
);

export const ReplicaTraffic = schemaOf<contract.ReplicaTraffic>()(
  v.strictObject({ id: TEXT, service: TEXT, name: TEXT, node: TEXT, rates: Rates }),
);

export const DnsTraffic = schemaOf<contract.DnsTraffic>()(
  v.strictObject({
    queries: RATE,
    byCode: v.record(TEXT, RATE),
    bySource: v.record(TEXT, RATE),
    latencyMs: v.nullable(LatencyMs),
  }),
);

export const LinkLine = schemaOf<contract.LinkLine>()(
  v.strictObject({
    from: TEXT,
    to: TEXT,
    fromId: TEXT,
    toId: TEXT,
    state: v.picklist(["open", "via", "broken", "none"]),
    rttMs: MS_OR_NULL,
  }),
);

export const TrafficReport = schemaOf<contract.TrafficReport>()(
  v.strictObject({
    atMs: MS,
    windowMs: MS,
    scope: v.picklist(["host", "cluster"]),
    hosts: TEXTS,
    silent: TEXTS,
    total: Rates,
    latencyMs: v.nullable(LatencyMs),
    dns: DnsTraffic,
    services: v.array(ServiceTraffic),
    replicas: v.array(ReplicaTraffic),
    links: v.array(LinkLine),
  }),
);

export const DrainLine = schemaOf<contract.DrainLine>()(
  v.strictObject({
    replica: TEXT,
    name: TEXT,
    service: TEXT,
    node: TEXT,
    reason: TEXT,
    sinceMs: MS,
    applied: FLAG,
    pending: TEXTS,
  }),
);

export const NodeDrainRequest = schemaOf<contract.NodeDrainRequest>()(
  v.strictObject({ wait: v.exactOptional(FLAG), undo: v.exactOptional(FLAG) }),
);

export const NodeDrainResult = schemaOf<contract.NodeDrainResult>()(
  v.strictObject({
    node: TEXT,
    id: TEXT,
    draining: FLAG,
    replicas: COUNT,
    applied: FLAG,
    pending: TEXTS,
  }),
);

export const Picture = schemaOf<contract.Picture>()(
  v.strictObject({
    status: StatusReport,
    members: v.array(MemberLine),
    services: v.array(ServiceLine),
    networks: v.array(NetworkLine),
    drains: v.array(DrainLine),
    events: v.array(EventLine),
  }),
);

export const PictureChange = schemaOf<contract.PictureChange>()(
  v.strictObject({
    status: v.exactOptional(StatusReport),
    members: v.exactOptional(v.strictObject({ set: v.array(MemberLine), gone: TEXTS })),
    services: v.exactOptional(v.strictObject({ set: v.array(ServiceLine), gone: TEXTS, touched: TEXTS })),
    networks: v.exactOptional(v.array(NetworkLine)),
    drains: v.exactOptional(v.array(DrainLine)),
    events: v.exactOptional(v.array(EventLine)),
  }),
);
