// Streams as they are opened: connections kept ready, who must answer, and what ends with a member.

import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { openStreams, type Streams } from "../../src/mesh/streams.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { dialPort, openMeshPort, openTls, type MeshPort, type RawTls } from "../support/mesh-port.ts";
import { openMember, papersOf, refusalsOf, type TestMember } from "../support/mesh-trust.ts";
import { openTcpServer, type TcpServer } from "../support/tcp.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";

const ASK = { replica: "web-1", port: 80, deadlineMs: DEADLINE_MS } as const;

interface Scene {
  readonly port: MeshPort;
  readonly replica: TcpServer;
  readonly member: TestMember;
  readonly client: Streams;
  /** How many connections the client has dialled. */
  readonly dials: () => number;
  readonly open: () => Promise<Socket>;
}

/** A member's port with an echoing replica, and another member that opens streams to it. */
async function openScene(t: TestContext): Promise<Scene> {
  const replica = await openTcpServer(t, (socket) => socket.pipe(socket));
  const port = await openMeshPort(t, { resolve: () => ({ address: "127.0.0.1", port: replica.port }) });
  const member = openMember(papersOf(1));
  let dials = 0;
  const client = openStreams({
    dialMember(peer, options) {
      dials += 1;
      return member.dialMember(peer, options);
    },
  });
  t.after(() => client.close());
  const open = async (): Promise<Socket> => {
    const stream = await client.open(port, ASK);
    stream.on("error", () => undefined);
    t.after(() => stream.destroy());
    return stream;
  };
  return { port, replica, member, client, dials: () => dials, open };
}

async function echoed(stream: Socket, text: string): Promise<void> {
  let got = "";
  stream.on("data", (part: Buffer) => (got += part.toString()));
  stream.write(text);
  await until(() => got === text);
}

describe("streams: kept ready", () => {
  it("after the first stream connections are ready, and the next ones dial nothing before they are open", async (t) => {
    const { client, dials, open, port } = await openScene(t);
    await echoed(await open(), "first");
    await until(() => client.readyCount() === LIMITS.readyPerMember);
    assert.equal(dials(), 1 + LIMITS.readyPerMember);
    await until(() => port.listener.readyCount() === LIMITS.readyPerMember);
    const before = dials();
    const opening = open();
    assert.equal(dials(), before);
    await echoed(await opening, "second");
    await until(() => client.readyCount() === LIMITS.readyPerMember);
    assert.equal(dials(), before + 1);
    assert.equal(port.listener.streamCount(), 2);
  });

  it("one that the other end has closed is noticed and not used", async (t) => {
    const { client, open, port } = await openScene(t);
    await open();
    await until(() => client.readyCount() === LIMITS.readyPerMember);
    await port.listener.close();
    await until(() => client.readyCount() === 0);
  });

  it("one that died without a word fails no stream: the next is taken, then a fresh one", async (t) => {
    const { port, client } = await openScene(t);
    // A way to the port that is cut when something is said on it, a number of times.
    let cuts = 0;
    const door = await openTcpServer(t, (socket) => {
      const behind = connect(port.address.port, port.address.host);
      behind.on("error", () => undefined);
      t.after(() => behind.destroy());
      behind.pipe(socket);
      socket.on("data", (part: Buffer) => {
        if (cuts === 0) return void behind.write(part);
        cuts -= 1;
        socket.resetAndDestroy();
      });
    });
    const peer = { id: port.id, address: { host: "127.0.0.1", port: door.port } };
    const first = await client.open(peer, ASK);
    first.on("error", () => undefined);
    await until(() => client.readyCount() === LIMITS.readyPerMember);
    cuts = LIMITS.readyPerMember;
    const stream = await client.open(peer, ASK);
    assert.equal(cuts, 0);
    await echoed(stream, "on the third");
    for (const one of [first, stream]) one.destroy();
  });

  it("a member may keep a few ready here, and the oldest give way; strangers' places stay free", async (t) => {
    const { port } = await openScene(t);
    const raws: RawTls[] = [];
    for (let count = 0; count < LIMITS.readyAcceptedPerMember + 3; count += 1)
      raws.push(await openTls(t, port.address.port, { alpn: "skein-stream/1", papers: papersOf(2) }));
    await until(() => raws.slice(0, 3).every(({ socket }) => socket.readableEnded || socket.destroyed));
    assert.equal(port.listener.readyCount(), LIMITS.readyAcceptedPerMember);
    assert.equal(await refusalsOf(port, "ready"), 3);
    assert.equal(port.told[0]?.peer, papersOf(2).id);
  });
});

describe("streams: whose they are", () => {
  it("a stream is opened to the member that was meant or not at all", async (t) => {
    const { port, client, replica, member } = await openScene(t);
    await assert.rejects(client.open({ id: papersOf(2).id, address: port.address }, ASK), (thrown) => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, "unreachable");
      assert.match(thrown.message, new RegExp(`is node ${port.id}; expected ${papersOf(2).id}`));
      return true;
    });
    assert.equal(await refusalsOf(member, "another-member"), 1);
    assert.equal(replica.sockets.length, 0);
  });

  it("when a member is removed its streams are reset on the side that serves them, and others' go on", async (t) => {
    const { port, open, replica } = await openScene(t);
    const gone = await open();
    await echoed(gone, "hello");
    const others = openStreams(openMember(papersOf(2)));
    t.after(() => others.close());
    const stays = await others.open(port, ASK);
    await echoed(stays, "hello");
    const link = await dialPort(port.address, { from: openMember(papersOf(1)) });
    const ends: string[] = [];
    link.start({ frame: () => undefined, closed: ({ text }) => ends.push(text) });
    await until(() => port.links.length === 1);
    port.revoke(papersOf(1).id);
    port.listener.cut(port.objection);
    await until(() => gone.destroyed && replica.sockets[0]?.destroyed === true && ends.length === 1);
    assert.equal(gone.errored?.message.includes("ECONNRESET"), true);
    assert.match(ends[0] ?? "", /removed from the cluster/);
    await until(() => port.listener.readyCount() === LIMITS.readyPerMember);
    assert.equal(stays.destroyed, false);
    stays.destroy();
  });

  it("when a member is removed the streams through it are reset on the side that opened them", async (t) => {
    const { port, member, client, open, replica } = await openScene(t);
    await echoed(await open(), "hello");
    await until(() => client.readyCount() === LIMITS.readyPerMember);
    member.revoke(port.id);
    client.cut(member.objection);
    assert.equal(client.readyCount(), 0);
    await until(() => replica.sockets[0]?.destroyed === true && port.listener.readyCount() === 0);
  });

  it("streams and links go on while their certificates are good, and end once these have ended", async (t) => {
    const { port, member, client, open, replica } = await openScene(t);
    const stream = await open();
    await echoed(stream, "hello");
    const link = await dialPort(port.address, { from: member });
    const ends: string[] = [];
    link.start({ frame: () => undefined, closed: ({ text }) => ends.push(text) });
    await until(() => port.listener.readyCount() === LIMITS.readyPerMember && port.links.length === 1);
    for (const part of [client, port.listener]) part.cut(port.objection);
    await echoed(stream, "still there");
    assert.deepEqual([ends, client.readyCount()], [[], LIMITS.readyPerMember]);
    port.passDays(100);
    port.listener.cut(port.objection);
    await until(() => stream.destroyed && replica.sockets[0]?.destroyed === true && ends.length === 1);
    assert.match(ends[0] ?? "", /certificate of this connection has ended/);
    await until(() => port.listener.readyCount() === 0 && client.readyCount() === 0);
  });

  it("a connection kept ready before its member was removed serves no stream any more", async (t) => {
    const { port, client, open } = await openScene(t);
    await open();
    await until(() => client.readyCount() === LIMITS.readyPerMember);
    port.revoke(papersOf(1).id);
    await assert.rejects(client.open(port, ASK), /you are refused: .*was removed/);
    assert.equal(await refusalsOf(port, "revoked"), 1);
    assert.equal(port.listener.streamCount(), 1);
  });
});
