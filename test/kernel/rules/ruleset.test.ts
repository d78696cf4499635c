// Ruleset: what is the same text is the same rule.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chain, digestOf, endpointKey, LAYOUT, rule } from "../../../src/kernel/rules/ruleset.ts";

test("rule: its digest follows from its text alone", () => {
  assert.deepEqual(rule("accept"), rule("accept"));
  assert.notEqual(rule("accept").digest, rule("drop").digest);
  assert.match(digestOf(""), /^[0-9a-f]{8}$/);
});

test("chain: rules stand in their order, a base chain with its hook", () => {
  const hook = "type nat hook output priority -105; policy accept;";
  const made = chain("output", ["accept", "drop"], { hook });
  assert.deepEqual(
    made.rules.map(({ text }) => text),
    ["accept", "drop"],
  );
  assert.deepEqual([made.hook, made.service], [hook, null]);
});

test("endpointKey: address, protocol and port tell endpoints apart", () => {
  const key = endpointKey({ address: "10.0.0.1", transport: "udp", port: 53 });
  assert.notEqual(key, endpointKey({ address: "10.0.0.1", transport: "tcp", port: 53 }));
});

test("the layout's name is one that a chain may have", () => {
  assert.match(LAYOUT, /^layout-[0-9a-f]{8}$/);
});
