// The client against sockets that misbehave: absent, silent, closed to us, or not Skein at all.

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
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

/** An answer of a daemon; of another server without `api`. */
function http(
  status: string,
  body: string,
  { type = "application/json", api = "skein-api: 1" } = {},
): string {
  const heads = [`content-type: ${type}`, `content-length: ${Buffer.byteLength(body)}`, api];
  return [`HTTP/1.1 ${status}`, ...heads.filter((head) => head !== ""), "", body].join("\r\n");
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

test("client: of places where a socket may be, it asks the one that is there when it asks", async (t) => {
  const path = await answering(t, (socket) => socket.end(http("200 OK", "[1]")));
  const late = join(await folder(t), "late.sock");
  const client = openClient({
    socketPaths: ["/nowhere/skein.sock", late],
    interrupted: new AbortController().signal,
  });
  assert.match((await failureOf(client.get("/"))).message, /"\/nowhere\/skein.sock" does not exist/);
  await symlink(path, late);
  assert.deepEqual(await client.get("/"), [1]);
});

test("client: a socket that belongs to others is not allowed", async (t) => {
  if (process.getuid?.() === 0) return t.skip("root may open any socket");
  const path = await answering(t, (socket) => socket.end());
  await chmod(path, 0o000);
  assert.equal((await failureOf(clientOf(path).get("/"))).code, "not-allowed");
});

const BAD_ANSWERS: readonly (readonly [string, string, FailureCode])[] = [
  ["nothing", "", "unreachable"],
  ["no HTTP", "hello\r\n\r\n", "corrupt"],
  ["no JSON", http("200 OK", "<html>", { type: "text/html" }), "corrupt"],
  ["for another API", http("200 OK", "{}", { api: "skein-api: 2" }), "corrupt"],
  ["half an answer", http("200 OK", "[1,2]").slice(0, -2), "unreachable"],
  ["an error that is no problem", http("500 Oops", "{}"), "corrupt"],
  ["a redirect", http("302 Found", "{}"), "corrupt"],
  ["a problem", http("404 Not Found", '{"code":"not-found","detail":"no x"}'), "not-found"],
];

for (const [what, answer, code] of BAD_ANSWERS) {
  test(`client: a daemon that answers ${what} is ${code}`, async (t) => {
    const path = await answering(t, (socket) => socket.end(answer));
    assert.equal((await failureOf(clientOf(path).get("/"))).code, code);
  });
}

const STRANGERS: readonly (readonly [string, string, RegExp])[] = [
  [
    "a page",
    http("200 OK", "<html>", { type: "text/html; charset=utf-8", api: "" }),
    /answered 200, text\/html;/,
  ],
  ["JSON of its own", http("404 Not Found", "{}", { api: "" }), /answered 404, application\/json;/],
  ["without a type", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", /answered 200;/],
  ["with an upgrade", "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", /answered 101;/],
  ["no HTTP", "220 mail.example.com ESMTP\r\n", /does not speak HTTP;/],
];

for (const [what, answer, told] of STRANGERS) {
  test(`client: what answers ${what} is no daemon, and that is told with the socket and what to do`, async (t) => {
    const path = await answering(t, (socket) => socket.write(answer));
    const client = clientOf(path);
    for (const asked of [client.get("/"), client.post("/", {}), client.stream("/", null).next()]) {
      const { code, message } = await failureOf(asked);
      assert.equal(code, "corrupt");
      assert.match(message, told);
      assert.ok(message.startsWith(`socket "${path}" is not Skein's: `), message);
      assert.match(message, /name the socket of a daemon with --socket or SKEIN_ADMIN_SOCKET$/);
    }
  });
}

test("client: whatever version something claims to speak, it is told in short", async (t) => {
  const claim = http("200 OK", "{}", { api: `skein-api: ${"9".repeat(12_000)}` });
  const path = await answering(t, (socket) => socket.end(claim));
  const { code, message } = await failureOf(clientOf(path).get("/"));
  assert.equal(code, "corrupt");
  assert.match(
    message,
    /speaks version "9{60}" of the API; expected 1: run the command of the daemon's version/,
  );
});

test("client: a daemon that answers without end is cut off at the bound", async (t) => {
  const block = Buffer.alloc(1024 * 1024, " ");
  let sentBytes = 0;
  const path = await answering(t, (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nskein-api: 1\r\n\r\n");
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
