// Isolated containers: a real daemon beside an engine with an internal network, from which no question may leave.

import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { test } from "node:test";

import { decode, openUpstream, reply } from "../dns/fixture.ts";
import { daemonFor, openBlock } from "../support/daemons.ts";
import { containerEvent, openEngine } from "../support/engine.ts";
import { until } from "../support/wait.ts";

const FOREIGN = "www.example.com";

test("isolated: on an internal network foreign names are refused, to containers not known yet, too", async (t) => {
  const block = await openBlock(t);
  const asked: string[] = [];
  const upstream = await openUpstream((bytes) => {
    asked.push(decode(bytes).questions?.[0]?.name ?? "");
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  t.after(() => upstream.close());
  const [gateway, inside, stranger, outside] = [
    block.address(9, 1),
    block.address(9, 2),
    block.address(9, 3),
    block.address(8, 2),
  ];
  const engine = await openEngine([
    { id: "a".repeat(64), name: "inside", network: "sealed", address: inside },
    { id: "b".repeat(64), name: "outside", network: "open", address: outside },
  ]);
  t.after(() => engine.close());
  const network = (Name: string, Internal: boolean, Gateway: string) => {
    const Subnet = Gateway.replace(/\.1$/, ".0/24");
    return { Name, Driver: "bridge", Internal, IPAM: { Config: [{ Subnet, Gateway }] } };
  };
  engine.networks = [network("sealed", true, gateway), network("open", false, block.address(8, 1))];
  const config = () => ({
    docker: { socket: engine.socketPath },
    dns: { upstream: [`${upstream.host}:${upstream.port}`] },
    services: [{ name: "web", ports: [{ port: 80 }], replicas: ["127.0.0.1:9"] }],
  });
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool, config });
  await daemon.start();

  /** How many addresses a program at this address is told, or why none. */
  const ask = async (from: string, name: string): Promise<number | string> => {
    const resolver = new Resolver({ tries: 1 });
    resolver.setServers([`${daemon.address}:5300`]);
    resolver.setLocalAddress(from);
    const failed = ({ code }: NodeJS.ErrnoException): string => code ?? "";
    return await resolver.resolve4(name).then(({ length }) => length, failed);
  };
  await until(async () => (await ask(inside, FOREIGN)) === "EREFUSED");
  for (const from of [inside, stranger]) {
    asked.splice(0);
    // Of a container that is not known yet nobody can tell what it sees.
    const isKnown = from === inside;
    assert.equal(await ask(from, FOREIGN), isKnown ? "EREFUSED" : "ESERVFAIL", from);
    assert.equal(await ask(from, "web.default.skein.internal"), isKnown ? 1 : "ESERVFAIL", from);
    assert.ok(!asked.includes(FOREIGN), from);
  }
  for (const from of [outside, gateway, daemon.address]) assert.equal(await ask(from, FOREIGN), 1, from);

  engine.containers.delete("a".repeat(64));
  engine.networks = [network("sealed", false, gateway)];
  engine.emit({ Type: "network", Action: "create", Actor: { ID: "n", Attributes: {} } });
  engine.emit(containerEvent("a".repeat(64), "die"));
  await until(async () => (await ask(inside, FOREIGN)) === 1);
});
