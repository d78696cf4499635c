// What proxies HTTP, against some thousand hostile requests, the same each time and some that are new each time.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";

import { seededRandom } from "../../src/base/random.ts";

import { Finding, renderFailed, runLateCases, type Outcomes } from "./fuzzer.ts";
import { httpFuzzer, judge } from "./http.ts";
import { NginxReader, nginxObstacle, parseAnswers, Recorder } from "./http-readers.ts";
import { hostileRequests } from "./http-requests.ts";
import type { Way } from "./http-ways.ts";

const CASES = 3000;

const skip = nginxObstacle();

for (const seed of [1, randomInt(2 ** 32)]) {
  test(`http: ${CASES} hostile cases have one reading each, or none (seed ${seed})`, { skip }, async (t) => {
    const fuzzer = await httpFuzzer().open();
    t.after(() => fuzzer.close());
    const outcomes: Outcomes = new Map();
    const goesOn = (index: number): boolean => index < CASES;
    const failed = await runLateCases({ name: "http", fuzzer }, seed, { goesOn, outcomes });
    assert.ok(failed === null, failed === null ? "" : renderFailed(failed));
    // A fuzzer whose requests are all refused at the first look would find nothing.
    for (const outcome of ["passed", "refused"])
      assert.ok((outcomes.get(outcome) ?? 0) > CASES / 10, `${outcome}: ${outcomes.get(outcome)}`);
    for (const outcome of ["passed in part", "refused by nginx behind us"])
      assert.ok((outcomes.get(outcome) ?? 0) > 0, outcome);
  });
}

test("http: the same seed makes the same requests", () => {
  const some = (): string[] =>
    Array.from({ length: 100 }, (_, seed) => hostileRequests(seededRandom(seed)).toString("latin1"));
  assert.deepEqual(some(), some());
});

test("http: answers are told apart, interim ones left out", () => {
  const reading = { method: "GET", target: "/", host: "a", canary: "", body: "0:x" };
  const told = encodeURIComponent(JSON.stringify(reading));
  const text =
    "HTTP/1.1 100 Continue\r\n\r\n" +
    `HTTP/1.1 200 OK\r\nX-Reading: ${told}\r\nContent-Length: 0\r\n\r\n` +
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 13\r\n\r\nHTTP/1.1 not\n" +
    "HTTP/1.1 501 Not Implemented\r\n\r\n";
  assert.deepEqual(parseAnswers(text), [
    { status: 200, reading },
    { status: 400, reading: null },
    { status: 501, reading: null },
  ]);
});

/** A proxy that reads nothing, and changes each chunk as told before it passes it on. */
async function careless(
  t: TestContext,
  recorder: Recorder,
  change: (text: string) => string,
): Promise<Way<Recorder>> {
  const sockets: Socket[] = [];
  const server = createServer((client) => {
    const upstream = connect(recorder.port, "127.0.0.1");
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
    client.on("data", (chunk: Buffer) =>
      upstream.write(Buffer.from(change(chunk.toString("latin1")), "latin1")),
    );
    upstream.pipe(client);
    client.once("close", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port, upstream: recorder };
}

const CARELESS: readonly (readonly [string, string, (text: string) => string, RegExp])[] = [
  [
    "drops a length, so that a body reads as a request",
    "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: inner\r\n\r\n",
    (text) => text.replace(/Content-Length: 38\r\n/, ""),
    /^Finding: two requests in one: /,
  ],
  [
    "changes a target",
    "GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    (text) => text.replace("/one", "/two"),
    /^Finding: request 0 of what the client sent has two readings: /,
  ],
];

for (const [what, sent, change, expected] of CARELESS) {
  test(`http: a proxy that ${what} is found out`, { skip }, async (t) => {
    const recorder = await Recorder.open();
    t.after(() => recorder.close());
    const nginx = await NginxReader.open();
    t.after(() => nginx.close());
    const way = await careless(t, recorder, change);
    await assert.rejects(judge(Buffer.from(sent, "latin1"), way, nginx), (thrown) => {
      assert.ok(thrown instanceof Finding);
      assert.match(String(thrown), expected);
      return true;
    });
  });
}
