// Who guesses is slowed down; who has a good token is not.

import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { ATTEMPT_PERIOD_MS, Attempts, networkOf } from "../../src/trust/attempts.ts";

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

  it("attempts: two IPv6 addresses count as one when their first 64 bits are equal, in any spelling", () => {
    const group = fc.nat(0xffff);
    const eight = fc.array(group, { minLength: 8, maxLength: 8 });
    const full = (groups: readonly number[]): string =>
      groups.map((one) => one.toString(16).padStart(4, "0")).join(":");
    const short = (groups: readonly number[]): string =>
      new URL(`http://[${full(groups)}]/`).hostname.slice(1, -1);
    fc.assert(
      fc.property(eight, eight, (one, other) => {
        fc.pre(one.slice(0, 5).some((part) => part !== 0));
        assert.ok(isIPv6(short(one)));
        assert.equal(networkOf(full(one)), networkOf(short(one).toUpperCase()));
        const neighbour = [...one.slice(0, 4), ...other.slice(4)];
        fc.pre(neighbour.slice(0, 5).some((part) => part !== 0));
        assert.equal(networkOf(short(one)), networkOf(short(neighbour)));
        const stranger = [...other.slice(0, 4), ...one.slice(4)];
        const same = one.slice(0, 4).join() === other.slice(0, 4).join();
        assert.equal(networkOf(full(one)) === networkOf(full(stranger)), same);
      }),
    );
    assert.equal(networkOf("fe80::1%eth0"), "fe80:0:0:0::/64");
    assert.equal(networkOf("64:ff9b::192.0.2.1"), "64:ff9b:0:0::/64");
    assert.equal(networkOf("::1"), "0:0:0:0::/64");
  });
});
