// Strangers: queries wait until it is known who asks, not for long and not too many.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Strangers } from "../../src/dns/strangers.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { until } from "../support/wait.ts";

/** A query that can be answered once `isKnown` says so, and what became of it. */
function queryFrom(address: string, isKnown: () => boolean = () => false) {
  const became: string[] = [];
  const again = (): boolean => {
    if (isKnown()) became.push("answered");
    return isKnown();
  };
  return { address, again, late: () => became.push("late"), became };
}

test("strangers: a query is answered once, when its sender is known, and not before", () => {
  const strangers = new Strangers();
  const known = new Set<string>();
  const [one, other] = ["10.0.0.1", "10.0.0.2"].map((address) =>
    queryFrom(address, () => known.has(address)),
  );
  assert.ok(one !== undefined && other !== undefined);
  assert.ok(strangers.hold(one) && strangers.hold(other));
  strangers.retry();
  assert.deepEqual([one.became, other.became, strangers.count], [[], [], 2]);
  known.add("10.0.0.1");
  strangers.retry();
  strangers.retry();
  assert.deepEqual([one.became, other.became, strangers.count], [["answered"], [], 1]);
  strangers.close();
  strangers.retry();
  assert.deepEqual([other.became, strangers.count], [[], 0]);
});

test("strangers: who stays one is told so once, and leaves room for others", async () => {
  const strangers = new Strangers();
  const query = queryFrom("10.0.0.1");
  assert.ok(strangers.hold(query));
  await until(() => query.became.length > 0);
  strangers.retry();
  assert.deepEqual([query.became, strangers.count], [["late"], 0]);
});

test("strangers: only so many wait, of one address and in all", () => {
  const strangers = new Strangers();
  const holds = (address: string): boolean => strangers.hold(queryFrom(address));
  for (let count = 0; count < LIMITS.dnsStrangersPerAddress; count += 1) assert.ok(holds("10.0.0.1"));
  assert.equal(holds("10.0.0.1"), false);
  let others = 0;
  while (holds(`10.1.${others >> 8}.${others & 255}`)) others += 1;
  assert.equal(others + LIMITS.dnsStrangersPerAddress, LIMITS.dnsStrangersMax);
  strangers.close();
  assert.ok(holds("10.0.0.1"));
  strangers.close();
});
