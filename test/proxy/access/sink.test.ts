// Sink: lines reach the file that is at the path now, and nothing waits for a reader.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { Failure } from "../../../src/base/failure.ts";
import { openSink } from "../../../src/proxy/access/sink.ts";
import { openFolder } from "../../support/folder.ts";
import { until } from "../../support/wait.ts";

const line = (text: string): Buffer => Buffer.from(`${text}\n`);

test("sink: lines are appended to what the file has, and others than owner and group cannot read it", async (t) => {
  const path = join(await openFolder(t), "access.log");
  const first = openSink(path);
  await first.append(line("one"));
  await first.close();
  assert.equal(statSync(path).mode & 0o027, 0);
  const second = openSink(path);
  await second.append(line("two"));
  await second.close();
  assert.equal(readFileSync(path, "utf8"), "one\ntwo\n");
});

test("sink: appending nothing makes sure that there is a file", async (t) => {
  const path = join(await openFolder(t), "access.log");
  const sink = openSink(path);
  await sink.append(Buffer.alloc(0));
  await sink.close();
  assert.equal(readFileSync(path, "utf8"), "");
});

test("sink: a file that was renamed away, or removed, is made anew at its path", async (t) => {
  const path = join(await openFolder(t), "access.log");
  const sink = openSink(path);
  t.after(() => sink.close());
  await sink.append(line("before"));
  renameSync(path, `${path}.1`);
  await until(async () => {
    await sink.append(line("after"));
    return existsSync(path);
  });
  assert.match(readFileSync(`${path}.1`, "utf8"), /^before\n(after\n)*$/);
  rmSync(path);
  sink.reopen();
  await sink.append(line("at once"));
  assert.equal(readFileSync(path, "utf8"), "at once\n");
});

test("sink: where the file cannot be, that is said with its path, and it is written once it can", async (t) => {
  const folder = join(await openFolder(t), "logs");
  const sink = openSink(join(folder, "access.log"));
  t.after(() => sink.close());
  await assert.rejects(
    () => sink.append(line("lost")),
    (thrown) =>
      thrown instanceof Failure && thrown.message.includes(`${folder}/access.log cannot be written: `),
  );
  mkdirSync(folder);
  await sink.append(line("there"));
  assert.equal(readFileSync(join(folder, "access.log"), "utf8"), "there\n");
});

test("sink: a pipe that nobody empties holds up neither the process nor the close", async (t) => {
  const path = join(await openFolder(t), "pipe");
  execFileSync("mkfifo", [path]);
  const sink = openSink(path);
  await assert.rejects(() => sink.append(line("nobody reads")), Failure);
  const holder = spawn("sh", ["-c", `exec 3<"${path}"; echo open; exec sleep 60`]);
  t.after(() => holder.kill("SIGKILL"));
  await until(() => sink.append(line("held")).then(() => true));
  const stuck = sink.append(Buffer.alloc(1024 * 1024, "x\n"));
  const ends = assert.rejects(() => stuck, Failure);
  await sink.close();
  await ends;
});

/** A program that opens the sink of its standard output as `sink`, and then runs these lines. */
function program(lines: string): readonly string[] {
  const url = new URL("../../../src/proxy/access/sink.ts", import.meta.url).href;
  const text = `import { openSink } from "${url}"; const sink = openSink(""); ${lines}`;
  return ["--input-type=module-typescript", "--eval", text];
}

/** Runs a shell script with a program as its arguments. @returns what it printed */
async function shell(t: TestContext, script: string, args: readonly string[]): Promise<string> {
  const child = spawn("sh", ["-c", script, process.execPath, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let printed = "";
  child.stdout.on("data", (part: Buffer) => (printed += part.toString()));
  await once(child, "close");
  return printed;
}

test("sink: standard output gets every line and stays open, be it a socket, a pipe or a file", async (t) => {
  const lines = `
    for (const line of ["one", "two"]) await sink.append(Buffer.from(line + "\\n"));
    await sink.close();
    console.log("still open");
  `;
  const expected = "one\ntwo\nstill open\n";
  const file = join(await openFolder(t), "out");
  // Node's own pipes to its children are sockets.
  assert.equal(await shell(t, '"$0" "$@"', program(lines)), expected);
  assert.equal(await shell(t, '"$0" "$@" | cat', program(lines)), expected);
  assert.equal(await shell(t, `"$0" "$@" >>"${file}"; cat "${file}"`, program(lines)), expected);
});

test("sink: whoever stops reading standard output does not keep the process from ending", async (t) => {
  const pipe = join(await openFolder(t), "pipe");
  execFileSync("mkfifo", [pipe]);
  const lines = `
    const full = sink.append(Buffer.alloc(1024 * 1024, "x")).then(() => 1, () => 7);
    await sink.close();
    process.exitCode = await full;
  `;
  const script = `exec 3<>"${pipe}"; "$0" "$@" >"${pipe}"; echo "ended with $?"`;
  assert.equal(await shell(t, script, program(lines)), "ended with 7\n");
});
