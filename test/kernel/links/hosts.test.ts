// Packets between three hosts go by the links that are made: to containers, back to clients, and nowhere else.

import { join } from "node:path";
import { test } from "node:test";

import { runApart, whyNotApart } from "../../support/apart.ts";

const PROGRAMS = ["bash", "bridge", "iptables", "nft", "sysctl"];

test(
  "links: hosts reach each other's containers, clients keep their addresses, and removal leaves nothing",
  {
    skip: await whyNotApart(PROGRAMS),
  },
  async () => {
    await runApart(join(import.meta.dirname, "hosts.ts"));
  },
);
