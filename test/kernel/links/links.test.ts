// Links as a part of the kernel's reconciliation: with a fake kernel, and with this machine's.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { openLinks } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import { runApart, whyNotApart } from "../../support/apart.ts";
import { givenOf } from "./cluster.ts";
import { CONTRACT } from "./contract.ts";
import { FakeKernel } from "./fake.ts";

const NOTHING = { changes: 0, problems: [] };

describe("links in a fake kernel", () => {
  for (const [sentence, keeps] of Object.entries(CONTRACT)) {
    it(sentence, async () => {
      const kernel = new FakeKernel();
      await keeps({ kernel, around: kernel });
    });
  }

  it("settings are seen to with each change, and what is wrong with them is told", async () => {
    const kernel = new FakeKernel();
    await kernel.addBridge("sk-app", "10.160.1.1");
    const told: string[] = [];
    const links = openLinks({
      kernel,
      settings: { apply: async (devices) => (told.push(...devices), ["a setting cannot be set"]) },
    });
    const { problems } = await links.apply(planLinks(givenOf()), { mayRemove: true });
    assert.deepEqual(told, ["sk-vx4711"]);
    assert.deepEqual(problems, ["a setting cannot be set"]);
    const again = await links.apply(planLinks(givenOf()), { mayRemove: true });
    assert.deepEqual(again, { changes: 0, problems }, "it goes on being told");
  });

  it("a host without overlay networks has nothing done to it", async () => {
    const kernel = new FakeKernel();
    const plan = planLinks(givenOf({ networks: [] }));
    assert.deepEqual(await openLinks({ kernel }).apply(plan, { mayRemove: true }), NOTHING);
    assert.equal(kernel.executed, 0);
  });

  it("they stay where nothing is forwarded for the moment: who uses them is not decided here", () => {
    const stands = planLinks({ ...givenOf(), forwards: { v4: false, v6: false } });
    assert.deepEqual(stands, planLinks(givenOf()));
  });
});

describe("links of this machine", { skip: await whyNotApart(["bridge", "nft", "iptables"]) }, () => {
  it("keep to the same contract", async () => {
    await runApart(join(import.meta.dirname, "real.ts"));
  });
});
