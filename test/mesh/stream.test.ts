// Relayed streams on real sockets: bytes, ends and resets pass as if client and replica were joined directly.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import type { HostPort } from "../../src/base/ip.ts";
import { DatagramDesk } from "../../src/mesh/datagram-desk.ts";
import type { OwnerWay } from "../../src/mesh/stream.ts";
import { Receipts } from "../../src/mesh/receipts.ts";
import { serveStream } from "../../src/mesh/stream-serving.ts";
import { openStreams, type Streams } from "../../src/mesh/streams.ts";
import type { Metrics } from "../../src/runtime/metrics.ts";
import { openMeshPort, openTls, openTlsServer, type MeshPort } from "../support/mesh-port.ts";
import { openMember, papersOf } from "../support/mesh-trust.ts";
import { closedPort, openTcp, openTcpServer } from "../support/tcp.ts";
import { DEADLINE_MS, readToEnd, until, within } from "../support/wait.ts";

interface Relay extends MeshPort {
  /** Opens streams to its replica as another member does. */
  readonly client: Streams;
}

/** A daemon's mesh port, with one replica `web-1` whose service port 80 is `replicaPort` on loopback. */
async function openRelay(
  t: TestContext,
  replicaPort: number,
  {
    number = 0,
    wayTo = () => ({ kind: "unknown" }),
  }: { number?: number; wayTo?: (node: string) => OwnerWay } = {},
): Promise<Relay> {
  const address = "127.0.0.1";
  const port = await openMeshPort(t, {
    papers: papersOf(number),
    resolve: (replica, port) => (replica === "web-1" && port === 80 ? { address, port: replicaPort } : null),
    wayTo,
  });
  return { ...port, client: openClient(t) };
}

function openClient(t: TestContext, number = 1): Streams {
  const streams = openStreams(openMember(papersOf(number)));
  t.after(() => streams.close());
  return streams;
}

const WEB = { replica: "web-1", port: 80 } as const;

async function dial(
  t: TestContext,
  { address, id, client = openClient(t) }: Pick<Relay, "address" | "id"> & { readonly client?: Streams },
  deadlineMs = DEADLINE_MS,
): Promise<Socket> {
  const socket = await client.open({ address, id }, { ...WEB, deadlineMs });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

/** A raw connection of a member's in the protocol of streams. */
function openRaw(t: TestContext, relay: Relay): ReturnType<typeof openTls> {
  return openTls(t, relay.address.port, { alpn: "skein-stream/1" });
}

const withCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

async function counted(metrics: Metrics, result: string): Promise<number> {
  const { values } = await metrics.streams.get();
  return values.find(({ labels }) => labels.result === result)?.value ?? 0;
}

const REQUEST =
  "GET /stream/web-1/80 HTTP/1.1\r\nHost: mesh\r\nConnection: Upgrade\r\nUpgrade: skein-stream/1\r\n\r\n";

describe("stream: bytes", () => {
  it("50 MB each way at once arrive unchanged", async (t) => {
    const chunk = Buffer.alloc(250_000, "skein");
    const rounds = 200;
    const expected = createHash("sha256");
    for (let round = 0; round < rounds; round += 1) expected.update(chunk);
    const wanted = expected.digest("hex");

    const sendAll = async (socket: Socket): Promise<void> => {
      for (let round = 0; round < rounds; round += 1) {
        if (!socket.write(chunk)) await within(once(socket, "drain"), `room after chunk ${round}`);
      }
      socket.end();
    };
    const digestOf = async (socket: Socket): Promise<string> => {
      const digest = createHash("sha256");
      for await (const part of socket.iterator({ destroyOnReturn: false })) digest.update(part as Buffer);
      return digest.digest("hex");
    };
    let atReplica: Promise<string> = Promise.resolve("no connection");
    const replica = await openTcpServer(t, (socket) => {
      atReplica = digestOf(socket);
      void sendAll(socket);
    });
    const stream = await dial(t, await openRelay(t, replica.port));
    const atClient = digestOf(stream);
    await sendAll(stream);
    assert.equal(await atClient, wanted);
    assert.equal(await atReplica, wanted);
  });

  it("a replica that does not read stops the sender: nothing piles up on the way", async (t) => {
    const replica = await openTcpServer(t, (socket) => socket.pause());
    const relay = await openRelay(t, replica.port);
    const stream = await dial(t, relay);
    const chunk = Buffer.alloc(1024 * 1024);
    let takenBytes = 0;
    let waiting = false;
    let quietRounds = 0;
    // Kernel buffers on two loopback connections take some megabytes; then the writes must stall and stay
    // stalled.
    await until(
      () => {
        if (!waiting) {
          takenBytes += chunk.length;
          waiting = !stream.write(chunk, () => (waiting = false));
          quietRounds = 0;
        }
        assert.ok(takenBytes < 200 * 1024 * 1024, "the relay took everything");
        return waiting && (quietRounds += 1) > 30;
      },
      { everyMs: 5, deadlineMs: 20_000 },
    );
    assert.ok(takenBytes < 64 * 1024 * 1024, `${takenBytes} bytes were taken`);
    let arrivedBytes = 0;
    replica.sockets[0]?.on("data", (part: Buffer) => (arrivedBytes += part.length)).resume();
    await until(() => arrivedBytes === takenBytes);
  });

  it("what the client sends right behind its request, before the answer, reaches the replica", async (t) => {
    const replica = await openTcpServer(t, (socket) => socket.pipe(socket));
    const relay = await openRelay(t, replica.port);
    const raw = await openRaw(t, relay);
    raw.socket.write(`${REQUEST}early bytes`);
    await until(() => raw.received().endsWith("\r\n\r\nearly bytes"));
    assert.match(raw.received(), /^HTTP\/1\.1 101 /);
  });

  it("what the replica says first, before the client speaks, is not lost", async (t) => {
    const replica = await openTcpServer(t, (socket) => socket.end("220 ready\r\n"));
    const stream = await dial(t, await openRelay(t, replica.port));
    // Read late on purpose: the greeting came in the same packet as the answer to the upgrade, or right
    // behind it.
    await until(() => stream.readableLength > 0);
    assert.equal(await readToEnd(stream, "the greeting and the end after it"), "220 ready\r\n");
  });

  it("200 streams at once each carry their own bytes", async (t) => {
    const replica = await openTcpServer(t, (socket) => socket.pipe(socket));
    const relay = await openRelay(t, replica.port);
    const texts = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const stream = await dial(t, relay);
        stream.end(`client ${index}`);
        return await readToEnd(stream, `the end of stream ${index}`);
      }),
    );
    assert.deepEqual(
      texts,
      Array.from({ length: 200 }, (_, index) => `client ${index}`),
    );
    assert.equal(await counted(relay.metrics, "opened"), 200);
  });
});

describe("stream: ends and resets", () => {
  it("the client's end passes while the replica goes on sending", async (t) => {
    let sawEnd = false;
    const replica = await openTcpServer(t, (socket) => {
      socket.resume();
      socket.on("end", () => {
        sawEnd = true;
        socket.write("still here");
      });
    });
    const stream = await dial(t, await openRelay(t, replica.port));
    let text = "";
    let ended = false;
    stream.on("data", (part: Buffer) => (text += part.toString()));
    stream.on("end", () => (ended = true));
    stream.end("request");
    await until(() => text === "still here");
    assert.equal(sawEnd, true);
    assert.equal(ended, false);
    replica.sockets[0]?.end(" and gone");
    await until(() => ended && text === "still here and gone");
    await until(() => stream.destroyed);
  });

  it("the replica's end passes while the client goes on sending", async (t) => {
    let text = "";
    let closed = false;
    const replica = await openTcpServer(t, (socket) => {
      socket.on("data", (part: Buffer) => (text += part.toString()));
      socket.on("close", () => (closed = true));
      socket.end("all I have to say");
    });
    const stream = await dial(t, await openRelay(t, replica.port));
    let ended = false;
    stream.resume().on("end", () => (ended = true));
    await until(() => ended);
    stream.write("but I ");
    await until(() => text === "but I ");
    stream.end("go on");
    await until(() => text === "but I go on" && closed);
  });

  it("a reset by the client resets the replica, mid-stream and after half-close", async (t) => {
    for (const halfClosed of [false, true]) {
      const errors: string[] = [];
      const replica = await openTcpServer(t, (socket) => {
        socket.resume();
        socket.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
        if (halfClosed) socket.end("done");
      });
      const stream = await dial(t, await openRelay(t, replica.port));
      stream.resume();
      stream.write("some");
      if (halfClosed) await until(() => stream.readableEnded);
      await until(() => (replica.sockets[0]?.bytesRead ?? 0) > 0);
      stream.resetAndDestroy();
      await until(() => errors.includes("ECONNRESET"));
    }
  });

  it("a reset by the replica resets the client, mid-stream and after half-close", async (t) => {
    for (const halfClosed of [false, true]) {
      const replica = await openTcpServer(t, (socket) => {
        socket.once("data", () => socket.resetAndDestroy());
      });
      const stream = await dial(t, await openRelay(t, replica.port));
      const errors: string[] = [];
      stream.resume().on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
      if (halfClosed) stream.end("request");
      else stream.write("request");
      await until(() => errors.includes("ECONNRESET"));
    }
  });

  it("a mesh port that closes resets its streams at both ends and settles", async (t) => {
    const ends: string[] = [];
    const replica = await openTcpServer(t, (socket) => {
      socket.resume();
      socket.on("error", (error: NodeJS.ErrnoException) => ends.push(`replica ${error.code}`));
    });
    const relay = await openRelay(t, replica.port);
    const stream = await dial(t, relay);
    stream.resume().on("error", (error: NodeJS.ErrnoException) => ends.push(`client ${error.code}`));
    stream.write("some");
    await until(() => (replica.sockets[0]?.bytesRead ?? 0) > 0);
    await relay.listener.close();
    await until(() => ends.length === 2);
    assert.deepEqual(ends.sort(), ["client ECONNRESET", "replica ECONNRESET"]);
    await assert.rejects(dial(t, relay), withCode("unreachable"));
  });
});

describe("stream: what goes wrong has a code", () => {
  it("a replica that refuses is refused", async (t) => {
    const relay = await openRelay(t, await closedPort());
    await assert.rejects(dial(t, relay), withCode("refused"));
    assert.equal(await counted(relay.metrics, "refused"), 1);
  });

  it("a replica that never accepts is a timeout, told by its daemon", async (t) => {
    const relay = await openRelay(t, await fillBacklog(t));
    await assert.rejects(dial(t, relay), withCode("timeout"));
    assert.equal(await counted(relay.metrics, "timeout"), 1);
  });

  it("unknown replicas, unknown ports and addresses are not-found or invalid", async (t) => {
    const replica = await openTcpServer(t, () => undefined);
    const relay = await openRelay(t, replica.port);
    const dialTo = (id: string, port: number): Promise<Socket> =>
      relay.client.open(relay, { replica: id, port, deadlineMs: DEADLINE_MS });
    await assert.rejects(dialTo("web-2", 80), withCode("not-found"));
    await assert.rejects(dialTo("web-1", 81), withCode("not-found"));
    await assert.rejects(dialTo("127.0.0.1", replica.port), withCode("not-found"));
    await assert.rejects(dialTo("../web-1", 80), withCode("invalid"));
    await assert.rejects(dialTo("web-1 HTTP/1.1\r\nX: y", 80), withCode("invalid"));
    await assert.rejects(dialTo("web-1", 0), withCode("invalid"));
    assert.equal(replica.sockets.length, 0);
  });

  it("a daemon that fails is unreachable or a timeout, never the replica's fault", async (t) => {
    const { id } = papersOf(0);
    const at = (port: number) => ({ id, address: { host: "127.0.0.1", port } });
    await assert.rejects(dial(t, at(await closedPort())), withCode("unreachable"));
    const hangsUp = await openTcpServer(t, (socket) => socket.end());
    await assert.rejects(dial(t, at(hangsUp.port)), withCode("unreachable"));
    const silent = await openTcpServer(t, () => undefined);
    await assert.rejects(dial(t, at(silent.port), 200), withCode("timeout"));
    const mute = await openTlsServer(t, () => undefined);
    await assert.rejects(dial(t, { id, address: mute }, 300), withCode("timeout"));
  });

  it("an answer that is no answer of ours is invalid", async (t) => {
    for (const answer of [
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      "SSH-2.0-OpenSSH_9.2\r\n",
    ]) {
      const address = await openTlsServer(t, (socket) => socket.once("data", () => socket.write(answer)));
      await assert.rejects(dial(t, { id: papersOf(0).id, address }), withCode("invalid"), answer);
    }
  });

  it("a client that is gone before the replica answers leaves nothing behind", async (t) => {
    const relay = await openRelay(t, await fillBacklog(t));
    const raw = await openRaw(t, relay);
    raw.socket.write(REQUEST);
    await until(() => relay.listener.streamCount() === 1);
    raw.reset();
    await until(async () => (await counted(relay.metrics, "timeout")) === 1);
  });

  it("a client gone by the time the replica answers takes its connection with it", async (t) => {
    let closed = false;
    const replica = await openTcpServer(t, (socket) => socket.resume().on("close", () => (closed = true)));
    const door = await openTcpServer(t, () => undefined);
    await openTcp(t, door.port);
    const socket = await until(() => door.sockets[0]);
    const results: string[] = [];
    const request = { url: "/stream/web-1/80", headers: {} } as IncomingMessage;
    await serveStream(
      { request, socket, head: Buffer.alloc(0) },
      {
        resolve() {
          socket.destroy();
          return { address: "127.0.0.1", port: replica.port };
        },
        wayTo: () => ({ kind: "unknown" }),
        open: () => Promise.reject(new Error("nothing is passed on here")),
        desk: new DatagramDesk({ dropped: () => undefined }),
        receipts: new Receipts(),
        connectMs: 5000,
        served: (result) => results.push(result),
      },
    );
    assert.deepEqual(results, ["aborted"]);
    await until(() => closed);
  });

  it("a refused client that keeps sending still reads the reason, and is cut off soon after", async (t) => {
    const relay = await openRelay(t, await closedPort());
    const raw = await openRaw(t, relay);
    let closed = false;
    raw.socket.on("close", () => (closed = true));
    raw.socket.write(`${REQUEST}${"more ".repeat(20_000)}`);
    await until(() => raw.received().includes("skein-reason: the replica refused the connection"));
    assert.match(raw.received(), /^HTTP\/1\.1 502 /);
    await until(() => {
      raw.socket.write("and more");
      return closed;
    });
  });
});

describe("stream: passed on by a member that reaches the owner", () => {
  const OWNER = papersOf(2).id;
  const OTHER = "p".repeat(20);

  /** The owner's host with its replica, and a host that reaches it; a third asks. */
  async function openDetour(t: TestContext, replicaPort: number): Promise<{ owner: Relay; between: Relay }> {
    const isOwner = (node: string): OwnerWay => ({ kind: node === OWNER ? "self" : "unknown" });
    const owner = await openRelay(t, replicaPort, { number: 2, wayTo: isOwner });
    const wayTo = (node: string): OwnerWay => {
      if (node === OWNER) return { kind: "peer", address: owner.address };
      return { kind: node === OTHER ? "unlinked" : "unknown" };
    };
    const between = await openRelay(t, 1, { wayTo });
    return { owner, between };
  }
  const through = (
    relay: Relay,
    asked: { node?: string; hop?: 0 | 1; port?: number; deadlineMs?: number } = {},
  ): Promise<Socket> => {
    const { node = OWNER, hop = 0, port = 80, deadlineMs = DEADLINE_MS } = asked;
    return relay.client.open(relay, { replica: "web-1", port, deadlineMs, owner: { node, hop } });
  };
  const withReason =
    (code: string, reason: RegExp) =>
    (thrown: unknown): boolean => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, code, thrown.message);
      assert.match(thrown.message, reason);
      return true;
    };

  it("bytes and ends pass both ways through both hosts, and both count a stream", async (t) => {
    const replica = await openTcpServer(t, (socket) => {
      socket.write("220 ready\r\n");
      socket.on("data", (part: Buffer) => socket.write(part.toString().toUpperCase()));
      socket.on("end", () => socket.end("bye"));
    });
    const { owner, between } = await openDetour(t, replica.port);
    const stream = await through(between);
    let text = "";
    stream.on("data", (part: Buffer) => (text += part.toString()));
    await until(() => text === "220 ready\r\n");
    stream.write("hello ");
    await until(() => text.endsWith("HELLO "));
    assert.deepEqual([owner.listener.streamCount(), between.listener.streamCount()], [1, 1]);
    stream.end("and end");
    await until(() => text === "220 ready\r\nHELLO AND ENDbye" && stream.destroyed);
    await until(() => owner.listener.streamCount() + between.listener.streamCount() === 0);
    assert.equal(await counted(owner.metrics, "opened"), 1);
    assert.equal(await counted(between.metrics, "passed-on"), 1);
  });

  it("a reset at either end, or of the host between, is a reset at the other", async (t) => {
    for (const who of ["client", "replica", "between"] as const) {
      const seen: string[] = [];
      const replica = await openTcpServer(t, (socket) => {
        socket.resume();
        socket.on("error", (error: NodeJS.ErrnoException) => seen.push(`replica ${error.code}`));
      });
      const { between } = await openDetour(t, replica.port);
      const stream = await through(between);
      stream.resume().on("error", (error: NodeJS.ErrnoException) => seen.push(`client ${error.code}`));
      stream.write("some");
      await until(() => (replica.sockets[0]?.bytesRead ?? 0) > 0);
      if (who === "client") stream.resetAndDestroy();
      else if (who === "replica") replica.sockets[0]?.resetAndDestroy();
      else await between.listener.close();
      const wanted = { client: ["replica"], replica: ["client"], between: ["client", "replica"] }[who];
      await until(() => wanted.every((end) => seen.includes(`${end} ECONNRESET`)));
    }
  });

  it("what goes wrong at the owner's host has the code that it would have had there", async (t) => {
    const refusing = await openDetour(t, await closedPort());
    await assert.rejects(through(refusing.between), withReason("refused", /refused the connection/));
    await assert.rejects(through(refusing.between, { port: 81 }), withReason("not-found", /no port 81/));
    assert.equal(await counted(refusing.between.metrics, "refused"), 1);
    const slow = await openDetour(t, await fillBacklog(t));
    await assert.rejects(through(slow.between), withReason("timeout", /took no connection/));
    const gone = await openRelay(t, 1, { wayTo: () => ({ kind: "peer", address: refusing.owner.address }) });
    await refusing.owner.listener.close();
    await assert.rejects(through(gone), withReason("unreachable", new RegExp(`passed on to ${OWNER}`)));
  });

  it("a member unknown there, or not reached from there either, is refused by name", async (t) => {
    const { between } = await openDetour(t, 1);
    await assert.rejects(
      through(between, { node: "n".repeat(20) }),
      withReason("not-found", /n{20} is no member/),
    );
    await assert.rejects(
      through(between, { node: OTHER }),
      withReason("unreachable", /does not reach p{20} either/),
    );
    await until(() => between.listener.streamCount() === 0);
  });

  it("nothing is passed on twice: two hosts that take each other for the way refuse", async (t) => {
    const peers: HostPort[] = [];
    const towards = (at: number) => (): OwnerWay => {
      const address = peers[at];
      return address === undefined ? { kind: "unknown" } : { kind: "peer", address };
    };
    const one = await openRelay(t, 1, { wayTo: towards(1) });
    const other = await openRelay(t, 1, { number: 2, wayTo: towards(0) });
    peers.push(one.address, other.address);
    await assert.rejects(through(one), withReason("unreachable", /passed on before/));
    assert.equal(await counted(other.metrics, "unreachable"), 1);
    const { between } = await openDetour(t, 1);
    await assert.rejects(
      through(between, { hop: 1 }),
      withReason("unreachable", new RegExp(`not ${OWNER}, and`)),
    );
  });

  it("a request that names an owner badly is malformed, whatever it asks for", async (t) => {
    const { between } = await openDetour(t, 1);
    for (const headers of [
      "skein-node: nobody\r\nskein-hop: 0",
      `skein-node: ${OWNER}`,
      `skein-node: ${OWNER}\r\nskein-hop: -1`,
      `skein-node: ${OWNER}\r\nskein-hop: 0\r\nskein-node: ${OWNER}`,
      "skein-hop: 0",
      "skein-node: 127.0.0.1:22\r\nskein-hop: 0",
    ]) {
      const raw = await openRaw(t, between);
      raw.socket.write(REQUEST.replace("Host: mesh", `Host: mesh\r\n${headers}`));
      await until(() => raw.received().includes("\r\n\r\n"));
      assert.match(raw.received(), /^HTTP\/1.1 400 /, headers);
    }
  });

  it("a client that is gone before the owner answers leaves nothing behind", async (t) => {
    const { owner, between } = await openDetour(t, await fillBacklog(t));
    const raw = await openRaw(t, between);
    raw.socket.write(REQUEST.replace("Host: mesh", `Host: mesh\r\nskein-node: ${OWNER}\r\nskein-hop: 0`));
    await until(() => owner.listener.streamCount() === 1);
    raw.reset();
    await until(async () => (await counted(owner.metrics, "timeout")) === 1);
    await until(() => owner.listener.streamCount() + between.listener.streamCount() === 0);
  });
});

/** A loopback port whose listener accepts no more: connections to it stay unanswered. */
async function fillBacklog(t: TestContext): Promise<number> {
  // A process that listens with the least backlog and then stops: its kernel queue fills with what we open
  // next.
  const script = `
    const server = require("node:net").createServer();
    server.listen({ host: "127.0.0.1", port: 0, backlog: 1 }, () => {
      process.stdout.write(String(server.address().port), () => process.kill(process.pid, "SIGSTOP"));
    });`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  let printed = "";
  child.stdout.on("data", (part: Buffer) => (printed += part.toString()));
  const port = Number(await until(() => (printed === "" ? null : printed)));
  const fillers: Socket[] = [];
  t.after(() => {
    for (const socket of fillers) socket.destroy();
  });
  // Linux keeps backlog + 1 connections and drops the SYN of the next: the first that stays unanswered proves
  // it full.
  let answered = 0;
  await until(
    () => {
      if (fillers.length > answered + 2) return true;
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("connect", () => (answered += 1));
      socket.on("error", () => undefined);
      fillers.push(socket);
      return false;
    },
    { everyMs: 20 },
  );
  return port;
}
