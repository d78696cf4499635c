// Requests of hosts that want to join: what the mesh port hands on, and what it keeps out.

import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, it, type TestContext } from "node:test";

import type { JoinCaller, ListenerOptions } from "../../src/mesh/listener.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { JOIN_BINDING_LABEL } from "../../src/model/mesh-port.ts";
import { openMeshPort, openTls, type MeshPort, type RawOptions, type RawTls } from "../support/mesh-port.ts";
import { papersOf, refusalsOf } from "../support/mesh-trust.ts";
import { until } from "../support/wait.ts";

/** A port that answers each join request with its path and body, and keeps who asked. */
async function openDoor(
  t: TestContext,
  changed: Pick<ListenerOptions, "joinMs"> = {},
): Promise<{ port: MeshPort; callers: JoinCaller[]; held: ServerResponse[] }> {
  const callers: JoinCaller[] = [];
  const held: ServerResponse[] = [];
  const port = await openMeshPort(t, {
    ...changed,
    async onJoin(request: IncomingMessage, response: ServerResponse, caller: JoinCaller) {
      callers.push(caller);
      if (request.url === "/hold") return void held.push(response);
      let body = "";
      for await (const part of request) body += String(part);
      response.end(`${request.method} ${request.url} ${body}`);
    },
  });
  return { port, callers, held };
}

function openJoiner(t: TestContext, port: MeshPort, options: RawOptions = {}): Promise<RawTls> {
  return openTls(t, port.address.port, { alpn: "skein-join/1", papers: null, ...options });
}

const post = (path: string, body: string, connection = "close"): string => {
  const head = `POST ${path} HTTP/1.1\r\nHost: mesh\r\nConnection: ${connection}\r\n`;
  return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
};

async function answerOf({ socket, received }: RawTls, text: string): Promise<string> {
  socket.write(text);
  await until(() => socket.readableEnded || socket.destroyed);
  return received();
}

describe("join requests", () => {
  it("a host without a certificate may ask, and both ends know one value that binds what it says", async (t) => {
    const { port, callers } = await openDoor(t);
    const joiner = await openJoiner(t, port);
    const binding = joiner.socket.exportKeyingMaterial(32, JOIN_BINDING_LABEL, Buffer.alloc(0));
    const answer = await answerOf(joiner, post("/join", '{"secret":"x"}'));
    assert.match(answer, /^HTTP\/1\.1 200 [^]*POST \/join \{"secret":"x"\}/);
    const [caller] = callers;
    assert.deepEqual([caller?.credential, caller?.address], [null, "127.0.0.1"]);
    assert.match(caller?.problem ?? "", /showed no certificate/);
    assert.ok(caller?.binding.equals(binding));
    assert.equal(await refusalsOf(port), 0);
  });

  it("a member is known by its certificate; one that was removed is told of as that", async (t) => {
    const { port, callers } = await openDoor(t);
    await answerOf(await openJoiner(t, port, { papers: papersOf(1) }), post("/renew", "{}"));
    port.revoke(papersOf(1).id);
    await answerOf(await openJoiner(t, port, { papers: papersOf(1) }), post("/renew", "{}"));
    assert.deepEqual(
      callers.map(({ credential }) => credential?.id ?? null),
      [papersOf(1).id, null],
    );
    assert.match(callers[1]?.problem ?? "", /was removed/);
  });

  it("a few requests on a connection are served, and no more", async (t) => {
    const { port, callers } = await openDoor(t);
    const { socket, received } = await openJoiner(t, port);
    for (let count = 1; count <= 4; count += 1) {
      socket.write(post("/join", `${count}`, "keep-alive"));
      await until(() => received().endsWith(`/join ${count}`));
    }
    socket.write(post("/join", "one too many", "keep-alive"));
    await until(() => received().includes("HTTP/1.1 503 ") || socket.readableEnded);
    assert.equal(callers.length, 4);
  });

  it("long bodies, bodies of untold length, browsers and long heads are refused", async (t) => {
    const { port, callers } = await openDoor(t);
    for (const [status, text] of [
      [413, `POST /join HTTP/1.1\r\nHost: mesh\r\nContent-Length: ${LIMITS.enrolBodyBytes + 1}\r\n\r\n`],
      [413, "POST /join HTTP/1.1\r\nHost: mesh\r\nTransfer-Encoding: chunked\r\n\r\n"],
      [403, "POST /join HTTP/1.1\r\nHost: mesh\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n"],
      [400, `POST /join HTTP/1.1\r\nX: ${"x".repeat(LIMITS.meshHeadBytes)}\r\n\r\n`],
    ] as const)
      assert.match(await answerOf(await openJoiner(t, port), text), new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal(callers.length, 0);
    assert.deepEqual([await refusalsOf(port, "request"), await refusalsOf(port, "junk")], [3, 1]);
  });

  it("one address has so many requests under way; more are told that it is full, and others are served", async (t) => {
    const { port, held } = await openDoor(t);
    while (held.length < LIMITS.enrolmentsPerAddress) {
      const count = held.length;
      (await openJoiner(t, port)).socket.write(post("/hold", ""));
      await until(() => held.length > count);
    }
    assert.match(await answerOf(await openJoiner(t, port), post("/join", "")), /^HTTP\/1\.1 503 /);
    assert.equal(await refusalsOf(port, "joins"), 1);
    const elsewhere = await openJoiner(t, port, { localAddress: "127.0.4.1" });
    assert.match(await answerOf(elsewhere, post("/join", "")), /^HTTP\/1\.1 200 /);
  });

  it("when too many ask and do not come to an end, the slowest gives way and a newcomer is served", async (t) => {
    // None is late before all have come, however long that takes here.
    const { port, held } = await openDoor(t, { joinMs: 2 ** 30 });
    const slow: RawTls[] = [];
    while (slow.length < LIMITS.joinersMax) {
      const localAddress = `127.0.4.${1 + Math.floor(slow.length / LIMITS.enrolmentsPerAddress)}`;
      const joiner = await openJoiner(t, port, { localAddress });
      joiner.socket.write(post("/hold", ""));
      await until(() => held.length > slow.length, { everyMs: 1 });
      slow.push(joiner);
    }
    assert.match(await answerOf(await openJoiner(t, port), post("/join", "")), /^HTTP\/1\.1 200 /);
    await until(() => slow[0]?.socket.readableEnded === true || slow[0]?.socket.destroyed === true);
    assert.equal(slow.filter(({ socket }) => socket.readableEnded || socket.destroyed).length, 1);
    assert.equal(await refusalsOf(port, "joins"), 1);
  });
});
