// Who passes the mesh port's gate and who does not: papers of every wrong kind, TLS of another version, no TLS at all,
// and crowds of connections that never say what they want.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { connect, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { promisify } from "node:util";

import type { LinkEnd } from "../../src/mesh/link.ts";
import { ALL_CREDIT, ALL_PER_MS } from "../../src/mesh/strangers.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { Failure } from "../../src/base/failure.ts";
import { dialPort, openMeshPort, openTls, type MeshPort, type RawOptions } from "../support/mesh-port.ts";
import { openMember, papersOf, refusalsOf, type Papers } from "../support/mesh-trust.ts";
import { openTcp, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";
import {
  makeAuthority,
  makeNode,
  OTHER_CLUSTER,
  authorities,
  certify,
  CLUSTER,
} from "../trust/certificates.ts";

const run = promisify(execFile);

const withCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

/** Papers that no member of the cluster should take, by what is wrong with them. */
function badPapers(): Readonly<Record<string, Papers>> {
  const [authority, next] = authorities();
  const foreign = makeAuthority(CLUSTER, 1);
  const alone = certify({ subject: "/CN=self", extensions: ["basicConstraints=critical,CA:FALSE"] });
  return {
    "of a foreign authority": makeNode(foreign),
    "of another cluster, by the right authority": makeNode(authority, { clusterId: OTHER_CLUSTER }),
    "of an authority that is not known yet": makeNode(next),
    "with another node's name": makeNode(authority, { id: papersOf(2).id }),
    "signed by itself": { ...alone, id: "none" },
    "of a member that issues others": makeNode(authority, { issuer: papersOf(3) }),
  };
}

async function endOf(t: TestContext, port: MeshPort, options: RawOptions): Promise<string> {
  const { socket, received } = await openTls(t, port.address.port, options);
  await until(() => socket.readableEnded || socket.destroyed);
  return received();
}

describe("gate: papers", () => {
  it("a certificate that does not count is refused with the reason, in links and in streams, and told", async (t) => {
    const port = await openMeshPort(t);
    let count = 0;
    for (const [what, papers] of Object.entries(badPapers())) {
      for (const alpn of ["skein-gossip/1", "skein-stream/1"]) {
        const answer = await endOf(t, port, { papers, alpn });
        assert.match(answer, /^HTTP\/1\.1 403 .*skein-reason: you are refused: certificate /s, what);
        count += 1;
        assert.equal(await refusalsOf(port, "certificate"), count, what);
      }
    }
    assert.equal(port.told[0]?.address, "127.0.0.1");
    assert.match(port.told[0]?.text ?? "", /not issued by an authority of this cluster/);
    assert.deepEqual([port.links.length, port.listener.readyCount()], [0, 0]);
  });

  it("a certificate counts for its time, whatever the clocks of two hosts are off by, and not after it", async (t) => {
    const port = await openMeshPort(t);
    for (const days of [1, 88]) {
      port.passDays(days);
      (await dialPort(port.address)).close("within its time");
    }
    port.passDays(2);
    await assert.rejects(dialPort(port.address), withCode("not-allowed"));
    assert.deepEqual([await refusalsOf(port, "certificate"), port.told[0]?.peer], [1, papersOf(1).id]);
  });

  it("no certificate is refused, and counted as that", async (t) => {
    const port = await openMeshPort(t);
    assert.match(await endOf(t, port, { papers: null }), /^HTTP\/1\.1 403 .*it showed no certificate/s);
    assert.equal(await refusalsOf(port, "no-certificate"), 1);
  });

  it("a node that was removed is refused by its id, and a member that dials it refuses as well", async (t) => {
    const port = await openMeshPort(t);
    const gone = openMember(papersOf(1));
    (await dialPort(port.address, { from: gone })).close("while it was a member");
    port.revoke(gone.id);
    await assert.rejects(dialPort(port.address, { from: gone }), (thrown) => {
      assert.ok(thrown instanceof Failure);
      assert.equal(thrown.code, "not-allowed");
      assert.match(thrown.message, /was removed from the cluster/);
      return true;
    });
    assert.equal(await refusalsOf(port, "revoked"), 1);
    assert.deepEqual([port.told[0]?.reason, port.told[0]?.peer], ["revoked", gone.id]);
    const other = await openMeshPort(t, { papers: gone.papers });
    await assert.rejects(dialPort(other.address, { from: port }), withCode("not-allowed"));
    assert.equal(await refusalsOf(port, "revoked"), 2);
  });

  it("a node that is removed between its handshake and its request gets no link", async (t) => {
    const port = await openMeshPort(t);
    const { socket, received } = await openTls(t, port.address.port);
    port.revoke(papersOf(1).id);
    socket.write("GET /gossip HTTP/1.1\r\nHost: mesh\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await until(() => received().includes("was removed from the cluster"));
    assert.equal(await refusalsOf(port, "revoked"), 1);
    assert.equal(port.links.length, 0);
  });

  it("each kind of refusal from an address is told once and counted each time", async (t) => {
    const port = await openMeshPort(t);
    for (let count = 0; count < 3; count += 1) await endOf(t, port, { papers: null });
    assert.equal(await refusalsOf(port, "no-certificate"), 3);
    assert.equal(port.told.length, 1);
  });

  it("a certificate that was renewed is shown from the next connection on; links stay as they are", async (t) => {
    const port = await openMeshPort(t);
    const before = await dialPort(port.address);
    let end: LinkEnd | null = null;
    before.start({ frame: () => undefined, closed: (how) => (end = how) });
    port.renew(papersOf(4));
    const after = await dialPort(port.address, { id: 2 });
    assert.deepEqual([before.peer.id, after.peer.id], [papersOf(0).id, papersOf(4).id]);
    assert.equal(end, null);
    before.close("done");
    after.close("done");
  });
});

describe("gate: what is spoken", () => {
  it("TLS 1.2 is refused on both ends, and so is a protocol that is none of ours", async (t) => {
    const port = await openMeshPort(t);
    const old = await openTls(t, port.address.port, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" });
    assert.equal(old.error(), "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    const strange = await openTls(t, port.address.port, { alpn: "h2" });
    assert.equal(strange.error(), "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
    await until(async () => (await refusalsOf(port, "handshake")) === 2);
    const none = await openTls(t, port.address.port, { ALPNProtocols: undefined });
    await until(() => none.received().startsWith("HTTP/1.1 400 "));
    assert.equal(await refusalsOf(port, "protocol"), 1);
  });

  it("openssl as a judge: TLS 1.3 with a certificate, and nothing older", async (t) => {
    const port = await openMeshPort(t);
    const s_client = async (...args: string[]): Promise<string> => {
      const at = `127.0.0.1:${port.address.port}`;
      const ran = run("openssl", ["s_client", "-connect", at, "-alpn", "skein-join/1", ...args], {
        timeout: 10_000,
      });
      ran.child.stdin?.end();
      return ran.then(
        ({ stdout }) => stdout,
        (thrown: { readonly stdout: string }) => thrown.stdout,
      );
    };
    assert.match(await s_client("-tls1_3"), /New, TLSv1\.3,[^]*ALPN protocol: skein-join\/1/);
    assert.match(await s_client("-tls1_2"), /New, \(NONE\)/);
  });

  it("no session is resumed: each connection shows its certificate", async (t) => {
    const port = await openMeshPort(t);
    const first = await openTls(t, port.address.port);
    const session = await until(() => first.socket.getSession());
    const again = await openTls(t, port.address.port, { session });
    assert.deepEqual([first.socket.isSessionReused(), again.socket.isSessionReused()], [false, false]);
  });

  it("plain text gets a line that a person can read, and is counted", async (t) => {
    const port = await openMeshPort(t);
    const url = `http://127.0.0.1:${port.address.port}/gossip`;
    const { stdout } = await run("curl", ["-s", "-i", "--max-time", "10", url]);
    assert.match(stdout, /^HTTP\/1\.1 400 .*speaks TLS 1\.3 only/s);
    const { socket, received } = await openTcp(t, port.address.port);
    socket.write("GET /gossip HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await until(() => received().includes("speaks TLS 1.3 only"));
    assert.equal(await refusalsOf(port, "plaintext"), 2);
  });

  it("what looks like TLS and is junk ends the connection and nothing else", async (t) => {
    const port = await openMeshPort(t, { handshakeMs: 500 });
    for (const bytes of ["\x16\x03\x01\x00\x05hello", `\x16${"x".repeat(60_000)}`, "\x16\x03\x01\x3f\xff"]) {
      const { socket } = await openTcp(t, port.address.port);
      socket.end(Buffer.from(bytes, "latin1"));
      await until(() => socket.readableEnded || socket.destroyed);
    }
    (await dialPort(port.address)).close("it lives");
  });
});

describe("gate: crowds", () => {
  /** Opens many connections in a row that do nothing but what `then` does with them. */
  async function crowd(
    t: TestContext,
    count: number,
    port: number,
    then: (socket: Socket) => void,
  ): Promise<Socket[]> {
    const sockets: Socket[] = [];
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    while (sockets.length < count) {
      const socket = connect({
        host: "127.0.0.1",
        port,
        localAddress: `127.0.2.${1 + (sockets.length % 20)}`,
      });
      socket.on("error", () => undefined);
      sockets.push(socket);
      await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
      then(socket);
      socket.resume();
    }
    return sockets;
  }
  const isOpen = (socket: Socket): boolean => !socket.destroyed && !socket.readableEnded;

  /** Bytes of a ClientHello, taken from a real client. */
  async function helloBytes(t: TestContext): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const server = await openTcpServer(t, (socket) =>
      socket.once("data", (chunk: Buffer) => {
        chunks.push(chunk);
        socket.destroy();
      }),
    );
    await openTls(t, server.port);
    return until(() => chunks[0]);
  }

  it("5,000 that never speak: they are few at a time, links live on and members still get in", async (t) => {
    const port = await openMeshPort(t, { handshakeMs: 60_000 });
    const link = await dialPort(port.address);
    let end: LinkEnd | null = null;
    link.start({ frame: () => undefined, closed: (how) => (end = how) });
    const silent = await crowd(t, 5000, port.address.port, () => undefined);
    (await dialPort(port.address, { id: 2 })).close("got in");
    await until(() => silent.filter(isOpen).length <= LIMITS.meshStrangersMax);
    assert.ok(silent.slice(-200).every(isOpen), "the newest stay");
    assert.equal(end, null);
    assert.ok((await refusalsOf(port, "strangers")) >= 5000 - LIMITS.meshStrangersMax);
    assert.ok(port.told.length <= 20, "told once an address");
  });

  it("1,500 handshakes that are begun and left: members still get in, and what they cost is bounded", async (t) => {
    const startedMs = performance.now();
    const port = await openMeshPort(t, { handshakeMs: 60_000 });
    const hello = await helloBytes(t);
    let answered = 0;
    await crowd(t, 1500, port.address.port, (socket) => {
      socket.write(hello);
      socket.once("data", () => (answered += 1));
    });
    for (let id = 1; id <= 5; id += 1) (await dialPort(port.address, { id })).close("got in");
    // By the time that passed: where the crowd takes long to come, more of it is answered.
    const bound = ALL_CREDIT + ALL_PER_MS * (performance.now() - startedMs);
    assert.ok(answered <= bound, `${answered} were answered; expected ${bound} at most`);
    assert.ok((await refusalsOf(port, "strangers")) > 0);
  });

  it("one address gets a part of the places, and its own oldest make room", async (t) => {
    const port = await openMeshPort(t, { handshakeMs: 60_000 });
    const other = await openTcp(t, port.address.port);
    const flood: Socket[] = [];
    while (flood.length < LIMITS.meshStrangersPerAddress + 10) {
      const socket = connect({ host: "127.0.0.1", port: port.address.port, localAddress: "127.0.3.1" });
      socket.on("error", () => undefined).resume();
      t.after(() => socket.destroy());
      await new Promise((resolve) => socket.once("connect", resolve));
      flood.push(socket);
    }
    await until(() => flood.filter(isOpen).length === LIMITS.meshStrangersPerAddress);
    assert.ok(flood.slice(0, 10).every((socket) => !isOpen(socket)));
    assert.ok(isOpen(other.socket));
  });

  it("a request a byte at a time, or none, is hung up on in due time whoever sends it, and counted", async (t) => {
    const port = await openMeshPort(t, { handshakeMs: 300 });
    const silent = await openTcp(t, port.address.port);
    const mute = await openTls(t, port.address.port);
    const slow = await openTls(t, port.address.port, { papers: null, alpn: "skein-join/1" });
    slow.socket.write("POST /join HTTP/1.1\r\nX: ");
    const timer = setInterval(() => slow.socket.write("x"), 20);
    t.after(() => clearInterval(timer));
    for (const socket of [silent.socket, mute.socket, slow.socket]) await until(() => !isOpen(socket));
    assert.equal(await refusalsOf(port, "slow"), 3);
  });
});
