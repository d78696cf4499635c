// UDP across two hosts: a client that keeps its port is served, whichever host it asks, whatever becomes of replicas.

import assert from "node:assert/strict";
import test from "node:test";

import { askUdp, namedUdp, openUdp, type UdpEnd } from "../support/udp.ts";
import { until } from "../support/wait.ts";

import { prepareCluster, startAll, statusOf } from "./cluster.ts";
import type { ConfigTree } from "../support/daemons.ts";

/** Asks until somebody answers: while hosts have not heard of a change yet, a datagram may be lost. */
async function nameAt(client: UdpEnd, host: string): Promise<string> {
  const before = client.received.length;
  await until(
    () => {
      client.socket.send("?", 5353, host);
      return client.received.length > before;
    },
    { everyMs: 100 },
  );
  return client.received[before]?.text.split(" ")[0] ?? "";
}

function echoService(addresses: readonly string[], over: ConfigTree = {}): ConfigTree {
  const replicas = addresses.map((address) => `${address}:5353`);
  return {
    name: "echo",
    ports: [{ port: 53, target: 5353, protocol: "udp" }],
    publish: ["5353:53/udp"],
    replicas,
    ...over,
  };
}

test("cluster: UDP through both hosts", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [one, two] = [block.address(2, 11), block.address(2, 12)];
  const own = { host: one, port: 5353 };
  const oneUdp = await namedUdp(t, "one", own);
  await namedUdp(t, "two", { host: two, port: 5353 });
  second.configure({ services: [echoService([one, two])] });
  await startAll([first, second]);
  const doors = [first.address, second.address];
  for (const host of [first, second])
    await until(async () => JSON.stringify(await statusOf(host)).includes(`${host.address}:5353/udp`));

  await t.test("each client's port keeps its replica, through the other host as well", async () => {
    for (const door of doors) {
      const seen = new Set<string>();
      for (let at = 0; at < 4; at += 1) {
        const client = await openUdp(t);
        const name = await nameAt(client, door);
        for (let again = 0; again < 3; again += 1)
          assert.equal(await askUdp(client, 5353, "again", door), `${name} again`);
        seen.add(name);
      }
      assert.deepEqual([...seen].toSorted(), ["one", "two"], door);
    }
  });

  await t.test("a replica that dies: its clients' next datagram is answered by the other", async () => {
    const clients: { readonly client: UdpEnd; readonly door: string }[] = [];
    for (const door of doors) {
      for (let at = 0; at < 2; at += 1) clients.push({ client: await openUdp(t), door });
    }
    const names = await Promise.all(clients.map(({ client, door }) => nameAt(client, door)));
    assert.ok(names.includes("one"));
    await oneUdp.close();
    for (const { client, door } of clients)
      assert.equal(await askUdp(client, 5353, "after", door), "two after");
  });

  await t.test("a replica that is replaced: the same ports are served by the new one", async () => {
    const clients = await Promise.all(doors.map(async (door) => ({ client: await openUdp(t), door })));
    for (const { client, door } of clients) assert.equal(await nameAt(client, door), "two");
    const three = block.address(2, 13);
    await namedUdp(t, "three", { host: three, port: 5353 });
    second.configure({ services: [echoService([three])] });
    await second.reload();
    for (const { client, door } of clients) {
      await until(async () => (await nameAt(client, door)) === "three");
      assert.equal(await askUdp(client, 5353, "still", door), "three still");
    }
  });

  await t.test("a daemon that is upgraded, at either end: no question stays without its answer", async () => {
    for (const host of [first, second]) {
      const upgrade = { isOver: false };
      // Each has a port of its own, and so one of the two daemons' sockets.
      const asking = [...doors, ...doors, ...doors].map(async (door) => {
        const client = await openUdp(t);
        for (let at = 0; !upgrade.isOver || at < 50; at += 1) await askUdp(client, 5353, `${at}`, door);
      });
      const { ended } = await host.replace();
      await ended;
      upgrade.isOver = true;
      await Promise.all(asking);
    }
  });
});
