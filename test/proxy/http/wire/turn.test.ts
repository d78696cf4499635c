// Turn: one request over a connection, from its head to the last byte of its answer, and every way in which it fails.

import assert from "node:assert/strict";
import { duplexPair, type Duplex } from "node:stream";
import { test, type TestContext } from "node:test";

import type { Upstream } from "../../../../src/proxy/routes.ts";
import { until } from "../../../support/wait.ts";

import { upstream } from "../../fixtures.ts";

import { countingReplica, ended, openBench, send, type Bench } from "./bench.ts";

const NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";

/** A bench with one upstream whose connections are in the test's hands. */
function byHand(
  t: TestContext,
  changes: Partial<Upstream> = {},
  given?: (receipt: string) => Promise<number | null>,
): { readonly on: Bench; readonly to: Upstream; readonly far: Duplex[]; readonly received: () => string } {
  const far: Duplex[] = [];
  let received = "";
  const on = openBench(t, {
    dial: () => {
      const [near, other] = duplexPair();
      far.push(other);
      other.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
      return Promise.resolve(near);
    },
    givenOf: (_upstream, receipt) => given?.(receipt) ?? Promise.resolve(null),
  });
  const to = upstream("a", 80, changes);
  on.pools.setEligible([to]);
  return { on, to, far, received: () => received };
}

test("turn: a body of unknown length leaves in chunks, one of known length as it is", async (t) => {
  const { on, to, far, received } = byHand(t);
  const bodies: readonly (readonly [string, string, string])[] = [
    ["transfer-encoding", "chunked", "\r\n\r\n3\r\none\r\n4\r\ntwo!\r\n0\r\nX-Sum: 1\r\n\r\n"],
    ["content-length", "7", "\r\n\r\nonetwo!"],
  ];
  for (const [name, value, expected] of bodies) {
    const course = send(on, to, { method: "PUT", fields: new Map([[name, [value]]]), hasBody: true });
    await until(() => course.sink !== null);
    for (const part of ["one", "", "two!"]) course.sink?.write(Buffer.from(part));
    course.sink?.addTrailers([["X-Sum", "1"]]);
    course.sink?.end();
    await until(() => received().endsWith(expected));
    far[0]?.write(NO_CONTENT);
    await ended(course);
  }
  assert.equal(far.length, 1);
});

test("turn: a body that is not as long as announced ends the connection, whatever comes of it", async (t) => {
  const fields = new Map([["Content-Length", ["3"]]]);
  for (const body of ["four", "2!"]) {
    const { on, to, far, received } = byHand(t);
    const course = send(on, to, { method: "PUT", fields, hasBody: true });
    await until(() => course.sink !== null);
    course.sink?.write(Buffer.from(body));
    course.sink?.end();
    assert.deepEqual(await ended(course), ["connected", "failed unsendable"]);
    await until(() => far[0]?.readableEnded === true || far[0]?.destroyed === true);
    assert.doesNotMatch(received(), /four/);
  }
});

test("turn: a body that outgrows its length under an answer cuts it, by no fault of the upstream", async (t) => {
  const { on, to, far } = byHand(t);
  const course = send(on, to, { fields: new Map([["Content-Length", ["3"]]]), hasBody: true });
  await until(() => course.sink !== null);
  course.sink?.flushHeaders();
  far[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  await until(() => course.text === "half");
  course.sink?.write(Buffer.from("four"));
  assert.deepEqual(await ended(course), ["connected", "answered 200", "cut by the request"]);
});

test("turn: an answer before the request was sent whole arrives whole; its connection is not used again", async (t) => {
  const { on, to, far } = byHand(t);
  const fields = new Map([["Content-Length", ["100"]]]);
  const course = send(on, to, { method: "PUT", fields, hasBody: true });
  await until(() => course.sink !== null);
  course.sink?.write(Buffer.from("a part"));
  far[0]?.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
  assert.deepEqual(await ended(course), ["connected", "answered 413", "ended"]);
  assert.equal(course.text, "no");
  assert.deepEqual(on.pools.sizes, { idle: 0, busy: 0 });
  // Nobody has told the exchange to stop.
  assert.equal(course.sink?.write(Buffer.from("the rest")), true);
  course.sink?.end();
  course.attempt.abandon();
});

test("turn: an answer that is cut is told as cut, one that only the connection's end frames as whole", async (t) => {
  const cut = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
  const chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n";
  const open = "HTTP/1.1 200 OK\r\n\r\nhel";
  for (const [bytes, how, last] of [
    [cut, "end", "cut"],
    [chunk, "end", "cut"],
    [`${chunk}x\r\n`, "nothing", "cut"],
    [open, "end", "ended"],
  ] as const) {
    const { on, to, far } = byHand(t);
    const course = send(on, to);
    await until(() => far.length === 1);
    far[0]?.write(bytes);
    await until(() => course.answer !== null);
    if (how === "end") far[0]?.end();
    assert.deepEqual(await ended(course), ["connected", "answered 200", last]);
    assert.equal(course.text, "hel");
  }
});

test("turn: a reset in the midst of an answer is a cut, though only the end frames its body", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t, (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\nhel"));
  const course = send(on, upstream("a", replica.port));
  await until(() => course.text === "hel");
  for (const socket of replica.sockets) socket.resetAndDestroy();
  assert.deepEqual(await ended(course), ["connected", "answered 200", "cut"]);
});

test("turn: bytes behind an answer end the connection, not the answer", async (t) => {
  const { on, to, far } = byHand(t);
  const course = send(on, to);
  await until(() => far.length === 1);
  far[0]?.write(`${NO_CONTENT}HTTP/1.1 200 OK\r\n`);
  assert.deepEqual(await ended(course), ["connected", "answered 204", "ended"]);
  assert.deepEqual(on.pools.sizes, { idle: 0, busy: 0 });
});

test("turn: a protocol switch that nobody asked for is no answer", async (t) => {
  const { on, to, far } = byHand(t);
  const course = send(on, to);
  await until(() => far.length === 1);
  far[0]?.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
  assert.deepEqual(await ended(course), ["connected", "failed died"]);
});

test("turn: a paused answer holds its upstream back, and arrives whole once it is resumed", async (t) => {
  const on = openBench(t);
  const length = 48 * 1024 * 1024;
  const replica = await countingReplica(t, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`);
    socket.write(Buffer.alloc(length, "x"));
  });
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  const course = send(on, to);
  await until(() => course.answer !== null);
  course.answer?.pause();
  assert.equal(course.answer?.isPaused, true);
  const [socket] = replica.sockets;
  await until(() => socket !== undefined && socket.writableLength > 0);
  assert.ok(course.text.length < length);
  course.answer?.resume();
  await ended(course);
  assert.equal(course.text.length, length);
  // Also one that was paused at its end can be used again.
  assert.deepEqual(on.pools.sizes, { idle: 1, busy: 0 });
});

test("turn: an upstream that does not read holds the body back, and asks for more once it does", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t, (socket) => socket.pause());
  const fields = new Map([["transfer-encoding", ["chunked"]]]);
  const course = send(on, upstream("a", replica.port), { method: "PUT", fields, hasBody: true });
  await until(() => course.sink !== null);
  let drains = 0;
  course.sink?.on("drain", () => (drains += 1));
  const part = Buffer.alloc(64 * 1024);
  await until(() => course.sink?.write(part) === false && course.sink.writableNeedDrain);
  for (const socket of replica.sockets) socket.removeAllListeners("data").resume();
  await until(() => drains > 0);
  course.attempt.abandon();
});

test("turn: a request that may not be sent again sees an end that came before it, and was not sent", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  await ended(send(on, to));
  const [socket] = replica.sockets;
  // Nothing is read in this turn: the end is in the system when the request is asked for.
  socket?.end();
  const course = send(on, to, { method: "POST" });
  assert.deepEqual(course.events, []);
  assert.deepEqual(await ended(course), ["failed stale unsent"]);
});

test("turn: what an upstream says before it was asked is not taken for the answer", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t);
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  await ended(send(on, to));
  for (const socket of replica.sockets) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  assert.deepEqual(await ended(send(on, to, { method: "POST" })), ["failed stale unsent"]);
});

test("turn: a timeout that crossed a GET on a kept connection is none of its own; on a new one it is", async (t) => {
  const on = openBench(t);
  const replica = await countingReplica(t, (socket, request) => {
    const [status, closes] = request.startsWith("GET /late") ? ["408", "close"] : ["204", "keep-alive"];
    socket.write(`HTTP/1.1 ${status} X\r\nConnection: ${closes}\r\nContent-Length: 0\r\n\r\n`);
  });
  const to = upstream("a", replica.port);
  on.pools.setEligible([to]);
  await ended(send(on, to));
  assert.deepEqual(await ended(send(on, to, { target: "/late" })), ["connected", "failed stale"]);
  const own = send(on, to, { target: "/late", freshness: "new" });
  assert.deepEqual(await ended(own), ["connected", "answered 408", "ended"]);
});

test("turn: a POST of which a relayed upstream was given nothing is undelivered", async (t) => {
  for (const [method, givenOf, expected] of [
    ["POST", (before: number) => before, "failed undelivered"],
    ["POST", (before: number) => before + 1, "failed stale"],
    ["POST", () => null, "failed stale"],
    ["GET", (before: number) => before, "failed stale"],
  ] as const) {
    let before = 0;
    const asked: string[] = [];
    const { on, to, far, received } = byHand(t, { via: "stream" }, (receipt) => {
      asked.push(receipt);
      return Promise.resolve(givenOf(before));
    });
    const first = send(on, to);
    await until(() => received().endsWith("\r\n\r\n"));
    far[0]?.write(NO_CONTENT);
    await ended(first);
    before = received().length;
    const course = send(on, to, { method });
    await until(() => course.events.length > 0);
    far[0]?.end();
    assert.deepEqual(await ended(course), ["connected", expected]);
    assert.deepEqual(asked, method === "GET" ? [] : ["receipt-1"]);
  }
});

test("turn: an upstream that answered in part was given the request: nobody asks, nothing is repeated", async (t) => {
  const SIZED = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
  const HINTS = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  for (const [bytes, events] of [
    ["HTTP/1.1 20", ["failed died"]],
    [HINTS, ["informed 103", "failed died"]],
    ["HTTP/1.1 100 Continue\r\n\r\n", ["failed died"]],
    [SIZED, ["answered 200", "cut"]],
    // Whole, as far as anybody can tell: the end was the upstream's own.
    ["HTTP/1.1 200 OK\r\n\r\nhel", ["answered 200", "ended"]],
  ] as const) {
    let asked = 0;
    const { on, to, far } = byHand(t, { via: "stream" }, () => {
      asked += 1;
      return Promise.resolve(0);
    });
    const course = send(on, to, { method: "POST" });
    await until(() => far.length === 1);
    far[0]?.end(bytes);
    assert.deepEqual(await ended(course), ["connected", ...events]);
    assert.equal(asked, 0, bytes);
    assert.equal(far.length, 1);
  }
});
