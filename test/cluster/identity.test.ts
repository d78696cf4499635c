// Who is who: data dirs copied and restored, clusters that disagree about their addresses.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import type { EventLine } from "../../src/admin/contract.ts";
import { webReplica, type DaemonUnderTest } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  explain,
  explainReplica,
  membersOf,
  prepareCluster,
  problemsOf,
  startAll,
  stateOf,
  untilAlive,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";

async function eventTexts(host: DaemonUnderTest): Promise<string[]> {
  const events = (await host.get("/api/v1/events")) as readonly EventLine[];
  return events.map(({ kind, subject, text }) => `${kind} ${subject}: ${text}`);
}

test("identity: two daemons with one id, from a copied data dir, are told of on both and harm nobody", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  const [[one] = [], , [three] = []] = await webReplicas(t, block, [1, 0, 1]);
  assert.ok(one !== undefined && three !== undefined);
  first.configure({ services: [webService([one])] });
  third.configure({ services: [webService([three])] });
  await first.start();
  await first.end("SIGTERM");
  cpSync(first.dataDir, second.dataDir, { recursive: true });
  await startAll([first, third]);
  await untilServing([first, third], [one, three]);
  const id = (await membersOf(first)).find(({ self }) => self)?.id;
  await second.start();
  for (const host of [first, second]) {
    await until(
      async () => (await eventTexts(host)).some((text) => text.includes(`uses this node's id ${id}`)),
      {
        what: `${host.name} tells of the other one`,
      },
    );
  }
  // The third host keeps answering, whichever of the two it believes at a moment.
  assert.equal((await third.lookup("web"))[0], (await explain(third)).vip);
  await second.end("SIGTERM");
  await untilAlive(third, [first, third]);
  await untilServing([first, third], [one, three]);
});

test("identity: a daemon whose data dir was put back from a backup is heard all the same", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one, two] = []] = await webReplicas(t, block, [2]);
  assert.ok(one !== undefined && two !== undefined);
  first.configure({ services: [webService([one])] });
  const pair = [first, second];
  await first.start();
  await first.end("SIGTERM");
  const backup = join(first.dir, "backup");
  cpSync(first.dataDir, backup, { recursive: true });
  // Some lives later its peers know a higher incarnation than the backup does.
  for (let life = 0; life < 3; life += 1) {
    for (const host of pair.filter((one) => !one.isRunning())) await host.start();
    await untilServing(pair, [one]);
    await first.end("SIGKILL");
  }
  cpSync(backup, first.dataDir, { recursive: true, force: true });
  first.configure({ services: [webService([one, two])] });
  await first.start();
  await untilServing(pair, [one, two]);
  await untilAlive(second, pair);
  two.healthy = false;
  await untilServing(pair, [one]);
});

test("identity: members with different VIP ranges see a problem, on both, and traffic goes on", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  first.configure({ services: [webService([one], { publish: ["8088:8000"] })] });
  const other = block.vipPool.replace("0.0/16", "128.0/17");
  const low = block.vipPool.replace("0.0/16", "0.0/17");
  first.configure({ vip: { pool: low, listen: false }, services: [webService([one])] });
  second.configure({ vip: { pool: other, listen: false }, services: [webService([two])] });
  await startAll([first, second]);
  await untilServing([first, second], [one, two]);
  for (const [host, pool] of [
    [first, low],
    [second, other],
  ] as const) {
    const expected = new RegExp(`outside this host's pool ${pool.replaceAll(".", "\\.")}`);
    await until(async () => (await problemsOf(host)).some((text) => expected.test(text)), {
      what: `${host.name} tells of it`,
    });
    assert.match((await explain(host)).problems.join("\n"), expected);
  }
});

test("identity: a member that comes back under another name and port is the same member", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const replica = await webReplica(t, "web-2.1", block.address(2, 11));
  second.configure({ services: [webService([replica])] });
  await startAll([first, second]);
  await untilServing([first, second], [replica]);
  const id = (await membersOf(second)).find(({ self }) => self)?.id;
  await second.end("SIGKILL");
  await until(async () => (await stateOf(first, "host-2")) === "dead");
  second.configure({
    node: { name: "renamed", dataDir: second.dataDir },
    mesh: { listen: `${second.address}:7660`, join: [`${first.address}:7650`] },
    services: [webService([replica])],
  });
  await second.start();
  await untilAlive(first, [{ name: "host-1" }, { name: "renamed" }]);
  assert.deepEqual(
    (await membersOf(first)).map(({ name }) => name),
    ["host-1", "renamed"],
    "the old name is gone",
  );
  assert.equal((await membersOf(first)).find(({ name }) => name === "renamed")?.id, id);
  await untilServing([first, second], [replica]);
  assert.equal((await explainReplica(first, replica.address)).node, "renamed");
});
