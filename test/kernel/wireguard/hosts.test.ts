// An encrypted network of three hosts, by WireGuard and links together, with somebody who reads along.

import { join } from "node:path";
import { test } from "node:test";

import { runApart, whyNotApart } from "../../support/apart.ts";

const PROGRAMS = ["wg", "wireguard-go", "ping", "tcpdump", "pkill"];

test(
  "wireguard: what crosses between hosts nobody on the way can read, and it fails closed",
  {
    skip: await whyNotApart(PROGRAMS),
  },
  async () => {
    await runApart(join(import.meta.dirname, "hosts.ts"));
  },
);
