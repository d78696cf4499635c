// The difference between links: what it leads to, what it leaves alone, and in which order.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { diffDevices, diffRest, placeOf } from "../../../src/kernel/links/diff.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import type { LinkCommand, LinkState, LinkThing, VxlanDevice } from "../../../src/kernel/links/state.ts";
import { APP, DB, givenOf } from "./cluster.ts";

const NONE = { lost: new Set<string>(), missing: new Set<string>() };
const FULL = planLinks(
  givenOf({ networks: [{ ...APP, range6: "fd12:3456:789a:4d::/64" }, DB], hosts: [1, 2, 3, 4] }),
);

function firstDevice(): VxlanDevice {
  const found = FULL.things.find((thing) => thing.kind === "device");
  assert.ok(found !== undefined);
  return found;
}

function after(state: LinkState, commands: readonly LinkCommand[]): ReadonlyMap<string, LinkThing> {
  const there = new Map(state.map((thing) => [placeOf(thing), thing]));
  for (const { verb, thing } of commands) {
    if (verb === "remove") there.delete(placeOf(thing));
    else there.set(placeOf(thing), thing);
  }
  return there;
}

const someOf = fc.subarray([...FULL.things]);

test("diff: from whatever is there to whatever should be", () => {
  fc.assert(
    fc.property(someOf, someOf, (observed, desired) => {
      const states = { observed, desired, mayRemove: true };
      const commands = [...diffDevices(states), ...diffRest(states, NONE)];
      assert.deepEqual(
        new Set(after(observed, commands).keys()),
        new Set(desired.map((thing) => placeOf(thing))),
      );
    }),
  );
});

test("diff: while nothing may be removed, all that was there stays", () => {
  fc.assert(
    fc.property(someOf, someOf, (observed, desired) => {
      const states = { observed, desired, mayRemove: false };
      const commands = [...diffDevices(states), ...diffRest(states, NONE)];
      assert.ok(commands.every(({ verb }) => verb !== "remove"));
      const places = new Set([...observed, ...desired].map((thing) => placeOf(thing)));
      assert.deepEqual(new Set(after(observed, commands).keys()), places);
    }),
  );
});

test("diff: nothing for what is as it should be, in whichever order it is told", () => {
  const states = { observed: [...FULL.things].reverse(), desired: FULL.things, mayRemove: true };
  assert.deepEqual([...diffDevices(states), ...diffRest(states, NONE)], []);
});

test("diff: a device's size is changed in place; for anything else it is made anew", () => {
  const device = firstDevice();
  const changed = (observed: VxlanDevice): readonly string[] =>
    diffDevices({ observed: [observed], desired: [device], mayRemove: true }).map(({ verb }) => verb);
  assert.deepEqual(changed({ ...device, mtu: 1200, isUp: false }), ["replace"]);
  const others = [
    { vni: 9 },
    { local: "10.0.0.9" },
    { lower: "sk-wg" },
    { learning: true },
    { hasDefault: true },
  ];
  for (const other of [...others, { port: 8472 }, { mac: "02:00:00:00:00:01" }]) {
    assert.deepEqual(changed({ ...device, ...other }), ["remove", "add"]);
  }
});

test("diff: what was on a device that is made anew is set again; nothing is put on one that is missing", () => {
  const { name } = firstDevice();
  const states = { observed: FULL.things, desired: FULL.things, mayRemove: true };
  const again = diffRest(states, { lost: new Set([name]), missing: new Set() });
  const on = FULL.things.filter((thing) => "device" in thing && thing.device === name);
  assert.deepEqual(new Set(again.map(({ thing }) => thing)), new Set(on));
  assert.ok(again.every(({ verb }) => verb === "add"));
  const fresh = { ...states, observed: [] };
  const rest = diffRest(fresh, { lost: new Set(), missing: new Set([name]) });
  assert.ok(rest.every(({ thing }) => !("device" in thing) || thing.device !== name));
  assert.ok(
    rest.some(({ thing }) => thing.kind === "entry"),
    "the other network's are",
  );
});

test("diff: a rule is added after what it leads to, and taken away before", () => {
  const added = diffRest({ observed: [], desired: FULL.things, mayRemove: true }, NONE);
  const removed = diffRest({ observed: FULL.things, desired: [], mayRemove: true }, NONE);
  const kinds = (commands: readonly LinkCommand[]): string =>
    commands.map(({ thing }) => (thing.kind === "rule" ? "r" : "-")).join("");
  assert.match(kinds(added), /^-+r+$/);
  assert.match(kinds(removed), /^r+-+$/);
  const preferences = added.flatMap(({ thing }) => (thing.kind === "rule" ? [thing.preference] : []));
  assert.deepEqual(
    preferences,
    preferences.toSorted((one, other) => other - one),
    "the end of a jump first",
  );
});
