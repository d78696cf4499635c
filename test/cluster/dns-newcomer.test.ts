// Newcomers: what a real daemon tells while it does not know all yet: of a container, of Docker, of itself.

import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { test, type TestContext } from "node:test";

import { decode, openUpstream, reply } from "../dns/fixture.ts";
import { daemonFor, openBlock, type DaemonUnderTest } from "../support/daemons.ts";
import { containerEvent, openEngine, type FakeContainer } from "../support/engine.ts";
import { until } from "../support/wait.ts";

const DB = { name: "db", ports: [{ port: 80 }], replicas: ["127.0.0.1:9"] };

/** VIPs are loopback addresses here. */
const isOfPool = (told: string): boolean => told.startsWith("127.");

const labelled = (id: string, name: string, address: string): FakeContainer => ({
  id: id.repeat(64),
  name,
  address,
  network: "shop",
  labels: { "skein.service": name, "skein.network": "shop", "skein.port": "80" },
  exposed: ["80/tcp"],
});

/** A daemon beside an engine with one container on `shop`, and an upstream that knows no name but what it was asked. */
async function prepared(
  t: TestContext,
  { name, docker }: { readonly name: string; readonly docker: boolean },
) {
  const block = await openBlock(t);
  const leaked: string[] = [];
  const upstream = await openUpstream((bytes) => {
    leaked.push(decode(bytes).questions?.[0]?.name ?? "");
    return [reply(bytes, { rcode: 3 })];
  });
  t.after(() => upstream.close());
  const [first, second] = [block.address(9, 1), block.address(9, 2)];
  const engine = await openEngine([labelled("a", name, first)]);
  t.after(() => engine.close());
  const Config = [{ Subnet: block.address(9, 0).replace(/0$/, "0/24"), Gateway: block.address(9, 254) }];
  engine.networks = [{ Name: "shop", Driver: "bridge", IPAM: { Config } }];
  const daemon = daemonFor(t, {
    name: "host-1",
    address: block.address(1),
    vipPool: block.vipPool,
    config: () => ({
      dns: { upstream: [`${upstream.host}:${upstream.port}`] },
      services: [DB],
      docker: { socket: docker ? engine.socketPath : "off" },
    }),
  });
  /** The address that a program at `from` is told, or why none. */
  const ask = async (name: string, from = daemon.address): Promise<string> => {
    const resolver = new Resolver({ tries: 1, timeout: 5000 });
    resolver.setServers([`${daemon.address}:5300`]);
    resolver.setLocalAddress(from);
    const failed = ({ code }: NodeJS.ErrnoException): string => code ?? "";
    return await resolver.resolve4(name).then((addresses) => addresses.join(), failed);
  };
  return {
    daemon,
    engine,
    first,
    second,
    ask,
    leaked: () => leaked.filter((name) => !name.endsWith(".example")),
  };
}

/** Asks without pause from before the daemon starts until it is ready and the name is told. */
async function askedFromStart(
  daemon: DaemonUnderTest,
  asked: { readonly ask: () => Promise<string>; readonly isTold: (outcome: string) => boolean },
): Promise<ReadonlySet<string>> {
  const outcomes = new Set<string>();
  const starting = daemon.start();
  await until(async () => {
    const outcome = await asked.ask();
    outcomes.add(outcome);
    return asked.isTold(outcome);
  });
  await starting;
  return outcomes;
}

test("newcomer: a container is told its own network's service from its first question on, or nothing", async (t) => {
  const { daemon, engine, first, second, ask } = await prepared(t, { name: "db", docker: true });
  await daemon.start();
  await until(async () => isOfPool(await ask("db", first)) && isOfPool(await ask("db")));
  const [own, others] = [await ask("db", first), await ask("db")];
  assert.notEqual(own, others);

  // Docker has started it and has said nothing; the question itself makes the daemon look.
  engine.containers.set("b".repeat(64), labelled("b", "app", second));
  assert.equal(await ask("db", second), own);

  // Again, and this time nothing can be found out in time.
  engine.containers.delete("b".repeat(64));
  engine.emit(containerEvent("b".repeat(64), "die"));
  await until(async () => (await ask("db", second)) === "ESERVFAIL");
  engine.containers.set("b".repeat(64), labelled("b", "app", second));
  const asking = ask("db", second);
  engine.emit(containerEvent("b".repeat(64), "start"));
  assert.equal(await asking, own);
  assert.equal(await ask("db"), others);
});

test("newcomer: while Docker has told nothing yet, no name of ours is denied, and none leaves", async (t) => {
  const { daemon, engine, ask, leaked } = await prepared(t, { name: "web", docker: true });
  engine.faults.set("/containers/json", { kind: "silent" });
  const names = ["web.shop.skein.internal", "db", "db.default", "nobody", "nobody.default"];
  const starting = daemon.start();
  await until(async () => (await ask("nobody")) === "ESERVFAIL");
  for (const name of names) assert.equal(await ask(name), "ESERVFAIL", name);
  // It goes on without Docker, and still does not know what Docker has.
  await starting;
  assert.match(await ask("db"), /^127\./);
  assert.equal(await ask("web.shop.skein.internal"), "ESERVFAIL");
  assert.deepEqual(leaked(), []);
  engine.faults.clear();
  await engine.stop();
  await engine.start();
  await until(async () => isOfPool(await ask("web.shop.skein.internal")));
  assert.equal(await ask("nobody.skein.internal"), "ENOTFOUND");
});

test("newcomer: a daemon that starts denies none of its own names, not for a moment, and asks nobody", async (t) => {
  const { daemon, ask, leaked } = await prepared(t, { name: "web", docker: false });
  for (const name of ["db", "db.default", "db.skein.internal"]) {
    const outcomes = await askedFromStart(daemon, {
      ask: () => ask(name),
      isTold: (told) => isOfPool(told),
    });
    assert.ok(!outcomes.has("ENOTFOUND") && !outcomes.has("ENODATA"), [...outcomes].join(" "));
    assert.deepEqual(leaked(), []);
    await daemon.end("SIGKILL");
  }
});
