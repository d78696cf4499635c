// The charter of a cluster whose certificates are cheap: it has no authorities to read.

import type { Charter } from "../../src/model/charter.ts";

export const CHARTER: Charter = {
  clusterId: "cheapcheapcheapcheap",
  roots: [],
  tokens: { worker: 1, manager: 1 },
  revoked: [],
  networks: [],
};
