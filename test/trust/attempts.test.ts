// Who guesses is slowed down; who has a good token is not.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { networkOf } from "../../src/base/ip.ts";
import { ATTEMPT_PERIOD_MS, Attempts } from "../../src/trust/attempts.ts";

const BOUNDS = { perAddress: 10, overall: 50, addresses: 30 };

const addresses = fc.oneof(
  fc.integer({ min: 1, max: 5 }).map((last) => `192.0.2.${last}`),
  fc.ipV4(),
  fc.ipV6(),
);
const guesses = fc.array(fc.record({ address: addresses, afterMs: fc.nat(8000) }), { maxLength: 300 });

/** Tries as the server does: a guess that has to wait is no failure. */
const run = (list: readonly { address: string; afterMs: number }[]) => {
  const attempts = new Attempts(BOUNDS);
  const failed: { readonly network: string; readonly atMs: number }[] = [];
  let nowMs = 1_000_000;
  for (const { address, afterMs } of list) {
    nowMs += afterMs;
    if (attempts.waitMs(address, nowMs) > 0) continue;
    attempts.failed(address, nowMs);
    failed.push({ network: networkOf(address), atMs: nowMs });
  }
  return { attempts, failed, nowMs };
};

describe("attempts", () => {
  it("attempts: no address fails more than ten times in any minute, whatever the order", () => {
    fc.assert(
      fc.property(guesses, (list) => {
        const { failed } = run(list.map((one) => ({ ...one, address: one.address })));
        for (const { network, atMs } of failed) {
          const within = failed.filter(
            (other) =>
              other.network === network && other.atMs >= atMs && other.atMs < atMs + ATTEMPT_PERIOD_MS,
          );
          // Unless so many addresses failed between that it was forgotten.
          const others = new Set(failed.map((one) => one.network)).size;
          assert.ok(within.length <= BOUNDS.perAddress || others > BOUNDS.addresses);
        }
      }),
    );
  });

  it("attempts: an address that has not failed may always try", () => {
    fc.assert(
      fc.property(guesses, fc.ipV4(), (list, quiet) => {
        fc.pre(list.every(({ address }) => networkOf(address) !== networkOf(quiet)));
        const { attempts, nowMs } = run(list);
        assert.equal(attempts.waitMs(quiet, nowMs), 0);
      }),
    );
  });

  it("attempts: whoever waits as long as told may try again, and a moment before may not", () => {
    fc.assert(
      fc.property(guesses, addresses, (list, address) => {
        const { attempts, nowMs } = run(list);
        const waitMs = attempts.waitMs(address, nowMs);
        assert.ok(waitMs >= 0 && waitMs <= ATTEMPT_PERIOD_MS);
        assert.equal(attempts.waitMs(address, nowMs + waitMs), 0);
        if (waitMs > 1) {
          // Sooner only when others' failures pass meanwhile and it is crowded no more.
          assert.ok(attempts.waitMs(address, nowMs + waitMs - 1) <= 1);
        }
      }),
    );
  });

  it("attempts: the eleventh try of a minute waits until the first is a minute ago", () => {
    const attempts = new Attempts(BOUNDS);
    for (let at = 0; at < 10; at += 1) {
      assert.equal(attempts.waitMs("192.0.2.1", 1000 * at), 0);
      attempts.failed("192.0.2.1", 1000 * at);
    }
    assert.equal(attempts.waitMs("192.0.2.1", 10_000), 50_000);
    assert.equal(attempts.waitMs("::ffff:192.0.2.1", 10_000), 50_000);
    assert.equal(attempts.waitMs("192.0.2.2", 10_000), 0);
  });

  it("attempts: past the bound over all, who failed once waits, and who did not gets one try", () => {
    const attempts = new Attempts({ ...BOUNDS, addresses: 1000 });
    for (let at = 0; at < BOUNDS.overall; at += 1) attempts.failed(`10.0.0.${at}`, 1000);
    assert.ok(attempts.waitMs("10.0.0.7", 1001) > 0);
    assert.equal(attempts.waitMs("10.0.1.1", 1001), 0);
    attempts.failed("10.0.1.1", 1001);
    assert.ok(attempts.waitMs("10.0.1.1", 1002) > 0);
    assert.equal(attempts.waitMs("10.0.0.7", 1000 + ATTEMPT_PERIOD_MS), 0);
  });

  it("attempts: addresses remembered are bounded however many guess, and those long quiet are forgotten", () => {
    fc.assert(
      fc.property(fc.array(fc.ipV6(), { maxLength: 200 }), (list) => {
        const attempts = new Attempts(BOUNDS);
        for (const address of list) {
          attempts.failed(address, 1000);
          assert.ok(attempts.size <= BOUNDS.addresses);
        }
        attempts.failed("192.0.2.1", 1000 + ATTEMPT_PERIOD_MS);
        assert.equal(attempts.size, 1);
      }),
    );
  });
});
