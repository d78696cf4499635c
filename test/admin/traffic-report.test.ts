// Traffic report: several hosts' numbers as one, in the words of this node's own view.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { NO_RATES, type HostTraffic } from "../../src/admin/rates.ts";
import { trafficReport } from "../../src/admin/traffic-report.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type { View } from "../../src/model/view.ts";

import { member, OTHER, replica, SELF, service, snapshot } from "./picture.ts";
import { QUIET_HOST } from "./quiet.ts";

const BOUNDS = [0.001, 0.01, 0.1];

const VIEW: View = {
  ...snapshot({}).view,
  members: [member(), member({ id: OTHER, name: "host-2", self: false })],
  services: [
    service("default", "web", {
      replicas: [
        replica({ id: "r1", name: "web-1" }),
        replica({ id: "r2", name: "web-2", nodeName: "host-2" }),
      ],
    }),
    service("default", "db", { replicas: [replica({ id: "r3", name: "db-1" })] }),
  ],
};

function host(changes: Partial<HostTraffic>): HostTraffic {
  return { ...QUIET_HOST, ...changes };
}

function reportOf(hosts: Readonly<Record<string, HostTraffic>>, silent: readonly string[] = []) {
  const told = new Map(Object.entries(hosts));
  const bounds = { requests: BOUNDS, dns: [0.0002, 0.002] };
  return trafficReport({ scope: "cluster", view: VIEW, hosts: told, silent, bounds, atMs: 7 });
}

test("trafficReport: rates of all hosts add up, and percentiles are of all requests together", () => {
  const rates = { ...NO_RATES, requests: 10, open: 1 };
  const fast = { key: "default/web", rates, buckets: [90] };
  const slow = { key: "default/web", rates: { ...rates, requests: 1 }, buckets: [0, 0, 10] };
  const report = reportOf({
    [SELF]: host({ services: [fast], total: rates, buckets: [90], replicas: [{ id: "r2", rates }] }),
    [OTHER]: host({
      services: [slow],
      total: slow.rates,
      buckets: [0, 0, 10],
      replicas: [{ id: "r2", rates }],
    }),
  });
  assert.deepEqual(report.hosts, ["host-1", "host-2"]);
  assert.deepEqual([report.total.requests, report.total.open], [11, 2]);
  const [web] = report.services;
  assert.deepEqual([web?.key, web?.rates.requests], ["default/web", 11]);
  assert.ok(web?.latencyMs !== null && web !== undefined);
  // Fifty of a hundred took under a millisecond, the slowest tenth over ten.
  assert.ok(web.latencyMs.p50 < 1 && web.latencyMs.p95 > 10);
  assert.deepEqual(
    report.replicas.map(({ id, name, node, service: key, rates: { requests } }) => [
      id,
      name,
      node,
      key,
      requests,
    ]),
    [["r2", "web-2", "host-2", "default/web", 20]],
  );
});

test("trafficReport: what the view does not know is left out, however a host calls it", () => {
  const rates = { ...NO_RATES, requests: 1 };
  const report = reportOf({
    [SELF]: host({}),
    [OTHER]: host({
      services: [{ key: "evil/markup", rates, buckets: [] }],
      replicas: [{ id: "nobody", rates }],
      ejected: ["nobody"],
      links: [{ to: "zzzzzzzzzzzzzzzzzzzz", state: "broken", rttMs: null }],
    }),
  });
  assert.deepEqual([report.services, report.replicas, report.links], [[], [], []]);
});

test("trafficReport: a replica that two hosts keep out is one, and its service is told though it is idle", () => {
  const report = reportOf({ [SELF]: host({ ejected: ["r3", "r1"] }), [OTHER]: host({ ejected: ["r3"] }) });
  assert.deepEqual(report.services.map(({ key, ejected }) => `${key} ${ejected}`).toSorted(), [
    "default/db 1",
    "default/web 1",
  ]);
});

test("trafficReport: links are told by name, those that are broken first; who was silent is named", () => {
  const report = reportOf(
    {
      [SELF]: host({ links: [{ to: OTHER, state: "open", rttMs: 0.4 }] }),
      [OTHER]: host({ links: [{ to: SELF, state: "broken", rttMs: null }] }),
    },
    [OTHER],
  );
  assert.deepEqual(report.links, [
    { from: "host-2", to: "host-1", fromId: OTHER, toId: SELF, state: "broken", rttMs: null },
    { from: "host-1", to: "host-2", fromId: SELF, toId: OTHER, state: "open", rttMs: 0.4 },
  ]);
  assert.deepEqual(report.silent, ["host-2"]);
});

test("trafficReport: who has another's name cannot speak as that one, and each link is told once", () => {
  const named = [member(), member({ id: OTHER, name: "host-1", self: false })];
  const lie = { to: SELF, state: "broken", rttMs: null } as const;
  const { hosts, links } = trafficReport({
    scope: "cluster",
    view: { ...VIEW, members: named },
    hosts: new Map([
      [SELF, host({})],
      [OTHER, host({ links: [lie, lie] })],
    ]),
    silent: [],
    bounds: { requests: BOUNDS, dns: BOUNDS },
    atMs: 7,
  });
  assert.deepEqual(hosts, [`host-1 (${SELF})`, `host-1 (${OTHER})`].toSorted());
  const [from, to] = [`host-1 (${OTHER})`, `host-1 (${SELF})`];
  assert.deepEqual(links, [{ from, to, fromId: OTHER, toId: SELF, state: "broken", rttMs: null }]);
});

test("trafficReport: no host makes it longer than the view and the bounds", () => {
  const rates = { ...NO_RATES, requests: 1 };
  const keys = fc.array(fc.constantFrom("default/web", "default/db", "x/y"), { maxLength: 50 });
  fc.assert(
    fc.property(keys, fc.array(fc.constantFrom(SELF, OTHER), { maxLength: 50 }), (services, links) => {
      const one = host({
        services: services.map((key) => ({ key, rates, buckets: [] })),
        links: links.map((to) => ({ to, state: "open", rttMs: 1 })),
      });
      const report = reportOf({ [SELF]: one, [OTHER]: one });
      assert.ok(report.services.length <= VIEW.services.length);
      assert.ok(report.links.length <= LIMITS.linksReported);
    }),
  );
});

test("trafficReport: questions for names add up by code and by source", () => {
  const dns = { byCode: { NOERROR: 3, NXDOMAIN: 0 }, bySource: { cache: 3 }, buckets: [3] };
  const { dns: told } = reportOf({ [SELF]: host({ dns }), [OTHER]: host({ dns }) });
  assert.deepEqual([told.queries, told.byCode, told.bySource], [6, { NOERROR: 6 }, { cache: 6 }]);
  assert.ok((told.latencyMs?.p99 ?? 2) < 0.2, "by the bounds of questions, not those of requests");
});
