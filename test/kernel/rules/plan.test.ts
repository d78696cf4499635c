// Plan: a ruleset follows from what is given; what did not change stays the same object.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import * as fc from "fast-check";

import type { KernelGiven } from "../../../src/kernel/given.ts";
import { renderRules } from "../../../src/kernel/rules/changes.ts";
import { planRules, rulesPlanner } from "../../../src/kernel/rules/plan.ts";
import { DEFAULT_TRAFFIC } from "../../../src/model/service.ts";
import type { Service } from "../../../src/model/view.ts";

import { given, member, network, onOverlay, replica, service } from "./fixtures.ts";

const GOLDEN = join(import.meta.dirname, "../../golden/kernel");

const APP = network("app", { range6: "fd12:3456:789a:10a0::/64" });
const VAULT = network("vault", { second: 161, encrypted: true });
const PUBLISH = [{ published: 8080, port: 80, protocol: "tcp" as const, mode: "ingress" as const }];

/** One of everything. */
const EVERYTHING: KernelGiven = given(
  {
    networks: [APP, VAULT],
    services: [
      service("web", {
        network: "app",
        vip6: "fd12:3456:789a::5",
        publish: PUBLISH,
        replicas: [1, 2, 3].map((host) => onOverlay(host as 1 | 2 | 3, 2, { weight: host })),
      }),
      service("sticky", {
        vip: "10.96.0.2",
        ports: [{ name: "dns", port: 53, target: 5300, protocol: "udp" }],
        traffic: { ...DEFAULT_TRAFFIC, balance: "source-hash" },
        replicas: ["a", "b"].map((id, at) =>
          replica(id, {
            address: `172.17.0.${at + 2}`,
            ports: [{ name: "dns", port: 53, target: 5300, protocol: "udp" }],
          }),
        ),
      }),
      service("far", {
        vip: "10.96.0.3",
        replicas: [replica("s", { local: false, reach: "direct", address: "203.0.113.9" })],
      }),
    ],
  },
  {
    pool6: "fd12:3456:789a::/64",
    listening: new Set(["8080/tcp"]),
    ejected: new Set(["r3-2:8080"]),
    guests: [{ address: "172.17.0.9", network: "app" }],
    askers: [
      { kind: "bridge", device: "sk-app", to: "10.160.1.1:53" },
      { kind: "address", address: "172.17.0.9", to: "172.17.0.1:53" },
    ],
  },
);

for (const [name, all] of Object.entries({ nothing: given({}), everything: EVERYTHING })) {
  test(`planRules: the ruleset of ${name} is as it was reviewed`, () => {
    const path = join(GOLDEN, `rules-${name}.nft`);
    const { problems, ...ruleset } = planRules(all, 0);
    assert.deepEqual(problems, []);
    const text = renderRules({ ...ruleset, problems });
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
    assert.equal(text, readFileSync(path, "utf8"));
  });
}

test("rulesPlanner: nothing new gives the same ruleset; one changed service keeps the others' chains", () => {
  const plan = rulesPlanner({ nowMs: () => 0 });
  const services = ["a", "b"].map((name, at) =>
    service(name, { vip: `10.96.0.${at + 1}`, replicas: [replica(name, { address: `172.17.0.${at + 2}` })] }),
  );
  const first = plan(given({ services }));
  assert.equal(plan(given({ services })), first);
  const second = plan(
    given({ services: services.map((one, at) => (at === 0 ? { ...one, replicas: [] } : one)) }),
  );
  const chain = "all-default/b/80-tcp";
  assert.notEqual(second.chains.get(chain), undefined);
  assert.equal(second.chains.get(chain), first.chains.get(chain));
});

test("rulesPlanner: a plan from memory is the plan from nothing, whatever changes", () => {
  const services = fc.array(
    fc.record({
      ids: fc.uniqueArray(fc.constantFrom("a", "b", "c")),
      tier: fc.constantFrom("eligible", "panic"),
    }),
    { maxLength: 3 },
  );
  const step = fc.record({
    services,
    ejected: fc.subarray(["a:8080", "b:8080"]),
    hasNetwork: fc.boolean(),
    zone: fc.constantFrom("", "z"),
    nowMs: fc.integer({ min: 0, max: 20_000 }),
  });
  const traffic = { ...DEFAULT_TRAFFIC, slowStartMs: 10_000 };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 6 }), (steps) => {
      let nowMs = 0;
      const known = new Map<string, Service>();
      const plan = rulesPlanner({ nowMs: () => nowMs });
      for (const [at, each] of steps.entries()) {
        nowMs = at * 20_000 + each.nowMs;
        const made = each.services.map(({ ids, tier }, index) => {
          const text = `${index} ${ids.join()} ${tier}`;
          const replicas = ids.map((id, place) =>
            replica(id, {
              address: `172.17.0.${place + 2}`,
              tier: tier as "eligible",
              sinceMs: place * 9000,
            }),
          );
          const one = known.get(text) ?? service(`s${index}`, { vip: `10.96.0.${index}`, replicas, traffic });
          known.set(text, one);
          return one;
        });
        const all = given(
          {
            services: made,
            networks: each.hasNetwork ? [network("app")] : [],
            members: [member(1, { zone: each.zone })],
          },
          { ejected: new Set(each.ejected) },
        );
        assert.deepEqual(plan(all), planRules(all, nowMs));
      }
    }),
    { numRuns: 50 },
  );
});

test("planRules: one that starts slowly is looked at again when its time is over", () => {
  const traffic = { ...DEFAULT_TRAFFIC, slowStartMs: 10_000 };
  const replicas = [replica("a"), replica("b", { address: "172.17.0.3", sinceMs: 50_000 })];
  const all = given({ services: [service("web", { traffic, replicas })] });
  assert.deepEqual(
    [planRules(all, 51_000).sets.get("vips")?.size, planRules(all, 51_000).againAtMs],
    [0, 60_000],
  );
  assert.deepEqual(
    [planRules(all, 60_000).sets.get("vips")?.size, planRules(all, 60_000).againAtMs],
    [1, null],
  );
});

test("planRules: where two services want one VIP and port, the lower key has it", () => {
  const services = ["a", "b"].map((name) => service(name, { replicas: [replica(name)] }));
  const { sets } = planRules(given({ services }), 0);
  assert.deepEqual([...(sets.get("vips")?.values() ?? [])], ["jump all-default/a/80-tcp"]);
});

test("rulesPlanner: a network that becomes encrypted is led to by WireGuard or not at all", () => {
  const members = [member(1), member(2)];
  const services = [service("web", { network: "app", replicas: [onOverlay(2, 2)] })];
  const of = (encrypted: boolean): KernelGiven =>
    given({ services, members, networks: [{ ...APP, encrypted }] });
  const plan = rulesPlanner({ nowMs: () => 0 });
  assert.equal(plan(of(false)).sets.get("vips")?.size, 1);
  const second = plan(of(true));
  assert.equal(second.sets.get("vips")?.size, 0, "host-2 has no WireGuard: the proxy serves it");
  assert.deepEqual(second, planRules(of(true), 0));
});

test("planRules: what is led and not forwarded is told, in the families where something is", () => {
  const services = [service("web", { replicas: [replica("a")] })];
  const { problems } = planRules(given({ services }, { forwards: { v4: false, v6: false } }), 0);
  assert.deepEqual(problems, [
    "IPv4 is not forwarded here (net.ipv4.ip_forward, or Docker's firewall): " +
      "the proxy carries what comes from elsewhere",
  ]);
  assert.deepEqual(planRules(given({}, { forwards: { v4: false, v6: false } }), 0).problems, []);
});

test("rulesPlanner: what this host has learned of itself counts for the addresses of others", () => {
  const of = (prefixes: readonly string[], address: string): KernelGiven => {
    const overlay = { address, device: "eth0", mtu: 1500, encrypts: true };
    return given({ networks: [APP], members: [member(1, { prefixes }), member(3)] }, { overlay });
  };
  const plan = rulesPlanner({ nowMs: () => 0 });
  const steps = [of([], "192.0.2.1"), of(["192.0.2.0/30"], "192.0.2.1"), of([], "192.0.2.3")];
  assert.deepEqual(
    steps.map((each) => plan(each).sets.get("hosts")?.size),
    [1, 0, 0],
  );
  for (const each of steps) assert.deepEqual(plan(each), planRules(each, 0));
});
