// A host and a cluster on which nothing happens, for tests that add what they are about.

import type { TrafficReport } from "../../src/admin/contract-live.ts";
import { NO_RATES, type HostTraffic } from "../../src/admin/rates.ts";

import { NOW_MS } from "./picture.ts";

/** What a host says of itself. */
export const QUIET_HOST: HostTraffic = {
  atMs: 0,
  windowMs: 1000,
  total: NO_RATES,
  buckets: [],
  services: [],
  replicas: [],
  ejected: [],
  dns: { byCode: {}, bySource: {}, buckets: [] },
  links: [],
};

/** What is told of it. */
export const QUIET: TrafficReport = {
  atMs: NOW_MS,
  windowMs: 1000,
  scope: "host",
  hosts: ["host-1"],
  silent: [],
  total: NO_RATES,
  latencyMs: null,
  dns: { queries: 0, byCode: {}, bySource: {}, latencyMs: null },
  services: [],
  replicas: [],
  links: [],
};
