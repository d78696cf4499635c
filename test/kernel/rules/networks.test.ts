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
    "ip saddr { 172.17.0.9 } fib saddr . iif oif exists accept",
    "counter drop",
  ]);
});

test("planNetworks: what is on a bridge stays together though its network is not carried", () => {
  for (const [scene, changes] of [
    [{ networks: [network("app", { isSound: false })] }, {}],
    [{ networks: [network("app")] }, { broken: new Set(["app"]) }],
    [{ networks: [network("app")] }, { overlay: null }],
  ] as const) {
    const { rules, of, bridged } = planned(scene, changes);
    assert.deepEqual(rules("see-app"), ['iifname "sk-app" accept', "counter drop"]);
    assert.deepEqual(of("within"), ['"sk-app" . "sk-app" ']);
    assert.deepEqual(of("gateways"), ['"sk-app" 10.160.1.1']);
    assert.deepEqual([of("entries"), of("homes")], [[], []]);
    assert.deepEqual(
      bridged.map(({ bridge }) => bridge.device),
      ["sk-app"],
    );
  }
});

test("planNetworks: a network without a bridge here is for its guests alone", () => {
  const { rules, of, bridged } = planned({ networks: [network("app")] }, { bridges: [] });
  assert.deepEqual(rules("see-app"), ["counter drop"]);
  assert.deepEqual([of("within"), bridged], [[], []]);
});

test("planNetworks: a bridge whose network is no more keeps what is its own", () => {
  const { bridges } = given({ networks: [network("app")] });
  const { of } = planned({}, { bridges });
  assert.deepEqual(of("within"), ['"sk-app" . "sk-app" ']);
});

test("planNetworks: an address that cannot be another host's is told and has no homes", () => {
  const wrong = ["192.0.2.255", "224.0.0.1", "192.0.2.1", "10.160.2.9"];
  for (const address of wrong) {
    const members = [
      member(1, { prefixes: ["192.0.2.0/24"] }),
      member(2, { overlay: { address, mtu: 1500 } }),
      member(3),
    ];
    const { of, problems } = planned({ networks: [network("app")], members });
    assert.deepEqual(of("hosts"), ["192.0.2.3 "], address);
    assert.equal(problems.length, 1, address);
  }
});

test("planNetworks: a host's slices are told with its IPv6 address too, where that is how it is reached", () => {
  const six = network("app");
  const slices = six.slices.map((slice) => ({ ...slice, prefix6: `fd12:0:0:10a0:${slice.index}::/80` }));
  const members = [member(1), member(2, { host: "2001:DB8::2" }), member(3)];
  const { of } = planned({ networks: [{ ...six, slices }], members });
  assert.deepEqual(of("homes"), ["192.0.2.2 . 10.160.2.0/24 ", "192.0.2.3 . 10.160.3.0/24 "]);
  assert.deepEqual(of("homes6"), ["2001:db8::2 . fd12:0:0:10a0:2::/80 "]);
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
  const { problems, of, bridged, rules } = planned(scene, {
    bridges,
    askers: [{ kind: "bridge", device: "x y", to: "1:2" }],
  });
  assert.deepEqual(
    problems.map((text) => text.slice(0, text.indexOf(":"))),
    ["network b has no rules", "host host-2 has no rules", "bridge x y has no rules"],
  );
  assert.deepEqual(of("hosts"), ["192.0.2.3 "]);
  assert.deepEqual(
    bridged.map((each) => each.network?.name),
    ["app"],
  );
  assert.deepEqual(rules("see-b"), ["counter drop"], "its VIPs are nobody's, not everybody's");
});
