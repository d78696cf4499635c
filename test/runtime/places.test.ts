// Places: what a wildcard stands for on a host with these addresses.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { isIpv4, isWildcard } from "../../src/base/ip.ts";
import { placesFor } from "../../src/runtime/places.ts";

const addresses = fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 40 });
const port = fc.integer({ min: 0, max: 65_535 });

test("places: an address stands for itself, whatever the host has", () => {
  const single = fc.oneof(fc.ipV4(), fc.ipV6()).filter((host) => !isWildcard(host));
  fc.assert(
    fc.property(single, port, addresses, (host, chosen, own) => {
      const wanted = { host, port: chosen };
      assert.deepEqual(placesFor(wanted, own, 64), { places: [wanted], left: 0 });
    }),
  );
});

test("places: 0.0.0.0 is each IPv4 address once, :: each of both kinds, all on its port", () => {
  fc.assert(
    fc.property(port, addresses, (chosen, own) => {
      const hostsOf = (host: string): readonly string[] => {
        const { places } = placesFor({ host, port: chosen }, own, 64);
        assert.ok(places.every((place) => place.port === chosen));
        return places.map((place) => place.host);
      };
      const once = [...new Set(own)];
      assert.deepEqual(hostsOf("0.0.0.0"), once.filter(isIpv4));
      assert.deepEqual(hostsOf("::"), once);
    }),
  );
});

test("places: of a host with more addresses than are served the rest is counted", () => {
  const own = Array.from({ length: 263 }, (_, at) => `10.0.${at >> 8}.${at & 255}`);
  const { places, left } = placesFor({ host: "0.0.0.0", port: 53 }, own, 256);
  assert.deepEqual([places.length, left], [256, 7]);
});
