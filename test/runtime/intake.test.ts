// Intake: what one connection sends, passed on to another out of memory that is used again and again.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { Intake } from "../../src/runtime/intake.ts";
import { join } from "../../src/runtime/pump.ts";
import { openTcp, openTcpServer } from "../support/tcp.ts";
import { until } from "../support/wait.ts";

interface Joined {
  readonly client: Socket;
  readonly upstream: Socket;
}

/** A client and an upstream, joined by an intake in between; the upstream's end is handed to `upstream`. */
async function joined(t: TestContext, serve: (socket: Socket) => void): Promise<Joined> {
  const far = await openTcpServer(t, serve);
  const near = await openTcpServer(t, (socket) => socket.pause());
  const { socket: client } = await openTcp(t, near.port);
  client.removeAllListeners("data").pause();
  const accepted = await until(() => near.sockets[0]);
  const intake = new Intake(accepted);
  const upstream = connect({ port: far.port, host: "127.0.0.1", allowHalfOpen: true, onread: intake.onread });
  intake.takeFrom(upstream);
  await once(upstream, "connect");
  assert.deepEqual([intake.reads(upstream), intake.reads(accepted)], [true, false]);
  join(accepted, upstream, { intake });
  return { client, upstream };
}

test("intake: much data arrives whole at a reader that stops again and again, and so does the end", async (t) => {
  const sent = randomBytes(8 * 1024 * 1024);
  const { client } = await joined(t, (socket) => socket.end(sent));
  const hash = createHash("sha256");
  let count = 0;
  client.on("data", (chunk: Buffer) => {
    hash.update(chunk);
    count += 1;
    if (count % 16 !== 0) return;
    client.pause();
    setImmediate(() => client.resume());
  });
  client.resume();
  await once(client, "end");
  assert.equal(hash.digest("hex"), createHash("sha256").update(sent).digest("hex"));
});

test("intake: from an upstream whose client does not read nothing is taken but what the system holds", async (t) => {
  let writtenBytes = 0;
  const block = Buffer.alloc(1024 * 1024);
  const { client, upstream } = await joined(t, (socket) => {
    const fill = (): void => {
      while (writtenBytes < 256 * block.length && socket.write(block)) writtenBytes += block.length;
    };
    socket.on("drain", fill);
    fill();
  });
  let [before, still] = [-1, 0];
  await until(
    () => {
      still = upstream.bytesRead === before && before > 0 ? still + 1 : 0;
      before = upstream.bytesRead;
      return still >= 10;
    },
    { everyMs: 20 },
  );
  assert.ok(upstream.bytesRead < 64 * block.length, `${upstream.bytesRead} bytes are under way`);
  client.destroy();
  await until(() => upstream.destroyed);
});

test("intake: an upstream that breaks off in the middle is not taken for one that ended", async (t) => {
  const { client } = await joined(t, (socket) => {
    socket.write("half", () => setImmediate(() => socket.resetAndDestroy()));
  });
  let code = "";
  client.on("error", (thrown: NodeJS.ErrnoException) => (code = thrown.code ?? ""));
  client.resume();
  await until(() => client.closed);
  assert.equal(code, "ECONNRESET");
});
