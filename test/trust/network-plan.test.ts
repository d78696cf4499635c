// What a new network becomes, and why it is refused: names, ranges, slices, numbers.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { contains, overlaps, parsePrefix, type Prefix } from "../../src/base/ip.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { Member } from "../../src/model/member.ts";
import { planNetwork, type NetworkGiven, type NetworkWish } from "../../src/trust/network-plan.ts";
import { decisionFrom, mergeDecisions, networkRanges } from "../../src/trust/networks.ts";
import { networkFaults } from "../../src/view/soundness.ts";
import { member } from "../admin/picture.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok);
  return parsed.value;
}

const wish = (fields: Partial<NetworkWish> = {}): NetworkWish => {
  return { name: "app", subnet: null, encrypted: false, ipv6: true, ...fields };
};

const given = (fields: Partial<NetworkGiven> = {}): NetworkGiven => {
  return {
    charter: { clusterId: "abcdefghijklmnopqrst", networks: [] },
    overlayPool: prefix("10.160.0.0/11"),
    pool: prefix("10.96.0.0/12"),
    members: [member()],
    foreign: new Set(),
    ...fields,
  };
};

const hosts = (count: number, fields: Partial<Member> = {}): readonly Member[] =>
  Array.from({ length: count }, (_, at) => member({ name: `host-${at}`, ...fields }));

/** What a plan was refused with. */
function refusal(asked: NetworkWish, on: NetworkGiven): readonly [string, string] {
  const planned = planNetwork(asked, on);
  assert.ok(!planned.ok, "refused");
  return [planned.failure.code, planned.failure.message];
}

/** The network as it was planned, and what is known then. */
function made(asked: NetworkWish, on: NetworkGiven) {
  const planned = planNetwork(asked, on);
  assert.ok(planned.ok, planned.ok ? "" : planned.failure.message);
  const { clusterId, networks } = on.charter;
  const charter = { clusterId, networks: mergeDecisions(networks, planned.value.decisions) };
  return { ...planned.value, after: { ...on, charter } };
}

test("network plan: without a wish it is a /16 of the pool with slices of /24, and the same again for the name", () => {
  const { definition, decisions } = made(wish(), given());
  assert.match(definition.range, /^10\.1[6-9]\d\.0\.0\/16$/);
  assert.equal(definition.sliceBits, 24);
  assert.equal(decisions.length, 1);
  assert.equal(made(wish(), given()).definition.range, definition.range);
});

test("network plan: networks made one after the other never clash, and each can be read back", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 2, maxLength: 12 }),
      fc.boolean(),
      (names, encrypted) => {
        let on = given();
        for (const name of names) {
          if (["host", "none", "node", "bridge"].includes(name)) continue;
          const { decisions, after } = made(wish({ name, encrypted }), on);
          for (const { definition, order } of decisions)
            assert.ok(decisionFrom(name, { order, ...definition }), "peers take it");
          on = after;
        }
        const ranges = networkRanges(on.charter);
        const around = { pool: prefix("10.96.0.0/12"), members: [], claimed: [] };
        assert.deepEqual([...networkFaults(ranges, around)], [], "the view finds nothing wrong with them");
      },
    ),
    { numRuns: 50 },
  );
});

test("network plan: a range that is taken is passed over: by a network, by what a host has, by the VIPs", () => {
  const free = made(wish(), given()).definition.range;
  const taken = [
    { members: [member({ prefixes: [free.replace("0.0/16", "7.0/24")] })] },
    { pool: prefix(free) },
    { charter: made(wish({ name: "other", subnet: free }), given()).after.charter },
  ];
  for (const fields of taken) {
    const { definition } = made(wish(), given(fields));
    assert.equal(overlaps(prefix(definition.range), prefix(free)), false);
    assert.ok(contains(prefix("10.160.0.0/11"), definition.range.split("/")[0] ?? ""));
  }
});

test("network plan: what a host that is gone had is free", () => {
  const members = [member({ prefixes: ["10.160.0.0/11"], state: "dead" })];
  assert.ok(planNetwork(wish(), given({ members })).ok);
});

test("network plan: a range that somebody uses is refused with the host's name and what it has there", () => {
  const asked = wish({ subnet: "10.50.0.0/16" });
  const members = [member(), member({ name: "host-2", prefixes: ["192.168.1.0/24", "10.50.9.0/24"] })];
  assert.deepEqual(refusal(asked, given({ members })), [
    "busy",
    "subnet 10.50.0.0/16 overlaps 10.50.9.0/24 of host-2; expected a range that nothing else uses",
  ]);
  const [, ofPool] = refusal(wish({ subnet: "10.96.0.0/16" }), given());
  assert.match(ofPool, /overlaps vip\.pool 10\.96\.0\.0\/12;/);
  const { after } = made(asked, given());
  const [, ofNetwork] = refusal(wish({ name: "back", subnet: "10.50.128.0/17" }), after);
  assert.match(ofNetwork, /overlaps 10\.50\.0\.0\/16 of network app;/);
});

test("network plan: a pool that is used up is told with what took the first place, and the remedy", () => {
  const overlayPool = prefix("10.160.0.0/15");
  const first = made(wish({ name: "one" }), given({ overlayPool }));
  const second = made(wish({ name: "two" }), first.after);
  const [code, text] = refusal(wish({ name: "three" }), second.after);
  assert.equal(code, "busy");
  assert.match(
    text,
    /^overlay\.pool 10\.160\.0\.0\/15 has no free \/16 left: 10\.16[01]\.0\.0\/16 overlaps /,
  );
  assert.match(text, /--subnet, or a larger overlay\.pool$/);
});

test("network plan: names that cannot be, are Docker's own, or belong to services elsewhere are refused", () => {
  for (const name of ["", "App", "a_b", "-x", "$(reboot)", "x".repeat(64)])
    assert.equal(refusal(wish({ name }), given())[0], "invalid", name);
  for (const name of ["default", "host", "bridge", "none", "node"])
    assert.match(refusal(wish({ name }), given())[1], /reserved/);
  const [code, text] = refusal(wish({ name: "shop" }), given({ foreign: new Set(["shop"]) }));
  assert.equal(code, "busy");
  assert.match(text, /^services name "shop" already/);
});

test("network plan: ranges that are none, or public, are refused", () => {
  for (const subnet of [
    "",
    "10.0.0.0",
    "10.0.0.1/16",
    "300.0.0.0/16",
    "8.8.8.0/24",
    "0.0.0.0/0",
    "fd00::/64",
  ])
    assert.equal(refusal(wish({ subnet }), given())[0], "invalid", subnet);
});

test("network plan: slices are /24 while they are enough, else smaller; a range too small is refused", () => {
  const bitsOf = (subnet: string, count: number): number =>
    made(wish({ subnet }), given({ members: hosts(count) })).definition.sliceBits;
  assert.equal(bitsOf("10.50.0.0/16", 3), 24);
  assert.equal(bitsOf("10.50.0.0/22", 4), 24);
  assert.equal(bitsOf("10.50.0.0/22", 5), 25);
  assert.equal(bitsOf("10.50.0.0/24", 1), 26);
  assert.equal(bitsOf("10.50.0.0/28", 2), 29);
  assert.equal(bitsOf("100.64.0.0/10", 3) - 10, Math.log2(LIMITS.slicesPerNetwork));
  const [code, text] = refusal(wish({ subnet: "10.50.0.0/28" }), given({ members: hosts(3) }));
  assert.deepEqual(
    [code, text],
    ["invalid", "subnet 10.50.0.0/28 has no slice for each of 3 hosts; expected at least a /27"],
  );
});

test("network plan: hosts that are gone for good need no slice", () => {
  const members = [...hosts(2), ...hosts(9, { state: "left" })];
  assert.equal(made(wish({ subnet: "10.50.0.0/28" }), given({ members })).definition.sliceBits, 29);
});

test("network plan: the same wish twice changes nothing; another one under the same name is refused", () => {
  const { definition, after } = made(wish(), given());
  const again = planNetwork(wish({ subnet: definition.range }), after);
  assert.deepEqual(again, { ok: true, value: { definition, decisions: [] } });
  for (const other of [{ encrypted: true }, { ipv6: false }, { subnet: "10.50.0.0/16" }]) {
    const [code, text] = refusal(wish(other), after);
    assert.equal(code, "busy");
    assert.match(text, /^network "app" is there already: 10\.\d+\.0\.0\/16, not encrypted, with IPv6;/);
  }
});

test("network plan: there are only so many networks", () => {
  const networks = Array.from({ length: LIMITS.networksMax }, (_, at) => ({
    name: `n${at}`,
    order: at,
    definition: { range: `10.0.${at}.0/24`, sliceBits: 26, vni: 5000 + at, encrypted: false, ipv6: true },
  }));
  const [code] = refusal(wish(), given({ charter: { clusterId: "abcdefghijklmnopqrst", networks } }));
  assert.equal(code, "busy");
});
