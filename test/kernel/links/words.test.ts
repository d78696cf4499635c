// Refusals as people read them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { describeThing } from "../../../src/kernel/links/words.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import { givenOf } from "./cluster.ts";

test("words: each kind of thing is named with where it is and what was to be done", () => {
  const said = planLinks(givenOf({ hosts: [1, 2] })).things.map((thing) =>
    describeThing({ verb: "add", thing }),
  );
  for (const words of [
    "VXLAN device sk-vx4711 cannot be added",
    "address 10.160.1.0 on sk-vx4711 cannot be added",
    "forwarding entry for 172.31.0.2 on sk-vx4711 cannot be added",
    "neighbour 10.160.2.0 on sk-vx4711 cannot be added",
    "route to 10.160.2.0/24 on sk-vx4711 cannot be added",
    "refusal of 10.160.0.0/16 cannot be added",
    "IPv4 routing rule 5301 cannot be added",
  ]) {
    assert.ok(said.includes(words), words);
  }
});
