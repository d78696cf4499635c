// Rows: a long list shows what was asked for, and its window holds every row that is seen.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  chosenRows,
  countByState,
  rowsOf,
  scrollToShow,
  servedByHost,
  sortNamed,
  stateNamed,
  textOf,
  windowOf,
} from "../../src/dashboard/rows.ts";

import { rates, report, service } from "./pictures.ts";

const LINES = [
  service("api", { vip: "10.96.0.7", ready: 1 }),
  service("db", { network: "app", ready: 0 }),
  service("web", {
    http: [{ host: "shop.example.com", path: "/cart" }],
    publish: [{ published: 8088, port: 80, protocol: "tcp", mode: "ingress" }],
  }),
  service("old", { replicas: 0, ready: 0 }),
];
const TRAFFIC = [
  {
    key: "default/web",
    rates: rates({ requests: 5, errors: 2 }),
    latencyMs: { p50: 1, p95: 3, p99: 9 },
    ejected: 0,
  },
  { key: "app/db", rates: rates({ connections: 9 }), latencyMs: null, ejected: 0 },
];
const ROWS = rowsOf(LINES, TRAFFIC);

function names(wish: Partial<Parameters<typeof chosenRows>[1]>): readonly string[] {
  return chosenRows(ROWS, { text: "", state: null, sort: "name", ...wish }).map((row) => row.line.name);
}

test("services are found by name, network, address, host rule, path and published port", () => {
  assert.deepEqual(names({ text: "WEB" }), ["web"]);
  assert.deepEqual(names({ text: "app/" }), ["db"]);
  assert.deepEqual(names({ text: "0.7" }), ["api"]);
  assert.deepEqual(names({ text: "shop /cart" }), ["web"]);
  assert.deepEqual(names({ text: ":8088" }), ["web"]);
  assert.deepEqual(names({ text: "nothing" }), []);
  assert.ok(textOf(LINES[0] ?? service("")).includes("default/api"));
});

test("services are filtered by state and counted by it", () => {
  assert.deepEqual(names({ state: "down" }), ["db"]);
  assert.deepEqual(countByState(ROWS), { ready: 1, partly: 1, down: 1, empty: 1 });
});

test("the busiest, the slowest, the most faulty and the worst come first when asked for", () => {
  assert.deepEqual(names({ sort: "requests" }).slice(0, 2), ["db", "web"]);
  assert.equal(names({ sort: "latency" })[0], "web");
  assert.equal(names({ sort: "errors" })[0], "web");
  assert.deepEqual(names({ sort: "state" }), ["db", "api", "web", "old"]);
});

test("an address that names no state or sort gets all of them, by name", () => {
  assert.deepEqual(
    [stateNamed("down"), stateNamed("constructor"), stateNamed(undefined)],
    ["down", null, null],
  );
  assert.deepEqual([sortNamed("errors"), sortNamed("x")], ["errors", "name"]);
});

const sight = fc.record({
  scrolled: fc.nat(50_000),
  height: fc.integer({ min: 1, max: 3000 }),
  rowHeight: fc.constant(36),
});

test("every row that is seen is in the window, and the window is no longer than needed", () => {
  fc.assert(
    fc.property(fc.nat(2000), sight, (count, seen) => {
      const { first, end } = windowOf(count, seen);
      assert.ok(first >= 0 && first <= end && end <= count);
      for (let row = 0; row < count; row += 1) {
        const isSeen = (row + 1) * 36 > seen.scrolled && row * 36 < seen.scrolled + seen.height;
        if (isSeen) assert.ok(row >= first && row < end, `row ${row} of ${first}..${end}`);
      }
      assert.ok(end - first <= seen.height / 36 + 30);
    }),
  );
});

test("a row is scrolled to until it is seen whole, and a seen one moves nothing", () => {
  fc.assert(
    fc.property(fc.nat(1000), sight, (row, seen) => {
      fc.pre(seen.height >= 36);
      const scrolled = scrollToShow(row, seen);
      assert.ok(row * 36 >= scrolled && (row + 1) * 36 <= scrolled + seen.height);
      assert.equal(scrollToShow(row, { ...seen, scrolled }), scrolled);
    }),
  );
});

test("a host is sent what its replicas are sent, of every service", () => {
  const of = (id: string, node: string, requests: number, connections: number) => {
    return { id, service: "default/web", name: id, node, rates: rates({ requests, connections }) };
  };
  const replicas = [of("a", "host-1", 3, 1), of("b", "host-2", 5, 0), of("c", "host-1", 0, 2)];
  assert.deepEqual(
    [...servedByHost(report(0, { replicas }))],
    [
      ["host-1", 6],
      ["host-2", 5],
    ],
  );
  assert.equal(servedByHost(null).size, 0);
});
