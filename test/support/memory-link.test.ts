// The in-memory pairs of links keep the contract of the real ones.

import { openLanes } from "../../src/mesh/lanes.ts";
import { linkContract } from "../contracts/link.ts";

import { openMemoryLinks } from "./memory-link.ts";

linkContract("in memory", () => {
  const lanes = [openLanes(), openLanes()] as const;
  let lastId = 0;
  return Promise.resolve({
    openPair() {
      lastId += 2;
      return Promise.resolve(openMemoryLinks([lastId - 1, lastId], lanes));
    },
    close: () => undefined,
  });
});
