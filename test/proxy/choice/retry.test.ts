// Retry: what may be sent again, and how often.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { afterAttempt, isIdempotent, RetryBudget, type AttemptEnd } from "../../../src/proxy/choice/retry.ts";

const METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "MKCOL", "get"];
const anyRequest = fc.record({ method: fc.constantFrom(...METHODS), isBodyKept: fc.boolean() });

test("isIdempotent: the methods of RFC 9110 9.2.2, as written, and no others", () => {
  assert.deepEqual(METHODS.filter(isIdempotent), ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
});

test("afterAttempt: a failed connect always moves on", () => {
  fc.assert(
    fc.property(anyRequest, fc.nat(), (request, deaths) => {
      assert.equal(afterAttempt("connect", request, deaths), "next");
    }),
  );
});

test("afterAttempt: what may have reached an upstream is sent again only when idempotent and whole", () => {
  const ends = fc.constantFrom<AttemptEnd>("stale", "died", "late");
  fc.assert(
    fc.property(ends, anyRequest, (end, request) => {
      const isSafe = isIdempotent(request.method) && request.isBodyKept;
      assert.equal(afterAttempt(end, request, 0) !== "stop", isSafe);
    }),
  );
});

test("afterAttempt: a connection that went stale is made anew to the same upstream", () => {
  assert.equal(afterAttempt("stale", { method: "GET", isBodyKept: true }, 0), "again");
});

test("afterAttempt: what is known to be undelivered is sent again whatever its method, while its body is kept", () => {
  fc.assert(
    fc.property(anyRequest, fc.nat(), (request, deaths) => {
      assert.equal(afterAttempt("undelivered", request, deaths), request.isBodyKept ? "again" : "stop");
    }),
  );
});

test("afterAttempt: a request that upstreams die of is given up after the third", () => {
  const request = { method: "GET", isBodyKept: true };
  const course = [0, 1, 2].map((deaths) => afterAttempt("died", request, deaths));
  assert.deepEqual(course, ["next", "next", "stop"]);
});

test("RetryBudget: an outage multiplies load by a fifth and what was saved, and three at a time always pass", () => {
  const budget = new RetryBudget();
  let retries = 0;
  for (let request = 0; request < 10_000; request += 1) {
    budget.earn();
    if (budget.take() !== null) retries += 1;
  }
  assert.ok(retries >= LIMITS.retryTokensMax);
  assert.ok(retries <= LIMITS.retryTokensMax + 10_000 * 0.2 + 3, `${retries} retries`);
});

test("RetryBudget: with nothing saved three may retry at once, and the next when one of them is done", () => {
  const budget = new RetryBudget();
  for (let spent = 0; spent < LIMITS.retryTokensMax; spent += 1) {
    assert.equal(budget.take(), "saved");
    budget.finished();
  }
  assert.deepEqual(
    [1, 2, 3, 4].map(() => budget.take()),
    ["allowed", "allowed", "allowed", null],
  );
  budget.finished();
  assert.equal(budget.take(), "allowed");
});

test("RetryBudget: a retry that is given back is as if it had not been taken, whatever it was paid from", () => {
  const budget = new RetryBudget();
  const left = (): number => {
    let count = 0;
    while (budget.take() === "saved") count += 1;
    return count;
  };
  for (let round = 0; round < 5; round += 1) budget.giveBack(budget.take() ?? assert.fail());
  assert.equal(left(), LIMITS.retryTokensMax);
  for (let spent = 0; spent <= LIMITS.retryTokensMax; spent += 1) budget.finished();
  for (let round = 0; round < 5; round += 1) budget.giveBack(budget.take() ?? assert.fail());
  assert.equal(left(), 0);
});

test("afterAttempt: what cannot be sent goes nowhere", () => {
  fc.assert(
    fc.property(anyRequest, fc.nat(), (request, deaths) => {
      assert.equal(afterAttempt("unsendable", request, deaths), "stop");
    }),
  );
});
