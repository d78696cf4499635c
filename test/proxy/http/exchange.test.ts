// Exchange: requests through the proxy, to replicas that serve, refuse, hang, lie and die.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";

import type { AccessEntry } from "../../../src/proxy/access/entry.ts";
import type { Times } from "../../../src/proxy/choice/attempts.ts";
import { nowMs } from "../../../src/runtime/clock.ts";
import { closedPort } from "../../support/tcp.ts";
import { until } from "../../support/wait.ts";

import {
  ask,
  childReplica,
  Client,
  Clock,
  frontend,
  httpReplica,
  pool,
  rawReplica,
  serveOne,
  startProxy,
  table,
  tcpReplica,
  upstream,
} from "../fixtures.ts";

/** The waits of these tests, by a clock that they move themselves; shorter than in use, so that they move it less. */
const TIMES: Partial<Times> = { firstByteMs: 1000, answerMs: 5000, idleMs: 3000 };
/** Chooses the first replica by id first. */
const IN_ORDER = { random: () => 0 };

function named(t: TestContext, name: string): Promise<number> {
  return httpReplica(t, (request, response) => {
    request.resume();
    response.end(name);
  });
}

/** A replica that answers when it is told to: the requests that it has are kept, in order. */
async function patient(
  t: TestContext,
): Promise<{ readonly port: number; readonly asked: readonly ServerResponse[] }> {
  const asked: ServerResponse[] = [];
  const port = await httpReplica(t, (request, response) => {
    request.resume();
    // The proxy's own question after it has waited in vain: not answered either.
    if (request.headers["user-agent"] !== "skein") asked.push(response);
  });
  return { port, asked };
}

/** A replica that answers with the method, target and body it got. */
function echoing(t: TestContext): Promise<number> {
  return httpReplica(t, echo);
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.once("end", () => response.end(`${request.method ?? ""} ${request.url ?? ""} ${body}`));
}

test("exchange: twelve requests over three replicas are four each, on one kept connection too", async (t) => {
  const names = ["a", "b", "c"];
  const ports = await Promise.all(names.map((name) => named(t, name)));
  const to = pool(names.map((name, at) => upstream(name, ports[at] ?? 0)));
  const { port } = await serveOne(t, "http", to);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  for (const through of [agent, false as const]) {
    const answers: string[] = [];
    for (let count = 0; count < 12; count += 1) answers.push((await ask(port, { agent: through })).text);
    assert.deepEqual(
      names.map((name) => answers.filter((text) => text === name).length),
      [4, 4, 4],
    );
  }
});

test("exchange: a POST to a replica that refuses goes to the next one, body and all", async (t) => {
  const to = pool([upstream("a", await closedPort()), upstream("b", await echoing(t))]);
  const { port, proxy } = await serveOne(t, "http", to, IN_ORDER);
  const answer = await ask(port, { method: "POST", path: "/x", body: "payload" });
  assert.equal(answer.text, "POST /x payload");
  assert.deepEqual(
    proxy.stats().ejected.map(({ id }) => id.slice(0, 1)),
    ["a"],
  );
});

test("exchange: a GET leaves a replica that is stopped (SIGSTOP) after the first-byte deadline", async (t) => {
  const stopped = await childReplica(t, "stopped");
  stopped.child.kill("SIGSTOP");
  const to = pool([upstream("a", stopped.port), upstream("b", await named(t, "good"))]);
  const clock = new Clock();
  const { port, proxy } = await serveOne(t, "http", to, { ...IN_ORDER, nowMs: clock.nowMs, times: TIMES });
  const answer = ask(port);
  await until(() => proxy.stats().upstreamConnections.busy === 1);
  assert.equal((await clock.passDuring(answer)).text, "good");
  assert.deepEqual(
    proxy.stats().ejected.map(({ id }) => id.slice(0, 1)),
    ["a"],
  );
  assert.equal((await ask(port)).text, "good");
});

test("exchange: a POST stays with a replica that does not answer, and times out with 504", async (t) => {
  const silent = await patient(t);
  const to = pool([upstream("a", silent.port), upstream("b", await named(t, "good"))]);
  const clock = new Clock();
  const { port } = await serveOne(t, "http", to, { ...IN_ORDER, nowMs: clock.nowMs, times: TIMES });
  const answer = ask(port, { method: "POST", body: "once" });
  await until(() => silent.asked.length > 0);
  assert.equal((await clock.passDuring(answer)).status, 504);
  assert.equal(silent.asked.length, 1);
});

test("exchange: a replica that hangs under a POST gets no other request", async (t) => {
  const silent = await patient(t);
  const to = pool([upstream("a", silent.port), upstream("b", await named(t, "good"))]);
  const clock = new Clock();
  const { port, proxy } = await serveOne(t, "http", to, { ...IN_ORDER, nowMs: clock.nowMs });
  const answer = ask(port, { method: "POST", body: "once" });
  await until(() => silent.asked.length > 0);
  await clock.passUntil(() => proxy.stats().ejected.length > 0);
  const sinceMs = clock.nowMs();
  await clock.passUntil(() => clock.nowMs() - sinceMs >= 10_000);
  for (let count = 0; count < 4; count += 1)
    assert.equal((await ask(port, { method: "POST", body: "x" })).text, "good");
  assert.equal(silent.asked.length, 1);
  silent.asked[0]?.end("at last");
  assert.equal((await answer).text, "at last");
  assert.deepEqual(proxy.stats().ejected, [], "it has answered");
});

test("exchange: a slow replica that has no alternative is waited for, and not ejected", async (t) => {
  const slow = await patient(t);
  const clock = new Clock();
  const options = { nowMs: clock.nowMs, times: TIMES };
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", slow.port)]), options);
  const answer = ask(port);
  await until(() => slow.asked.length > 0);
  const askedAtMs = clock.nowMs();
  await clock.passUntil(() => clock.nowMs() - askedAtMs >= 3000);
  slow.asked[0]?.end("slow");
  assert.equal((await answer).text, "slow");
  assert.deepEqual(proxy.stats().ejected, []);
});

test("exchange: a request that is slow everywhere is answered, and nobody stays ejected for it", async (t) => {
  const [one, other] = [await patient(t), await patient(t)];
  const to = pool([upstream("a", one.port), upstream("b", other.port)]);
  const clock = new Clock();
  const { port, proxy } = await serveOne(t, "http", to, { ...IN_ORDER, nowMs: clock.nowMs, times: TIMES });
  const answer = ask(port);
  await until(() => one.asked.length > 0);
  clock.pass(1000);
  await until(() => other.asked.length > 0);
  assert.equal(proxy.stats().ejected.length, 1);
  clock.pass(1000);
  other.asked[0]?.end("b");
  assert.equal((await answer).text, "b");
  assert.deepEqual(proxy.stats().ejected, []);
});

test("exchange: a slow replica gets the request back when the others turn out to refuse", async (t) => {
  const slow = await patient(t);
  const to = pool([upstream("a", slow.port), upstream("b", await closedPort())]);
  const clock = new Clock();
  const { port } = await serveOne(t, "http", to, { ...IN_ORDER, nowMs: clock.nowMs, times: TIMES });
  const answer = ask(port);
  await until(() => slow.asked.length === 1);
  clock.pass(1000);
  await until(() => slow.asked.length === 2);
  slow.asked[1]?.end("slow");
  assert.equal((await answer).text, "slow");
  assert.equal(slow.asked.length, 2);
});

test("exchange: a replica that dies before it answers costs a GET nothing, and a POST is told", async (t) => {
  const dying = await tcpReplica(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
  const to = pool([upstream("a", dying), upstream("b", await named(t, "good"))]);
  const { port } = await serveOne(t, "http", to, IN_ORDER);
  assert.equal((await ask(port)).text, "good");
  const answer = await ask(port, { method: "POST", body: "x" });
  assert.equal(answer.status, 502);
  assert.match(
    answer.text,
    /^502 Bad Gateway: no replica of default\/web gave an answer \(one was asked\) \(request [0-9a-z]{12}\)\n$/,
  );
});

test("exchange: a request that every replica dies of meets three of them, not all", async (t) => {
  let deaths = 0;
  const dying = await tcpReplica(t, (socket) => {
    socket.once("data", () => {
      deaths += 1;
      socket.resetAndDestroy();
    });
  });
  const to = pool(["a", "b", "c", "d", "e"].map((name) => upstream(name, dying)));
  const { port } = await serveOne(t, "http", to);
  assert.equal((await ask(port)).status, 502);
  assert.equal(deaths, 3);
});

test("exchange: a kept connection that dies under a GET is replaced, with one replica too", async (t) => {
  let requests = 0;
  const fickle = await rawReplica(t, (_head, socket) => {
    requests += 1;
    if (requests === 2) socket.resetAndDestroy();
    else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", fickle)]));
  assert.equal((await ask(port)).text, "ok");
  assert.equal((await ask(port)).text, "ok");
  assert.equal(requests, 3);
  assert.deepEqual(proxy.stats().ejected, []);
});

test("exchange: a POST does not use a connection that has been idle for a while", async (t) => {
  const clock = new Clock();
  const sockets = new Set<Socket>();
  const replica = await rawReplica(t, (_head, socket) => {
    sockets.add(socket);
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), { nowMs: clock.nowMs });
  await ask(port);
  await ask(port, { method: "POST" });
  assert.equal(sockets.size, 1);
  clock.pass(1001);
  await ask(port, { method: "POST" });
  assert.equal(sockets.size, 2);
  clock.pass(1001);
  await ask(port);
  assert.equal(sockets.size, 2);
});

test("exchange: an upstream that dies mid-body breaks the client's answer, and nothing hangs", async (t) => {
  for (const head of ["Content-Length: 100", "Transfer-Encoding: chunked"]) {
    const dying = await rawReplica(t, (_head, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n5\r\nhello\r\n`, () => socket.resetAndDestroy());
    });
    const { port, proxy } = await serveOne(t, "http", pool([upstream("a", dying)]));
    await assert.rejects(ask(port));
    await until(() => proxy.stats().connections === 0);
  }
});

test("exchange: an answer that stalls is cut after the idle deadline", async (t) => {
  const stalling = await patient(t);
  const clock = new Clock();
  const options = { nowMs: clock.nowMs, times: TIMES };
  const { port } = await serveOne(t, "http", pool([upstream("a", stalling.port)]), options);
  const client = new Client(t, port);
  client.socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  await until(() => stalling.asked.length > 0);
  stalling.asked[0]?.write("begun");
  await until(() => client.text.includes("begun"));
  await clock.passUntil(() => client.ended || client.closed);
  assert.doesNotMatch(client.text, /\r\n0\r\n/);
});

test("exchange: an upload that stalls is answered with 408", async (t) => {
  let received = "";
  const replica = await httpReplica(t, (request) => {
    request.on("data", (chunk: Buffer) => (received += chunk.toString()));
    request.on("error", () => undefined);
  });
  const clock = new Clock();
  const options = { nowMs: clock.nowMs, times: TIMES };
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]), options);
  const client = new Client(t, port);
  client.socket.write("PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhalf");
  await until(() => received === "half");
  await clock.passUntil(() => client.text.includes("\n\r\n"));
  assert.match(client.text, /^HTTP\/1\.1 408 Request Timeout\r\n/);
});

test("exchange: a client that leaves takes its request away from the upstream, in each phase of it", async (t) => {
  let [begun, left] = [0, 0];
  const replica = await httpReplica(t, (request, response) => {
    begun += 1;
    response.once("close", () => (left += 1));
    request.resume();
    if (request.url === "/answering") response.write("some");
  });
  const { port, proxy } = await serveOne(t, "http", pool([upstream("a", replica)]));
  for (const [path, method] of [
    ["/waiting", "GET"],
    ["/uploading", "POST"],
    ["/answering", "GET"],
  ] as const) {
    const before = begun;
    const request = httpRequest({ host: "127.0.0.1", port, path, method, agent: false });
    request.on("error", () => undefined);
    if (method === "POST") request.write("some of it");
    else request.end();
    await until(() => begun === before + 1);
    request.destroy();
    await until(() => left === begun, { what: `the upstream request of ${path} to end` });
  }
  await until(() => proxy.stats().upstreamConnections.busy === 0);
});

test("exchange: a PUT is sent again whole while its body is kept, and given up when it is too long", async (t) => {
  const dying = await httpReplica(t, (request) => {
    request.on("data", () => undefined).once("end", () => request.socket.resetAndDestroy());
  });
  const to = pool([upstream("a", dying), upstream("b", await echoing(t))]);
  const { port } = await serveOne(t, "http", to, IN_ORDER);
  const short = "s".repeat(60_000);
  assert.equal((await ask(port, { method: "PUT", body: short })).text, `PUT / ${short}`);
  assert.equal((await ask(port, { method: "PUT", body: short })).status, 200);
  const { status } = await ask(port, {
    method: "PUT",
    body: "l".repeat(70_000),
    headers: { connection: "close" },
  });
  assert.ok(status === 502 || status === 200, "by turns: the dying one is told, the other serves");
});

test("exchange: fifty megabytes pass whole in both directions at once", async (t) => {
  const mirror = await httpReplica(t, (request, response) => request.pipe(response));
  const { port } = await serveOne(t, "http", pool([upstream("a", mirror)]));
  const block = randomBytes(1024 * 1024);
  const [sent, received] = [createHash("sha256"), createHash("sha256")];
  const request = httpRequest({ host: "127.0.0.1", port, method: "POST", agent: false });
  const answered = once(request, "response") as Promise<[IncomingMessage]>;
  const upload = (async () => {
    for (let count = 0; count < 50; count += 1) {
      sent.update(block);
      if (!request.write(block)) await once(request, "drain");
    }
    request.end();
  })();
  const [response] = await answered;
  let sizeBytes = 0;
  for await (const chunk of response) {
    sizeBytes += (chunk as Buffer).length;
    received.update(chunk as Buffer);
  }
  await upload;
  assert.equal(sizeBytes, 50 * block.length);
  assert.equal(received.digest("hex"), sent.digest("hex"));
});

test("exchange: whoever does not read holds the other side back", async (t) => {
  let sentBytes = 0;
  const block = Buffer.alloc(256 * 1024);
  const source = await httpReplica(t, (_request, response) => {
    const fill = (): void => {
      do sentBytes += block.length;
      while (response.write(block) && sentBytes < 1024 * block.length);
    };
    response.on("drain", () => {
      if (sentBytes < 1024 * block.length) fill();
    });
    fill();
  });
  const served = await serveOne(t, "http", pool([upstream("a", source)]));
  const reader = new Client(t, served.port);
  reader.socket.pause();
  reader.socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  await stands(() => sentBytes);
  assert.ok(sentBytes < 64 * 1024 * 1024, `${sentBytes} bytes of an answer are under way`);

  const deaf = await httpReplica(t, (request) => request.pause());
  const second = await serveOne(t, "http", pool([upstream("a", deaf)]));
  const upload = httpRequest({ host: "127.0.0.1", port: second.port, method: "POST", agent: false });
  upload.on("error", () => undefined);
  t.after(() => upload.destroy());
  let uploadedBytes = 0;
  const push = (): void => {
    do uploadedBytes += block.length;
    while (upload.write(block) && uploadedBytes < 1024 * block.length);
  };
  upload.on("drain", () => {
    if (uploadedBytes < 1024 * block.length) push();
  });
  push();
  await stands(() => uploadedBytes);
  assert.ok(uploadedBytes < 64 * 1024 * 1024, `${uploadedBytes} bytes of a body are under way`);
});

/** Waits until a count has not moved for ten looks: then every buffer on the way is full. */
async function stands(count: () => number): Promise<void> {
  let [before, still] = [-1, 0];
  await until(
    () => {
      still = count() === before && count() > 0 ? still + 1 : 0;
      before = count();
      return still >= 10;
    },
    { everyMs: 20 },
  );
}

test("exchange: 100 Continue is said once there is an upstream, and not at all when there is none", async (t) => {
  const to = pool([upstream("a", await closedPort()), upstream("b", await echoing(t))]);
  const { port, proxy } = await serveOne(t, "http", to, IN_ORDER);
  const head = "POST /c HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
  const client = new Client(t, port);
  assert.equal(await client.ask(head, (text) => text.endsWith("\r\n\r\n")), "HTTP/1.1 100 Continue\r\n\r\n");
  const whole = await client.ask("body", (text) => text.includes("POST /c body"));
  assert.equal(whole.split("100 Continue").length, 2);

  await proxy.set(table([frontend("http", pool())]));
  const second = new Client(t, port);
  await second.ask(head, (text) => text.includes("(request"));
  assert.match(second.text, /^HTTP\/1\.1 503 /);
  await until(() => second.ended);
});

test("exchange: without a replica the answer is 503 with a reason, as JSON for those who ask", async (t) => {
  const { port } = await serveOne(t, "http", pool());
  const answer = await ask(port, { headers: { accept: "application/json" } });
  assert.equal(answer.status, 503);
  assert.equal(answer.headers["retry-after"], "1");
  const problem = JSON.parse(answer.text) as Record<string, unknown>;
  assert.equal(problem["detail"], "no replica of default/web is available: it has none that can be reached");
  assert.equal(problem["requestId"], answer.headers["x-request-id"]);
});

test("exchange: a draining replica loses its idle connections at once, and serves when no other is left", async (t) => {
  const sockets = new Set<Socket>();
  const replica = await rawReplica(t, (_head, socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const draining = upstream("a", replica);
  const { port, proxy } = await serveOne(t, "http", pool([draining]));
  await ask(port);
  await until(() => proxy.stats().upstreamConnections.idle === 1);
  await proxy.set(table([frontend("http", pool([], [draining]))]));
  await until(() => sockets.size === 0);
  assert.equal((await ask(port)).text, "ok");
  await until(() => sockets.size === 0);
});

test("exchange: answers under way when the proxy closes are whole, and tell the client to go", async (t) => {
  let finish: (() => void) | null = null;
  const replica = await httpReplica(t, (_request, response) => {
    finish = () => response.end("whole");
  });
  const { proxy } = await startProxy(t);
  // Once the proxy has left it nobody else has it by chance.
  const port = await closedPort();
  await proxy.set(table([frontend("http", pool([upstream("a", replica)]), { port })]));
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const asked = ask(port, { agent });
  await until(() => finish !== null);
  const closed = proxy.close(10_000);
  (finish as unknown as () => void)();
  const answer = await asked;
  assert.equal(answer.text, "whole");
  assert.equal(answer.headers.connection, "close");
  await closed;
  await assert.rejects(ask(port));
});

test("exchange: one of three replicas killed under load costs not one GET", async (t) => {
  const replicas = await Promise.all(["a", "b", "c"].map((name) => childReplica(t, name)));
  const to = pool(replicas.map((one, at) => upstream(`r${at}`, one.port)));
  // By the time that passes: an ejection ends meanwhile, and the killed one is tried again.
  const { port } = await serveOne(t, "http", to, { nowMs });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const answers: Promise<string>[] = [];
  const failures: unknown[] = [];
  const send = (): void => {
    const asked = ask(port, { agent }).then(({ status, text }) =>
      status === 200 ? text : `status ${status}`,
    );
    asked.catch((thrown: unknown) => failures.push(thrown));
    answers.push(asked);
    if (answers.length === 150) replicas[1]?.child.kill("SIGKILL");
  };
  const timer = setInterval(send, 5);
  t.after(() => clearInterval(timer));
  await until(() => answers.length >= 400);
  clearInterval(timer);
  const texts = await Promise.all(answers);
  assert.deepEqual(failures, []);
  assert.deepEqual(
    texts.filter((text) => !["a", "b", "c"].includes(text)),
    [],
  );
  assert.equal(texts.slice(200).includes("b"), false);
});

test("exchange: a POST on a kept connection that its replica has ended is sent on a new one", async (t) => {
  const heads: string[] = [];
  const ends: (() => void)[] = [];
  const replica = await rawReplica(t, (head, socket) => {
    heads.push(head);
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    ends.push(() => socket.end());
  });
  const { port } = await serveOne(t, "http", pool([upstream("a", replica)]));
  const client = new Client(t, port);
  const request = "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1\r\n\r\nx";
  for (let count = 1; count <= 50; count += 1) {
    client.socket.write(request);
    await until(() => client.text.split("\r\n\r\nok").length === count + 1);
    // In the same turn as the next request: whichever is read first, no request is lost.
    ends.at(-1)?.();
  }
  assert.doesNotMatch(client.text, /HTTP\/1\.1 50\d/);
  assert.equal(heads.length, 50);
});

test("exchange: a replica that says it is at work is waited for beyond the first-byte deadline", async (t) => {
  const working = await patient(t);
  const to = pool([upstream("a", working.port), upstream("b", await named(t, "other"))]);
  const clock = new Clock();
  const { port, proxy } = await serveOne(t, "http", to, { ...IN_ORDER, nowMs: clock.nowMs, times: TIMES });
  const client = new Client(t, port);
  client.socket.write("GET / HTTP/1.1\r\nHost: app\r\n\r\n");
  await until(() => working.asked.length === 1);
  working.asked[0]?.writeProcessing();
  await until(() => client.text.includes("102 Processing"));
  const saidAtMs = clock.nowMs();
  await clock.passUntil(() => clock.nowMs() - saidAtMs > 2000);
  working.asked[0]?.end("done");
  await until(() => client.text.includes("done"));
  assert.deepEqual(proxy.stats().ejected, []);
});

test("exchange: the access log tells who, what, where, how much and why again", async (t) => {
  const entries: AccessEntry[] = [];
  const access = { isOn: true, append: (entry: AccessEntry) => void entries.push(entry) };
  const to = pool([upstream("a", await closedPort()), upstream("b", await echoing(t))]);
  const options = { ...IN_ORDER, access, trustedProxies: ["127.0.0.1"] };
  const { port } = await serveOne(t, "http", to, options);
  const headers = {
    host: "app",
    "user-agent": "test",
    "x-forwarded-for": "203.0.113.9",
    "x-request-id": "r1",
  };
  await ask(port, { method: "PUT", path: "/x?q", body: "payload", headers });
  await ask(port, { headers: { host: "a/b" } });
  await until(() => entries.length === 2);
  const [carried, refused] = entries;
  assert.deepEqual(
    { ...carried, http: { ...carried?.http } },
    {
      kind: "http",
      startedAtMs: 1_000_000,
      durationMs: 0,
      client: "203.0.113.9",
      service: "default/web",
      replica: "b",
      node: "host-1",
      bytesSent: 7,
      bytesReceived: 16,
      retries: ["connect"],
      result: "ok",
      http: {
        requestId: "r1",
        method: "PUT",
        host: "app",
        target: "/x?q",
        version: "1.1",
        proto: "http",
        status: 200,
        firstByteMs: 0,
        userAgent: "test",
        referer: "",
      },
    },
  );
  assert.deepEqual([refused?.service, refused?.result, refused?.http?.status], [null, "refused", 400]);
});
