// Thousands of connections to the mesh port that never become anything: nobody inside notices, and who belongs gets in.

import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import test from "node:test";

import { until } from "../support/wait.ts";

import {
  doorAt,
  membersOf,
  prepareCluster,
  startAll,
  untilAlive,
  untilOpen,
  untilServing,
} from "./cluster.ts";
import { webReplicas, webService } from "./cluster.ts";
import { steadyLoad } from "./load.ts";

const CONNECTIONS = 5000;
/** Under way at once while they are opened: more than the system's backlog would only be sent again. */
const WAVE = 250;
/** The head of a ClientHello of 512 bytes (RFC 8446 5.1), of which the rest comes a byte now and then, or never. */
const HELLO_BEGUN = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]);
const TRICKLE_EVERY_MS = 200;

test("mesh port: 5,000 connections half open or slow cost no request, no member, and no newcomer", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  const [, [two] = []] = await webReplicas(t, block, [0, 1]);
  assert.ok(two !== undefined);
  const pair = [first, second];
  second.configure({ services: [webService([two], { publish: ["8088:8000"] })] });
  await startAll(pair);
  await untilServing(pair, [two]);
  // The replica is on the second host: each answer through the first comes over its mesh port and back.
  const door = doorAt(first, 8088);
  await untilOpen(door);
  const load = steadyLoad(t, [door]);
  await load.more(20);

  const crowd = new Set<Socket>();
  let opened = 0;
  const open = (number: number): Promise<void> => {
    const victim = number % 2 === 0 ? first : second;
    const socket = connect({ host: victim.address, port: 7650 });
    crowd.add(socket);
    // That it is hung up on is what we want.
    socket.on("error", () => undefined);
    return new Promise((resolve) => {
      socket.once("connect", () => {
        opened += 1;
        if (number % 3 > 0) socket.write(HELLO_BEGUN);
        resolve();
      });
      socket.once("close", () => {
        crowd.delete(socket);
        resolve();
      });
    });
  };
  const trickle = setInterval(() => {
    for (const socket of crowd) if (socket.bytesWritten > 0) socket.write(Buffer.of(1));
  }, TRICKLE_EVERY_MS);
  t.after(() => {
    clearInterval(trickle);
    for (const socket of crowd) socket.destroy();
  });
  for (let from = 0; from < CONNECTIONS; from += WAVE)
    await Promise.all(Array.from({ length: WAVE }, (_, at) => open(from + at)));
  assert.ok(opened > CONNECTIONS * 0.9, `${opened} were open for a while`);
  assert.ok(crowd.size > 100, `${crowd.size} are open still`);

  await third.start();
  await untilAlive(third, hosts);
  await untilServing([third], [two]);
  await load.more(100);
  const account = await load.stop();
  assert.deepEqual(account.failures, []);
  for (const host of hosts) {
    assert.ok(host.isRunning(), host.name);
    assert.deepEqual(
      (await membersOf(host)).map(({ name, state }) => `${name} ${state}`),
      hosts.map(({ name }) => `${name} alive`),
    );
    assert.ok(!/member\.dead/.test(host.log()), `${host.name} gave nobody up`);
  }
  // Those that are left are hung up on in the end, whatever they trickle.
  await until(() => crowd.size === 0, { deadlineMs: 20_000, what: "the crowd is gone" });
  const counted = await Promise.all(
    pair.map(async (host) => {
      const reasons = ["strangers", "handshake"].map((reason) => `reason="${reason}"`);
      const counts = reasons.map((label) => host.metric("skein_mesh_refused_total", label));
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    }),
  );
  assert.ok(
    counted.every((count) => count > 1000),
    `refused and counted: ${counted.join(", ")}`,
  );
});
