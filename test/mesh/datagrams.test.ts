// Datagrams to replicas of other hosts, on real mesh ports and sockets: flows apart, refusals told, nothing left open.

import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { openDatagrams } from "../../src/mesh/datagrams.ts";
import type { OwnerWay } from "../../src/mesh/stream.ts";
import { openStreams } from "../../src/mesh/streams.ts";
import type { DatagramReceiver, DatagramWay } from "../../src/model/datagram.ts";
import { openMeshPort, openTls, type MeshPort } from "../support/mesh-port.ts";
import { openMember, papersOf } from "../support/mesh-trust.ts";
import { closedUdpPort, namedUdp, openUdp } from "../support/udp.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";

/** A daemon's mesh port with one replica `dns-1`, whose port 53/udp is `replicaPort` on loopback. */
function openHost(
  t: TestContext,
  replicaPort: number,
  {
    number = 0,
    wayTo = () => ({ kind: "unknown" }),
  }: { number?: number; wayTo?: (node: string) => OwnerWay } = {},
): Promise<MeshPort> {
  return openMeshPort(t, {
    papers: papersOf(number),
    resolve: (replica, port, transport) =>
      replica === "dns-1" && port === 53 && transport === "udp"
        ? { address: "127.0.0.1", port: replicaPort }
        : null,
    wayTo: (node) => (node === papersOf(number).id ? { kind: "self" } : wayTo(node)),
  });
}

/** What came back on a way. */
class Heard implements DatagramReceiver {
  readonly answers: string[] = [];
  readonly refusals: number[] = [];
  readonly breaks: string[] = [];

  answered(flow: number, payload: Buffer): void {
    this.answers.push(`${flow}: ${payload.toString("latin1")}`);
  }

  refused(flow: number): void {
    this.refusals.push(flow);
  }

  ended(flow: number): void {
    this.answers.push(`${flow} ended`);
  }

  broke(text: string): void {
    this.breaks.push(text);
  }
}

const ASK = { replica: "dns-1", port: 53, deadlineMs: DEADLINE_MS } as const;

async function openWay(
  t: TestContext,
  { address, id }: Pick<MeshPort, "address" | "id">,
  changed: Partial<typeof ASK> & { owner?: { node: string; hop: 0 | 1 } } = {},
): Promise<{ way: DatagramWay; heard: Heard }> {
  const streams = openStreams(openMember(papersOf(1)));
  t.after(() => streams.close());
  const heard = new Heard();
  const way = await openDatagrams(streams.open)({ address, id }, { ...ASK, ...changed }, heard);
  t.after(() => way.close());
  return { way, heard };
}

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

const withCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

describe("datagrams: through the daemon of the replica's host", () => {
  it("flows share one connection, and each has its own port at the replica and its own answers", async (t) => {
    const replica = await namedUdp(t, "one");
    const host = await openHost(t, replica.port);
    const { way, heard } = await openWay(t, host);
    assert.ok(way.send(1, bytes("a")) && way.send(2, bytes("b")) && way.send(1, bytes("c")));
    await until(() => heard.answers.length === 3);
    assert.deepEqual(heard.answers.toSorted(), ["1: one a", "1: one c", "2: one b"]);
    const portOf = (text: string): number | undefined =>
      replica.received.find((one) => one.text === text)?.from.port;
    assert.equal(portOf("a"), portOf("c"));
    assert.notEqual(portOf("a"), portOf("b"));
    assert.equal(host.listener.streamCount(), 1);
  });

  it("datagrams keep their bounds: empty ones, and ones of 60 kB", async (t) => {
    const replica = await openUdp(t, { answer: (text) => String(text.length) });
    const { way, heard } = await openWay(t, await openHost(t, replica.port));
    for (const length of [0, 1, 1472, 60_000]) way.send(length, Buffer.alloc(length));
    await until(() => heard.answers.length === 4);
    assert.deepEqual(heard.answers.toSorted(), ["0: 0", "1472: 1472", "1: 1", "60000: 60000"]);
  });

  it("a port that refuses is told by its flow, and the way goes on", async (t) => {
    const port = await closedUdpPort(t);
    const { way, heard } = await openWay(t, await openHost(t, port));
    way.send(7, bytes("a"));
    await until(() => heard.refusals.includes(7));
    await namedUdp(t, "back", { port });
    way.send(8, bytes("b"));
    await until(() => heard.answers.includes("8: back b"));
  });

  it("a replica, a port and a transport that the host does not have are not found", async (t) => {
    const host = await openHost(t, (await namedUdp(t, "one")).port);
    await assert.rejects(openWay(t, host, { replica: "dns-2" as "dns-1" }), withCode("not-found"));
    await assert.rejects(openWay(t, host, { port: 54 as 53 }), withCode("not-found"));
    const streams = openStreams(openMember(papersOf(1)));
    t.after(() => streams.close());
    await assert.rejects(streams.open(host, ASK), withCode("not-found"));
  });

  it("passed on by a member that reaches the owner, answers come back the same way", async (t) => {
    const owner = await openHost(t, (await namedUdp(t, "far")).port);
    const relay = await openHost(t, 1, {
      number: 2,
      wayTo: (node) => (node === owner.id ? { kind: "peer", address: owner.address } : { kind: "unknown" }),
    });
    const { way, heard } = await openWay(t, relay, { owner: { node: owner.id, hop: 0 } });
    way.send(1, bytes("a"));
    await until(() => heard.answers.includes("1: far a"));
  });

  it("a daemon that closes breaks the way, and tells nothing more", async (t) => {
    const replica = await namedUdp(t, "one");
    const host = await openHost(t, replica.port);
    const { way, heard } = await openWay(t, host);
    way.send(1, bytes("a"));
    await until(() => heard.answers.length === 1);
    await host.listener.close();
    await until(() => heard.breaks.length === 1);
    assert.equal(way.send(1, bytes("b")), false);
  });

  it("a way that is closed gives back every socket at the replica's host", async (t) => {
    const replica = await namedUdp(t, "one");
    const host = await openHost(t, replica.port);
    const { way, heard } = await openWay(t, host);
    way.send(1, bytes("a"));
    await until(() => heard.answers.length === 1);
    way.close();
    await until(() => host.listener.streamCount() === 0);
    assert.deepEqual(heard.breaks, [], "who closes is not told of it");
  });

  it("bytes that are no frames end the connection, and nothing else", async (t) => {
    const replica = await namedUdp(t, "one");
    const host = await openHost(t, replica.port);
    const raw = await openTls(t, host.address.port, { alpn: "skein-stream/1" });
    raw.socket.write(
      "GET /datagrams/dns-1/53 HTTP/1.1\r\nHost: mesh\r\nConnection: Upgrade\r\nUpgrade: skein-datagrams/1\r\n\r\n",
    );
    await until(() => raw.received().startsWith("HTTP/1.1 101"));
    raw.socket.write("this is no frame");
    await until(() => raw.socket.destroyed || raw.socket.readableEnded);
    const { way, heard } = await openWay(t, host);
    way.send(1, bytes("a"));
    await until(() => heard.answers.includes("1: one a"));
  });
});
