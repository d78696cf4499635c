// Links over WebSockets: the shared contract, and what a hostile or dying peer can do on a real socket.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { after, before, describe, it, type TestContext } from "node:test";

import * as fc from "fast-check";
import { WebSocket } from "ws";

import { Failure } from "../../src/base/failure.ts";
import type { Link, LinkEnd } from "../../src/mesh/link.ts";
import { openLanes, type Lanes } from "../../src/mesh/lanes.ts";
import { openListener, type Listener } from "../../src/mesh/listener.ts";
import { dialLink } from "../../src/mesh/websocket.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { linkContract } from "../contracts/link.ts";
import { openSilentLog } from "../support/silence.ts";
import { until } from "../support/wait.ts";

const LOOPBACK = { host: "127.0.0.1", port: 0 };

/** A listener that keeps the links it accepts, unstarted. */
async function openHost(): Promise<{
  listener: Listener;
  accepted: Link[];
  lanes: Lanes;
  close: () => Promise<void>;
}> {
  const accepted: Link[] = [];
  const lanes = openLanes();
  let lastId = 100;
  const listener = await openListener({
    listen: LOOPBACK,
    nextLinkId: () => (lastId += 1),
    onLink: (link) => accepted.push(link),
    resolve: () => null,
    wayTo: () => ({ kind: "unknown" }),
    lanes,
    log: openSilentLog(),
    metrics: openMetrics(),
  });
  return { listener, accepted, lanes, close: () => listener.close() };
}

linkContract("over WebSockets", async () => {
  const host = await openHost();
  const lanes = openLanes();
  let lastId = 0;
  return {
    async openPair() {
      lastId += 1;
      const dialled = await dialLink(host.listener.address, { id: lastId, deadlineMs: 5000, lanes });
      return { dialled, accepted: await until(() => host.accepted[lastId - 1]) };
    },
    close: host.close,
  };
});

/** Starts a link and gives how it ended, once it has. */
function endOf(link: Link): () => LinkEnd | null {
  let end: LinkEnd | null = null;
  link.start({
    frame: () => undefined,
    closed: (how) => {
      end = how;
    },
  });
  return () => end;
}

describe("websocket: what a peer can do to a link", () => {
  let host: Awaited<ReturnType<typeof openHost>>;
  before(async () => {
    host = await openHost();
  });
  after(() => host.close());

  /** A peer that speaks WebSocket but not our rules, and the link it was given. */
  async function openRawPeer(t: TestContext): Promise<{ raw: WebSocket; link: Link }> {
    const { port } = host.listener.address;
    const before = host.accepted.length;
    const raw = new WebSocket(`ws://127.0.0.1:${port}/gossip`, ["skein.v1"], { perMessageDeflate: false });
    raw.on("error", () => undefined);
    t.after(() => raw.terminate());
    const link = await until(() => host.accepted[before]);
    await until(() => raw.readyState === WebSocket.OPEN);
    return { raw, link };
  }

  it("a text frame ends the link as a violation, and the peer is told why", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const end = endOf(link);
    let code = 0;
    raw.on("close", (with_) => {
      code = with_;
    });
    raw.send("hello");
    await until(() => end()?.kind === "violation");
    await until(() => code === 1003);
  });

  it("a message above the bound ends the link as a violation before it is whole", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const end = endOf(link);
    raw.send(new Uint8Array(LIMITS.frameBytes + 1));
    await until(() => end()?.kind === "violation");
  });

  it("a message in more fragments than we take ends the link as a violation", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const end = endOf(link);
    for (let count = 0; count < 100; count += 1) raw.send(new Uint8Array(1), { fin: false, binary: true });
    await until(() => end()?.kind === "violation");
  });

  it("a peer whose socket vanishes is lost, not gone with a goodbye", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const end = endOf(link);
    raw.terminate();
    await until(() => end()?.kind === "lost");
  });

  it("a peer that ignores our goodbye is cut off all the same", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const end = endOf(link);
    raw.pause();
    link.close("leaving");
    await until(() => end()?.kind === "ours");
  });

  it("bytes that are no WebSocket frame end the link as a violation", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const end = endOf(link);
    const socket = (raw as unknown as { readonly _socket: Socket })._socket;
    socket.write(Buffer.alloc(64, 0xff));
    await until(() => end()?.kind === "violation");
  });

  it("any bytes at all: the link ends or waits for more, and the next one is taken", async (t) => {
    const piece = fc.oneof(
      fc.constantFrom(
        "\x82\x80\0\0\0\0",
        "\x82\x81\0\0\0\0x",
        "\x89\x80\0\0\0\0",
        "\x88\x82\0\0\0\0\x03\xe8",
        "\x82\xfe\x80\0",
      ),
      fc.string({ unit: "binary", maxLength: 20 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const { raw, link } = await openRawPeer(t);
        const end = endOf(link);
        const socket = (raw as unknown as { readonly _socket: Socket })._socket;
        socket.end(Buffer.from(pieces.join(""), "latin1"));
        await until(() => end() !== null, { everyMs: 1 });
      }),
      { numRuns: 100 },
    );
  });

  it("a small message between large ones passes, whatever is answered to its pings", async (t) => {
    const { raw, link } = await openRawPeer(t);
    const seen: number[] = [];
    link.start({ frame: (frame) => seen.push(frame.byteLength), closed: () => undefined });
    let pongs = 0;
    raw.on("pong", () => (pongs += 1));
    for (const bytes of [100_000, 3, 200_000, 0, 17_000]) {
      raw.send(new Uint8Array(bytes));
      raw.ping(Buffer.from("are you there"));
    }
    await until(() => seen.length === 5 && pongs === 5);
    assert.deepEqual(seen, [100_000, 3, 200_000, 0, 17_000]);
  });
});

describe("websocket: floods", () => {
  /** Frames that each take their reader some time, as those do that gossip decodes. */
  const COST_MS = 4;
  const spin = (): void => {
    const endMs = performance.now() + COST_MS;
    while (performance.now() < endMs);
  };

  /** A host with `count` links whose peers send large frames without end, and one whose peer is quiet. */
  async function openFlooded(t: TestContext, count: number) {
    const host = await openHost();
    t.after(() => host.close());
    const url = `ws://127.0.0.1:${host.listener.address.port}/gossip`;
    const openPeer = async (): Promise<{ raw: WebSocket; link: Link }> => {
      const at = host.accepted.length;
      const raw = new WebSocket(url, ["skein.v1"], { perMessageDeflate: false });
      raw.on("error", () => undefined);
      t.after(() => raw.terminate());
      await once(raw, "open");
      return { raw, link: await until(() => host.accepted[at]) };
    };
    const flooding = [];
    while (flooding.length < count) flooding.push(await openPeer());
    return { host, flooding, quiet: await openPeer() };
  }

  for (const count of [1, 40]) {
    it(`${count} flooding: a quiet link's pings pass, few frames are in memory, senders keep the rest`, async (t) => {
      const { host, flooding, quiet } = await openFlooded(t, count);
      const handled = flooding.map(() => 0);
      let sinceSent = 0;
      let largeMost = 0;
      const waits: number[] = [];
      for (const [at, { raw, link }] of flooding.entries()) {
        link.start({
          frame() {
            spin();
            handled[at] = (handled[at] ?? 0) + 1;
            sinceSent += 1;
            largeMost = Math.max(largeMost, host.lanes.counts.large);
          },
          closed: (end) => assert.equal(end.kind, "ours", end.text),
        });
        for (let frames = 0; frames < 400 / count; frames += 1) raw.send(new Uint8Array(LIMITS.frameBytes));
      }
      quiet.link.start({
        frame: () => waits.push(sinceSent),
        closed: (end) => assert.equal(end.kind, "ours", end.text),
      });
      await until(() => handled.some((frames) => frames > 0), { everyMs: 1 });
      for (let pings = 1; pings <= 15; pings += 1) {
        sinceSent = 0;
        quiet.raw.send(Buffer.from(`ping ${pings}`));
        await until(() => waits.length === pings, { everyMs: 1 });
      }
      // Those of the turn in which it came, and of one more.
      const most = Math.max(...waits);
      assert.ok(most <= 2 * Math.ceil(20 / COST_MS + 1), `${most} large frames went before a ping`);
      assert.ok(largeMost <= LIMITS.largeFramesMax, `${largeMost} large frames in memory`);
      // What is neither handled nor in memory is in the kernel's buffers, which do not grow with it, or unsent.
      const unsent = flooding.reduce((sum, { raw }) => sum + raw.bufferedAmount, 0);
      const all = handled.reduce((sum, frames) => sum + frames, 0);
      const inKernel = Math.min(12, 400 / count) * count;
      assert.ok(
        unsent / LIMITS.frameBytes >= 400 - all - LIMITS.largeFramesMax - inKernel,
        `${unsent} unsent`,
      );
    });
  }

  it("floods are handled alike, each as often as any other", async (t) => {
    const { flooding } = await openFlooded(t, 5);
    const handled = flooding.map(() => 0);
    const seen = (): number => handled.reduce((sum, frames) => sum + frames, 0);
    for (const [at, { raw, link }] of flooding.entries()) {
      const frame = (): void => {
        spin();
        handled[at] = (handled[at] ?? 0) + 1;
      };
      link.start({ frame, closed: (end) => assert.equal(end.kind, "ours", end.text) });
      for (let frames = 0; frames < 60; frames += 1) raw.send(new Uint8Array(LIMITS.frameBytes / 4));
    }
    await until(() => seen() >= 100, { everyMs: 1 });
    assert.ok(Math.min(...handled) >= 5, `of 100 frames: ${handled.join(", ")}`);
  });

  it("a flood of small frames does not keep another link's frames from coming through", async (t) => {
    const { flooding, quiet } = await openFlooded(t, 1);
    const [{ raw, link } = quiet] = flooding;
    let floodedFrames = 0;
    let heardFrames = 0;
    link.start({ frame: () => (floodedFrames += 1), closed: () => undefined });
    quiet.link.start({ frame: () => (heardFrames += 1), closed: () => undefined });
    // Twenty thousand frames reach us in a few reads of the socket.
    for (let count = 0; count < 20_000; count += 1) raw.send(new Uint8Array(8));
    await until(() => floodedFrames > 0, { everyMs: 1 });
    quiet.raw.send(new Uint8Array(8));
    await until(() => heardFrames === 1, { everyMs: 1 });
    assert.ok(floodedFrames < 20_000, `the flood was through first: ${floodedFrames}`);
    await until(() => floodedFrames === 20_000);
  });

  it("large frames that do not come lose their places to one that waits, and their links end", async (t) => {
    const { host, flooding, quiet } = await openFlooded(t, LIMITS.largeFramesMax);
    const ends = flooding.map(({ raw, link }) => {
      const socket = (raw as unknown as { readonly _socket: Socket })._socket;
      // The head of a frame of 1 MiB, and no more of it.
      socket.write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]));
      return endOf(link);
    });
    await until(() => host.lanes.counts.large === LIMITS.largeFramesMax);
    let heard = 0;
    quiet.link.start({ frame: (frame) => (heard = frame.byteLength), closed: () => undefined });
    quiet.raw.send(new Uint8Array(LIMITS.frameBytes));
    await until(() => heard === LIMITS.frameBytes, { deadlineMs: 20_000 });
    await until(() => ends.some((end) => end()?.kind === "violation"));
  });
});

describe("websocket: dialling tells failures apart", () => {
  /** A TCP server that does what it is told with each connection. */
  async function openServer(t: TestContext, answer: (socket: Socket) => void): Promise<number> {
    const sockets = new Set<Socket>();
    const server: Server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      answer(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return (server.address() as { readonly port: number }).port;
  }

  const dial = (port: number, deadlineMs = 5000): Promise<Link> =>
    dialLink({ host: "127.0.0.1", port }, { id: 1, deadlineMs, lanes: openLanes() });
  const withCode =
    (code: string) =>
    (thrown: unknown): boolean =>
      thrown instanceof Failure && thrown.code === code;

  it("a port where nothing listens is refused", async (t) => {
    const port = await openServer(t, () => undefined);
    const host = await openHost();
    const closedPort = host.listener.address.port;
    await host.close();
    assert.notEqual(port, closedPort);
    await assert.rejects(dial(closedPort), withCode("refused"));
  });

  it("a peer that takes the connection and says nothing is a timeout", async (t) => {
    const port = await openServer(t, () => undefined);
    await assert.rejects(dial(port, 200), withCode("timeout"));
  });

  it("a peer that answers a byte at a time is a timeout too", async (t) => {
    const port = await openServer(t, (socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nX: ");
      const timer = setInterval(() => socket.write("x"), 20);
      socket.on("close", () => clearInterval(timer));
    });
    await assert.rejects(dial(port, 300), withCode("timeout"));
  });

  it("a peer that hangs up during the handshake is unreachable, not refused", async (t) => {
    const port = await openServer(t, (socket) => socket.end());
    await assert.rejects(dial(port), withCode("unreachable"));
    const resetting = await openServer(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    await assert.rejects(dial(resetting), withCode("unreachable"));
  });

  it("a full peer is busy, one that forbids is not-allowed, anything else invalid", async (t) => {
    const answering = (status: string) => (socket: Socket) =>
      socket.once("data", () => socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`));
    await assert.rejects(dial(await openServer(t, answering("503 Full"))), withCode("busy"));
    await assert.rejects(dial(await openServer(t, answering("403 No"))), withCode("not-allowed"));
    await assert.rejects(dial(await openServer(t, answering("200 OK"))), withCode("invalid"));
    await assert.rejects(
      dial(await openServer(t, answering("302 Found\r\nLocation: http://127.0.0.1:1/"))),
      withCode("invalid"),
    );
  });

  it("junk, a wrong key, no subprotocol or compression in the answer is invalid", async (t) => {
    const answering = (headers: (accept: string) => string) => (socket: Socket) =>
      socket.once("data", (head) => {
        const key = /Sec-WebSocket-Key: (\S+)/i.exec(head.toString())?.[1] ?? "";
        const accept = createHash("sha1")
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest("base64");
        socket.write("HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
        socket.write(`${headers(accept)}\r\n\r\n`);
      });
    const ours = "Sec-WebSocket-Protocol: skein.v1";
    const answers = [
      answering(() => `Sec-WebSocket-Accept: bm9wZQ==\r\n${ours}`),
      answering((accept) => `Sec-WebSocket-Accept: ${accept}`),
      answering((accept) => `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: skein.v2`),
      answering(
        (accept) =>
          `Sec-WebSocket-Accept: ${accept}\r\n${ours}\r\nSec-WebSocket-Extensions: permessage-deflate`,
      ),
      (socket: Socket) => socket.write("SSH-2.0-OpenSSH_9.2\r\n"),
    ];
    for (const answer of answers) {
      await assert.rejects(dial(await openServer(t, answer)), withCode("invalid"));
    }
    const port = await openServer(
      t,
      answering((accept) => `Sec-WebSocket-Accept: ${accept}\r\n${ours}`),
    );
    (await dial(port)).close("the right answer is taken");
  });

  it("a host that is no host name fails as unreachable, never as a crash", async () => {
    for (const host of ["no such host", "", "[::1", "a".repeat(300), "256.1.1.1", "x\r\ny"]) {
      const dialled = dialLink({ host, port: 1 }, { id: 1, deadlineMs: 2000, lanes: openLanes() });
      await assert.rejects(dialled, Failure, host);
    }
  });
});
