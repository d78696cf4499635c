// Link sights: what a host says of its links, in a small cluster and in a large one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { linkSightsOf } from "../../src/admin/link-sights.ts";
import type { Member } from "../../src/model/member.ts";

import { member } from "./picture.ts";

function other(id: string, changes: Partial<Member> = {}): Member {
  return member({ id, name: id, self: false, ...changes });
}

test("linkSightsOf: a link is open, led round, broken, or not there, as to one that is away on purpose", () => {
  const members = [
    member(),
    other("b"),
    other("c", { via: "b" }),
    other("d", { state: "dead" }),
    other("e", { state: "suspect" }),
    other("f"),
    other("g", { state: "left" }),
    other("h", { state: "away" }),
  ];
  const rttMs = new Map([
    ["b", 1.5],
    ["c", 9],
    ["d", 2],
    ["h", 3],
  ]);
  assert.deepEqual(
    linkSightsOf(members, (id) => rttMs.get(id) ?? null),
    [
      { to: "b", state: "open", rttMs: 1.5 },
      { to: "c", state: "via", rttMs: null },
      { to: "d", state: "broken", rttMs: 2 },
      { to: "e", state: "broken", rttMs: null },
      { to: "f", state: "none", rttMs: null },
      { to: "h", state: "none", rttMs: null },
    ],
  );
});

test("linkSightsOf: beyond 24 members those that are not to be linked are left out", () => {
  const members = [member(), ...Array.from({ length: 40 }, (_, at) => other(`m${at}`))];
  const linked = linkSightsOf(members, (id) => (id === "m3" || id === "m7" ? 1 : null));
  assert.deepEqual(
    linked.map(({ to }) => to),
    ["m3", "m7"],
  );
});
