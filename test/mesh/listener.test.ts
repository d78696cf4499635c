// The mesh port: who gets in, what strangers, browsers and hostile connections get, and how it closes.

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it, type TestContext } from "node:test";

import * as fc from "fast-check";
import type { WebSocket } from "ws";

import { Failure } from "../../src/base/failure.ts";
import type { Link, LinkEnd } from "../../src/mesh/link.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { dialPort, openMeshPort, openRawWebSocket, openTls, type MeshPort } from "../support/mesh-port.ts";
import { openMember, papersOf, refusalsOf, trustOfMany } from "../support/mesh-trust.ts";
import { openTcp } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

const KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const UPGRADE = "Host: mesh\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
const PROTOCOL = "Sec-WebSocket-Protocol: skein.v1\r\n";
const STREAM =
  "GET /stream/web-1/80 HTTP/1.1\r\nHost: mesh\r\nConnection: Upgrade\r\nUpgrade: skein-stream/1\r\n";

/** Sends text on a fresh connection of a member's and gives all that came back once the listener hung up. */
async function ask(t: TestContext, host: MeshPort, text: string, alpn = "skein-gossip/1"): Promise<string> {
  const { socket, received } = await openTls(t, host.address.port, { alpn });
  socket.write(text);
  let ended = false;
  socket.on("end", () => (ended = true));
  await until(() => ended || socket.destroyed);
  return received();
}

describe("listener: who gets in", () => {
  it("a daemon's upgrade becomes an accepted link with an id and the peer's address", async (t) => {
    const host = await openMeshPort(t);
    const dialled = await dialPort(host.address, { id: 7 });
    const accepted = await until(() => host.links[0]);
    assert.deepEqual([dialled.id, dialled.direction, dialled.remote], [7, "dialled", host.address]);
    assert.deepEqual([accepted.id, accepted.direction, accepted.remote.host], [101, "accepted", "127.0.0.1"]);
    assert.deepEqual([dialled.peer.id, accepted.peer.id], [papersOf(0).id, papersOf(1).id]);
    dialled.close("done");
  });

  it("whatever is no upgrade of ours is refused with a status and a reason, and counted", async (t) => {
    const host = await openMeshPort(t);
    const cases: readonly (readonly [number, string, string])[] = [
      [426, "plain request", "GET / HTTP/1.1\r\nHost: mesh\r\n\r\n"],
      [426, "gossip without upgrade", "GET /gossip HTTP/1.1\r\nHost: mesh\r\n\r\n"],
      [404, "unknown path", `GET /other HTTP/1.1\r\n${UPGRADE}${KEY}${PROTOCOL}\r\n`],
      [404, "path with a query", `GET /gossip?x HTTP/1.1\r\n${UPGRADE}${KEY}${PROTOCOL}\r\n`],
      [404, "a stream", `${STREAM}\r\n`],
      [404, "stream by websocket", `GET /stream/web-1/80 HTTP/1.1\r\n${UPGRADE}${KEY}\r\n`],
      [400, "POST", `POST /gossip HTTP/1.1\r\n${UPGRADE}${KEY}${PROTOCOL}\r\n`],
      [400, "a body", `GET /gossip HTTP/1.1\r\n${UPGRADE}${KEY}${PROTOCOL}Content-Length: 5\r\n\r\nhello`],
      [400, "no subprotocol", `GET /gossip HTTP/1.1\r\n${UPGRADE}${KEY}\r\n`],
      [
        400,
        "another version of the wire",
        `GET /gossip HTTP/1.1\r\n${UPGRADE}${KEY}Sec-WebSocket-Protocol: skein.v2\r\n\r\n`,
      ],
      [400, "no key", `GET /gossip HTTP/1.1\r\n${UPGRADE}${PROTOCOL}\r\n`],
      [
        400,
        "another WebSocket",
        `GET /gossip HTTP/1.1\r\n${UPGRADE}${KEY.replace("13", "7")}${PROTOCOL}\r\n`,
      ],
      [
        403,
        "a browser",
        `GET /gossip HTTP/1.1\r\n${UPGRADE}${KEY}${PROTOCOL}Origin: http://evil.example\r\n\r\n`,
      ],
      [400, "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
      [
        400,
        "no Host",
        `GET /gossip HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${KEY}${PROTOCOL}X\r\n\r\n`,
      ],
      [
        400,
        "a head above the bound",
        `GET /gossip HTTP/1.1\r\nX: ${"x".repeat(LIMITS.meshHeadBytes)}\r\n\r\n`,
      ],
    ];
    for (const [status, name, text] of cases) {
      const answer = await ask(t, host, text);
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), name);
    }
    assert.equal(await refusalsOf(host), cases.length);
    assert.equal(await refusalsOf(host, "protocol"), 1);
    assert.equal(host.links.length, 0);
  });

  it("each protocol takes its own requests only", async (t) => {
    const host = await openMeshPort(t);
    const gossip = `GET /gossip HTTP/1.1\r\n${UPGRADE}${KEY}${PROTOCOL}\r\n`;
    for (const [alpn, text] of [
      ["skein-gossip/1", `${STREAM}\r\n`],
      ["skein-stream/1", gossip],
      ["skein-join/1", gossip],
      ["skein-join/1", `${STREAM}\r\n`],
    ] as const)
      assert.match(await ask(t, host, text, alpn), /^HTTP\/1\.1 404 .*skein-reason: skein-\w+\/1 is for/s);
    assert.equal(await refusalsOf(host, "protocol"), 4);
    assert.equal(host.links.length, 0);
  });

  it("CONNECT is cut off without an answer", async (t) => {
    const host = await openMeshPort(t);
    assert.equal(await ask(t, host, "CONNECT other:22 HTTP/1.1\r\nHost: other\r\n\r\n"), "");
  });

  it("any bytes at all: the listener lives and takes the next link", async (t) => {
    const host = await openMeshPort(t);
    const piece = fc.oneof(
      fc.constantFrom(
        "GET ",
        "/gossip ",
        "HTTP/1.1\r\n",
        UPGRADE,
        KEY,
        PROTOCOL,
        "\r\n",
        "\x88\x80",
        "Content-Length: 9\r\n",
      ),
      fc.string({ unit: "binary", maxLength: 40 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const { socket } = await openTls(t, host.address.port);
        socket.end(Buffer.from(pieces.join(""), "latin1"));
        await until(() => socket.writableFinished || socket.destroyed, { everyMs: 1 });
        socket.destroy();
      }),
      { numRuns: 150 },
    );
    (await dialPort(host.address)).close("still there");
  });
});

describe("listener: one that is late", () => {
  it("refuses connections until it is told to listen, and may be closed before", async (t) => {
    const early = await openMeshPort(t);
    const { port } = early.address;
    await early.listener.close();
    const listen = { host: "127.0.0.1", port };
    const late = await openMeshPort(t, { listen, isLate: true });
    assert.deepEqual(late.address, listen);
    await assert.rejects(dialPort(listen), { code: "refused" });
    await late.listener.listen();
    await late.listener.listen();
    (await dialPort(listen)).close("it listens");
    const never = await openMeshPort(t, { listen: { ...listen, host: "127.0.0.2" }, isLate: true });
    await never.listener.close();
  });
});

describe("listener: what is bounded", () => {
  it("a connection that says nothing, or a byte at a time, is hung up on", async (t) => {
    const host = await openMeshPort(t, { handshakeMs: 200 });
    const silent = await openTcp(t, host.address.port);
    const slow = await openTls(t, host.address.port);
    const timer = setInterval(() => slow.socket.write("G"), 20);
    t.after(() => clearInterval(timer));
    slow.socket.write("GET /gossip HTTP/1.1\r\nX: ");
    await until(() => silent.socket.readableEnded || silent.socket.destroyed);
    await until(() => slow.socket.readableEnded || slow.socket.destroyed);
  });

  /** A link from an address of its own, which has said a word unless it is silent. */
  async function openGuest(
    t: TestContext,
    host: MeshPort,
    from: string,
    isSilent = false,
  ): Promise<WebSocket> {
    const guest = openRawWebSocket(t, host.address.port, { localAddress: from });
    const count = host.links.length;
    await once(guest, "open");
    const link = await until(() => host.links[count]);
    link.start({ frame: () => undefined, closed: () => undefined });
    if (isSilent) return guest;
    guest.send(new Uint8Array(1));
    await until(() => link.hasSpoken, { everyMs: 1 });
    return guest;
  }
  /** Dials as the host's own links are dialled: from the address that is dialled. */
  const dialTo = (host: MeshPort): Promise<Link> => dialPort(host.address, { id: 9999 });
  const busy =
    (text: string) =>
    (thrown: unknown): boolean =>
      thrown instanceof Failure && thrown.code === "busy" && thrown.message.includes(text);

  it("links past the bound are told that it is full, and the next gets in once one has gone", async (t) => {
    const host = await openMeshPort(t, { trust: trustOfMany() });
    const guests: WebSocket[] = [];
    while (guests.length < LIMITS.linksMax) {
      const from = `127.0.1.${1 + Math.floor(guests.length / LIMITS.linksPerAddress)}`;
      guests.push(await openGuest(t, host, from));
    }
    await assert.rejects(dialTo(host), busy("full"));
    assert.equal(await refusalsOf(host, "links"), 1);
    guests[0]?.close(1000);
    (await until(() => dialTo(host))).close("got in");
  });

  it("one address gets so many links, and others do not suffer for it", async (t) => {
    const host = await openMeshPort(t, { trust: trustOfMany() });
    for (let count = 0; count < LIMITS.linksPerAddress; count += 1) await openGuest(t, host, "127.0.0.1");
    await assert.rejects(dialTo(host), busy("too many links from your address"));
    assert.equal(await refusalsOf(host, "address"), 1);
    await openGuest(t, host, "127.0.1.1");
  });

  it("links that say nothing are few, and those that have spoken keep theirs", async (t) => {
    const host = await openMeshPort(t, { trust: trustOfMany() });
    await openGuest(t, host, "127.0.1.1");
    const silent: WebSocket[] = [];
    while (silent.length < LIMITS.silentLinksMax)
      silent.push(await openGuest(t, host, `127.0.1.${2 + (silent.length % 2)}`, true));
    await assert.rejects(dialTo(host), busy("full"));
    assert.equal(await refusalsOf(host, "silent"), 1);
    silent[0]?.send(new Uint8Array(1));
    (await until(() => dialTo(host))).close("got in");
  });

  it("one member that opens link after link and says nothing loses its own oldest; another gets in", async (t) => {
    const host = await openMeshPort(t);
    const silent: WebSocket[] = [];
    while (silent.length < LIMITS.silentLinksMax + 2)
      silent.push(await openGuest(t, host, `127.0.1.${1 + (silent.length % 2)}`, true));
    const isOpen = ({ readyState, OPEN }: WebSocket): boolean => readyState === OPEN;
    await until(() => silent.filter(isOpen).length === LIMITS.linksPerMember);
    assert.ok(silent.slice(-LIMITS.linksPerMember).every(isOpen));
    assert.equal(await refusalsOf(host, "links"), silent.length - LIMITS.linksPerMember);
    (await dialPort(host.address, { from: openMember(papersOf(2)) })).close("got in");
  });
});

describe("listener: opening and closing", () => {
  it("a busy port is a failure that names the address and what to do", async (t) => {
    const host = await openMeshPort(t);
    const { port } = host.address;
    const again = openMeshPort(t, { listen: host.address });
    await assert.rejects(again, (thrown) => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, "busy");
      assert.ok(thrown.message.includes(`127.0.0.1:${port}`) && thrown.message.includes("mesh.listen"));
      return true;
    });
  });

  it("an address of another host is invalid", async (t) => {
    const opening = openMeshPort(t, { listen: { host: "192.0.2.1", port: 0 } });
    await assert.rejects(opening, (thrown) => thrown instanceof Failure && thrown.code === "invalid");
  });

  it("closing says goodbye on links, drops strangers, settles and frees the port", async (t) => {
    const host = await openMeshPort(t);
    const stranger = await openTcp(t, host.address.port);
    const link = await dialPort(host.address, { id: 1 });
    const ends: LinkEnd[] = [];
    link.start({ frame: () => undefined, closed: (end) => ends.push(end) });
    await until(() => host.links.length === 1);
    await Promise.all([host.listener.close(), host.listener.close()]);
    await until(() => ends.length === 1);
    assert.equal(ends[0]?.kind, "goodbye");
    await until(() => stranger.socket.readableEnded || stranger.socket.destroyed);
    const dialling = dialPort(host.address, { id: 2 });
    await assert.rejects(dialling, (thrown) => thrown instanceof Failure && thrown.code === "refused");
  });

  it("closing does not wait for a peer that ignores the goodbye", async (t) => {
    const host = await openMeshPort(t);
    // Never started, so it reads nothing, the goodbye included.
    const link = await dialPort(host.address, { id: 1 });
    await until(() => host.links.length === 1);
    await host.listener.close();
    link.close("done");
  });
});
