// Links over WebSockets: the shared contract, and what a hostile or dying peer can do on a real socket.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { after, before, describe, it, type TestContext } from "node:test";

import * as fc from "fast-check";
import { WebSocket } from "ws";

import { Failure } from "../../src/base/failure.ts";
import type { HostPort } from "../../src/base/ip.ts";
import type { Link, LinkEnd } from "../../src/mesh/link.ts";
import { openLanes } from "../../src/mesh/lanes.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { linkContract } from "../contracts/link.ts";
import { dialPort, openMeshPort, openRawWebSocket, openTlsServer } from "../support/mesh-port.ts";
import { openMember, papersOf, trustOfMany } from "../support/mesh-trust.ts";
import { closedPort, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

/** What opened a port outside of a test, to be closed by hand. */
async function openHost() {
  const endings: (() => void | Promise<void>)[] = [];
  const trust = trustOfMany();
  const port = await openMeshPort({ after: (end: () => void) => endings.push(end) }, { trust });
  const close = async (): Promise<void> => {
    for (const end of endings) await end();
  };
  return { ...port, accepted: port.links, close };
}

linkContract("over WebSockets", async () => {
  const host = await openHost();
  const lanes = openLanes();
  const from = openMember(papersOf(1));
  let lastId = 0;
  return {
    async openPair() {
      lastId += 1;
      const dialled = await dialPort(host.address, { id: lastId, lanes, from });
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
    const raw = openRawWebSocket(t, port);
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
    const openPeer = async (): Promise<{ raw: WebSocket; link: Link }> => {
      const at = host.accepted.length;
      const raw = openRawWebSocket(t, host.address.port);
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
  const dialAt = (address: HostPort, deadlineMs = 5000): Promise<Link> => dialPort(address, { deadlineMs });
  const dial = (port: number, deadlineMs = 5000): Promise<Link> =>
    dialAt({ host: "127.0.0.1", port }, deadlineMs);
  const withCode =
    (code: string) =>
    (thrown: unknown): boolean =>
      thrown instanceof Failure && thrown.code === code;

  it("a port where nothing listens is refused", async () => {
    await assert.rejects(dial(await closedPort()), withCode("refused"));
  });

  it("a peer that takes the connection and says nothing is a timeout, before and after its handshake", async (t) => {
    const { port } = await openTcpServer(t, () => undefined);
    await assert.rejects(dial(port, 200), withCode("timeout"));
    await assert.rejects(dialAt(await openTlsServer(t, () => undefined), 300), withCode("timeout"));
  });

  it("a peer that answers a byte at a time is a timeout too", async (t) => {
    const address = await openTlsServer(t, (socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nX: ");
      const timer = setInterval(() => socket.write("x"), 20);
      socket.on("close", () => clearInterval(timer));
    });
    await assert.rejects(dialAt(address, 300), withCode("timeout"));
  });

  it("a peer that hangs up during a handshake is unreachable, not refused", async (t) => {
    const { port } = await openTcpServer(t, (socket) => socket.end());
    await assert.rejects(dial(port), withCode("unreachable"));
    const resetting = await openTcpServer(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    await assert.rejects(dial(resetting.port), withCode("unreachable"));
    await assert.rejects(dialAt(await openTlsServer(t, (socket) => socket.end())), withCode("unreachable"));
  });

  it("a full peer is busy, one that forbids is not-allowed, anything else invalid", async (t) => {
    const answering = (status: string) => (socket: Socket) =>
      socket.once("data", () => socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`));
    for (const [status, code] of [
      ["503 Full", "busy"],
      ["403 No", "not-allowed"],
      ["200 OK", "invalid"],
      ["302 Found\r\nLocation: http://127.0.0.1:1/", "invalid"],
    ] as const)
      await assert.rejects(dialAt(await openTlsServer(t, answering(status))), withCode(code), status);
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
      await assert.rejects(dialAt(await openTlsServer(t, answer)), withCode("invalid"));
    }
    const right = answering((accept) => `Sec-WebSocket-Accept: ${accept}\r\n${ours}`);
    (await dialAt(await openTlsServer(t, right))).close("the right answer is taken");
  });

  it("a host that is no host name fails as unreachable, never as a crash", async () => {
    for (const host of ["no such host", "", "[::1", "a".repeat(300), "256.1.1.1", "x\r\ny"]) {
      await assert.rejects(dialAt({ host, port: 1 }, 2000), Failure, host);
    }
  });
});
