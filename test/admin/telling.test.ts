// Telling: who follows every change knows what a new picture says; and hears nothing when nothing changed.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { Picture, PictureChange } from "../../src/admin/contract-live.ts";
import { serviceKey } from "../../src/model/ids.ts";
import type { Snapshot } from "../../src/admin/handlers.ts";
import { Telling } from "../../src/admin/telling.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { Service } from "../../src/model/view.ts";
import {
  event,
  exampleSnapshot,
  member,
  NOW_MS,
  OTHER,
  replica,
  service,
  snapshot,
  view,
} from "./picture.ts";

/** What a page makes of a change. */
function apply(known: Picture, change: PictureChange): Picture {
  const byId = new Map(known.members.map((line) => [line.id, line]));
  for (const id of change.members?.gone ?? []) byId.delete(id);
  for (const line of change.members?.set ?? []) byId.set(line.id, line);
  const byKey = new Map(known.services.map((line) => [serviceKey(line.network, line.name), line]));
  for (const key of change.services?.gone ?? []) byKey.delete(key);
  for (const line of change.services?.set ?? []) byKey.set(serviceKey(line.network, line.name), line);
  return {
    status: change.status ?? known.status,
    members: [...byId.values()],
    services: [...byKey.values()],
    networks: change.networks ?? known.networks,
    drains: change.drains ?? known.drains,
    events: [...known.events, ...(change.events ?? [])].slice(-LIMITS.watchEventsMax),
  };
}

/** Without what has no order or moves by itself. */
function settled({ status, members, services, ...rest }: Picture): unknown {
  const text = (one: unknown): string => JSON.stringify(one);
  return {
    ...rest,
    status: { ...status, uptimeMs: 0 },
    members: members.map(text).sort(),
    services: services.map(text).sort(),
  };
}

const REPLICA = fc.record({
  id: fc.constantFrom("r1", "r2", "r3"),
  state: fc.constantFrom("ready", "unready", "draining"),
  tier: fc.constantFrom("eligible", "draining", "panic"),
  reason: fc.constantFrom("probe: passed", "drained by command"),
  drainPending: fc.constantFrom([], ["host-2"]),
});
const SERVICE = fc
  .record({
    network: fc.constantFrom("default", "back"),
    name: fc.constantFrom("web", "api", "db"),
    vip: fc.constantFrom("10.96.0.5", null),
    replicas: fc.uniqueArray(REPLICA, { maxLength: 3, selector: ({ id }) => id }),
  })
  .map(({ network, name, vip, replicas }) =>
    service(network, name, { vip, replicas: replicas.map(replica) }),
  );
const SNAPSHOT = fc
  .record({
    services: fc.uniqueArray(SERVICE, { maxLength: 5, selector: ({ key }) => key }),
    states: fc.array(fc.constantFrom("alive", "suspect", "dead"), { minLength: 1, maxLength: 4 }),
    problems: fc.constantFrom([], [{ area: "port", subject: "routes", text: "service default/web: taken" }]),
    ejected: fc.subarray(["r1", "r2"]),
    events: fc.integer({ min: 0, max: 5 }),
    passedMs: fc.integer({ min: 0, max: 5000 }),
  })
  .map(({ services, states, problems, ejected, events, passedMs }): Snapshot => {
    const members = states.map((state, at) => {
      return member({ id: `${at}`.repeat(20), name: `host-${at}`, state, self: at === 0 });
    });
    return snapshot({
      atMs: NOW_MS + passedMs,
      view: view({ members, services: services.toSorted((a, b) => (a.key < b.key ? -1 : 1)) }),
      problems: problems as Snapshot["problems"],
      ejections: ejected.map((id) => ({ replica: id, reason: "errors", untilMs: NOW_MS })),
      events: Array.from({ length: events }, (_, at) => event(at + 1)),
    });
  });

test("telling: a page that applies every change shows what a new picture would show", () => {
  fc.assert(
    fc.property(fc.array(SNAPSHOT, { minLength: 2, maxLength: 8 }), (snapshots) => {
      // Events only ever come: as a journal has them.
      let newest = 0;
      const grown = snapshots.map((one) => {
        newest += one.events.length;
        return { ...one, events: Array.from({ length: newest }, (_, at) => event(at + 1)) };
      });
      const telling = new Telling(grown[0] ?? snapshot());
      let known = telling.picture;
      for (const next of grown.slice(1)) {
        const change = telling.advance(next);
        if (change !== null) known = apply(known, change);
        assert.deepEqual(settled(known), settled(telling.picture));
        assert.deepEqual(settled(known), settled(new Telling(next).picture));
      }
    }),
  );
});

test("telling: time alone is no change, and equal values in new objects are none", () => {
  const telling = new Telling(exampleSnapshot());
  assert.equal(telling.advance({ ...exampleSnapshot(), atMs: NOW_MS + 5000 }), null);
  assert.equal(telling.picture.status.uptimeMs, 95_000);
});

test("telling: a round trip is told when it has drifted far from what was told, not at each step", () => {
  let rttMs = 1;
  const moving = (): Snapshot => ({
    ...exampleSnapshot(),
    roundTripMs: (id) => (id === OTHER ? rttMs : null),
  });
  const telling = new Telling(moving());
  const told: number[] = [];
  for (; rttMs < 2; rttMs += 0.05) {
    const line = telling.advance(moving())?.members?.set[0];
    if (line !== undefined) told.push(line.rttMs ?? 0);
  }
  assert.ok(told.length >= 1 && told.length <= 4, told.join());
});

test("telling: a round trip that drifts slowly is told on its way, though no step is far", () => {
  let rttMs = 10;
  const moving = (): Snapshot => ({
    ...exampleSnapshot(),
    roundTripMs: (id) => (id === OTHER ? rttMs : null),
  });
  const telling = new Telling(moving());
  const told: number[] = [];
  for (let step = 0; step < 10; step += 1) {
    rttMs *= 1.1;
    const line = telling.advance(moving())?.members?.set[0];
    if (line !== undefined) told.push(line.rttMs ?? 0);
  }
  assert.ok(told.length >= 2 && told.length < 10, told.join());
  assert.ok(rttMs - (told.at(-1) ?? 0) <= 0.2 * rttMs, "what they know is never far off");
});

test("telling: a change that no line shows names its service, and only that one", () => {
  const web = service("default", "web", { replicas: [replica({ id: "r1" })] });
  const api = service("default", "api", { replicas: [replica({ id: "r2" })] });
  const db = service("default", "db", { replicas: [replica({ id: "r3" })] });
  const shown = (services: readonly Service[], fields: Partial<Snapshot> = {}): Snapshot =>
    snapshot({ view: view({ services }), ...fields });
  const telling = new Telling(shown([api, db, web]));
  const reasoned = { ...web, replicas: [replica({ id: "r1", reason: "probe: passed again" })] };
  const first = telling.advance(shown([api, db, reasoned]));
  assert.deepEqual(first?.services, { set: [], gone: [], touched: ["default/web"] });
  const ejections = [{ replica: "r2", reason: "errors", untilMs: NOW_MS }];
  const second = telling.advance(shown([api, db, reasoned], { ejections }));
  assert.deepEqual(second?.services?.touched, ["default/api"]);
  const problems = [{ area: "port", subject: "x", text: "service default/db: port taken" }] as const;
  const third = telling.advance(shown([api, db, reasoned], { ejections, problems }));
  assert.deepEqual(third?.services?.touched, ["default/db"]);
});

test("telling: a picture and a change hold the last events and no more", () => {
  const events = Array.from({ length: 2 * LIMITS.watchEventsMax }, (_, at) => event(at + 1));
  const telling = new Telling(snapshot({ events }));
  assert.equal(telling.picture.events.length, LIMITS.watchEventsMax);
  assert.equal(telling.picture.events.at(-1)?.id, events.length);
  const more = Array.from({ length: events.length }, (_, at) => event(events.length + at + 1));
  const change = telling.advance(snapshot({ events: more }));
  assert.equal(change?.events?.length, LIMITS.watchEventsMax);
});
