// A daemon as a process: what signals do to it, and what it does with what is under way.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import test from "node:test";

import { askHandover } from "../../src/daemon/handover.ts";
import {
  ask,
  doorAt,
  explain,
  prepareCluster,
  tally,
  tasksOf,
  untilOpen,
  untilRefused,
  untilServing,
  webReplicas,
  webService,
} from "../cluster/cluster.ts";
import type { DaemonUnderTest, Ending, WebReplica } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

async function oneDaemon(
  t: Ending,
  over: object = {},
): Promise<{ daemon: DaemonUnderTest; replica: WebReplica }> {
  const { block, hosts } = await prepareCluster(t);
  const [daemon] = hosts;
  const [[replica] = []] = await webReplicas(t, block, [1]);
  assert.ok(replica !== undefined);
  daemon.configure({
    mesh: { listen: `${daemon.address}:7650` },
    ...over,
    services: [webService([replica], { publish: ["8088:8000"] })],
  });
  return { daemon, replica };
}

test("command: SIGTERM and SIGINT end it with 0, its socket is gone, and it starts again", async (t) => {
  const { daemon, replica } = await oneDaemon(t);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await daemon.start();
    await untilServing([daemon], [replica]);
    assert.equal(await daemon.end(signal), 0);
    assert.match(daemon.log(), new RegExp(`${signal}: draining, then stopping\\n.*stopped`, "s"));
    assert.ok(!existsSync(daemon.socket), "its socket is gone");
  }
});

test("command: a signal that comes while it starts is kept until it can stop", async (t) => {
  const { daemon } = await oneDaemon(t);
  const ended = daemon.runToEnd();
  await until(() => daemon.log().includes("answering dns"), { what: "it is starting" });
  daemon.signal("SIGTERM");
  assert.equal((await ended).code, 0);
  assert.match(daemon.log(), /stopped/);
});

test("command: a request under way when it is told to stop gets its answer; new clients are refused", async (t) => {
  const { daemon, replica } = await oneDaemon(t);
  await daemon.start();
  await untilServing([daemon], [replica]);
  const door = doorAt(daemon, 8088);
  await untilOpen(door);
  replica.silent = true;
  const asked = ask(door);
  await until(() => replica.held() === 1);
  const ended = daemon.end("SIGTERM");
  await untilRefused(door);
  replica.release();
  assert.equal(await asked, replica.name);
  assert.equal(await ended, 0);
});

test("command: a second signal ends it at once, whatever still hangs on it", async (t) => {
  const { daemon, replica } = await oneDaemon(t);
  await daemon.start();
  await untilServing([daemon], [replica]);
  await untilOpen(doorAt(daemon, 8088));
  replica.silent = true;
  const socket = connect({ host: daemon.address, port: 8088 });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  await once(socket, "connect");
  socket.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
  await until(() => replica.held() === 1);
  const ended = daemon.end("SIGTERM");
  await until(() => daemon.log().includes("SIGTERM: draining"));
  daemon.signal("SIGTERM");
  assert.equal(await ended, 1, "not 0: it did not end cleanly");
});

test("command: told to stop while another daemon is about to take over, it says so and ends with 0", async (t) => {
  const { daemon, replica } = await oneDaemon(t);
  await daemon.start();
  await untilServing([daemon], [replica]);
  const door = doorAt(daemon, 8088);
  await untilOpen(door);
  const successor = await askHandover(daemon.socket);
  t.after(() => successor?.abandon());
  assert.equal(await ask(door), replica.name, "it serves on while the other one is not ready");
  assert.equal(await daemon.end("SIGTERM"), 0);
  assert.match(daemon.log(), /told to stop before the daemon that takes over serves/);
  assert.doesNotMatch(daemon.log(), /not ready in time|handed over/);
});

test("command: SIGHUP takes services, health and log level anew, without losing what goes on", async (t) => {
  const { daemon, replica } = await oneDaemon(t, { health: { interval: "1h" } });
  const slow = { health: { http: "/healthz" } };
  const configOf = (interval: string, level: string, services: object[]) => {
    const mesh = { listen: `${daemon.address}:7650` };
    return { mesh, health: { interval }, log: { format: "text", level }, services };
  };
  daemon.configure(configOf("1h", "info", [webService([replica], slow)]));
  await daemon.start();
  await untilServing([daemon], [replica]);
  const { vip } = await explain(daemon);
  replica.healthy = false;
  daemon.configure(
    configOf("100ms", "debug", [webService([replica], slow), webService([replica], { name: "more" })]),
  );
  await daemon.reload();
  await until(async () => (await tasksOf(daemon)).length === 0, { what: "the new interval counts from now" });
  assert.equal((await explain(daemon)).vip, vip);
  assert.notEqual((await explain(daemon, "more")).vip, vip);
  replica.healthy = true;
  daemon.configure(configOf("100ms", "info", [webService([replica], slow)]));
  await daemon.reload();
  await untilServing([daemon], [replica]);
  assert.equal(await daemon.lookup("more.default.skein.internal"), "ENOTFOUND");
  assert.deepEqual(await daemon.lookup("web"), [vip]);
});

test("command: SIGHUP turns the access log on, and opens its file anew when it was renamed away", async (t) => {
  const { daemon, replica } = await oneDaemon(t);
  await daemon.start();
  await untilServing([daemon], [replica]);
  const door = doorAt(daemon, 8088);
  await untilOpen(door);
  const file = join(daemon.dir, "access.log");
  assert.equal(await ask(door), replica.name);
  daemon.configure({
    mesh: { listen: `${daemon.address}:7650` },
    log: { format: "text", access: "full", accessFile: file },
    services: [webService([replica], { publish: ["8088:8000"] })],
  });
  await daemon.reload();
  /** Asks until the file tells of it. */
  const told = () =>
    until(async () => {
      assert.equal(await ask(door), replica.name);
      const [line] = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
      return line === undefined || line === "" ? null : (JSON.parse(line) as Record<string, unknown>);
    });
  const first = await told();
  assert.deepEqual(
    [first["service"], first["node"], first["result"], first["retries"]],
    ["default/web", "host-1", "ok", []],
  );
  assert.equal(first["replica"], (await explain(daemon)).replicas[0]?.id);
  renameSync(file, `${file}.1`);
  await daemon.reload();
  assert.equal((await told())["service"], "default/web");
});

test("command: blue and green are one service, and a reload of their weights moves all traffic over", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [daemon] = hosts;
  const [[blue, green] = []] = await webReplicas(t, block, [2]);
  assert.ok(blue !== undefined && green !== undefined);
  const weigh = (one: number, other: number): void =>
    daemon.configure({
      mesh: { listen: `${daemon.address}:7650` },
      log: { format: "text" },
      services: [
        webService([blue], { publish: ["8088:8000"], weight: one }),
        webService([green], { publish: ["8088:8000"], weight: other }),
      ],
    });
  const door = doorAt(daemon, 8088);
  const answered = async (): Promise<string> => Object.keys(await tally(door, 6)).join(",");
  weigh(1, 0);
  await daemon.start();
  await untilOpen(door);
  await until(async () => (await answered()) === blue.name);
  weigh(0, 1);
  await daemon.reload();
  await until(async () => (await answered()) === green.name);
});

test("command: SIGHUP with a broken config changes nothing and says what is wrong, by line", async (t) => {
  const { daemon, replica } = await oneDaemon(t);
  await daemon.start();
  await untilServing([daemon], [replica]);
  writeFileSync(daemon.file, "health:\n  interval: soon\n");
  await daemon.reload();
  assert.match(
    daemon.log(),
    /configuration not reloaded, the running one stays: .*skein\.yaml:2: "health\.interval" is "soon"/,
  );
  assert.deepEqual(await tasksOf(daemon), [replica.address]);
  assert.equal(await daemon.end("SIGTERM"), 0);
});
