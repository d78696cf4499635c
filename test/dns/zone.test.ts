// The zone: which names a view gives, and what they lead to.

import assert from "node:assert/strict";
import { test } from "node:test";

import { planZone } from "../../src/dns/zone.ts";
import { member, OPTIONS, replica, replicas, service, view } from "./fixture.ts";

const only = (...services: Parameters<typeof view>[0]) => planZone(view(services), OPTIONS);

test("zone: a service with a VIP leads to it, and its tasks to the eligible replicas only", () => {
  const web = service("default", "web", {
    vip: "10.96.0.9",
    replicas: [
      replica("web-1", "10.0.0.1"),
      replica("web-2", "10.0.0.2", { tier: "draining" }),
      replica("web-3", "10.0.0.3", { tier: "panic" }),
      replica("web-4", "10.0.0.4", { tier: "never" }),
    ],
  });
  const entry = only(web).servicesByName.get("web")?.[0];
  assert.deepEqual(entry?.addresses, { v4: ["10.96.0.9"], v6: [] });
  assert.deepEqual(entry?.tasks, { v4: ["10.0.0.1"], v6: [] });
  assert.equal(entry?.ttlSeconds, 5);
});

test("zone: without a VIP yet the replicas stand in with TTL 0; dnsrr and portless services keep their TTL", () => {
  const set = { replicas: [replica("a-1", "10.0.0.1")] };
  const zone = only(
    service("default", "waiting", set),
    service("default", "robin", { ...set, endpointMode: "dnsrr" }),
    service("default", "portless", { ...set, ports: [] }),
  );
  const ttls = ["waiting", "robin", "portless"].map((name) => zone.servicesByName.get(name)?.[0]?.ttlSeconds);
  assert.deepEqual(ttls, [0, 5, 5]);
  for (const name of ["waiting", "robin", "portless"]) {
    assert.deepEqual(zone.servicesByName.get(name)?.[0]?.addresses.v4, ["10.0.0.1"]);
  }
});

/** What the name of a tentative service with these replicas leads to. */
function whileTentative(
  ...some: ReturnType<typeof replica>[]
): readonly [readonly string[], number | undefined] {
  const web = service("default", "web", { vip: "10.96.0.9", vipTentative: true, replicas: some });
  const entry = only(web).servicesByName.get("web")?.[0];
  return [[...(entry?.addresses.v4 ?? []), ...(entry?.addresses.v6 ?? [])], entry?.ttlSeconds];
}

test("zone: while a VIP is tentative the name leads to eligible replicas that work in its place, with TTL 0", () => {
  const one = replica("web-1", "10.0.0.1");
  assert.deepEqual(whileTentative(one, replica("web-2", "fd00::2")), [["10.0.0.1", "fd00::2"], 0]);
  assert.deepEqual(whileTentative(one, replica("web-2", "10.0.0.2", { tier: "panic" })), [["10.0.0.1"], 0]);
  assert.deepEqual(whileTentative(one, replica("web-2", "172.17.0.2", { reach: "stream" })), [
    ["10.0.0.1"],
    0,
  ]);
});

test("zone: a tentative VIP is told itself, with TTL 0, where no replica works in its place", () => {
  const other = { name: "web", port: 80, target: 8080, protocol: "tcp" } as const;
  const udp = { name: "web", port: 80, target: 80, protocol: "udp" } as const;
  const useless = [
    replica("relayed", "172.17.0.2", { reach: "stream" }),
    replica("here-only", "172.17.0.3", { reach: "stream", local: true }),
    replica("loopback", "127.0.0.1"),
    replica("on another port", "10.0.0.1", { ports: [other] }),
    replica("of another protocol", "10.0.0.1", { ports: [udp] }),
    replica("without the port", "10.0.0.1", { ports: [] }),
    replica("of IPv6 only", "fd00::1"),
    replica("not ready", "10.0.0.1", { tier: "panic" }),
  ];
  for (const one of useless) assert.deepEqual(whileTentative(one), [["10.96.0.9"], 0], one.name);
  assert.deepEqual(whileTentative(), [["10.96.0.9"], 0]);
});

test("zone: addresses that a service had before are told to nobody", () => {
  const web = service("default", "web", { vip: "10.96.0.9", aliasVips: ["10.96.0.8"] });
  assert.deepEqual(only(web).servicesByName.get("web")?.[0]?.addresses.v4, ["10.96.0.9"]);
});

test("zone: addresses are told apart by family, once each, and those that mean nothing elsewhere are left out", () => {
  const web = service("default", "web", {
    endpointMode: "dnsrr",
    replicas: [
      replica("a", "10.0.0.1"),
      replica("b", "10.0.0.1"),
      replica("c", "::ffff:10.0.0.2"),
      replica("d", "fd00::1"),
      replica("e", "fe80::1%eth0"),
    ],
  });
  const entry = only(web).servicesByName.get("web")?.[0];
  assert.deepEqual(entry?.tasks, { v4: ["10.0.0.1", "10.0.0.2"], v6: ["fd00::1"] });
});

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
  const names = zone.servicesByName.get("web")?.[0]?.instances.map((instance) => instance.name);
  assert.deepEqual(names, ["on-host-1", "on-s", "on-away"]);
  assert.deepEqual([...zone.addressesByNode.keys()], ["host-1", "s", "away"]);
});

test("zone: a member that advertises a host name has no address record, one with IPv6 has AAAA", () => {
  const members = [member("named", { host: "host.example" }), member("six", { host: "fd00::6" })];
  const zone = planZone(view([], { members }), OPTIONS);
  assert.deepEqual([...zone.addressesByNode], [["six", { v4: [], v6: ["fd00::6"] }]]);
});

test("zone: a service's own name outranks another's alias, an alias outranks a name made with the stack", () => {
  const zone = only(
    service("default", "a", { aliases: ["web", "both"], vip: "10.96.0.1" }),
    service("default", "b", { aliases: ["both", "shop_c"], vip: "10.96.0.2" }),
    service("default", "c", { stack: "shop", vip: "10.96.0.3" }),
    service("default", "web", { vip: "10.96.0.4" }),
    service("other", "d", { aliases: ["web"], vip: "10.96.0.5" }),
  );
  const vips = (name: string) => zone.servicesByName.get(name)?.map((entry) => entry.addresses.v4[0]);
  assert.deepEqual(vips("web"), ["10.96.0.4", "10.96.0.5"]);
  assert.deepEqual(vips("both"), ["10.96.0.1"]);
  assert.deepEqual(vips("shop_c"), ["10.96.0.2"]);
  assert.deepEqual(vips("c.shop"), ["10.96.0.3"]);
});

test("zone: until the view is complete nobody may remember that a name is missing", () => {
  assert.equal(planZone(view([], { complete: false }), OPTIONS).negativeTtlSeconds, 0);
  assert.equal(planZone(view([], { complete: true }), OPTIONS).negativeTtlSeconds, 5);
});

test("zone: survives a structured clone, so that a worker may serve it", () => {
  const web = service("default", "web", { stack: "shop", replicas: replicas("web", 3, 1) });
  const zone = only(web);
  assert.deepEqual(structuredClone(zone), zone);
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
  assert.equal(zone.servicesByName.size, 3000);
  assert.equal(zone.servicesByName.get("s7")?.[0], zone.servicesByName.get("st_s7")?.[0]);
});
