// What every HttpForwarder must do, told at its interface: any engine behind it passes the same tests.

import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import type { UpstreamAnswer } from "../../../src/proxy/http/answer.ts";
import { openConnector, type Connect } from "../../../src/proxy/connect.ts";
import { Deadlines } from "../../../src/proxy/deadlines.ts";
import type { BodySink, Joiner, OutgoingHead, Sender } from "../../../src/proxy/http/forwarder.ts";
import type { Upstream } from "../../../src/proxy/routes.ts";
import { nowMs } from "../../../src/runtime/clock.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import { CALLER, Client, httpReplica, tcpReplica, upstream } from "../fixtures.ts";

/** What keeps the connections of an engine. */
export interface Kept {
  readonly sizes: { readonly idle: number; readonly busy: number };
  setEligible(upstreams: readonly Upstream[]): void;
  close(): void;
}

/** What an engine is opened with. */
export interface EngineOptions {
  readonly connect: Connect;
  readonly deadlines: Deadlines;
  readonly nowMs: () => number;
}

/** An engine that sends requests, and what keeps its connections. */
export interface SendingEngine {
  readonly forwarder: Sender;
  readonly kept: Kept;
}

/** What became of one attempt. */
interface Course {
  readonly events: string[];
  readonly text: () => string;
  response: UpstreamAnswer | null;
  sink: BodySink | null;
}

const GET: OutgoingHead = { method: "GET", target: "/", fields: new Map([["Host", ["app"]]]) };

/** What every engine must do that sends requests. */
export function sendSuite(name: string, open: (options: EngineOptions) => SendingEngine): void {
  test(`${name}: sends target, header spelling and order as given, and nothing of the client's own`, async (t) => {
    const bench = openBench(t, open);
    let received = "";
    const port = await tcpReplica(t, (socket) => {
      socket.on("data", (chunk: Buffer) => {
        received += chunk.toString("latin1");
        socket.write("HTTP/1.1 204 No Content\r\n\r\n");
      });
    });
    const fields = new Map([
      ["hOsT", ["app:81"]],
      ["X-Twice", ["1", "2"]],
      ["Cookie", ["a=\xe9"]],
    ]);
    for (const target of ["//a//b", "/a\\b", "/%2e%2E/", "/a?b?c=http://x//y", "/\xe9"]) {
      received = "";
      const course = attempt(bench, upstream("a", port), { method: "GET", target, fields });
      await until(() => course.response !== null);
      assert.equal(
        received,
        `GET ${target} HTTP/1.1\r\nhOsT: app:81\r\nX-Twice: 1\r\nX-Twice: 2\r\nCookie: a=\xe9\r\n` +
          "Connection: keep-alive\r\n\r\n",
      );
    }
  });

  test(`${name}: tells of the connection before it asks for the body, and of the answer once`, async (t) => {
    const bench = openBench(t, open);
    const port = await httpReplica(t, (request, response) => request.pipe(response));
    const fields = new Map([
      ["Host", ["app"]],
      ["transfer-encoding", ["chunked"]],
    ]);
    const course = attempt(bench, upstream("a", port), { method: "DELETE", target: "/", fields }, "body");
    await until(() => course.events.includes("ended"));
    assert.equal(course.text(), "body");
    assert.deepEqual(course.events, ["connected", "answered", "ended"]);
  });

  test(`${name}: interim answers are told before the answer, but for 100`, async (t) => {
    const bench = openBench(t, open);
    const port = await tcpReplica(t, (socket) => {
      socket.once("data", () => {
        const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        socket.write(`HTTP/1.1 100 Continue\r\n\r\n${hints}HTTP/1.1 204 No Content\r\n\r\n`);
      });
    });
    const course = attempt(bench, upstream("a", port), GET);
    await until(() => course.events.includes("ended"));
    assert.deepEqual(course.events, [
      "connected",
      "informed 103 Link </a>",
      "informed 102 ",
      "answered",
      "ended",
    ]);
  });

  test(`${name}: a refused connection fails as connect, without having asked for the body`, async (t) => {
    const bench = openBench(t, open);
    const course = attempt(bench, upstream("a", await closedPort()), GET);
    await until(() => course.events.length > 0);
    assert.deepEqual(course.events, ["failed connect"]);
  });

  test(`${name}: an upstream that closes without an answer fails as died, also when it talks nonsense`, async (t) => {
    const bench = openBench(t, open);
    for (const answer of ["", "220 smtp.example.com ESMTP\r\n", "HTTP/1.1 200 OK\r\nContent-Le"]) {
      const port = await tcpReplica(t, (socket) => socket.once("data", () => socket.end(answer)));
      const course = attempt(bench, upstream("a", port), GET);
      await until(() => course.events.length > 1);
      assert.deepEqual(course.events, ["connected", "failed died"]);
    }
  });

  test(`${name}: a kept connection is used again, and fails as stale when it dies under a request`, async (t) => {
    const bench = openBench(t, open);
    const sockets = new Set<Socket>();
    const port = await tcpReplica(t, (socket) => {
      sockets.add(socket);
      socket.once("data", () => {
        socket.write("HTTP/1.1 204 No Content\r\n\r\n");
        socket.once("data", () => socket.resetAndDestroy());
      });
    });
    const first = attempt(bench, upstream("a", port), GET);
    await until(() => first.response !== null && bench.kept.sizes.idle === 1);
    const second = attempt(bench, upstream("a", port), GET);
    await until(() => second.events.length > 1);
    assert.deepEqual(second.events, ["connected", "failed stale"]);
    assert.equal(sockets.size, 1);
  });

  test(`${name}: an abandoned attempt closes its connection and tells nothing more`, async (t) => {
    const bench = openBench(t, open);
    let openCount = 0;
    const port = await tcpReplica(t, (socket) => {
      openCount += 1;
      socket.once("end", () => (openCount -= 1)).resume();
    });
    const course = begin(bench, upstream("a", port), GET);
    await until(() => openCount === 1 && course.events.length === 1);
    course.attempt.abandon();
    course.attempt.abandon();
    await until(() => openCount === 0);
    assert.deepEqual(course.events, ["connected"]);
  });

  test(`${name}: a head that cannot be written fails after send has returned`, async (t) => {
    const bench = openBench(t, open);
    const port = await httpReplica(t, (_request, response) => response.end());
    const fields = new Map([["X-Bad", ["a\nb"]]]);
    const course = attempt(bench, upstream("a", port), { ...GET, fields });
    await until(() => course.events.length > 0);
    assert.deepEqual(course.events, ["failed unsendable"]);
  });

  test(`${name}: an answer with a head near the bound arrives whole, with every one of its headers`, async (t) => {
    const bench = openBench(t, open);
    const port = await httpReplica(t, (_request, response) => {
      response.writeHead(200, Array.from({ length: 2400 }, (_, at) => [`x${at}`, "1"]).flat());
      response.end();
    });
    const course = attempt(bench, upstream("a", port), GET);
    await until(() => course.events.includes("ended"));
    const names = course.response?.rawHeaders.filter((text) => /^x\d+$/.test(text));
    assert.equal(names?.length, 2400);
  });
}

/** What every engine must do that joins WebSockets. */
export function upgradeSuite(name: string, open: (options: EngineOptions) => Promise<Joiner>): void {
  const HANDSHAKE: OutgoingHead = {
    method: "GET",
    target: "//ws",
    fields: new Map([
      ["Host", ["app"]],
      ["Connection", ["Upgrade"]],
      ["Upgrade", ["websocket"]],
    ]),
  };

  test(`${name}: a handshake that cannot be written fails after upgrade has returned`, async (t) => {
    const joiner = await open(engineOptions());
    const port = await httpReplica(t, (_request, response) => response.end());
    const { inner } = await socketPair(t);
    const fields = new Map([["X-Bad", ["a\nb"]]]);
    const { events } = upgrade(joiner, upstream("a", port), inner, { ...GET, fields });
    await until(() => events.length > 0);
    assert.deepEqual(events, ["failed unsendable"]);
  });

  test(`${name}: joins a client and the upstream that switched protocols; each ends with the other`, async (t) => {
    const joiner = await open(engineOptions());
    let received = "";
    const port = await tcpReplica(t, (socket) => {
      socket.once("data", (chunk: Buffer) => {
        received = chunk.toString();
        socket.write(
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ",
        );
        socket.pipe(socket);
      });
    });
    const { outer, inner } = await socketPair(t);
    const course = upgrade(joiner, upstream("a", port), inner, HANDSHAKE);
    await until(() => course.events.length > 0);
    assert.deepEqual(course.events, ["joined"]);
    assert.match(
      received,
      /^GET \/\/ws HTTP\/1\.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n$/,
    );
    await outer.ask("you", (text) => text.endsWith("hello you"));
    outer.socket.resetAndDestroy();
    await until(() => inner.destroyed);
  });

  test(`${name}: a failed handshake leaves the client's connection to the next attempt`, async (t) => {
    const joiner = await open(engineOptions());
    const dying = await tcpReplica(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
    const refusing = await tcpReplica(t, (socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"));
    });
    const { outer, inner } = await socketPair(t);
    const ends: string[] = [];
    for (const port of [await closedPort(), dying, refusing]) {
      const course = upgrade(joiner, upstream("a", port), inner, HANDSHAKE);
      await until(() => course.events.length > 0);
      ends.push(...course.events);
    }
    assert.deepEqual(ends, ["failed connect", "failed died", "answered"]);
    assert.equal(outer.text, "");
    assert.equal(inner.destroyed, false);
  });
}

/** The two ends of a connection, the inner one as a server has it. */
async function socketPair(t: TestContext): Promise<{ readonly outer: Client; readonly inner: Socket }> {
  let accepted: Socket | null = null;
  const port = await tcpReplica(t, (socket) => {
    accepted = socket;
  });
  const outer = new Client(t, port);
  const inner = await until((): Socket | null => accepted);
  return { outer, inner };
}

function engineOptions(): EngineOptions {
  const deadlines = new Deadlines();
  const dial = (): Promise<never> => Promise.reject(new Error("no"));
  const connect = openConnector({ dial, deadlines, nowMs, connectMs: 500, streamMs: 500 });
  return { connect, deadlines, nowMs };
}

function openBench(t: TestContext, open: (options: EngineOptions) => SendingEngine): SendingEngine {
  const engine = open(engineOptions());
  t.after(() => engine.kept.close());
  return engine;
}

type Begun = Course & { readonly attempt: { abandon(): void } };

/** Begins an attempt of an eligible upstream, writing down what is told. */
function begin(bench: SendingEngine, to: Upstream, head: OutgoingHead): Begun {
  bench.kept.setEligible([to]);
  let text = "";
  const course: Course = { events: [], text: () => text, response: null, sink: null };
  const attempt = bench.forwarder.send(
    to,
    { ...head, caller: CALLER, freshness: "any" },
    {
      connected: (sink) => {
        course.events.push("connected");
        course.sink = sink;
      },
      informed: (status, rawHeaders) => course.events.push(`informed ${status} ${rawHeaders.join(" ")}`),
      answered: (response) => {
        course.events.push("answered");
        course.response = response;
        response.read({
          data: (part) => (text += part.toString()),
          ended: () => course.events.push("ended"),
          cut: () => course.events.push("cut"),
        });
      },
      failed: ({ end }) => course.events.push(`failed ${end}`),
    },
  );
  return Object.assign(course, { attempt });
}

/** As `begin`, and sends the body as soon as it may. */
function attempt(bench: SendingEngine, to: Upstream, head: OutgoingHead, body?: string): Course {
  const course = begin(bench, to, head);
  void sendBody(course, body);
  return course;
}

async function sendBody(course: Course, body?: string): Promise<void> {
  await until(() => course.sink !== null || course.events.length > 0);
  if (body !== undefined) course.sink?.write(Buffer.from(body));
  course.sink?.end();
}

function upgrade(
  joiner: Joiner,
  to: Upstream,
  socket: Socket,
  head: OutgoingHead,
): { readonly events: string[] } {
  const events: string[] = [];
  joiner.upgrade(
    to,
    socket,
    { ...head, caller: CALLER },
    {
      joined: () => events.push("joined"),
      answered: (answer) => {
        events.push("answered");
        answer.read({ data: () => undefined, ended: () => undefined, cut: () => undefined });
      },
      failed: ({ end }) => events.push(`failed ${end}`),
    },
  );
  return { events };
}
