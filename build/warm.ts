/**
 * Warm: what Node compiles of a build, kept for all later starts of it, as an image is made.
 *
 *     node build/warm.ts --dist <folder> --cache <folder> --uid 0 --uid 1000
 *
 * A daemon starts, is asked by the command that asks it each ten seconds, and stops: so the functions a start calls
 * are in the cache, and not only the outermost ones. Node keeps a cache by path, version and user; hence the uids, and
 * hence `dist` has to lie where it will run. The daemon listens on loopback alone and leaves nothing behind.
 *
 * Touches: child processes, a temporary folder, loopback ports, standard streams.
 */

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs, promisify } from "node:util";

import { NODE_FLAGS } from "./launcher.ts";

const READY_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 10_000;
/** Of 127/8, where nothing else is likely to listen, and another one of these neither. */
const ADDRESS = `127.77.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
const run = promisify(execFile);

const { values } = parseArgs({
  options: {
    dist: { type: "string", default: join(import.meta.dirname, "../dist") },
    cache: { type: "string", default: "compile-cache" },
    uid: { type: "string", multiple: true, default: [String(process.getuid?.() ?? 0)] },
  },
});

const program = join(resolve(values.dist), "skein.mjs");
const cache = resolve(values.cache);
mkdirSync(cache, { recursive: true });
for (const uid of values.uid.map(Number)) {
  // Each user's folder is made by that user.
  chmodSync(cache, 0o777);
  await warm(uid);
  process.stdout.write(`${cache}: warmed for uid ${uid}\n`);
}
// Nothing in it is secret, and copying it into an image may give it another owner.
chmodSync(cache, 0o755);
for (const entry of readdirSync(cache, { recursive: true, withFileTypes: true })) {
  chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
}

async function warm(uid: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "skein-warm-"));
  chownSync(dir, uid, uid);
  const socket = join(dir, "skein.sock");
  const file = join(dir, "skein.yaml");
  writeFileSync(file, JSON.stringify(configOf(dir, socket)));
  chmodSync(file, 0o644);
  const env = { ...process.env, NODE_COMPILE_CACHE: cache };
  const options = { env, ...(uid === process.getuid?.() ? {} : { uid, gid: uid }) };
  const skein = (...args: string[]): readonly string[] => [...NODE_FLAGS, program, ...args];
  const daemon = spawn(process.execPath, skein("run", "--config", file), { ...options, stdio: "inherit" });
  const ended = once(daemon, "exit", { signal: AbortSignal.timeout(READY_DEADLINE_MS + STOP_DEADLINE_MS) });
  try {
    await answers(() => run(process.execPath, skein("status", "--quiet", "--socket", socket), options));
    daemon.kill("SIGTERM");
    await ended;
  } finally {
    daemon.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
}

async function answers(ask: () => Promise<unknown>): Promise<void> {
  const deadlineMs = performance.now() + READY_DEADLINE_MS;
  for (;;) {
    try {
      await ask();
      return;
    } catch (thrown) {
      if (performance.now() > deadlineMs) throw thrown;
      await pause(100);
    }
  }
}

/** A daemon that needs no rights and meets nobody; its engine is missing, so that it loads what would ask one. */
function configOf(dir: string, socket: string): object {
  return {
    node: { name: "warm", dataDir: join(dir, "state") },
    mesh: { listen: `${ADDRESS}:7650` },
    docker: { socket: join(dir, "docker.sock") },
    dns: { listen: [`${ADDRESS}:5300`], upstream: [] },
    vip: { pool: "127.96.0.0/12", listen: false },
    ingress: { address: ADDRESS },
    dataplane: { mode: "proxy" },
    admin: { listen: `${ADDRESS}:7651`, socket },
    log: { level: "error", format: "text" },
  };
}
