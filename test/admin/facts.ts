// What a doctor is given where there is nothing to look at.

import type { DoctorFacts } from "../../src/admin/doctor.ts";

export const NOTHING: DoctorFacts = {
  dnsPlaces: [],
  gateways: [],
  upstreams: [],
  containers: [],
  holderByPlace: new Map(),
  plane: null,
  host: null,
  engine: null,
  peers: [],
  pools: null,
  unseen: [],
};
