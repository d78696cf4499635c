// The zone: which names a view gives, where they lead, and what of it outlasts the next view.

import assert from "node:assert/strict";
import { test } from "node:test";

import { planZone, type Zone } from "../../../src/dns/names/zone.ts";
import { member, OPTIONS, replica, replicas, service, view } from "../fixture.ts";

const only = (...services: Parameters<typeof view>[0]) => planZone(view(services), OPTIONS);

const holders = (zone: Zone, name: string) =>
  (zone.names.placesByName.get(name) ?? []).flatMap((place) => zone.services[place] ?? []);

test("zone: copies of a node that is dead, gone or unknown are not there by name, others are", () => {
  const members = [
    member("host-1"),
    member("s", { state: "suspect" }),
    member("away", { state: "away" }),
    member("d", { state: "dead" }),
    member("l", { state: "left" }),
  ];
  const on = (node: string) => replica(`on-${node}`, "10.0.0.1", { node: `id-${node}`, tier: "panic" });
  const web = service("default", "web", { replicas: ["host-1", "s", "away", "d", "l", "x"].map(on) });
  const zone = planZone(view([web], { members }), OPTIONS);
  const names = holders(zone, "web")[0]?.instances.map((instance) => instance.name);
  assert.deepEqual(names, ["on-host-1", "on-s", "on-away"]);
  assert.deepEqual([...zone.nodes.addressesByName.keys()], ["host-1", "s", "away"]);
});

test("zone: a member that advertises a host name has no address record, one with IPv6 has AAAA", () => {
  const members = [member("named", { host: "host.example" }), member("six", { host: "fd00::6" })];
  const zone = planZone(view([], { members }), OPTIONS);
  assert.deepEqual([...zone.nodes.addressesByName], [["six", { ttlSeconds: 5, v4: [], v6: ["fd00::6"] }]]);
});

test("zone: a service's own name outranks another's alias, an alias outranks a name made with the stack", () => {
  const zone = only(
    service("default", "a", { aliases: ["web", "both"], vip: "10.96.0.1" }),
    service("default", "b", { aliases: ["both", "shop_c"], vip: "10.96.0.2" }),
    service("default", "c", { stack: "shop", vip: "10.96.0.3" }),
    service("default", "web", { vip: "10.96.0.4" }),
    service("other", "d", { aliases: ["web"], vip: "10.96.0.5" }),
  );
  const vips = (name: string) => holders(zone, name).map((entry) => entry.addresses.v4[0]);
  assert.deepEqual(vips("web"), ["10.96.0.4", "10.96.0.5"]);
  assert.deepEqual(vips("both"), ["10.96.0.1"]);
  assert.deepEqual(vips("shop_c"), ["10.96.0.2"]);
  assert.deepEqual(vips("c.shop"), ["10.96.0.3"]);
});

test("zone: until the view is complete nobody may remember that a name is missing", () => {
  assert.equal(planZone(view([], { complete: false }), OPTIONS).negativeTtlSeconds, 0);
  assert.equal(planZone(view([], { complete: true }), OPTIONS).negativeTtlSeconds, 5);
});

test("zone: a thousand services of ten replicas make a few entries per service, none per form of a name", () => {
  const many = Array.from({ length: 1000 }, (_, index) =>
    service("default", `s${index}`, {
      stack: "st",
      vip: "10.96.0.1",
      replicas: replicas(`s${index}`, 10, 1),
    }),
  );
  const zone = only(...many);
  assert.equal(zone.names.placesByName.size, 3000);
  assert.equal(holders(zone, "s7")[0], holders(zone, "st_s7")[0]);
});
