// Traffic: the words and ranges that labels and the config file share.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { BALANCES, DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../src/model/service.ts";
import {
  DRAIN_RANGE,
  oneOf,
  orUsual,
  PREFERENCES,
  PROXY_PROTOCOLS,
  SOURCES,
  UDP_MODES,
} from "../../src/source/traffic.ts";

test("traffic: the first word of each choice is what holds where nothing is said", () => {
  assert.equal(BALANCES[0], DEFAULT_TRAFFIC.balance);
  assert.equal(PREFERENCES[0], DEFAULT_TRAFFIC.prefer);
  assert.equal(UDP_MODES[0], DEFAULT_TRAFFIC.udpMode);
  assert.equal(SOURCES[0], DEFAULT_TRAFFIC.source);
  assert.equal(PROXY_PROTOCOLS[0], DEFAULT_DELIVERY.proxyProtocol);
  assert.ok(
    DEFAULT_DELIVERY.drainMs >= DRAIN_RANGE.leastMs && DEFAULT_DELIVERY.drainMs <= DRAIN_RANGE.mostMs,
  );
});

test("traffic: what says the same as the usual is the usual itself; what differs stays what was said", () => {
  assert.equal(orUsual({ ...DEFAULT_TRAFFIC }, DEFAULT_TRAFFIC), DEFAULT_TRAFFIC);
  const said = fc.record({ proxyProtocol: fc.constantFrom(...PROXY_PROTOCOLS), drainMs: fc.nat(20_000) });
  fc.assert(
    fc.property(said, (delivery) => {
      assert.deepEqual(orUsual(delivery, DEFAULT_DELIVERY), delivery);
    }),
  );
});

test("traffic: the words of a choice are told as in a sentence", () => {
  assert.deepEqual([oneOf(["any", "local"]), oneOf(["off", "v1", "v2"])], ["any or local", "off, v1 or v2"]);
});
