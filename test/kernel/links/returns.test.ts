// Ways back: which table a packet finds by its mark and its bridge, by rules as the kernel follows them.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { planReturns, type WayBack } from "../../../src/kernel/links/returns.ts";
import { DEFAULT_TABLE, MAIN_TABLE, type Rule } from "../../../src/kernel/links/state.ts";
import { ingressMark, MARK_MASK, MARK_OURS, returnTable } from "../../../src/kernel/names.ts";

function wayOf(network: number, index: number, family: 4 | 6 = 4): WayBack {
  const via = family === 4 ? `10.160.${index % 256}.0` : "fe80::1";
  return {
    family,
    vni: 4096 + network,
    index,
    bridge: `sk-n${network}`,
    device: `sk-vx${4096 + network}`,
    via,
  };
}

function rulesOf(ways: readonly WayBack[], family: 4 | 6 = 4): readonly Rule[] {
  const rules = planReturns(ways).filter((thing): thing is Rule => thing.kind === "rule");
  return rules
    .filter((rule) => rule.family === family)
    .sort((one, other) => one.preference - other.preference);
}

/** Linux's own rules behind the local table's, and one of the host's owner that leads somewhere else. */
const LINUX = [32_766, 32_767].map((preference): Rule => {
  const table = preference === 32_766 ? MAIN_TABLE : DEFAULT_TABLE;
  return { ...ownersRule(preference, null), action: { kind: "table", table } };
});

function ownersRule(preference: number, device: string | null): Rule {
  const action = { kind: "table", table: 100 } as const;
  return { kind: "rule", family: 4, preference, inverts: false, mark: null, device, action };
}

/** What becomes of a packet, as Linux follows rules: the table that it finds, and how many rules it met. */
function follow(
  ours: readonly Rule[],
  packet: { readonly mark: number; readonly bridge: string },
  owners: readonly Rule[] = [],
): { readonly table: number | null; readonly met: number } {
  const rules = [...ours, ...owners, ...LINUX].sort((one, other) => one.preference - other.preference);
  let from = 0;
  let met = 0;
  for (const { preference, inverts, mark, device, action } of rules) {
    if (preference < from) continue;
    met += 1;
    const hasMark = mark === null || (packet.mark & mark.mask) >>> 0 === mark.value;
    const fits = (hasMark && (device === null || device === packet.bridge)) !== inverts;
    if (!fits) continue;
    if (action.kind === "table") return { table: action.table, met };
    if (action.kind === "goto") {
      assert.ok(action.preference > preference, "a jump leads on");
      assert.ok(
        rules.some((rule) => rule.preference === action.preference),
        "to something",
      );
      from = action.preference;
    }
  }
  return { table: null, met };
}

const waysArbitrary = fc
  .uniqueArray(fc.tuple(fc.nat(5), fc.nat(8191)), {
    selector: ([network, index]) => `${network} ${index}`,
    maxLength: 60,
  })
  .map((pairs) => pairs.map(([network, index]) => wayOf(network, index)));

test("returns: a marked packet goes back to the host of its mark, by the network of its bridge", () => {
  fc.assert(
    fc.property(waysArbitrary, (ways) => {
      const rules = rulesOf(ways);
      for (const { bridge, index, vni } of ways) {
        assert.equal(follow(rules, { bridge, mark: ingressMark(index) }).table, returnTable(vni, index));
      }
    }),
  );
});

test("returns: every other packet goes its usual way: without a mark, with another's, of an unknown host", () => {
  fc.assert(
    fc.property(waysArbitrary, fc.nat(0xffff_ffff), fc.nat(7), (ways, mark, network) => {
      const isKnown = ways.some((way) => ingressMark(way.index) === mark && way.bridge === `sk-n${network}`);
      fc.pre(!isKnown);
      assert.equal(follow(rulesOf(ways), { bridge: `sk-n${network}`, mark }).table, MAIN_TABLE);
    }),
  );
});

test("returns: the owner's rules go on for all without a mark of ours, and for what the host itself sends", () => {
  const other = fc.nat(0xffff_ffff).filter((mark) => (mark & MARK_MASK) >>> 0 !== MARK_OURS);
  const packet = fc.oneof(
    fc.record({ mark: other, bridge: fc.constantFrom("sk-n0", "eth0", "lo") }),
    // A tunnel's packets have the marks of what is in them.
    fc.record({ mark: fc.nat(8191).map(ingressMark), bridge: fc.constant("lo") }),
  );
  fc.assert(
    fc.property(waysArbitrary, packet, fc.integer({ min: 1, max: 32_765 }), (ways, sent, preference) => {
      const owners = [ownersRule(preference, null)];
      assert.equal(follow(rulesOf(ways), sent, owners).table, 100);
    }),
  );
});

test("returns: a way back goes before the owner's rules, that have none for it", () => {
  const answer = { bridge: "sk-n0", mark: ingressMark(7) };
  const found = follow(rulesOf([wayOf(0, 7)]), answer, [ownersRule(10_000, null)]);
  assert.equal(found.table, returnTable(4096, 7));
});

test("returns: what has no mark of ours meets three rules more, however many hosts there are", () => {
  const ways = Array.from({ length: 1000 }, (_, index) => wayOf(0, index));
  for (const mark of [0, 1, 0x4000_0001])
    assert.equal(follow(rulesOf(ways), { bridge: "sk-n0", mark }).met, 3 + 1);
});

test("returns: a marked packet meets fewer than seventy rules among a thousand hosts", () => {
  const ways = Array.from({ length: 1000 }, (_, index) => wayOf(0, index));
  const rules = rulesOf(ways);
  for (const { index, bridge } of ways) {
    assert.ok(follow(rules, { bridge, mark: ingressMark(index) }).met < 70);
  }
});

test("returns: a new network or host changes no rule that was there", () => {
  const few = [wayOf(0, 1), wayOf(0, 2)];
  const more = [...few, wayOf(0, 40), wayOf(1, 1), wayOf(7, 3)];
  const texts = new Set(rulesOf(more).map((rule) => JSON.stringify(rule)));
  for (const rule of rulesOf(few)) assert.ok(texts.has(JSON.stringify(rule)));
});

test("returns: IPv6 has rules and tables of its own; none where nothing is carried", () => {
  const both = [wayOf(0, 1), wayOf(0, 1, 6)];
  assert.equal(
    follow(rulesOf(both, 6), { bridge: "sk-n0", mark: ingressMark(1) }).table,
    returnTable(4096, 1),
  );
  assert.deepEqual(
    planReturns(both).flatMap((thing) => (thing.kind === "route" ? [[thing.to, thing.via]] : [])),
    [
      ["0.0.0.0/0", "10.160.1.0"],
      ["::/0", "fe80::1"],
    ],
  );
  assert.deepEqual(rulesOf([wayOf(0, 1)], 6), []);
  assert.deepEqual(planReturns([]), []);
});
