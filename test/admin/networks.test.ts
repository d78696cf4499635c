// Networks told: overlay networks and names in one list, each host's part of one, and who is on it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { namedNetworks, networkOf, networksOf, usersOf } from "../../src/admin/networks.ts";
import { overlayView } from "./overlay-picture.ts";
import { exampleSnapshot, replica, service, view } from "./picture.ts";

const NAMED = {
  kind: "named",
  range: null,
  range6: null,
  encrypted: false,
  slices: null,
  vni: null,
} as const;

test("networks: names that services use are told once, with their sums, sorted", () => {
  assert.deepEqual(networksOf(exampleSnapshot().view), [
    { name: "back", services: 1, replicas: 1, ready: 0, ...NAMED, sound: true, problems: [] },
    { name: "default", services: 2, replicas: 4, ready: 2, ...NAMED, sound: true, problems: [] },
  ]);
});

test("networks: an overlay network is told with its range, and how much of it is in use, with services or not", () => {
  const lines = networksOf(overlayView());
  assert.deepEqual(
    lines.map(({ name, kind, range, slices, replicas, sound }) => [
      name,
      kind,
      range,
      slices,
      replicas,
      sound,
    ]),
    [
      ["app", "overlay", "10.160.0.0/16", { used: 2, total: 256, bits: 24 }, 3, true],
      ["default", "named", null, null, 1, true],
      ["late", "overlay", "10.160.4.0/24", { used: 0, total: 4, bits: 26 }, 0, false],
    ],
  );
  assert.deepEqual(lines[2]?.problems, ["10.160.4.0/24 overlaps 10.160.0.0/16 of network app"]);
});

test("network: each host's slice, the addresses in use there, and why it does not carry it", () => {
  const told = networkOf(overlayView(), "APP");
  assert.ok(told.ok);
  const { hosts, serviceKeys, range6 } = told.value;
  assert.deepEqual(serviceKeys, ["app/web"]);
  assert.equal(range6, "fd12:3456:789a:4d::/64");
  assert.deepEqual(hosts, [
    {
      node: "host-1",
      state: "alive",
      prefix: "10.160.3.0/24",
      prefix6: "fd12:3456:789a:4d:3::/80",
      tentative: false,
      addresses: { used: 2, total: 253 },
      carries: true,
      reason: null,
    },
    {
      node: "host-2",
      state: "alive",
      prefix: "10.160.9.0/24",
      prefix6: null,
      tentative: true,
      addresses: { used: 1, total: 253 },
      carries: false,
      reason: "its daemon is not in kernel mode",
    },
  ]);
});

test("network: a host without WireGuard carries nothing of an encrypted one, nor does one that is dead", () => {
  const base = overlayView();
  const [app] = base.networks;
  assert.ok(app !== undefined);
  const reasons = (given: typeof base) => {
    const told = networkOf({ ...given, networks: [{ ...app, encrypted: true }] }, "app");
    return told.ok ? told.value.hosts.map(({ reason }) => reason) : [];
  };
  assert.deepEqual(reasons(base), ["it has no WireGuard", "its daemon is not in kernel mode"]);
  const members = base.members.map((member) => ({ ...member, state: "dead" as const }));
  assert.deepEqual(reasons({ ...base, members }), ["the host is dead", "the host is dead"]);
});

test("networks: a host whose slice has no address left is told with its range and what to do", () => {
  const base = overlayView();
  const [app] = base.networks;
  assert.ok(app !== undefined);
  // A slice of /29 has five addresses to give.
  const slices = app.slices.map((slice) => ({ ...slice, prefix: slice.prefix.replace("/24", "/29") }));
  const small = { ...app, range: "10.160.0.0/20", sliceBits: 29, slices };
  const problemsWith = (count: number): readonly string[] => {
    const replicas = Array.from({ length: count }, (_, at) =>
      replica({ id: `web-${at}`, reach: "overlay", address: `10.160.3.${2 + at}` }),
    );
    const services = [service("app", "web", { replicas })];
    return networksOf({ ...base, services, networks: [small] })[0]?.problems ?? [];
  };
  assert.deepEqual(problemsWith(4), []);
  assert.match(
    problemsWith(5)[0] ?? "",
    /^host-1 has no address left in its slice 10\.160\.3\.0\/29 of 10\.160/,
  );
});

test("network: a name that none has is refused with the nearest one", () => {
  const told = networkOf(overlayView(), "ap");
  assert.ok(!told.ok);
  assert.deepEqual(
    [told.failure.code, told.failure.message],
    ["not-found", 'no network "ap"; did you mean "app"?'],
  );
});

test("network: who is on it are replicas of all hosts and containers of this one, each once", () => {
  const clients = [
    { name: "shell", networks: ["app", "default"] },
    { name: "web-1", networks: ["app"] },
    { name: "other", networks: ["default"] },
  ];
  assert.deepEqual(usersOf(overlayView(), "app", clients), [
    "shell on host-1",
    "web-1 on host-1",
    "web-2 on host-1",
    "web-3 on host-2",
  ]);
  assert.deepEqual(usersOf(overlayView(), "late", clients), []);
});

test("networks: names in use elsewhere are those of services that are on no overlay network of that name", () => {
  assert.deepEqual(namedNetworks(overlayView()), new Set(["default"]));
  // A network that was removed by force while its containers run may be made again.
  const left = service("gone", "web", { replicas: [replica({ reach: "overlay" })] });
  assert.deepEqual(namedNetworks(view({ services: [left] })), new Set());
});
