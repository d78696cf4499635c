// Docker lets our networks' packets pass, and its owner's rules stay in force.

import { join } from "node:path";
import { test } from "node:test";

import { runApart, whyNotApart } from "../../support/apart.ts";

const PROGRAMS = ["nft", "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"];

test(
  "docker-user: one rule in Docker's chain wherever that is, and none left after removal",
  {
    skip: await whyNotApart(PROGRAMS),
  },
  async () => {
    await runApart(join(import.meta.dirname, "docker-user.ts"));
  },
);
