// Declared: ports and names must fit; what tells of traffic is read as far as it is understood.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  declarationFrom,
  deliveryFrom,
  isSameDelivery,
  isSameTraffic,
  trafficFrom,
} from "../../src/model/declared.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../src/model/service.ts";

import { declaration } from "./arbitraries.ts";

test("declared: what a service declares is read as it was, and its policy equals itself alone", () => {
  fc.assert(
    fc.property(declaration, declaration, (one, other) => {
      const read = declarationFrom(JSON.parse(JSON.stringify(one)));
      assert.deepEqual(read, JSON.parse(JSON.stringify(one)));
      assert.ok(read !== null && isSameTraffic(read.traffic, one.traffic));
      const isSame = JSON.stringify(one.traffic) === JSON.stringify(other.traffic);
      assert.equal(isSameTraffic(one.traffic, other.traffic), isSame);
    }),
  );
});

test("declared: ways of a later version are as if they were not said, and the default is one object", () => {
  assert.equal(trafficFrom({ ...DEFAULT_TRAFFIC, balance: "maglev", source: "rewrite" }), DEFAULT_TRAFFIC);
  assert.equal(trafficFrom("x"), DEFAULT_TRAFFIC);
  assert.equal(deliveryFrom({ proxyProtocol: "v3" }), DEFAULT_DELIVERY);
  const v2 = deliveryFrom({ proxyProtocol: "v2", drainMs: 5 });
  assert.deepEqual([isSameDelivery(v2, { proxyProtocol: "v2", drainMs: 5 }), v2.drainMs], [true, 5]);
  assert.equal(isSameDelivery(v2, DEFAULT_DELIVERY), false);
});

test("declared: a port that does not fit refuses all of it", () => {
  assert.equal(declarationFrom({ ports: [{ name: "web", port: 0, target: 80, protocol: "tcp" }] }), null);
  assert.equal(declarationFrom(null), null);
});
