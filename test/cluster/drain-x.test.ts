// Draining: a replica is taken out from any host, and whoever waits is told the truth about who has heard.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import test from "node:test";

import type { DrainResult } from "../../src/admin/contract.ts";
import { openEngine, containerEvent, type FakeContainer } from "../support/engine.ts";
import type { DaemonUnderTest, Ending, WebReplica } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  evenly,
  explainReplica,
  prepareCluster,
  startAll,
  tally,
  tasksOf,
  untilEven,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { joinAs } from "./fake-member.ts";
import { steadyLoad } from "./load.ts";

/** A web replica as a container of a fake engine. */
function containerOf(replica: WebReplica, digit: string, startedAt: string): FakeContainer {
  const labels = { "skein.service": "web", "skein.port": `8000:${replica.port}/http` };
  return {
    id: digit.repeat(64),
    name: replica.name.replace(".", "-"),
    address: replica.address,
    labels,
    startedAt,
  };
}

/** A connection that lives on, with one request after the other over it. */
async function openKept(t: Ending, host: string, port: number): Promise<() => Promise<string>> {
  const socket: Socket = connect({ host, port });
  t.after(() => socket.destroy());
  await once(socket, "connect");
  return async () => {
    socket.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    const [chunk] = (await once(socket, "data")) as [Buffer];
    return /\r\n\r\n(?:[0-9a-f]+\r\n)?(\S+)/.exec(chunk.toString())?.[1] ?? "";
  };
}

test("cluster: draining replicas on three hosts", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  const [[one, two] = [], [three] = [], [four] = []] = await webReplicas(t, block, [2, 1, 1]);
  assert.ok(one !== undefined && two !== undefined && three !== undefined && four !== undefined);
  const all = [one, two, three, four];
  const engine = await openEngine([
    containerOf(one, "a", "2026-01-01T00:00:00Z"),
    containerOf(two, "b", "2026-01-01T00:00:00Z"),
  ]);
  t.after(() => engine.close());
  engine.networks = [];
  const raw = { name: "raw", ports: [{ port: 8000 }], publish: ["8089:8000"] };
  const publish = ["8088:8000"];
  first.configure({ docker: { socket: engine.socketPath } });
  second.configure({ services: [webService([three], { publish })] });
  third.configure({ services: [webService([four], { publish }), webService([three, four], raw)] });
  await startAll(hosts);
  await untilServing(hosts, all);
  await untilServing(hosts, [three, four], { service: "raw" });
  const doors = hosts.map(({ address }) => ({ host: address, port: 8088 }));
  for (const door of doors) await untilOpen(door);
  const idOf = async (replica: WebReplica): Promise<string> => {
    return (await explainReplica(first, replica.address)).id;
  };
  const drainOn = async (host: DaemonUnderTest, replica: WebReplica, ...flags: string[]) => {
    const ran = await host.cli("drain", await idOf(replica), ...flags, "-o", "json");
    return { ...ran, result: JSON.parse(ran.stdout) as DrainResult };
  };

  await t.test(
    "on its own host, under load: exit 0 once nobody sends it anything, and nothing fails",
    async () => {
      const load = steadyLoad(t, doors);
      await load.more(30);
      const { code, result } = await drainOn(first, one, "--wait");
      assert.equal(code, 0);
      assert.deepEqual(result, { replica: await idOf(one), applied: true, pending: [] });
      const servedBefore = one.served;
      for (const host of hosts) assert.ok(!(await tasksOf(host)).includes(one.address), host.name);
      for (const [i, door] of doors.entries()) { const got = await tally(door, 6);
      if (Object.keys(got).length !== 3) { const h = hosts[i]!; const m = String(await h.get("/metrics")).split("\n").filter((l) => /^skein_(proxy_retries|upstream_ej|relayed|event_loop)/.test(l)); console.log(h.name, got, m, h.log().split("\n").slice(-15).join("\n"), JSON.stringify(await h.get("/api/v1/explain/web"))); process.exit(1); } }
      await load.stop();
      assert.equal(one.served, servedBefore);
    },
  );

});
