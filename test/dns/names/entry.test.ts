// The entry: what the names of one service lead to, and what of it outlasts a change.

import assert from "node:assert/strict";
import { test } from "node:test";

import { planEntry, type Circumstances, type Presence } from "../../../src/dns/names/entry.ts";
import type { Service } from "../../../src/model/view.ts";
import { replica, replicas, service } from "../fixture.ts";

const HERE: Presence = { away: false, zone: "" };
const CIRCUMSTANCES: Circumstances = { ttlSeconds: 5, presenceById: new Map([["id-host-1", HERE]]) };

const plan = (of: Service) => planEntry(of, CIRCUMSTANCES, null);

test("entry: a service with a VIP leads to it, and its tasks to the eligible replicas only", () => {
  const web = service("default", "web", {
    vip: "10.96.0.9",
    replicas: [
      replica("web-1", "10.0.0.1"),
      replica("web-2", "10.0.0.2", { tier: "draining" }),
      replica("web-3", "10.0.0.3", { tier: "panic" }),
      replica("web-4", "10.0.0.4", { tier: "never" }),
    ],
  });
  const entry = plan(web);
  assert.deepEqual(entry.addresses, { ttlSeconds: 5, v4: ["10.96.0.9"], v6: [] });
  assert.deepEqual(entry.tasks, { ttlSeconds: 5, v4: ["10.0.0.1"], v6: [] });
});

test("entry: without a VIP yet the replicas stand in with TTL 0; dnsrr and portless services keep their TTL", () => {
  const set = { replicas: [replica("a-1", "10.0.0.1")] };
  const told = [
    service("default", "waiting", set),
    service("default", "robin", { ...set, endpointMode: "dnsrr" }),
    service("default", "portless", { ...set, ports: [] }),
  ].map((of) => plan(of).addresses);
  assert.deepEqual(
    told.map(({ ttlSeconds }) => ttlSeconds),
    [0, 5, 5],
  );
  for (const { v4 } of told) assert.deepEqual(v4, ["10.0.0.1"]);
});

/** What the name of a tentative service with these replicas leads to. */
function whileTentative(...some: ReturnType<typeof replica>[]): readonly [readonly string[], number] {
  const web = service("default", "web", { vip: "10.96.0.9", vipTentative: true, replicas: some });
  const entry = plan(web);
  return [[...entry.addresses.v4, ...entry.addresses.v6], entry.addresses.ttlSeconds];
}

test("entry: while a VIP is tentative the name leads to eligible replicas that work in its place, with TTL 0", () => {
  const one = replica("web-1", "10.0.0.1");
  assert.deepEqual(whileTentative(one, replica("web-2", "fd00::2")), [["10.0.0.1", "fd00::2"], 0]);
  assert.deepEqual(whileTentative(one, replica("web-2", "10.0.0.2", { tier: "panic" })), [["10.0.0.1"], 0]);
  assert.deepEqual(whileTentative(one, replica("web-2", "172.17.0.2", { reach: "stream" })), [
    ["10.0.0.1"],
    0,
  ]);
});

test("entry: a tentative VIP is told itself, with TTL 0, where no replica works in its place", () => {
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

test("entry: addresses that a service had before are told to nobody", () => {
  const web = service("default", "web", { vip: "10.96.0.9", aliasVips: ["10.96.0.8"] });
  assert.deepEqual(plan(web).addresses.v4, ["10.96.0.9"]);
});

test("entry: addresses are told apart by family, once each, and those that mean nothing elsewhere are left out", () => {
  const web = service("default", "web", {
    endpointMode: "dnsrr",
    replicas: [
      replica("a", "10.0.0.1"),
      replica("b", "10.0.0.1"),
      replica("c", "::ffff:10.0.0.2"),
      replica("d", "fd00::1"),
      replica("f", "FD00:0:0::1"),
      replica("e", "fe80::1%eth0"),
    ],
  });
  const entry = plan(web);
  assert.deepEqual(entry.tasks, { ttlSeconds: 5, v4: ["10.0.0.1", "10.0.0.2"], v6: ["fd00::1"] });
});

test("entry: what says the same keeps its identity, part for part", () => {
  const three = replicas("web", 3, 1);
  const web = service("default", "web", { vip: "10.96.0.9", stack: "shop", replicas: three });
  const first = plan(web);
  const again = { ...web, replicas: three.map((one) => ({ ...one, sinceMs: 9, reason: "said otherwise" })) };
  assert.equal(planEntry(again, CIRCUMSTANCES, first), first);

  const lighter = { ...web, replicas: three.map((one, at) => (at === 1 ? { ...one, weight: 9 } : one)) };
  const weighed = planEntry(lighter, CIRCUMSTANCES, first);
  assert.notEqual(weighed.instances, first.instances);
  assert.deepEqual(
    weighed.instances.map((one, at) => one === first.instances[at]),
    [true, false, true],
  );
  assert.equal(weighed.tasks, first.tasks);
  assert.equal(weighed.addresses, first.addresses);
  assert.equal(weighed.texts, first.texts);

  const moved = planEntry({ ...web, vip: "10.96.0.10" }, CIRCUMSTANCES, first);
  assert.notEqual(moved.addresses, first.addresses);
  assert.equal(moved.tasks, first.tasks);
  assert.equal(moved.instances, first.instances);
});

test("entry: a copy that comes or goes leaves the others what they were", () => {
  const five = replicas("web", 5, 1).sort((one, other) => (one.id < other.id ? -1 : 1));
  const web = service("default", "web", { replicas: five });
  const first = plan(web);
  const fewer = planEntry(
    { ...web, replicas: [five[0], five[3], five[4]].flatMap((one) => one ?? []) },
    CIRCUMSTANCES,
    first,
  );
  assert.deepEqual(
    fewer.instances.map((one) => first.instances.indexOf(one)),
    [0, 3, 4],
  );
  const back = planEntry(web, CIRCUMSTANCES, fewer);
  assert.deepEqual(back, first);
  assert.deepEqual(
    back.instances.map((one) => fewer.instances.indexOf(one)),
    [0, -1, -1, 1, 2],
  );
});

test("entry: a claim that settles changes the answer, though the address is the same", () => {
  const web = service("default", "web", { vip: "10.96.0.9", vipTentative: true });
  const first = plan(web);
  const settled = planEntry({ ...web, vipTentative: false }, CIRCUMSTANCES, first);
  assert.notEqual(settled.addresses, first.addresses);
  assert.deepEqual([first.addresses.ttlSeconds, settled.addresses.ttlSeconds], [0, 5]);
});

test("entry: an address leads back to a copy only where it means that copy", () => {
  const { instances } = plan(
    service("default", "web", {
      replicas: [
        replica("direct", "10.0.0.1", { local: false }),
        replica("own bridge", "172.17.0.2", { reach: "stream" }),
        replica("other bridge", "172.17.0.3", { reach: "stream", local: false }),
        replica("loopback", "127.0.0.1"),
      ],
    }),
  );
  assert.deepEqual(
    instances.filter(({ reversible }) => reversible).map(({ name }) => name),
    ["direct", "own bridge"],
  );
});

test("entry: a service with an IPv6 VIP has it beside the other, and its replicas both of their addresses", () => {
  const web = service("default", "web", {
    vip: "10.96.0.9",
    vip6: "fd12::8000:0:0:9",
    replicas: [replica("web-1", "10.0.0.1", { address6: "FD00:0::1" }), replica("web-2", "10.0.0.2")],
  });
  const entry = plan(web);
  assert.deepEqual(entry.addresses, { ttlSeconds: 5, v4: ["10.96.0.9"], v6: ["fd12::8000:0:0:9"] });
  assert.deepEqual(entry.tasks, { ttlSeconds: 5, v4: ["10.0.0.1", "10.0.0.2"], v6: ["fd00::1"] });
  const moved = planEntry({ ...web, vip6: "fd13::8000:0:0:9" }, CIRCUMSTANCES, entry);
  assert.deepEqual(moved.addresses.v6, ["fd13::8000:0:0:9"]);
  assert.equal(moved.tasks, entry.tasks);
});

test("entry: an IPv6 VIP is never tentative: it is told beside replicas that stand in for the other", () => {
  const web = service("default", "web", {
    vip: "10.96.0.9",
    vip6: "fd12::8000:0:0:9",
    vipTentative: true,
    replicas: [replica("web-1", "10.0.0.1", { address6: "fd00::1" })],
  });
  const told = { ttlSeconds: 0, v4: ["10.0.0.1"], v6: ["fd12::8000:0:0:9"] };
  assert.deepEqual(plan(web).addresses, told);
  assert.deepEqual(plan({ ...web, vip: null, vipTentative: false }).addresses, told);
  assert.deepEqual(plan({ ...web, replicas: [] }).addresses, { ...told, v4: ["10.96.0.9"] });
});

test("entry: an address beside a replica's own that means each host itself is left out", () => {
  for (const address6 of ["::1", "fe80::1", "fe80::1%eth0", "::ffff:127.0.0.1", "x"]) {
    const web = service("default", "web", { replicas: [replica("web-1", "10.0.0.1", { address6 })] });
    assert.deepEqual(plan(web).tasks.v6, [], address6);
  }
});
