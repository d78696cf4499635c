// Board: whatever the stream tells, the page shows what the daemon would tell anew.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { applyChange, boardOf, EVENTS_KEPT, keyOf } from "../../src/dashboard/board.ts";

import { drain, event, member, picture, service, status } from "./pictures.ts";

test("a changed line takes the place of its former one, and the others stay the same objects", () => {
  const before = boardOf(picture());
  const changed = service("web", { ready: 1 });
  const after = applyChange(before, { services: { set: [changed], gone: [], touched: [] } });
  assert.deepEqual(after.services.map(keyOf), before.services.map(keyOf));
  assert.equal(
    after.services.find((line) => line.name === "web"),
    changed,
  );
  assert.equal(after.services[0], before.services[0]);
  assert.equal(after.members, before.members);
});

test("new lines come where their names belong, numbers by their value", () => {
  const before = boardOf(picture({ members: [member("host-1"), member("host-10")] }));
  const after = applyChange(before, { members: { set: [member("host-2")], gone: [] } });
  assert.deepEqual(
    after.members.map((line) => line.name),
    ["host-1", "host-2", "host-10"],
  );
});

test("hosts are named anew when another with one of their names comes or goes", () => {
  const before = boardOf(picture({ members: [member("host-1"), member("host-2")] }));
  const twin = member("host-2", { id: "other" });
  const twice = applyChange(before, { members: { set: [twin], gone: [] } });
  assert.deepEqual([...twice.hostNames.values()], ["host-1", "host-2 (id-host-2)", "host-2 (other)"]);
  const after = applyChange(twice, { members: { set: [], gone: ["other"] } });
  assert.deepEqual(after.hostNames, before.hostNames);
});

test("lines that are gone are gone; one that is gone and there in one message is there", () => {
  const before = boardOf(picture());
  const after = applyChange(before, {
    services: { set: [service("db")], gone: ["default/api", "default/db"], touched: [] },
  });
  assert.deepEqual(after.services.map(keyOf), ["default/db", "default/web"]);
});

test("changes applied one by one make the board that a whole picture makes", () => {
  const line = fc.record({ name: fc.constantFrom("a", "b", "c", "d"), ready: fc.nat(3) });
  const step = fc.record({ set: fc.array(line, { maxLength: 3 }), gone: fc.subarray(["a", "b", "c", "d"]) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      const truth = new Map<string, number>();
      let board = boardOf(picture({ services: [] }));
      for (const { set, gone } of steps) {
        const lost = gone.filter((name) => set.every((one) => one.name !== name));
        for (const name of lost) truth.delete(name);
        for (const one of set) truth.set(one.name, one.ready);
        board = applyChange(board, {
          services: {
            set: [...truth]
              .filter(([name]) => set.some((one) => one.name === name))
              .map(([name, ready]) => service(name, { ready })),
            gone: lost.map((name) => `default/${name}`),
            touched: [],
          },
        });
      }
      const expected = boardOf(
        picture({ services: [...truth].map(([name, ready]) => service(name, { ready })) }),
      );
      assert.deepEqual(board.services, expected.services);
    }),
  );
});

test("a service that was touched is asked for again, and so is each after a new picture", () => {
  const before = boardOf(picture());
  const touched = applyChange(before, { services: { set: [], gone: [], touched: ["default/web"] } });
  assert.notEqual(touched.revisions.get("default/web"), before.revisions.get("default/web"));
  assert.equal(touched.revisions.get("default/api"), before.revisions.get("default/api"));
  const again = boardOf(picture(), touched);
  for (const [key, revision] of touched.revisions) assert.ok((again.revisions.get(key) ?? 0) > revision);
  assert.ok(again.version > touched.version);
});

test("events are added at the end, none twice, and the oldest are let go", () => {
  let board = boardOf(picture({ events: [event(1), event(2)] }));
  board = applyChange(board, { events: [event(2), event(3)] });
  assert.deepEqual(
    board.events.map(({ id }) => id),
    [1, 2, 3],
  );
  const many = Array.from({ length: EVENTS_KEPT + 5 }, (_, at) => event(at + 4));
  board = applyChange(board, { events: many });
  assert.equal(board.events.length, EVENTS_KEPT);
  assert.equal(board.events.at(-1)?.id, EVENTS_KEPT + 8);
});

test("what a change leaves out is as before; status and drains are taken whole", () => {
  const before = boardOf(picture({ drains: [drain("web-1")] }));
  const same = applyChange(before, {});
  assert.deepEqual({ ...same, version: 0 }, { ...before, version: 0 });
  const warned = status({ warnings: ["the clock is off"] });
  const after = applyChange(before, { status: warned, drains: [] });
  assert.equal(after.status, warned);
  assert.deepEqual(after.drains, []);
});
