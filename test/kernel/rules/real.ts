// The contract with Linux: run by rules.test.ts in a network and mounts of its own.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";

import { openNft } from "../../../src/kernel/rules/nft.ts";
import { run } from "../../../src/runtime/exec.ts";
import { CONTRACT } from "./contract.ts";

const PROTOCOLS = "/etc/protocols";
const DEADLINE = { deadlineMs: 20_000 };

for (const [sentence, keeps] of Object.entries(CONTRACT)) await keep(sentence, keeps);
// Many images have no names of protocols.
if (existsSync(PROTOCOLS)) {
  assert.equal((await run("mount", ["--bind", "/dev/null", PROTOCOLS], DEADLINE)).status, 0);
  for (const [sentence, keeps] of Object.entries(CONTRACT).slice(0, 2)) await keep(sentence, keeps);
}

async function keep(sentence: string, keeps: (typeof CONTRACT)[string]): Promise<void> {
  console.log(sentence);
  const kernel = openNft();
  await keeps(kernel);
  await kernel.apply("add table inet skein\ndelete table inet skein\n");
  const { stdout } = await run("nft", ["list", "ruleset"], DEADLINE);
  assert.equal(stdout, "", "nothing is left");
}
