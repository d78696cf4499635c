// gRPC: what it needs of HTTP/2 passes a TCP frontend untouched: streams both ways at once, and trailers.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type IncomingHttpHeaders } from "node:http2";
import { test } from "node:test";

import { within } from "../support/wait.ts";
import { frontend, listening, pool, portAt, startProxy, table, upstream } from "./fixtures.ts";

test("gRPC: a call over a TCP frontend streams both ways and ends with its trailers", async (t) => {
  const server = createServer();
  server.on("stream", (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "fine" }));
    stream.pipe(stream);
  });
  const replica = await listening(t, server);
  const { proxy } = await startProxy(t);
  await proxy.set(table([frontend("tcp", pool([upstream("a", replica)]))]));
  const session = connect(`http://127.0.0.1:${portAt(proxy, "127.0.0.1")}`);
  t.after(() => session.destroy());
  const call = session.request({
    ":method": "POST",
    ":path": "/shop.Cart/Watch",
    "content-type": "application/grpc",
    te: "trailers",
  });
  let trailers: IncomingHttpHeaders = {};
  call.on("trailers", (told) => (trailers = told));
  const parts: string[] = [];
  for (const part of ["one", "two", "three"]) {
    call.write(part);
    // Each answer before the next question: neither side waits for the other's end.
    const [answer] = await within(once(call, "data") as Promise<[Buffer]>, `an answer to ${part}`);
    parts.push(answer.toString());
  }
  call.end();
  await within(once(call, "end"), "the end of the call");
  assert.deepEqual(parts, ["one", "two", "three"]);
  assert.equal(trailers["grpc-status"], "0");
  assert.equal(trailers["grpc-message"], "fine");
  session.close();
  await within(once(session, "close"), "the end of the session");
});
