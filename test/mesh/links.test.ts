// The links that gossip asks for: what a dial comes to, what is told and how often, and what may be skipped.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { openLanes } from "../../src/mesh/lanes.ts";
import type { Link } from "../../src/mesh/link.ts";
import { openLinks, type MeshInput } from "../../src/mesh/links.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMemoryLinks } from "../support/memory-link.ts";
import { openMeshPort, openRawWebSocket, openTlsServer } from "../support/mesh-port.ts";
import { openMember, papersOf, refusalsOf } from "../support/mesh-trust.ts";
import { openSilentLog } from "../support/silence.ts";
import { closedPort, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

const peerOf = (input: MeshInput | undefined): string => (input?.kind === "linkUp" ? input.peer : "");

function open(t: TestContext, number = 1) {
  const inputs: MeshInput[] = [];
  const log = openSilentLog();
  const lanes = openLanes();
  const member = openMember(papersOf(number));
  const links = openLinks({ onInput: (input) => inputs.push(input), log, lanes, ...member });
  t.after(() => links.closeAll("the test is over"));
  const kinds = (): string[] => inputs.map(({ kind }) => kind);
  const lines = (level: string): typeof log.lines => log.lines.filter((line) => line.level === level);
  return { ...member, links, inputs, kinds, lines, lanes, log };
}

/** The mesh port of such a set of links. */
async function listen(t: TestContext, { links, lanes, log, papers, refusals }: ReturnType<typeof open>) {
  const onLink = (link: Link): void => links.accept(link);
  return openMeshPort(t, { papers, refusals, nextLinkId: links.nextId, onLink, lanes, log });
}

test("links: two daemons get a link each, frames by its number, and the end with its reason", async (t) => {
  const [here, there] = [open(t, 1), open(t, 2)];
  const { address } = await listen(t, there);
  here.links.dial(address);
  await until(() => here.inputs.length === 1 && there.inputs.length === 1);
  const [up] = here.inputs;
  assert.deepEqual([here.kinds(), there.kinds()], [["linkUp"], ["linkUp"]]);
  assert.ok(up?.kind === "linkUp");
  assert.deepEqual(up.dialled, address);
  assert.deepEqual([up.peer, peerOf(there.inputs[0])], [there.id, here.id]);
  here.links.send({ link: up.link, frame: Buffer.from("hello"), kind: "hello" });
  await until(() => there.inputs.length === 2);
  assert.equal(there.inputs[1]?.kind, "frame");
  here.links.close(up.link, "enough");
  await until(() => there.inputs.length === 3 && here.inputs.length === 2);
  assert.ok(there.inputs[2]?.kind === "linkDown");
  assert.match(there.inputs[2].reason, /enough/);
});

test("links: a dial that fails is told each time, and whether the host refused", async (t) => {
  const { links, inputs } = open(t);
  const refusing = { host: "127.0.0.1", port: await closedPort() };
  const hangingUp = { host: "127.0.0.1", port: (await openTcpServer(t, (socket) => socket.end())).port };
  for (const address of [refusing, hangingUp, refusing]) {
    const count = inputs.length;
    links.dial(address);
    await until(() => inputs.length > count);
  }
  assert.deepEqual(inputs, [
    { kind: "dialFailed", address: refusing, refused: true },
    { kind: "dialFailed", address: hangingUp, refused: false },
    { kind: "dialFailed", address: refusing, refused: true },
  ]);
});

test("links: who answers and is no peer is warned of once, however often it is dialled", async (t) => {
  const { links, inputs, lines } = open(t);
  const answer = "HTTP/1.1 400 Bad Request\r\nskein-reason: expected skein.v9\r\nContent-Length: 0\r\n\r\n";
  const ports = [];
  for (let count = 0; count < 2; count += 1) {
    const server = await openTlsServer(t, (socket) => socket.once("data", () => socket.end(answer)));
    ports.push(server.port);
  }
  for (const port of [...ports, ...ports, ...ports]) {
    const count = inputs.length;
    links.dial({ host: "127.0.0.1", port });
    await until(() => inputs.length > count);
  }
  assert.deepEqual(
    lines("warn").map(({ fields }) => fields["address"]),
    ports.map((port) => `127.0.0.1:${port}`),
  );
  assert.match(String(lines("warn")[0]?.fields["reason"]), /400 to the handshake: expected skein\.v9/);
  assert.equal(lines("debug").length, 0);
});

test("links: a peer that breaks the rules is counted each time and told of once, by its id", async (t) => {
  const here = open(t);
  const port = await listen(t, here);
  for (let count = 1; count <= 3; count += 1) {
    const raw = openRawWebSocket(t, port.address.port, { papers: papersOf(2) });
    raw.on("open", () => raw.send("text"));
    await until(() => here.inputs.filter(({ kind }) => kind === "linkDown").length === count);
  }
  assert.equal(await refusalsOf(here, "violation"), 3);
  assert.deepEqual(
    here.told.map(({ reason, address, peer }) => [reason, address, peer]),
    [["violation", "127.0.0.1", papersOf(2).id]],
  );
});

test("links: when a member is removed all links with it end, whoever dialled, and no other does", async (t) => {
  const [here, gone, stays] = [open(t, 1), open(t, 2), open(t, 3)];
  const port = await listen(t, here);
  const goneAt = (await listen(t, gone)).address;
  gone.links.dial(port.address);
  stays.links.dial(port.address);
  here.links.dial(goneAt);
  await until(() => here.kinds().length === 3 && gone.kinds().length === 2);
  here.links.cut(({ id }) => (id === gone.id ? "removed from the cluster" : null));
  await until(() => gone.kinds().filter((kind) => kind === "linkDown").length === 2);
  await until(() => here.kinds().filter((kind) => kind === "linkDown").length === 2);
  const [, , down] = gone.inputs;
  assert.ok(down?.kind === "linkDown");
  assert.match(down.reason, /removed from the cluster/);
  assert.deepEqual(stays.kinds(), ["linkUp"]);
});

test("links: what repair covers is skipped on a link that is behind, what keeps membership alive is not", async (t) => {
  const { links, kinds, metrics } = open(t);
  // Its other end is never started.
  const { dialled } = openMemoryLinks([links.nextId(), links.nextId()]);
  links.accept(dialled);
  const frame = new Uint8Array(LIMITS.deltaBytes);
  const sentOf = async (kind: string): Promise<number> => {
    const { values } = await metrics.gossipMessages.get();
    return values.find(({ labels }) => labels.kind === kind)?.value ?? 0;
  };
  while (dialled.bufferedBytes <= LIMITS.linkBufferedBytes)
    links.send({ link: dialled.id, frame, kind: "delta" });
  for (const kind of ["digest", "compare", "parts", "announce", "ping", "pong", "rumor", "applied"])
    links.send({ link: dialled.id, frame: new Uint8Array(10), kind });
  for (const kind of ["digest", "compare", "parts", "announce"]) assert.equal(await sentOf(kind), 0, kind);
  for (const kind of ["ping", "pong", "rumor", "applied"]) assert.equal(await sentOf(kind), 1, kind);
  assert.deepEqual(kinds(), ["linkUp"]);
});

test("links: once all are closed nothing is dialled or taken", async (t) => {
  const { links, inputs } = open(t);
  links.closeAll("leaving");
  links.dial({ host: "127.0.0.1", port: await closedPort() });
  const { dialled, accepted } = openMemoryLinks([1, 2]);
  links.accept(accepted);
  let end = "";
  dialled.start({ frame: () => undefined, closed: ({ text }) => (end = text) });
  await until(() => end !== "");
  assert.match(end, /stopping/);
  assert.deepEqual(inputs, []);
});
