// Opening: for which addresses of services others wait, and for how long at most.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Opening } from "../../../src/proxy/listen/opening.ts";
import { frontend, pool, table } from "../fixtures.ts";

const ONE = "127.96.0.1";
const OTHER = "127.96.0.2";

/** A table with a port of each of these addresses. */
const tableOf = (...addresses: readonly string[]) =>
  table(addresses.map((address) => frontend("tcp", pool(), { address, origin: "vip" })));

test("opening: an address is waited for from the first table that has it until its listeners were tried", () => {
  const opening = new Opening();
  assert.equal(opening.leftMs(ONE, 0), 0);
  opening.want(tableOf(ONE), 1000);
  opening.want(tableOf(ONE, OTHER), 1500);
  const [left, later] = [opening.leftMs(ONE, 1500), opening.leftMs(OTHER, 1500)];
  assert.ok(left > 0 && later === left + 500, `${left} ${later}`);
  opening.tried(tableOf(ONE), 1500);
  assert.deepEqual([opening.leftMs(ONE, 1500), opening.leftMs(OTHER, 1500)], [0, later]);
  opening.tried(tableOf(ONE, OTHER), 1500);
  assert.equal(opening.leftMs(OTHER, 1500), 0);
});

test("opening: an address that is served is not waited for again when a port of it is new", () => {
  const opening = new Opening();
  const first = tableOf(ONE);
  opening.want(first, 0);
  opening.tried(first, 0);
  const more = frontend("tcp", pool(), { address: ONE, port: 81, origin: "vip" });
  opening.want({ ...first, frontends: [...first.frontends, more] }, 10);
  assert.equal(opening.leftMs(ONE, 10), 0);
});

test("opening: one that went and comes back is waited for again; one that is not wanted is not", () => {
  const opening = new Opening();
  opening.want(tableOf(ONE), 0);
  opening.want(tableOf(), 1);
  assert.equal(opening.leftMs(ONE, 1), 0);
  opening.tried(tableOf(), 1);
  opening.want(tableOf(ONE), 5000);
  assert.ok(opening.leftMs(ONE, 5000) > 0);
});

test("opening: one that comes back while the table without it is still being opened is waited for", () => {
  const opening = new Opening();
  opening.want(tableOf(ONE), 0);
  opening.tried(tableOf(ONE), 0);
  opening.want(tableOf(), 1);
  opening.want(tableOf(ONE), 2);
  assert.ok(opening.leftMs(ONE, 2) > 0);
  opening.tried(tableOf(), 3);
  assert.ok(opening.leftMs(ONE, 3) > 0);
  opening.tried(tableOf(ONE), 4);
  assert.equal(opening.leftMs(ONE, 4), 0);
});

test("opening: whenever tables come, what nobody waits for of the newest is open and stays so", () => {
  const step = fc.oneof(
    fc.subarray([ONE, OTHER]).map((wanted) => ({ kind: "want", wanted }) as const),
    fc.constant({ kind: "open" } as const),
  );
  const property = fc.property(fc.array(step), (steps) => {
    const opening = new Opening();
    let newest: readonly string[] = [];
    // What is being opened now, as the proxy does it: one table after the other, each time the newest.
    let current: readonly string[] | null = null;
    let isPending = false;
    let open = new Set<string>();
    for (const next of [...steps, { kind: "open" }, { kind: "open" }, { kind: "open" }] as const) {
      if (next.kind === "want") {
        newest = next.wanted;
        isPending = true;
        opening.want(tableOf(...newest), 0);
      } else if (current !== null) {
        open = new Set(current);
        opening.tried(tableOf(...current), 0);
        current = null;
      } else if (isPending) {
        current = newest;
        isPending = false;
        open = new Set(current.filter((address) => open.has(address)));
      }
      for (const address of newest.filter((one) => opening.leftMs(one, 0) === 0))
        assert.ok(open.has(address), address);
    }
    assert.ok(newest.every((address) => opening.leftMs(address, 0) === 0));
  });
  fc.assert(property);
});

test("opening: the host's own addresses make nobody wait", () => {
  const opening = new Opening();
  opening.want(table([frontend("tcp", pool(), { address: "192.0.2.1", origin: "published" })]), 0);
  assert.equal(opening.leftMs("192.0.2.1", 0), 0);
});

test("opening: however many tables come untried, nobody waits longer than ten seconds for an address", () => {
  const table = fc.subarray([ONE, OTHER]).map((addresses) => tableOf(...addresses));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(500), table)), (tables) => {
      const opening = new Opening();
      const firstMs = 0;
      let nowMs = firstMs;
      opening.want(tableOf(ONE), nowMs);
      for (const [stepMs, next] of tables) {
        nowMs += stepMs;
        opening.want({ ...next, frontends: [...next.frontends, ...tableOf(ONE).frontends] }, nowMs);
        assert.ok(nowMs + opening.leftMs(ONE, nowMs) <= Math.max(nowMs, firstMs + 10_000));
      }
    }),
  );
});
