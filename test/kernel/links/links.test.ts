// Links as a part of the kernel's reconciliation: with a fake kernel, and with this machine's.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { openLinks } from "../../../src/kernel/links/links.ts";
import { planLinks } from "../../../src/kernel/links/plan.ts";
import { runApart, whyNotApart } from "../../support/apart.ts";
import { givenOf } from "./cluster.ts";
import { CONTRACT } from "./contract.ts";
import { FakeKernel } from "./fake.ts";

describe("links in a fake kernel", () => {
  for (const [sentence, keeps] of Object.entries(CONTRACT)) {
    it(sentence, async () => {
      const kernel = new FakeKernel();
      await keeps({ kernel, around: kernel });
    });
  }

  it("settings and Docker's chain are seen to with each change, and what is wrong with them is told", async () => {
    const kernel = new FakeKernel();
    await kernel.addBridge("sk-app", "10.160.1.1");
    const told: string[] = [];
    const links = openLinks({
      kernel,
      settings: { apply: async (devices) => (told.push(...devices), ["a setting cannot be set"]) },
      dockerUser: {
        accept: async () => ({ changes: 1, problems: ["a chain cannot be read"] }),
        remove: async () => ({ changes: 1, problems: [] }),
      },
    });
    const { problems } = await links.apply(planLinks(givenOf()), { mayRemove: true });
    assert.deepEqual(told, ["sk-vx4711"]);
    assert.deepEqual(problems, ["a setting cannot be set", "a chain cannot be read"]);
    const again = await links.apply(planLinks(givenOf()), { mayRemove: true });
    assert.deepEqual(again, { changes: 0, problems }, "it goes on being told");
  });

  it("what cannot be removed is told, and Docker's rule goes all the same", async () => {
    const kernel = {
      observe: async () => await Promise.reject(new Failure("not-found", 'program "ip" is not installed')),
      execute: async () => [],
    };
    const done = async (): Promise<{ changes: number; problems: string[] }> => ({ changes: 1, problems: [] });
    const removed = await openLinks({ kernel, dockerUser: { accept: done, remove: done } }).remove();
    assert.deepEqual(removed, {
      changes: 1,
      problems: ['links are left as they are: program "ip" is not installed'],
    });
  });

  it("a host without overlay networks has nothing done to it", async () => {
    const kernel = new FakeKernel();
    const seen: string[] = [];
    const touch = async (): Promise<never> => {
      seen.push("touched");
      throw new Error("not wanted");
    };
    const links = openLinks({ kernel, dockerUser: { accept: touch, remove: touch } });
    const plan = planLinks(givenOf({ networks: [] }));
    assert.deepEqual(await links.apply(plan, { mayRemove: true }), { changes: 0, problems: [] });
    assert.deepEqual([kernel.executed, seen], [0, []]);
  });
});

describe("links of this machine", { skip: await whyNotApart(["bridge", "nft", "iptables"]) }, () => {
  it("keep to the same contract", async () => {
    await runApart(join(import.meta.dirname, "real.ts"));
  });
});
