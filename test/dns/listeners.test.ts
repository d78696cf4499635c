// Listeners: wildcards as one socket an address, on a host whose addresses the test decides.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { Connections } from "../../src/dns/tcp/connections.ts";
import { Listeners } from "../../src/dns/listeners.ts";
import type { Responder } from "../../src/dns/responder.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { openBlock, type Block } from "../support/daemons.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";
import { askTcp, query } from "./fixture.ts";

const PORT = 5300;

/** Answers each query with its own bytes. */
const ECHO = {
  recall: () => null,
  serve: (bytes, _client, reply) => reply(bytes),
} as Pick<Responder, "recall" | "serve"> as Responder;

interface Host {
  /** What the host has; to be changed by the test. */
  own: string[];
  readonly warnings: string[];
  readonly listeners: Listeners;
}

async function hostWith(t: TestContext, block: Block, hosts: readonly number[]): Promise<Host> {
  const warnings: string[] = [];
  const log: Log = { debug() {}, info() {}, warn: (text) => warnings.push(text), error() {}, setLevel() {} };
  const host = { own: hosts.map((at) => block.address(at)), warnings };
  const listeners = new Listeners({
    responder: ECHO,
    connections: new Connections(),
    metrics: openMetrics(),
    log,
    ownAddresses: () => host.own,
    lookEveryMs: 5,
  });
  t.after(() => listeners.close());
  return Object.assign(host, { listeners });
}

/** The address that an answer to a UDP query came from. */
async function answeredBy(t: TestContext, at: HostPort): Promise<string> {
  const socket = createSocket("udp4");
  t.after(() => socket.close());
  const answer = once(socket, "message", { signal: AbortSignal.timeout(DEADLINE_MS) });
  socket.send(query("web", "A"), at.port, at.host);
  const [, from] = (await answer) as [Buffer, { readonly address: string }];
  return from.address;
}

/** Takes a TCP port until the test ends, or until it is let go. */
async function take(t: TestContext, { host, port }: HostPort): Promise<() => Promise<void>> {
  const server = createServer().listen(port, host);
  await once(server, "listening");
  const release = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    await once(server, "close");
  };
  t.after(release);
  return release;
}

test("listeners: a wildcard answers from the address that was asked, over UDP and TCP", async (t) => {
  const block = await openBlock(t);
  const { listeners, own } = await hostWith(t, block, [1, 2]);
  const wanted = { host: "0.0.0.0", port: PORT };
  assert.deepEqual(await listeners.add(wanted), wanted);
  for (const host of own) {
    assert.equal(await answeredBy(t, { host, port: PORT }), host);
    assert.equal((await askTcp({ host, port: PORT }, [query("web", "A")])).length, 1);
  }
  assert.deepEqual(listeners.wanted, [wanted]);
});

test("listeners: an address that comes is served, one that is gone for long is not", async (t) => {
  const block = await openBlock(t);
  const host = await hostWith(t, block, [1]);
  await host.listeners.add({ host: "0.0.0.0", port: PORT });
  host.own = [block.address(2)];
  await until(() => host.listeners.places.some((place) => place.host === block.address(2)));
  assert.equal(await answeredBy(t, { host: block.address(2), port: PORT }), block.address(2));
  await until(() => host.listeners.places.every((place) => place.host === block.address(2)));
  await take(t, { host: block.address(1), port: PORT });
});

test("listeners: where a wildcard's port is taken the others are served, and it is once free", async (t) => {
  const block = await openBlock(t);
  const { listeners, warnings } = await hostWith(t, block, [1, 2]);
  const taken = { host: block.address(2), port: PORT };
  const release = await take(t, taken);
  await listeners.add({ host: "0.0.0.0", port: PORT });
  assert.deepEqual(
    listeners.unserved.map(({ address }) => address),
    [taken],
  );
  assert.match(warnings.join("\n"), /:5300\/tcp is taken; expected a free port/);
  await release();
  await until(() => listeners.unserved.length === 0);
  assert.equal(listeners.places.length, 2);
  assert.equal(warnings.length, 1, "a problem that lasts is told once");
});

test("listeners: a wildcard of which nothing can be served is a failure, as a single address is", async (t) => {
  const block = await openBlock(t);
  const host = await hostWith(t, block, [1]);
  const release = await take(t, { host: block.address(1), port: PORT });
  const wanted = { host: "0.0.0.0", port: PORT };
  await assert.rejects(host.listeners.add(wanted), { code: "busy" });
  assert.deepEqual([host.listeners.wanted, host.listeners.places, host.listeners.unserved], [[], [], []]);
  await release();
  await host.listeners.add(wanted);
  host.own = [];
  const none = await hostWith(t, block, []);
  await assert.rejects(none.listeners.add(wanted), { code: "unreachable" });
});

test("listeners: an address of its own beside a wildcard shares the sockets and outlives the wildcard", async (t) => {
  const block = await openBlock(t);
  const { listeners } = await hostWith(t, block, [1, 2]);
  const wildcard = { host: "0.0.0.0", port: PORT };
  const single = { host: block.address(2), port: PORT };
  await listeners.add(wildcard);
  assert.deepEqual(await listeners.add(single), single);
  assert.equal(listeners.places.length, 2);
  await listeners.remove(wildcard);
  assert.deepEqual([listeners.wanted, listeners.places], [[single], [single]]);
  assert.equal(await answeredBy(t, single), single.host);
  await listeners.remove(single);
  assert.deepEqual(listeners.places, []);
});

test("listeners: 0.0.0.0 and :: on one port do not get in each other's way", async (t) => {
  const block = await openBlock(t);
  const { listeners } = await hostWith(t, block, [1, 2]);
  await listeners.add({ host: "0.0.0.0", port: PORT });
  await listeners.add({ host: "::", port: PORT });
  assert.equal(listeners.places.length, 2);
  assert.deepEqual(listeners.unserved, []);
});

test("listeners: port 0 of a wildcard is one port on every address", async (t) => {
  const block = await openBlock(t);
  const { listeners } = await hostWith(t, block, [1, 2, 3]);
  const { port } = await listeners.add({ host: "0.0.0.0", port: 0 });
  assert.notEqual(port, 0);
  assert.deepEqual(
    listeners.places.map((place) => place.port),
    [port, port, port],
  );
});

test("listeners: a single address that goes takes nothing with it that a wildcard holds for a while", async (t) => {
  const block = await openBlock(t);
  const host = await hostWith(t, block, [1, 2]);
  await host.listeners.add({ host: "0.0.0.0", port: PORT });
  const gateway = { host: block.address(3), port: PORT + 1 };
  await host.listeners.add(gateway);
  host.own = [block.address(1)];
  await host.listeners.remove(gateway);
  assert.deepEqual(
    host.listeners.places.map((place) => place.host),
    [block.address(1), block.address(2)],
  );
  await take(t, gateway);
});

test("listeners: once closed nothing is opened any more", async (t) => {
  const block = await openBlock(t);
  const { listeners } = await hostWith(t, block, [1]);
  const place = { host: block.address(1), port: PORT };
  const early = listeners.add(place);
  const closed = listeners.close();
  await assert.rejects(Promise.all([early, listeners.add({ host: "0.0.0.0", port: PORT })]), {
    code: "unreachable",
  });
  await closed;
  await assert.rejects(listeners.add(place), { code: "unreachable" });
  assert.deepEqual([listeners.wanted, listeners.places], [[], []]);
  await take(t, place);
});
