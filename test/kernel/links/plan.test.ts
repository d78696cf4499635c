// What a host has to have for the networks it carries, as the batches that make it: golden files hold them.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { diffDevices, diffRest } from "../../../src/kernel/links/diff.ts";
import { linkLocalOf, linksPlanner, planLinks, type LinkPlan } from "../../../src/kernel/links/plan.ts";
import { renderCommand } from "../../../src/kernel/links/render.ts";
import type { LinkThing } from "../../../src/kernel/links/state.ts";
import { APP, DB, givenOf, type Picture } from "./cluster.ts";

const GOLDEN = join(import.meta.dirname, "../../golden/kernel");
const RANGE6 = "fd12:3456:789a:4d::/64";
const NO_DEVICES = { lost: new Set<string>(), missing: new Set<string>() };

function plan(picture: Picture): LinkPlan {
  return planLinks(givenOf(picture));
}

/** All that is done on a host on which nothing is there. */
function batches(picture: Picture): string {
  const states = { observed: [], desired: plan(picture).things, mayRemove: true };
  const commands = [...diffDevices(states), ...diffRest(states, NO_DEVICES)];
  const lines = commands.flatMap(renderCommand);
  return lines
    .map(({ batch, text }) => `${{ ip4: "ip -4", ip6: "ip -6", bridge: "bridge" }[batch]} ${text}\n`)
    .join("");
}

/** Compares with a golden file, or rewrites it with UPDATE_GOLDEN=1. */
function assertGolden(name: string, text: string): void {
  const path = join(GOLDEN, `${name}.txt`);
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  assert.equal(text, readFileSync(path, "utf8"));
}

function some<K extends LinkThing["kind"]>(
  { things }: LinkPlan,
  kind: K,
): readonly Extract<LinkThing, { kind: K }>[] {
  return things.filter((thing): thing is Extract<LinkThing, { kind: K }> => thing.kind === kind);
}

test("links: two networks, one of them in IPv6 too, on a host of three", () => {
  assertGolden("links-two-networks", batches({ networks: [{ ...APP, range6: RANGE6 }, DB] }));
});

test("links: an encrypted network goes through WireGuard and never past it", () => {
  assertGolden("links-encrypted", batches({ networks: [{ ...APP, encrypted: true }], encrypts: true }));
});

test("links: a host with smaller packets gets a route that says so; one with larger ones none", () => {
  const told = plan({ said: { 2: { mtu: 1400 }, 3: { mtu: 9000 } } });
  const [device] = some(told, "device");
  assert.equal(device?.mtu, 1450);
  const mtus = some(told, "route").flatMap(({ to, mtu }) =>
    to.startsWith("10.160.") && mtu !== null ? [[to, mtu]] : [],
  );
  assert.deepEqual(mtus, [["10.160.2.0/24", 1350]]);
});

test("links: too small a link for IPv6 carries IPv4 alone", () => {
  const small = plan({ networks: [{ ...APP, range6: RANGE6 }], mtu: 1300 });
  assert.deepEqual(small.devices6, []);
  assert.deepEqual(
    some(small, "route").flatMap(({ to, leads }) => (to.includes(":") && leads ? [to] : [])),
    [],
  );
});

test("links: nothing where no network is carried: no bridge, not sound, no overlay of this host's own", () => {
  for (const picture of [{ bridged: [] }, { networks: [] }]) assert.deepEqual(plan(picture).things, []);
  const unsound = plan({ networks: [{ ...APP, isSound: false }] });
  assert.deepEqual([some(unsound, "device"), some(unsound, "entry")], [[], []]);
  const without = planLinks({ ...givenOf(), overlay: null });
  assert.deepEqual([some(without, "device"), some(without, "entry")], [[], []]);
});

test("links: an encrypted network that cannot be encrypted here is refused whole, not sent in clear", () => {
  const refused = plan({ networks: [{ ...APP, encrypted: true }], encrypts: false });
  assert.deepEqual(
    refused.things.map((thing) => thing.kind === "route" && !thing.leads && thing.to),
    ["10.160.0.0/16"],
  );
});

test("links: members whose daemons carry no overlay, or cannot encrypt, have no route", () => {
  const silent = plan({ said: { 2: null } });
  assert.deepEqual(
    some(silent, "entry").map(({ to }) => to),
    ["172.31.0.3"],
  );
});

test("links: a member that says it is where it cannot be is left out, and told by name", () => {
  const lies = [
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "172.31.0.1",
    "10.160.3.7",
    "fd00::1",
    "h2",
  ];
  for (const address of lies) {
    const told = plan({ said: { 2: { address } } });
    assert.deepEqual(
      some(told, "entry").map(({ to }) => to),
      ["172.31.0.3"],
      address,
    );
    assert.match(told.problems.join(), /^h2 is left out of network app: its overlay address/, address);
  }
});

test("links: what cannot be written into a batch is left out by name, and its neighbours are there", () => {
  const given = givenOf({ networks: [APP, DB] });
  const [first, second] = given.bridges;
  assert.ok(first !== undefined && second !== undefined);
  for (const wrong of [
    { ...first, device: "sk-app up" },
    { ...first, device: "eth0" },
    { ...first, gateway: "10.160.1.1 dev lo" },
    { ...first, gateway: "10.200.1.1" },
    { ...first, prefix6: "fd12::/80\nlink del eth0" },
  ]) {
    const told = planLinks({ ...given, bridges: [wrong, second] });
    assert.match(told.problems.join(), /^network app is not carried: /);
    assert.deepEqual([...told.deviceByNetwork], [["db", "sk-vx4712"]]);
  }
});

test("links: the plan is the same object until something changes that links depend on", () => {
  const plans = linksPlanner();
  const given = givenOf();
  const first = plans(given);
  const members = given.view.members.map((member) => ({ ...member, rttMs: 7 }));
  assert.equal(plans({ ...givenOf(), view: { ...given.view, version: 9, members } }), first);
  const moved = plans(givenOf({ said: { 2: { address: "172.31.0.9" } } }));
  assert.deepEqual(moved, plan({ said: { 2: { address: "172.31.0.9" } } }));
  assert.deepEqual(plans(givenOf({ hosts: [1, 2] })), plan({ hosts: [1, 2] }));
  assert.deepEqual(plans({ ...given, overlay: null }), planLinks({ ...given, overlay: null }));
  assert.deepEqual(plans({ ...given, bridges: [] }).things, []);
});

test("links: a VTEP's own address gives its link-local one (RFC 4291 appendix A)", () => {
  assert.equal(linkLocalOf("02:aa:bb:cc:dd:ee"), "fe80::aa:bbff:fecc:ddee");
  assert.equal(linkLocalOf("00:00:00:00:00:01"), "fe80::200:ff:fe00:1");
});

test("links: cost per host, not per container: five things for each in IPv4", () => {
  const count = (hosts: number): number => {
    return plan({ hosts: Array.from({ length: hosts }, (_, at) => at + 1) }).things.length;
  };
  assert.equal(count(25) - count(24), 5);
});
