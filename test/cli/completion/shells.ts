// What completion offers in every shell: one table, run in bash, zsh and fish as users have them.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { folder, openDoors } from "../../admin/doors.ts";
import { exampleSnapshot } from "../../admin/picture.ts";
import { run } from "../terminal.ts";

const MAIN = fileURLToPath(new URL("../../../src/main.ts", import.meta.url));

/** A line up to the cursor, and what is offered there. */
const OFFERED: Readonly<Record<string, readonly string[]>> = {
  "skein no": ["node"],
  "skein node ": ["activate", "drain", "help", "inspect", "ls", "rm"],
  "skein node drain --w": ["--wait"],
  "skein -o w": ["wide"],
  "skein -o json node l": ["ls"],
  "skein node ls -o ": ["json", "table", "wide", "yaml"],
  "skein node ls --output ya": ["yaml"],
  "skein token ": ["help", "manager", "worker"],
  "skein help ne": ["network"],
  "skein resolve web A": ["A", "AAAA"],
  "skein run --mesh.j": ["--mesh.join"],
  "skein join --token-file pass": ["passphrase.txt"],
  "skein network create ": [],
  "skein nosuch thing ": [],
  // Asked from the daemon; a name that no service of ours can have is left out.
  "skein explain ": ["back/db", "web"],
  "skein node drain host-": ["host-1", "host-2", "host-3"],
  "skein drain web-1": ["web-1"],
  "skein service ls --network b": ["back"],
};

/** A way to press the key in one shell. */
export interface Shell {
  readonly name: "bash" | "zsh" | "fish";
  /** @returns the program and arguments that print what is offered behind `line`, one a line */
  readonly press: (script: string, line: string, out: string) => readonly [string, ...string[]];
}

/** What a shell sees. */
interface Place {
  readonly script: string;
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Adds the tests of one shell. */
export function testShell(shell: Shell): void {
  const skip = isThere(shell.name) ? false : `${shell.name} is not installed here`;
  const title = `completion: in ${shell.name}`;

  test(`${title} each place offers what may stand there`, { skip }, async (t) => {
    const doors = await openDoors(t);
    doors.daemon.snapshot = exampleSnapshot();
    const place = await prepared(t, shell, doors.socketPath);
    for (const [line, expected] of Object.entries(OFFERED))
      assert.deepEqual(await offered(shell, place, line), expected, line);
    assert.deepEqual(
      await offered(
        shell,
        { ...place, env: { ...place.env, SKEIN_ADMIN_SOCKET: "/nowhere" } },
        "skein explain ",
      ),
      [],
      "no daemon, no names and no message",
    );
    const named = `skein --socket ${doors.socketPath} explain w`;
    const elsewhere = { ...place, env: { ...place.env, SKEIN_ADMIN_SOCKET: "/nowhere" } };
    assert.deepEqual(await offered(shell, elsewhere, named), ["web"], "of the daemon that the line names");
  });
}

function isThere(name: string): boolean {
  try {
    execFileSync(name, ["-c", "exit 0"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function prepared(t: TestContext, { name }: Shell, socketPath: string): Promise<Place> {
  const dir = await folder(t);
  const script = join(dir, `skein.${name}`);
  const { status, out, err } = await run(["completion", name]);
  assert.deepEqual([status, err], [0, ""]);
  await writeFile(script, out);
  await writeFile(join(dir, "passphrase.txt"), "");
  const command = join(dir, "bin", "skein");
  await mkdir(join(dir, "bin"));
  // As a script around `docker exec -i`, whose standard input is taken: the next keys must not be in it.
  await writeFile(command, `#!/bin/sh\ncat > /dev/null\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  await chmod(command, 0o755);
  const env = { PATH: `${join(dir, "bin")}:${process.env["PATH"]}`, HOME: dir, TERM: "xterm" };
  return { script, dir, env: { ...env, SKEIN_ADMIN_SOCKET: socketPath } };
}

async function offered(shell: Shell, { script, dir, env }: Place, line: string): Promise<readonly string[]> {
  const [program, ...args] = shell.press(script, line, join(dir, "offered"));
  const { stdout, stderr } = await promisify(execFile)(program, args, { cwd: dir, env, timeout: 20_000 });
  assert.equal(stderr, "", line);
  const words = stdout.split("\n").map((text) => text.replace(/\t.*/, ""));
  // Zsh tries some words twice.
  return [...new Set(words)].filter((word) => word !== "").sort();
}
