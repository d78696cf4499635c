// The contract with Linux: run by links.test.ts in a network of its own.

import assert from "node:assert/strict";

import { openIproute } from "../../../src/kernel/links/iproute.ts";
import { run } from "../../../src/runtime/exec.ts";
import { CONTRACT, type Around } from "./contract.ts";

const DEADLINE = { deadlineMs: 20_000 };

async function ip(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run("ip", args, DEADLINE);
  assert.equal(status, 0, `ip ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** Addresses that IPv6 gives itself come when they like. */
const OF_ITS_OWN = /fe80:|ff00:|\banycast\b/;

const around: Around = {
  async addBridge(name, gateway) {
    await ip("link", "add", name, "type", "bridge");
    await ip("addr", "add", `${gateway}/24`, "dev", name);
    await ip("link", "set", name, "up");
  },
  async removeBridge(name) {
    await ip("link", "del", name);
  },
  async removeDevice(name) {
    await ip("link", "del", name);
  },
  async addForeignRoute(to) {
    await ip("route", "add", to, "dev", "lo");
  },
  async hasForeignRoute(to) {
    return (await ip("route", "show", to, "dev", "lo")) !== "";
  },
  async addForeignVxlan(vni) {
    const options = ["id", String(vni), "dstport", "4789", "nolearning"];
    await ip("link", "add", "foreign", "type", "vxlan", ...options);
  },
  async everything() {
    const listings = await Promise.all([
      ip("-oneline", "link"),
      ip("-oneline", "addr"),
      ip("-4", "route", "show", "table", "all"),
      ip("-6", "route", "show", "table", "all"),
      ip("-4", "rule"),
      ip("-6", "rule"),
      ip("neigh", "show", "nud", "permanent"),
    ]);
    return listings.flatMap((listing) => listing.split("\n").filter((line) => !OF_ITS_OWN.test(line))).sort();
  },
};

const before = await around.everything();
for (const [sentence, keeps] of Object.entries(CONTRACT)) {
  console.log(sentence);
  const kernel = openIproute();
  await keeps({ kernel, around });
  const left = await kernel.observe();
  await kernel.execute(left.map((thing) => ({ verb: "remove", thing })));
  for (const line of (await ip("-oneline", "link")).split("\n")) {
    const name = /^\d+: ([^:@]+)/.exec(line)?.[1] ?? "lo";
    if (name !== "lo") await ip("link", "del", name);
  }
  await run("ip", ["route", "flush", "dev", "lo"], DEADLINE);
  assert.deepEqual(await around.everything(), before);
}

console.log("without the right to any of it, that is said");
const [links, plan, cluster] = ["links/links", "links/plan", "cluster"].map((name) =>
  import.meta.resolve(name === "cluster" ? "./cluster.ts" : `../../../src/kernel/${name}.ts`),
);
const script = `
  const { openLinks } = await import(${JSON.stringify(links)});
  const { planLinks } = await import(${JSON.stringify(plan)});
  const { givenOf } = await import(${JSON.stringify(cluster)});
  await openLinks().apply(planLinks(givenOf()), { mayRemove: true });`;
const rights = ["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
const unable = [...rights, process.execPath, "--input-type=module", "-e", script];
const told = await run("setpriv", unable, DEADLINE);
assert.equal(told.status, 1);
assert.match(told.stderr, /code: 'not-allowed'/);
assert.match(told.stderr, /NET_ADMIN is wanted/);
assert.deepEqual(await around.everything(), before);
