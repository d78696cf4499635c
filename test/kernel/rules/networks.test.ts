// Networks: who is on a network, who came in through whom, and who asks for names.

import assert from "node:assert/strict";
import { test } from "node:test";

import { carriedNetworks } from "../../../src/kernel/carried.ts";
import type { KernelGiven } from "../../../src/kernel/given.ts";
import { ingressMark, vtepMac } from "../../../src/kernel/names.ts";
import { planNetworks } from "../../../src/kernel/rules/networks.ts";

import { given, HOSTS, member, network, type Scene } from "./fixtures.ts";

function planned(scene: Scene, changes: Partial<KernelGiven> = {}) {
  const all = given(scene, changes);
  const plan = planNetworks(all, carriedNetworks(all));
  return {
    ...plan,
    of: (name: string) =>
      plan.elements.filter(({ set }) => set === name).map(({ key, value }) => `${key} ${value}`),
    rules: (name: string) => plan.chains.find((chain) => chain.name === name)?.rules.map(({ text }) => text),
  };
}

test("planNetworks: packets go between the bridge and the network's own VXLAN device", () => {
  const { of } = planned({ networks: [network("app")] });
  assert.deepEqual(of("within"), [
    '"sk-app" . "sk-app" ',
    '"sk-app" . "sk-vx4256" ',
    '"sk-vx4256" . "sk-app" ',
  ]);
  assert.deepEqual(of("gateways"), ['"sk-app" 10.160.1.1', '"sk-vx4256" 10.160.1.1']);
});

test("planNetworks: each other host of a network has its mark", () => {
  const { of } = planned({ networks: [network("app")] });
  assert.deepEqual(of("entries"), [
    `"sk-vx4256" . ${vtepMac(HOSTS[1])} 0x${ingressMark(2).toString(16)}`,
    `"sk-vx4256" . ${vtepMac(HOSTS[2])} 0x${ingressMark(3).toString(16)}`,
  ]);
  assert.deepEqual(of("hosts"), ["192.0.2.2 ", "192.0.2.3 "]);
});

test("planNetworks: VIPs are for the bridge and the guests of the network", () => {
  const guests = [
    { address: "172.17.0.9", network: "app" },
    { address: "172.17.0.8", network: "other" },
  ];
  const { rules } = planned({ networks: [network("app")] }, { guests });
  assert.deepEqual(rules("see-app"), [
    'iifname "sk-app" accept',
    "ip saddr { 172.17.0.9 } accept",
    "counter drop",
  ]);
});

test("planNetworks: a network that this host does not carry is for its guests alone", () => {
  const { rules, of, carried } = planned({ networks: [network("app", { isSound: false })] });
  assert.deepEqual(rules("see-app"), ["counter drop"]);
  assert.deepEqual([of("within"), carried], [[], []]);
});

test("planNetworks: who asks for names is turned to where DNS listens", () => {
  const { of } = planned(
    {},
    {
      askers: [
        { kind: "bridge", device: "sk-app", to: "10.160.1.1:53", to6: "[fd12::1]:53" },
        { kind: "address", address: "172.17.0.9", to: "172.17.0.1:5300" },
      ],
    },
  );
  assert.deepEqual(of("asking"), ['"sk-app" 10.160.1.1 . 53']);
  assert.deepEqual(of("asking6"), ['"sk-app" fd12::1 . 53']);
  assert.deepEqual(of("askers"), ["172.17.0.9 172.17.0.1 . 5300"]);
});

test("planNetworks: what cannot be written is told, and its neighbours stand", () => {
  const wrong = member(2, { overlay: { address: "192.0.2.2 }", mtu: 1500 } });
  const scene = {
    networks: [network("app"), network("b", { second: 161 })],
    members: [member(1), wrong, member(3)],
  };
  const bridges = given(scene).bridges.map((bridge) =>
    bridge.network === "b" ? { ...bridge, gateway: "10.161.1.1; drop" } : bridge,
  );
  const { problems, of, carried } = planned(scene, {
    bridges,
    askers: [{ kind: "bridge", device: "x y", to: "1:2" }],
  });
  assert.deepEqual(
    problems.map((text) => text.slice(0, text.indexOf(":"))),
    ["network b has no rules", "host host-2 has no rules", "bridge x y has no rules"],
  );
  assert.deepEqual(of("hosts"), ["192.0.2.3 "]);
  assert.deepEqual(
    carried.map((each) => each.network.name),
    ["app"],
  );
});
