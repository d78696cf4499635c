// The client against sockets that misbehave: absent, silent, closed to us, or not Skein at all.

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { Failure, type FailureCode } from "../../src/base/failure.ts";
import { openClient, socketCandidates } from "../../src/cli/client.ts";
import { LIMITS } from "../../src/model/limits.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "skein-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function answering(t: TestContext, answer: (socket: Socket) => void): Promise<string> {
  const path = join(await folder(t), "s.sock");
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => null);
    socket.once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return path;
}

function clientOf(path: string, interrupted = new AbortController().signal) {
  return openClient({ socketPaths: [path], interrupted });
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const thrown = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof Failure, String(thrown));
  return thrown;
}

function http(status: string, body: string, type = "application/json"): string {
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status}\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n\r\n${body}`;
}

test("client: a socket that is not there, or no socket, is unreachable, with the next step", async (t) => {
  const missing = join(await folder(t), "none.sock");
  const failure = await failureOf(clientOf(missing).get("/"));
  assert.equal(failure.code, "unreachable");
  assert.match(failure.message, new RegExp(`"${missing}".*skein run`));
  const file = join(await folder(t), "file");
  await writeFile(file, "");
  assert.equal((await failureOf(clientOf(file).get("/"))).code, "unreachable");
});

test("client: a socket that belongs to others is not allowed", async (t) => {
  if (process.getuid?.() === 0) return t.skip("root may open any socket");
  const path = await answering(t, (socket) => socket.end());
  await chmod(path, 0o000);
  assert.equal((await failureOf(clientOf(path).get("/"))).code, "not-allowed");
});

const BAD_ANSWERS: readonly (readonly [string, string, FailureCode])[] = [
  ["nothing", "", "unreachable"],
  ["no HTTP", "hello\r\n\r\n", "unreachable"],
  ["no JSON", http("200 OK", "<html>", "text/html"), "corrupt"],
  ["half an answer", http("200 OK", "[1,2]").slice(0, -2), "unreachable"],
  ["an error that is no problem", http("500 Oops", "{}"), "corrupt"],
  ["a redirect", http("302 Found", "{}"), "corrupt"],
  ["that all this is too much to read", http("431 Request Header Fields Too Large", ""), "usage"],
  ["a problem", http("404 Not Found", '{"code":"not-found","detail":"no x"}'), "not-found"],
];

for (const [what, answer, code] of BAD_ANSWERS) {
  test(`client: a daemon that answers ${what} is ${code}`, async (t) => {
    const path = await answering(t, (socket) => socket.end(answer));
    assert.equal((await failureOf(clientOf(path).get("/"))).code, code);
  });
}

test("client: a daemon that answers without end is cut off at the bound", async (t) => {
  const block = Buffer.alloc(1024 * 1024, " ");
  let sentBytes = 0;
  const path = await answering(t, (socket) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    const more = (): void => {
      while (!socket.destroyed && socket.write(block)) sentBytes += block.length;
    };
    socket.on("drain", more);
    more();
  });
  // With a deadline that no machine misses: the bound alone may end it.
  assert.equal((await failureOf(clientOf(path).post("/", {}, 60_000))).code, "corrupt");
  assert.ok(sentBytes <= LIMITS.adminAnswerBytes + 16 * block.length);
});

test("client: a daemon that does not answer in time is a timeout", async (t) => {
  const path = await answering(t, () => null);
  const failure = await failureOf(clientOf(path).post("/", {}, 20));
  assert.equal(failure.code, "timeout");
  assert.match(failure.message, new RegExp(path));
});

test("client: an interrupted question ends at once", async (t) => {
  const controller = new AbortController();
  const path = await answering(t, () => controller.abort());
  await failureOf(clientOf(path, controller.signal).get("/"));
});

test("client: an event stream that is refused throws the refusal", async (t) => {
  const body = '{"code":"busy","detail":"too many"}';
  const path = await answering(t, (socket) => socket.end(http("409 Conflict", body)));
  const stream = clientOf(path).stream("/", null);
  assert.equal((await failureOf(stream.next())).code, "busy");
});

test("socket: the variable wins, then this user's places, then the host's", () => {
  const named = socketCandidates({ env: { SKEIN_ADMIN_SOCKET: "/x" }, isRoot: true });
  assert.deepEqual(named, ["/x"]);
  const automatic = socketCandidates({ env: { SKEIN_ADMIN_SOCKET: "auto" }, isRoot: true });
  assert.deepEqual(automatic, ["/run/skein/skein.sock"]);
  const env = { HOME: "/home/a", XDG_RUNTIME_DIR: "/run/user/7" };
  assert.deepEqual(socketCandidates({ env, isRoot: false }), [
    "/run/user/7/skein.sock",
    "/home/a/.local/state/skein/skein.sock",
    "/run/skein/skein.sock",
  ]);
});
