// Members: which addresses a host and a range both mean.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sharedPrefixes } from "../../src/model/member.ts";
import { prefix } from "../view/cluster.ts";

test("member: what its routes share with a range counts while it is there", () => {
  const prefixes = ["10.160.0.0/20", "192.168.0.0/16", "10.0.0.0/8", "no prefix"];
  const range = prefix("10.160.0.0/16");
  for (const state of ["alive", "suspect", "away"] as const)
    assert.deepEqual(sharedPrefixes({ state, prefixes }, range), ["10.160.0.0/20", "10.0.0.0/8"]);
  for (const state of ["dead", "left"] as const)
    assert.deepEqual(sharedPrefixes({ state, prefixes }, range), []);
});
