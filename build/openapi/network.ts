/**
 * Network: schemas of src/admin/contract-network.ts.
 *
 * Names are those of the types.
 *
 * Pure.
 */

import * as v from "valibot";

import type * as contract from "../../src/admin/contract-network.ts";

import { MEMBER_STATE } from "./core.ts";
import { COUNT, FLAG, schemaOf, TEXT, TEXT_OR_NULL, TEXTS } from "./schema.ts";

export const NetworkLine = schemaOf<contract.NetworkLine>()(
  v.strictObject({
    name: TEXT,
    services: COUNT,
    replicas: COUNT,
    ready: COUNT,
    kind: v.picklist(["overlay", "named"]),
    range: TEXT_OR_NULL,
    range6: TEXT_OR_NULL,
    encrypted: FLAG,
    slices: v.nullable(v.strictObject({ used: COUNT, total: COUNT, bits: COUNT })),
    vni: v.nullable(COUNT),
    sound: FLAG,
    problems: TEXTS,
  }),
);

export const NetworkHost = schemaOf<contract.NetworkHost>()(
  v.strictObject({
    node: TEXT,
    state: MEMBER_STATE,
    prefix: TEXT,
    prefix6: TEXT_OR_NULL,
    tentative: FLAG,
    addresses: v.strictObject({ used: COUNT, total: COUNT }),
    carries: FLAG,
    reason: TEXT_OR_NULL,
  }),
);

export const NetworkDetail = schemaOf<contract.NetworkDetail>()(
  v.strictObject({ ...NetworkLine.entries, hosts: v.array(NetworkHost), serviceKeys: TEXTS }),
);

export const NetworkRequest = schemaOf<contract.NetworkRequest>()(
  v.strictObject({
    name: TEXT,
    subnet: v.exactOptional(TEXT_OR_NULL),
    encrypted: v.exactOptional(FLAG),
    ipv6: v.exactOptional(FLAG),
  }),
);

export const NetworkResult = schemaOf<contract.NetworkResult>()(
  v.strictObject({
    name: TEXT,
    range: TEXT,
    range6: TEXT_OR_NULL,
    encrypted: FLAG,
    slices: v.strictObject({ total: COUNT, bits: COUNT }),
    vni: COUNT,
    created: FLAG,
    ready: FLAG,
  }),
);

export const NetworkRemoval = schemaOf<contract.NetworkRemoval>()(
  v.strictObject({ name: TEXT, users: TEXTS }),
);
