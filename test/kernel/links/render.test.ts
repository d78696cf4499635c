// Commands as lines of a batch: nothing that came from elsewhere can become a word of its own.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { Failure } from "../../../src/base/failure.ts";
import { familyOf, renderCommand } from "../../../src/kernel/links/render.ts";
import type { LinkCommand, LinkThing, Route, Rule } from "../../../src/kernel/links/state.ts";

const ROUTE: Route = {
  kind: "route",
  to: "10.160.4.0/24",
  table: null,
  metric: 0,
  leads: true,
  via: "10.160.4.0",
  device: "sk-vx4711",
  source: "10.160.3.1",
  mtu: null,
};
const RULE: Rule = {
  kind: "rule",
  family: 4,
  preference: 5310,
  inverts: false,
  mark: { value: 0x5300_0001, mask: 0xffff_ffff },
  device: "sk-app",
  action: { kind: "table", table: 77 },
};

function lines(verb: LinkCommand["verb"], thing: LinkThing): readonly string[] {
  return renderCommand({ verb, thing }).map(({ batch, text }) => `${batch}: ${text}`);
}

test("render: a route is added, replaced in its place, and removed with all that tells it from others", () => {
  const words = "10.160.4.0/24 via 10.160.4.0 dev sk-vx4711 onlink src 10.160.3.1 proto 83";
  assert.deepEqual(lines("add", ROUTE), [`ip4: route add ${words}`]);
  assert.deepEqual(lines("replace", ROUTE), [`ip4: route replace ${words}`]);
  assert.deepEqual(lines("remove", ROUTE), [`ip4: route del ${words}`]);
});

test("render: IPv6 goes into a batch of its own, and asks for no on-link gateway", () => {
  const route = { ...ROUTE, to: "fd12::/80", via: "fe80::1", source: null, metric: 1024 };
  assert.deepEqual(lines("add", route), [
    "ip6: route add fd12::/80 via fe80::1 dev sk-vx4711 metric 1024 proto 83",
  ]);
  assert.equal(familyOf({ ...RULE, family: 6 }), "ip6");
});

test("render: a refusal leads nowhere", () => {
  const refusal = {
    ...ROUTE,
    to: "10.160.0.0/16",
    leads: false,
    via: null,
    device: null,
    source: null,
    metric: 9,
  };
  assert.deepEqual(lines("add", refusal), ["ip4: route add unreachable 10.160.0.0/16 metric 9 proto 83"]);
});

test("render: rules", () => {
  const mark = "fwmark 0x53000001/0xffffffff";
  assert.deepEqual(lines("add", RULE), [`ip4: rule add pref 5310 iif sk-app ${mark} table 77 protocol 83`]);
  const skip: Rule = { ...RULE, inverts: true, device: null, action: { kind: "goto", preference: 9000 } };
  assert.deepEqual(lines("remove", skip), [`ip4: rule del pref 5310 not ${mark} goto 9000 protocol 83`]);
});

test("render: text that is no address, device or prefix of ours is refused, whatever it is", () => {
  const nasty = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.constantFrom(
      "eth0",
      "sk-app\nlink del eth0",
      "sk-app up",
      "10.0.0.1 dev lo",
      "fe80::1%eth0",
      "default",
      "../sk-a",
    ),
  );
  const places: ((text: string) => LinkThing)[] = [
    (text) => ({ ...ROUTE, to: text }),
    (text) => ({ ...ROUTE, via: text }),
    (text) => ({ ...ROUTE, device: text }),
    (text) => ({ ...ROUTE, source: text }),
    (text) => ({ ...RULE, device: text }),
    (text) => ({ kind: "address", device: text, address: "10.160.3.0" }),
    (text) => ({ kind: "entry", device: "sk-vx1", mac: text, to: "10.0.0.1" }),
    (text) => ({ kind: "entry", device: "sk-vx1", mac: "02:00:00:00:00:01", to: text }),
    (text) => ({ kind: "neighbour", device: "sk-vx1", mac: "02:00:00:00:00:01", address: text }),
  ];
  const safe = /^(?:sk-[a-z0-9-]+|[0-9a-f.:]+(?:\/\d+)?)$/;
  fc.assert(
    fc.property(nasty, fc.constantFrom(...places), (text, place) => {
      try {
        renderCommand({ verb: "add", thing: place(text) });
        assert.match(text, safe);
      } catch (thrown) {
        assert.ok(thrown instanceof Failure && thrown.code === "invalid", String(thrown));
      }
    }),
  );
});

test("render: a number of more than 32 bits is refused", () => {
  assert.throws(() => lines("add", { ...ROUTE, table: 2 ** 32 }), Failure);
  assert.throws(() => lines("add", { ...RULE, preference: -1 }), Failure);
});
