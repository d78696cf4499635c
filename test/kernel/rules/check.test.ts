// Check: what could speak to nft is refused, however it came into a ruleset.

import assert from "node:assert/strict";
import { test } from "node:test";

import { checkChain, checkElement } from "../../../src/kernel/rules/check.ts";
import { planRules } from "../../../src/kernel/rules/plan.ts";
import { chain, type Element } from "../../../src/kernel/rules/ruleset.ts";

import { given, network, onOverlay, service } from "./fixtures.ts";

test("checkChain: a planned ruleset passes", () => {
  const services = [service("web", { network: "app", replicas: [onOverlay(1, 2), onOverlay(2, 2)] })];
  const { chains, sets } = planRules(given({ services, networks: [network("app")] }), 0);
  for (const planned of chains.values()) assert.equal(checkChain(planned), null);
  for (const [set, elements] of sets)
    for (const [key, value] of elements) assert.equal(checkElement({ set, key, value }), null);
});

test("checkChain: names, hooks and rules that end a line or a statement are refused", () => {
  const wrong = [
    chain("web }", ["accept"]),
    chain("Web", ["accept"]),
    chain("a".repeat(128), ["accept"]),
    chain("web", ["accept; flush ruleset"]),
    chain("web", ["accept\nflush ruleset"]),
    chain("web", ['accept comment "x"y"']),
    chain("web", ["include $HOME"]),
    chain("web", [""]),
    chain("web", ["accept"], { hook: "type nat hook prerouting priority 0; policy drop;" }),
  ];
  for (const one of wrong) assert.match(checkChain(one) ?? "", /expected/, one.name);
});

test("checkElement: an element of another form is refused", () => {
  const wrong: readonly Element[] = [
    { set: "vips", key: "10.96.0.1 . 6 . 80", value: "jump a }" },
    { set: "vips", key: "10.96.0.1 . 6 . 80", value: "drop" },
    { set: "vips", key: "web . 6 . 80", value: "jump a" },
    { set: "ports", key: "sctp . 80", value: "jump a" },
    { set: "within", key: '"a" . "b; c"', value: "" },
    { set: "hosts", key: "192.0.2.1", value: "x" },
    { set: "gateways", key: '"sk-app"', value: "fd12::1 }" },
  ];
  for (const one of wrong) assert.match(checkElement(one) ?? "", /expected another form/, one.key);
});
