// Network plan: what is made, what is removed, and above all what is left alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { networksFrom, type EngineNetwork } from "../../../src/source/docker/engine-networks.ts";
import {
  describeNetwork,
  planDockerNetworks,
  type LearntOfEngine,
  type NetworkWishes,
  type WantedNetwork,
} from "../../../src/source/docker/network-plan.ts";
import { idOf } from "./fixture.ts";

const NOTHING: LearntOfEngine = { usersById: new Map(), refusedIpv6: new Map() };

function wanted(network: string, over: Partial<WantedNetwork> = {}): WantedNetwork {
  const prefix6 = "fd12:3456:789a:4d:3::/80";
  return { network, device: `sk-${network}`, prefix: "10.160.3.0/24", prefix6, mtu: 1450, ...over };
}

const wish = (...networks: WantedNetwork[]): NetworkWishes => ({
  networks,
  known: new Set(networks.map(({ network }) => network)),
});

/** What an engine has after it made these, each from an id. */
function made(...descriptions: readonly (readonly [string, object])[]): readonly EngineNetwork[] {
  return networksFrom(descriptions.map(([digit, one]) => ({ Id: idOf(digit), ...one }))).networks;
}

const ours = (digit: string, one: WantedNetwork, ipv6 = true) => [digit, describeNetwork(one, ipv6)] as const;

const used = (digit: string, ...users: string[]): LearntOfEngine => ({
  ...NOTHING,
  usersById: new Map([[idOf(digit), users]]),
});

test("network plan: what is not there is made; what is there as wanted is a bridge and nothing is done", () => {
  const app = wanted("app");
  assert.deepEqual(planDockerNetworks(wish(app), [], NOTHING), {
    remove: [],
    create: [app],
    bridges: [],
    problems: [],
  });
  assert.deepEqual(planDockerNetworks(wish(app), made(ours("a", app)), NOTHING), {
    remove: [],
    create: [],
    bridges: [
      {
        network: "app",
        device: "sk-app",
        prefix: "10.160.3.0/24",
        gateway: "10.160.3.1",
        prefix6: "fd12:3456:789a:4d:3::/80",
        gateway6: "fd12:3456:789a:4d:3::1",
      },
    ],
    problems: [],
  });
});

test("network plan: Docker is told the slice, the bridge, the MTU, and to hide and hinder nothing itself", () => {
  assert.deepEqual(describeNetwork(wanted("app"), true), {
    Name: "app",
    CheckDuplicate: true,
    Driver: "bridge",
    EnableIPv6: true,
    IPAM: {
      Driver: "default",
      Config: [
        { Subnet: "10.160.3.0/24", Gateway: "10.160.3.1" },
        { Subnet: "fd12:3456:789a:4d:3::/80", Gateway: "fd12:3456:789a:4d:3::1" },
      ],
    },
    Options: {
      "com.docker.network.bridge.name": "sk-app",
      "com.docker.network.driver.mtu": "1450",
      "com.docker.network.bridge.enable_ip_masquerade": "false",
      "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
      "com.docker.network.bridge.gateway_mode_ipv6": "nat-unprotected",
    },
    Labels: { "skein.network": "app" },
  });
  const { EnableIPv6, IPAM } = describeNetwork(wanted("app", { prefix6: null }), true);
  assert.deepEqual([EnableIPv6, JSON.stringify(IPAM).includes("fd12")], [false, false]);
});

test("network plan: a network of that name that skein did not make is left alone and told", () => {
  const foreign = {
    ...describeNetwork(wanted("app"), false),
    Labels: { "com.docker.compose.network": "app" },
  };
  const { create, remove, bridges, problems } = planDockerNetworks(
    wish(wanted("app")),
    made(["a", foreign]),
    NOTHING,
  );
  assert.deepEqual([create, remove, bridges], [[], [], []]);
  assert.equal(problems[0]?.subject, "docker network app");
  assert.match(problems[0].text, /that skein did not make; expected none/);
});

test("network plan: a range that another Docker network has part of is told with that network, and not tried", () => {
  const other = { Name: "shop", Driver: "bridge", IPAM: { Config: [{ Subnet: "10.160.0.0/16" }] } };
  const plan = planDockerNetworks(wish(wanted("app")), made(["a", other]), NOTHING);
  assert.deepEqual(plan.create, []);
  assert.match(plan.problems[0]?.text ?? "", /10\.160\.3\.0\/24 .* 10\.160\.0\.0\/16 of docker's "shop"/);
});

test("network plan: with another slice than is ours it is made anew while no container uses it, else told", () => {
  const there = made(ours("a", wanted("app", { prefix: "10.160.9.0/24" })));
  const free = planDockerNetworks(wish(wanted("app")), there, NOTHING);
  assert.deepEqual(
    free.remove.map(({ id }) => id),
    [idOf("a")],
  );
  assert.deepEqual([free.create, free.bridges], [[], []]);
  const busy = planDockerNetworks(wish(wanted("app")), there, used("a", "web-1", "web-2"));
  assert.deepEqual([busy.remove, busy.create, busy.bridges], [[], [], []]);
  assert.match(
    busy.problems[0]?.text ?? "",
    /10\.160\.9\.0\/24 .*expected 10\.160\.3\.0\/24.*: web-1, web-2$/,
  );
});

test("network plan: another MTU is told while containers are on it, which go on as they are", () => {
  const there = made(ours("a", wanted("app")));
  const changed = wish(wanted("app", { mtu: 1400 }));
  assert.equal(planDockerNetworks(changed, there, NOTHING).remove.length, 1);
  const users = ["a", "b", "c", "d", "e", "f"];
  const { remove, bridges, problems } = planDockerNetworks(changed, there, used("a", ...users));
  assert.deepEqual([remove.length, bridges.length], [0, 1]);
  assert.match(problems[0]?.text ?? "", /its MTU is 1450; expected 1400; .*: a, b, c, d and 2 more$/);
});

test("network plan: without the IPv6 it is to have it is made anew, unless the engine cannot: that is told", () => {
  const there = made(ours("a", wanted("app"), false));
  assert.equal(planDockerNetworks(wish(wanted("app")), there, NOTHING).remove.length, 1);
  const refusedIpv6 = new Map([["app", "it has no IPv6 here: not supported"]]);
  const { remove, bridges, problems } = planDockerNetworks(wish(wanted("app")), there, {
    ...NOTHING,
    refusedIpv6,
  });
  assert.deepEqual([remove.length, bridges.length], [0, 1]);
  assert.equal(problems[0]?.text, "it has no IPv6 here: not supported");
  const without = planDockerNetworks(wish(wanted("app", { prefix6: null })), there, NOTHING);
  assert.deepEqual([without.remove, without.problems], [[], []]);
});

test("network plan: one whose network is gone is removed, one that is only unsettled or unknown stays a bridge", () => {
  const there = made(ours("a", wanted("app")));
  const plan = (known: ReadonlySet<string> | null) =>
    planDockerNetworks({ networks: [], known }, there, NOTHING);
  assert.equal(plan(new Set(["other"])).remove.length, 1);
  for (const known of [new Set(["app"]), null]) {
    const { remove, bridges } = plan(known);
    assert.deepEqual([remove.length, bridges.length], [0, 1]);
  }
});

test("network plan: whatever an engine has, what is not ours is never removed, and what is used neither", () => {
  const names = fc.constantFrom("app", "back", "shop");
  const prefixes = fc.constantFrom("10.160.3.0/24", "10.160.0.0/16", "10.161.4.0/24", "rubbish");
  const network = fc.record({
    Id: fc.constantFrom("a", "b", "c", "d", "e", "f").map(idOf),
    Name: names,
    Driver: fc.constantFrom("bridge", "macvlan"),
    Labels: fc.oneof(
      fc.constant({}),
      names.map((name) => ({ "skein.network": name })),
    ),
    IPAM: prefixes.map((Subnet) => ({ Config: [{ Subnet }] })),
    Options: fc.constantFrom({}, { "com.docker.network.bridge.name": "sk-app" }),
  });
  const wishes = fc.record({
    networks: fc.subarray([wanted("app"), wanted("back", { prefix: "10.161.4.0/24", prefix6: null })]),
    known: fc.constantFrom(null, new Set(["app"]), new Set<string>()),
  });
  fc.assert(
    fc.property(fc.uniqueArray(network, { selector: ({ Id }) => Id }), wishes, (networks, wishesNow) => {
      const engine = networksFrom(networks).networks;
      const isOurs = ({ name, driver, madeFor }: EngineNetwork) => driver === "bridge" && madeFor === name;
      const first = planDockerNetworks(wishesNow, engine, NOTHING);
      assert.ok(first.remove.every(isOurs));
      const usersById = new Map(engine.map(({ id }) => [id, ["web-1"]]));
      const busy = planDockerNetworks(wishesNow, engine, { ...NOTHING, usersById });
      assert.deepEqual(busy.remove, []);
      const taken = new Set(engine.map(({ name }) => name));
      assert.ok(first.create.every((one) => !taken.has(one.network)));
    }),
  );
});
