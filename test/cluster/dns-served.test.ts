// Served names: who is told a name for the first time is served at the address that he is told, from that moment on.

import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { connect } from "node:net";
import test from "node:test";

import { DEADLINE_MS, until } from "../support/wait.ts";
import type { ConfigTree, DaemonUnderTest } from "../support/daemons.ts";

import { prepareCluster, startAll, webReplicas } from "./cluster.ts";

const PORT = 8000;

/** For a program that starts: a busy machine takes seconds for it. */
const STARTED_MS = 60_000;

/** So many that their listeners are opened in several turns; of these, every tenth is asked for. */
const SERVICES = 150;
const EVERY = 10;

/** Services of one replica, called `<prefix>-<number>`. */
function many(prefix: string, endpoint: string): readonly ConfigTree[] {
  const serviceOf = (_: unknown, number: number): ConfigTree => {
    return { name: `${prefix}-${number}`, ports: [{ port: PORT }], replicas: [endpoint] };
  };
  return Array.from({ length: SERVICES }, serviceOf);
}

/** What became of a connection: `open`, or the error's code. Who hangs up because no replica is ready yet listens. */
async function reach(host: string): Promise<string> {
  const socket = connect({ host, port: PORT, timeout: DEADLINE_MS });
  const failed = ({ code = "error" }: NodeJS.ErrnoException): string =>
    code === "ECONNRESET" ? "open" : code;
  const outcome = await once(socket, "connect").then(() => "open", failed);
  socket.destroy();
  return outcome;
}

/** Asks for a name without pause until it is told, and connects at once. @returns what became of that */
async function firstReached(host: DaemonUnderTest, name: string): Promise<string> {
  const resolver = new Resolver({ tries: 1, timeout: 5000 });
  resolver.setServers([`${host.address}:5300`]);
  const answered = async (): Promise<string | undefined> => {
    const answers = await resolver.resolve4(name).catch(() => []);
    return answers[0];
  };
  const address = await until(answered, { what: `${name} is told`, everyMs: 1, deadlineMs: STARTED_MS });
  return `${name}: ${await reach(address)}`;
}

/** What became of the first connections to services, each made as soon as its name was told. */
function watchAll(host: DaemonUnderTest, prefix: string): Promise<readonly string[]> {
  const names = Array.from({ length: SERVICES / EVERY }, (_, at) => `${prefix}-${at * EVERY}`);
  return Promise.all(names.map((name) => firstReached(host, name)));
}

/** Those that were not served. */
function refused(outcomes: readonly string[]): readonly string[] {
  assert.equal(outcomes.length, SERVICES / EVERY);
  return outcomes.filter((outcome) => !outcome.endsWith(": open"));
}

test("served names: a name and its address are told no sooner than the address is served", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const [[replica] = []] = await webReplicas(t, block, [1]);
  assert.ok(replica !== undefined);
  await startAll([first, second]);

  await t.test("of services that another host begins to offer", async () => {
    const watching = watchAll(first, "far");
    second.configure({ services: many("far", replica.endpoint) });
    await second.reload();
    assert.deepEqual(refused(await watching), []);
  });

  await t.test("of services of the host itself, from its first answer after a start on", async () => {
    first.configure({ services: many("near", replica.endpoint) });
    await first.end("SIGKILL");
    const starting = first.start();
    assert.deepEqual(refused(await watchAll(first, "near")), []);
    await starting;
  });
});
