// Guard: clear packets stay out of encrypted networks and strangers' out of all, whatever becomes of the rules.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";

import { openGuard, type GuardKernel } from "../../../src/kernel/guard/guard.ts";
import { NO_GUARD, renderGuard, type GuardPlan } from "../../../src/kernel/guard/plan.ts";
import { runApart, whyNotApart } from "../../support/apart.ts";

const MAY = { mayRemove: true };
const PLAN: GuardPlan = { sealed: [4711], plain: [4712], hosts: ["192.0.2.2", "192.0.2.3"], device: "eth0" };

/** A kernel that holds what it was told, and tells it as it was said. */
class FakeGuard implements GuardKernel {
  text: string | null = null;
  applied = 0;

  async list(): Promise<string | null> {
    return this.text;
  }

  async apply(script: string): Promise<void> {
    this.applied += 1;
    this.text = script.includes("chain") ? script : null;
  }
}

describe("guard in a fake kernel", () => {
  it("is put in once, and left alone while it is as it should be, also by the next daemon", async () => {
    const kernel = new FakeGuard();
    const guard = openGuard(kernel);
    assert.deepEqual(await guard.apply(PLAN, MAY), { changes: 1, problems: [] });
    assert.deepEqual(await guard.apply(PLAN, MAY), { changes: 0, problems: [] });
    assert.deepEqual(await guard.repair(), { changes: 0, problems: [] });
    assert.deepEqual(await openGuard(kernel).apply(PLAN, MAY), { changes: 0, problems: [] });
    assert.equal(kernel.applied, 1);
  });

  it("only grows while not all is known: what an earlier life kept out stays out", async () => {
    const kernel = new FakeGuard();
    await openGuard(kernel).apply(PLAN, MAY);
    const young = openGuard(kernel);
    const known = { sealed: [4713], plain: [], hosts: ["192.0.2.4"], device: "eth0" };
    await young.apply(known, { mayRemove: false });
    const hosts = ["192.0.2.2", "192.0.2.3", "192.0.2.4"];
    const both = { sealed: [4711, 4713], plain: [4712], hosts, device: "eth0" };
    assert.equal(kernel.text, renderGuard(both));
    await young.apply({ ...NO_GUARD, device: "eth0" }, { mayRemove: false });
    assert.equal(kernel.text, renderGuard(both));
    await young.apply(PLAN, MAY);
    assert.equal(kernel.text, renderGuard(PLAN));
  });

  it("is put in anew where somebody took it away, or a rule or a host of it", async () => {
    const kernel = new FakeGuard();
    const guard = openGuard(kernel);
    await guard.apply(PLAN, MAY);
    const whole = kernel.text ?? "";
    const damaged = [null, whole.replace(/^.*counter drop.*$/m, ""), whole.replace("192.0.2.3", "192.0.2.9")];
    for (const text of damaged) {
      kernel.text = text;
      assert.deepEqual(await guard.repair(), { changes: 1, problems: [] });
      assert.equal(kernel.text, whole);
    }
  });

  it("goes with the last network, and is not repaired once it was removed", async () => {
    const kernel = new FakeGuard();
    const guard = openGuard(kernel);
    await guard.apply(PLAN, MAY);
    await guard.apply(NO_GUARD, MAY);
    assert.equal(kernel.text, null);
    await guard.apply(PLAN, MAY);
    assert.deepEqual(await guard.remove(), { changes: 1, problems: [] });
    assert.deepEqual(await guard.repair(), { changes: 0, problems: [] });
    assert.deepEqual(await guard.remove(), { changes: 0, problems: [] });
  });
});

describe("guard of this machine", { skip: await whyNotApart(["nft", "ping"]) }, () => {
  it("keeps out clear packets of encrypted networks, and strangers' packets, without any rules", async () => {
    await runApart(join(import.meta.dirname, "host.ts"));
  });
});
