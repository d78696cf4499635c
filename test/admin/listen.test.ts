// The doors themselves: who may open the socket's file, whose file is replaced and whose is not.

import assert from "node:assert/strict";
import { chmod, mkdir, readdir, rename, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";

import { openPort, openSocket } from "../../src/admin/listen.ts";
import type { Failure } from "../../src/base/failure.ts";
import { folder } from "./doors.ts";

function serverFor(t: TestContext): Server {
  const server = createServer((socket) => socket.destroy());
  t.after(() => server.close());
  return server;
}

function failsWith(code: string): (thrown: Failure) => boolean {
  return (thrown) => thrown.code === code;
}

test("socket: its folder is made, only owner and group may open it, nothing else is left beside it", async (t) => {
  const path = join(await folder(t), "a", "b", "skein.sock");
  await openSocket(serverFor(t), path);
  assert.equal((await stat(path)).mode & 0o777, 0o660);
  assert.deepEqual(await readdir(dirname(path)), ["skein.sock"]);
});

test("socket: one that a killed daemon left behind is replaced", async (t) => {
  const path = join(await folder(t), "skein.sock");
  const killed = serverFor(t);
  await openSocket(killed, path);
  // Closing unlinks the name that was bound, not the one it was moved to: the file stays, as after a kill.
  await new Promise((resolve) => killed.close(resolve));
  assert.ok((await stat(path)).isSocket());
  await openSocket(serverFor(t), path);
});

test("socket: one of a living daemon is busy and keeps working", async (t) => {
  const path = join(await folder(t), "skein.sock");
  await openSocket(serverFor(t), path);
  const { ino } = await stat(path);
  await assert.rejects(openSocket(serverFor(t), path), failsWith("busy"));
  assert.equal((await stat(path)).ino, ino);
});

test("socket: another kind of file is left alone", async (t) => {
  const path = join(await folder(t), "skein.sock");
  await writeFile(path, "precious");
  await assert.rejects(openSocket(serverFor(t), path), failsWith("invalid"));
  assert.equal((await stat(path)).size, 8);
});

test("socket: a path that no socket can have is refused with the bound", async (t) => {
  await assert.rejects(openSocket(serverFor(t), `/tmp/${"x".repeat(120)}`), failsWith("invalid"));
});

test("socket: a folder that cannot be made is a failure, not a crash", async (t) => {
  const place = await folder(t);
  await writeFile(join(place, "file"), "");
  await assert.rejects(openSocket(serverFor(t), join(place, "file", "skein.sock")), failsWith("invalid"));
});

test("socket: without the right to write there it is not allowed", async (t) => {
  if (process.getuid?.() === 0) return t.skip("root may write anywhere");
  const place = await folder(t);
  await chmod(place, 0o500);
  await assert.rejects(openSocket(serverFor(t), join(place, "skein.sock")), failsWith("not-allowed"));
});

test("socket: the file goes with its daemon, unless another has taken its place", async (t) => {
  const place = await folder(t);
  const path = join(place, "skein.sock");
  const remove = await openSocket(serverFor(t), path);
  await mkdir(join(place, "away"));
  await rename(path, join(place, "away", "skein.sock"));
  const removeOther = await openSocket(serverFor(t), path);
  await remove();
  assert.ok((await stat(path)).isSocket());
  await removeOther();
  await assert.rejects(stat(path), { code: "ENOENT" });
});

test("port: zero is any free one, and the real one is told", async (t) => {
  const { host, port } = await openPort(serverFor(t), { host: "127.0.0.1", port: 0 });
  assert.equal(host, "127.0.0.1");
  assert.ok(port > 0);
  await assert.rejects(openPort(serverFor(t), { host, port }), failsWith("busy"));
});
