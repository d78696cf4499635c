// Waiting: queries wait until they can be answered, not for long and not too many.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Waiting } from "../../src/dns/waiting.ts";
import { until } from "../support/wait.ts";

const BOUNDS = { max: 100, perAddress: 10 };

/** A query that can be answered once `isKnown` says so, and what became of it. */
function queryFrom(address: string, isKnown: () => boolean = () => false, waitMs = 60_000) {
  const became: string[] = [];
  const again = (): boolean => {
    if (isKnown()) became.push("answered");
    return isKnown();
  };
  return { address, waitMs, again, late: () => became.push("late"), became };
}

test("waiting: a query is answered once, when it can be, and not before", () => {
  const waiting = new Waiting(BOUNDS);
  const known = new Set<string>();
  const [one, other] = ["10.0.0.1", "10.0.0.2"].map((address) =>
    queryFrom(address, () => known.has(address)),
  );
  assert.ok(one !== undefined && other !== undefined);
  assert.ok(waiting.hold(one) && waiting.hold(other));
  waiting.retry();
  assert.deepEqual([one.became, other.became, waiting.count], [[], [], 2]);
  known.add("10.0.0.1");
  waiting.retry();
  waiting.retry();
  assert.deepEqual([one.became, other.became, waiting.count], [["answered"], [], 1]);
  waiting.close();
  waiting.retry();
  assert.deepEqual([other.became, waiting.count], [[], 0]);
});

test("waiting: what cannot be answered in its time is late once, and leaves room for others", async () => {
  const waiting = new Waiting(BOUNDS);
  const query = queryFrom("10.0.0.1", undefined, 1);
  assert.ok(waiting.hold(query));
  await until(() => query.became.length > 0);
  waiting.retry();
  assert.deepEqual([query.became, waiting.count], [["late"], 0]);
});

test("waiting: only so many wait, of one address and in all", () => {
  const waiting = new Waiting(BOUNDS);
  const holds = (address: string): boolean => waiting.hold(queryFrom(address));
  for (let count = 0; count < BOUNDS.perAddress; count += 1) assert.ok(holds("10.0.0.1"));
  assert.equal(holds("10.0.0.1"), false);
  let others = 0;
  while (holds(`10.1.${others >> 8}.${others & 255}`)) others += 1;
  assert.equal(others + BOUNDS.perAddress, BOUNDS.max);
  waiting.close();
  assert.ok(holds("10.0.0.1"));
  waiting.close();
});
