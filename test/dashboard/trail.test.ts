// Trail: charts show the last five minutes and no more, gaps as gaps, in bounded memory.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CHARTED_MAX, KEPT, Ring, Trail } from "../../src/dashboard/trail.ts";

import { rates, report, T0 } from "./pictures.ts";

test("a ring keeps the last rows, oldest first, and forgets the others", () => {
  const ring = new Ring(2);
  for (let at = 1; at <= KEPT + 10; at += 1) ring.push(at * 1000, [at, null]);
  const { times, values } = ring.series([0, 1], 0);
  assert.equal(times.length, KEPT);
  assert.deepEqual([times[0], times.at(-1)], [11, KEPT + 10]);
  assert.deepEqual([values[0]?.[0], values[1]?.[0]], [11, null]);
});

test("a row that is not later than the last is left out", () => {
  const ring = new Ring(1);
  ring.push(2000, [1]);
  ring.push(2000, [2]);
  ring.push(1000, [3]);
  assert.deepEqual(ring.series([0], 0), { times: [2], values: [[1]] });
});

test("seconds without a report are a gap, not a line", () => {
  const ring = new Ring(1);
  ring.push(1000, [5]);
  ring.push(61_000, [7]);
  assert.deepEqual(ring.series([0], 0), { times: [1, 2, 61], values: [[5, null, 7]] });
});

test("the whole, each service and DNS are charted by what was reported", () => {
  const trail = new Trail();
  trail.add(report(T0));
  trail.add(report(T0 + 1000, { latencyMs: null }));
  const total = trail.series(["requests", "p95"], null, T0 + 1000);
  assert.deepEqual(total.values, [
    [120, 120],
    [9, null],
  ]);
  assert.deepEqual(trail.series(["connections"], "default/web", T0 + 1000).values, [[12, 12]]);
  assert.deepEqual(trail.series(["requests"], "no/such", T0), { times: [], values: [[]] });
  assert.deepEqual(trail.dns(T0 + 1000).values[0], [40, 40]);
});

test("a daemon whose clock was set back begins anew, and is not waited for", () => {
  const trail = new Trail();
  trail.add(report(T0));
  trail.add(report(T0 - 600_000));
  trail.add(report(T0 - 599_000));
  assert.deepEqual(trail.series(["requests"], null, T0 - 599_000), {
    times: [(T0 - 600_000) / 1000, (T0 - 599_000) / 1000],
    values: [[120, 120]],
  });
  assert.equal(trail.dns(T0).times.length, 0);
  assert.equal(trail.series(["requests"], "default/web", T0 - 599_000).times.length, 2);
});

test("what is older than five minutes is not drawn", () => {
  const trail = new Trail();
  trail.add(report(T0));
  assert.equal(trail.series(["requests"], null, T0 + 299_000).times.length, 1);
  assert.equal(trail.series(["requests"], null, T0 + 301_000).times.length, 0);
});

test("services are charted up to a number, and forgotten when they had no traffic for five minutes", () => {
  const trail = new Trail();
  const services = Array.from({ length: CHARTED_MAX + 50 }, (_, at) => ({
    key: `default/s${at}`,
    rates: rates({ requests: 1 }),
    latencyMs: null,
    ejected: 0,
  }));
  trail.add(report(T0, { services }));
  assert.equal(trail.charted, CHARTED_MAX);
  trail.add(report(T0 + 301_000, { services: services.slice(-1) }));
  assert.equal(trail.charted, 0);
  trail.add(report(T0 + 302_000, { services: services.slice(-1) }));
  assert.equal(trail.charted, 1);
});
