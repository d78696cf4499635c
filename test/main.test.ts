// The program as a shell sees it: what needs no daemon.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "node:test";

import { folderFor, run } from "./support/daemons.ts";

const MAIN = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const PACKAGE = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

test("main: --version and version tell the package's version", async () => {
  const flag = await run([MAIN, "--version"]);
  assert.deepEqual([flag.code, flag.stdout.trim()], [0, PACKAGE.version]);
  const command = await run([MAIN, "version", "-o", "json"]);
  assert.equal(command.code, 0);
  assert.equal((JSON.parse(command.stdout) as { version: string }).version, PACKAGE.version);
});

test("main: --help lists every command and says how each ends; no argument at all is wrong usage", async () => {
  const { code, stdout, stderr } = await run([MAIN, "--help"]);
  assert.equal(code, 0);
  assert.equal(stderr, "");
  for (const command of [
    "run",
    "status",
    "node",
    "service",
    "explain",
    "resolve",
    "drain",
    "events",
    "config",
    "version",
  ])
    assert.match(stdout, new RegExp(`^ +${command}\\b`, "m"), command);
  assert.match(stdout, /0 ok, 1 failure, 2 usage, 3 not found, 4 unreachable or timeout, 5 not allowed/);
  assert.equal((await run([MAIN])).code, 2);
});

test("main: an unknown command or option: exit 2, and the nearest known one", async () => {
  const command = await run([MAIN, "statsu"]);
  assert.equal(command.code, 2);
  assert.match(command.stderr, /statsu/);
  assert.match(command.stderr, /status/);
  assert.equal(command.stdout, "");
  assert.equal((await run([MAIN, "run", "--nosuch"])).code, 2);
});

test("main: run with a config file that is not there: exit 3, and its path", async (t) => {
  const missing = join(folderFor(t), "missing.yaml");
  for (const args of [
    ["run", "--config", missing],
    ["config", "check", missing],
  ]) {
    const { code, stderr } = await run([MAIN, ...args]);
    assert.equal(code, 3, args.join(" "));
    assert.ok(stderr.includes(missing), stderr);
    assert.doesNotMatch(stderr, /\n\s+at /, "no stack trace");
  }
});

test("main: environment and flags go before the file, and a wrong one is named as what it is", async (t) => {
  const dir = folderFor(t);
  const file = join(dir, "skein.yaml");
  writeFileSync(file, "node: { name: from-file }\nlog: { level: warn }\n");
  const print = [MAIN, "config", "print", "--config", file, "-o", "json"];
  const name = async (args: string[], env: Record<string, string>): Promise<unknown> => {
    const { stdout, stderr } = await run([...print, ...args], env);
    assert.notEqual(stdout, "", stderr);
    return (JSON.parse(stdout) as { node: { name: unknown } }).node.name;
  };
  assert.equal(await name([], {}), "from-file");
  assert.equal(await name([], { SKEIN_NODE_NAME: "from-env" }), "from-env");
  assert.equal(await name(["--node.name", "from-flag"], { SKEIN_NODE_NAME: "from-env" }), "from-flag");
  const wrong = await run([MAIN, "run", "--config", file], { SKEIN_LOG_LEVEL: "loud", SKEIN_NOSUCH: "1" });
  assert.equal(wrong.code, 2);
  assert.match(
    wrong.stderr,
    /environment SKEIN_LOG_LEVEL: "log\.level" is "loud"; expected debug, info, warn or error/,
  );
  assert.match(wrong.stderr, /environment SKEIN_NOSUCH is unknown/);
});

test("main: a reader that goes away early ends it without a stack trace", async () => {
  const child = spawn(process.execPath, [MAIN, "--help"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  await once(child, "close");
  assert.equal(stderr, "");
});

test("main: the program can be executed as it is", () => {
  assert.match(readFileSync(MAIN, "utf8"), /^#!\/usr\/bin\/env (-S )?node/);
  assert.equal(statSync(MAIN).mode & 0o111, 0o111);
});
