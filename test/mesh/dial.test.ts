// Dialling a member: whom we take for it, and what each kind of failure is called.

import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import type { HostPort } from "../../src/base/ip.ts";
import type { Dialled, DialOptions } from "../../src/mesh/dial.ts";
import { openMeshPort, openTlsServer } from "../support/mesh-port.ts";
import { openMember, papersOf, refusalsOf, type TestMember } from "../support/mesh-trust.ts";
import { closedPort, openTcpServer } from "../support/tcp.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";
import { authorities, CLUSTER, makeAuthority, makeNode, OTHER_CLUSTER } from "../trust/certificates.ts";

const OPTIONS = { alpn: "skein-stream/1", deadlineMs: DEADLINE_MS } as const;

async function failureOf(
  from: TestMember,
  peer: HostPort,
  changed: Partial<DialOptions> = {},
): Promise<Failure> {
  const dialled: unknown = await from
    .dialMember(peer, { ...OPTIONS, ...changed })
    .catch((thrown: unknown) => thrown);
  assert.ok(dialled instanceof Failure, "it was dialled");
  return dialled;
}

async function dialled(t: TestContext, from: TestMember, peer: HostPort, expect?: string): Promise<Dialled> {
  const made = await from.dialMember(peer, { ...OPTIONS, ...(expect !== undefined && { expect }) });
  t.after(() => made.socket.destroy());
  return made;
}

describe("dial: whom we take for a member", () => {
  it("the member that was meant is taken, with its id and role", async (t) => {
    const port = await openMeshPort(t);
    const { credential } = await dialled(t, openMember(papersOf(1)), port.address, port.id);
    assert.deepEqual([credential.id, credential.role], [port.id, "worker"]);
  });

  it("a member whose certificate is another's is refused, and told by both ids", async (t) => {
    const port = await openMeshPort(t);
    const from = openMember(papersOf(1));
    const failure = await failureOf(from, port.address, { expect: papersOf(2).id });
    assert.equal(failure.code, "not-allowed");
    assert.ok(failure.message.includes(port.id) && failure.message.includes(papersOf(2).id));
    assert.deepEqual([await refusalsOf(from, "another-member"), from.told[0]?.peer], [1, port.id]);
  });

  it("who is of another cluster, another authority, or none of us at all is refused with the reason", async (t) => {
    const from = openMember(papersOf(1));
    for (const [papers, reason] of [
      [makeNode(makeAuthority(CLUSTER, 1)), /not issued by an authority/],
      [makeNode(authorities()[0], { clusterId: OTHER_CLUSTER }), /for another cluster/],
      [makeNode(authorities()[0], { role: "owner" }), /does not name a node/],
    ] as const) {
      const failure = await failureOf(from, await openTlsServer(t, () => undefined, { papers }));
      assert.equal(failure.code, "not-allowed");
      assert.match(failure.message, reason);
    }
    assert.equal(await refusalsOf(from, "certificate"), 3);
  });
});

describe("dial: what a failure is called", () => {
  it("only a port where nothing listens is refused", async (t) => {
    const from = openMember(papersOf(1));
    const port = await closedPort();
    assert.equal((await failureOf(from, { host: "127.0.0.1", port })).code, "refused");
    const hangsUp = await openTcpServer(t, (socket) => socket.destroy());
    const resets = await openTcpServer(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    for (const server of [hangsUp, resets])
      assert.equal((await failureOf(from, { host: "127.0.0.1", port: server.port })).code, "unreachable");
  });

  it("a peer that speaks no TLS, an older one, or not our protocol is invalid, in words", async (t) => {
    const from = openMember(papersOf(1));
    const plain = await openTcpServer(t, (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const old = await openTlsServer(t, () => undefined, { maxVersion: "TLSv1.2" });
    const strange = await openTlsServer(t, () => undefined, { ALPNProtocols: ["h2"] });
    const mute = await openTlsServer(t, () => undefined, { ALPNProtocols: [] });
    for (const [peer, text] of [
      [{ host: "127.0.0.1", port: plain.port }, /does not speak TLS$/],
      [old, /does not speak TLS 1\.3/],
      [strange, /does not take skein-stream\/1/],
      [mute, /chose no protocol/],
    ] as const) {
      const failure = await failureOf(from, peer);
      assert.equal(failure.code, "invalid", failure.message);
      assert.match(failure.message, text);
    }
  });

  it("one deadline holds for the connection and the handshake together", async (t) => {
    const from = openMember(papersOf(1));
    const silent = await openTcpServer(t, (socket) => socket.resume());
    const failure = await failureOf(from, { host: "127.0.0.1", port: silent.port }, { deadlineMs: 150 });
    assert.equal(failure.code, "timeout");
    await until(() => silent.sockets[0]?.readableEnded === true);
  });
});
