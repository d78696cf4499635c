// The contract with Linux: run by rules.test.ts in a network of its own.

import assert from "node:assert/strict";

import { openNft } from "../../../src/kernel/rules/nft.ts";
import { run } from "../../../src/runtime/exec.ts";
import { CONTRACT } from "./contract.ts";

for (const [sentence, keeps] of Object.entries(CONTRACT)) {
  console.log(sentence);
  const kernel = openNft();
  await keeps(kernel);
  await kernel.apply("add table inet skein\ndelete table inet skein\n");
  const { stdout } = await run("nft", ["list", "ruleset"], { deadlineMs: 20_000 });
  assert.equal(stdout, "", "nothing is left");
}
