// Budgets: what a network of clients may be sent over UDP beyond what it asked for.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Budgets, spend, type Budget } from "../../src/dns/budget.ts";
import { LIMITS } from "../../src/model/limits.ts";

function budgetOf(budgets: Budgets, address: string, isContainer = false): Budget {
  const budget = budgets.of(address, isContainer, 0);
  assert.ok(budget !== null, `${address} has a budget`);
  return budget;
}

test("budget: over any time a network gets at most the burst and what the time allows beyond its queries", () => {
  const answers = fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: -100, max: 4000 })), { maxLength: 300 });
  fc.assert(
    fc.property(answers, (steps) => {
      const budget = budgetOf(new Budgets(), "192.0.2.1");
      let nowMs = 0;
      let excessBytes = 0;
      for (const [waitMs, bytes] of steps) {
        nowMs += waitMs;
        if (spend(budget, bytes, nowMs)) excessBytes += Math.max(0, bytes);
        const allowed = LIMITS.dnsExcessBytesBurst + (nowMs / 1000) * LIMITS.dnsExcessBytesPerSecond;
        assert.ok(excessBytes <= allowed + 1);
      }
    }),
  );
});

test("budget: an answer no larger than its query is always sent", () => {
  const budget = budgetOf(new Budgets(), "192.0.2.1");
  while (spend(budget, 1000, 0));
  assert.equal(spend(budget, 1000, 0), false);
  assert.ok(spend(budget, 0, 0) && spend(budget, -20, 0));
});

test("budget: one that is used up is there again when its time has come", () => {
  const budget = budgetOf(new Budgets(), "192.0.2.1");
  while (spend(budget, 1200, 0));
  assert.equal(spend(budget, 1200, 0), false);
  assert.equal(spend(budget, 1200, 1000), true);
});

test("budget: addresses of a /24 and of a /56 share one, others do not", () => {
  const budgets = new Budgets();
  const one = budgetOf(budgets, "192.0.2.1");
  assert.equal(budgetOf(budgets, "192.0.2.254"), one);
  assert.notEqual(budgetOf(budgets, "192.0.3.1"), one);
  const six = budgetOf(budgets, "2001:db8:0:12::1");
  assert.equal(budgetOf(budgets, "2001:db8:0:34:ffff::2"), six);
  assert.notEqual(budgetOf(budgets, "2001:db8:0:134::1"), six);
});

test("budget: loopback has no bound, and a container of this host a large one of its own", () => {
  const budgets = new Budgets();
  assert.deepEqual([budgets.of("127.0.0.1", false, 0), budgets.of("::1", false, 0)], [null, null]);
  const container = budgetOf(budgets, "172.17.0.2", true);
  assert.notEqual(budgetOf(budgets, "172.17.0.3", true), container);
  assert.notEqual(budgetOf(budgets, "172.17.0.2"), container);
  assert.ok(spend(container, LIMITS.dnsLocalExcessBytesBurst, 0));
});

/** As many other networks as may be remembered, one after the other; each spends so much. */
function flood(budgets: Budgets, spentBytes: number, nowMs: number): void {
  for (let at = 0; at < LIMITS.dnsBudgetsMax; at += 1) {
    const budget = budgets.of(`10.${at >> 8}.${at & 255}.1`, false, nowMs);
    if (budget !== null) spend(budget, spentBytes, nowMs);
  }
}

test("budget: networks are remembered up to a bound, and past it the oldest with a full one is forgotten", () => {
  const budgets = new Budgets();
  const first = budgetOf(budgets, "192.0.2.1");
  flood(budgets, 0, 0);
  assert.equal(budgets.size, LIMITS.dnsBudgetsMax);
  assert.equal(first.isForgotten, true);
  assert.notEqual(budgetOf(budgets, "192.0.2.1"), first);
});

test("budget: who has used up theirs does not get a new one by queries in the name of any number of others", () => {
  const budgets = new Budgets();
  const spent = Array.from({ length: 31 }, (_, at) => budgetOf(budgets, `192.0.${at}.1`));
  for (const budget of spent) while (spend(budget, 1000, 0));
  for (const spentBytes of [0, 0, 1000, 100_000]) flood(budgets, spentBytes, 1);
  assert.equal(budgets.size, LIMITS.dnsBudgetsMax);
  assert.deepEqual(
    spent.map((_, at) => budgetOf(budgets, `192.0.${at}.99`)),
    spent,
  );
});

test("budget: one that has filled again is forgotten like any other", () => {
  const budgets = new Budgets();
  const spent = budgetOf(budgets, "192.0.2.1");
  while (spend(spent, 1000, 0));
  flood(budgets, 0, 3_600_000);
  assert.equal(spent.isForgotten, true);
});
