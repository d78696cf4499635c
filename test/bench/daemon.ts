/**
 * Daemon: the product as a process of its own, for measuring it from outside.
 *
 * Touches: child processes, temporary folders, loopback sockets.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { TokenReport } from "../../src/admin/contract-trust.ts";
import { renderHostPort, type HostPort } from "../../src/base/ip.ts";
import { getJson } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

/** The sources as they are, and the build as the image runs it. */
export const PROGRAMS = {
  source: fileURLToPath(new URL("../../src/main.ts", import.meta.url)),
  bundle: fileURLToPath(new URL("../../dist/skein.mjs", import.meta.url)),
} as const;

/** One of PROGRAMS. */
export type Program = keyof typeof PROGRAMS;

/** The flags of `npm start` and of the image, and the image's environment. */
const AS_STARTED = ["--max-semi-space-size=2"];
const ENVIRONMENT = { MALLOC_ARENA_MAX: "1", MALLOC_TRIM_THRESHOLD_: "131072" };

/** A daemon that is measured. */
export interface MeasuredDaemon {
  readonly address: string;
  readonly mesh: HostPort;
  readonly child: ChildProcess;
  /** Its admin socket. */
  readonly socket: string;
  /** From spawn to the first `/readyz` that says yes. */
  readonly readyMs: number;
  readonly get: (path: string) => Promise<unknown>;
  /** With which hosts join it, as workers. */
  readonly token: () => Promise<string>;
  readonly rssBytes: () => number;
  /** Kills it; Node keeps what it compiled only where it may end by itself (SIGTERM). */
  readonly end: (signal?: NodeJS.Signals) => Promise<void>;
}

/** How a daemon is started. */
export interface StartOptions {
  /** Laid over a config that listens on its address only. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly services?: readonly unknown[];
  /** Whose cluster it joins; it makes one of its own when left out. */
  readonly joins?: MeasuredDaemon;
  /** What is run; the sources when left out. */
  readonly program?: Program;
  /** Where Node keeps what it compiled; its usual place when left out. */
  readonly compileCache?: string;
  /** Where its state is, which is then kept; a folder of its own when left out. */
  readonly dataDir?: string;
}

/** Starts a daemon on `address` and waits for it. */
export async function startDaemon(
  address: string,
  { config = {}, services = [], joins, program = "source", compileCache, dataDir }: StartOptions = {},
): Promise<MeasuredDaemon> {
  const dir = mkdtempSync(join(tmpdir(), "skein-bench-"));
  const tokenFile = join(dir, "token");
  if (joins !== undefined) writeFileSync(tokenFile, await joins.token(), { mode: 0o600 });
  const socket = join(dir, "skein.sock");
  const file = join(dir, "skein.yaml");
  const base: Record<string, Record<string, unknown>> = {
    node: { name: `host-${address.split(".").at(-1)}`, dataDir: dataDir ?? join(dir, "state") },
    mesh: {
      listen: `${address}:7650`,
      ...(joins !== undefined && { join: [renderHostPort(joins.mesh)], tokenFile }),
    },
    docker: { socket: "off" },
    dns: { listen: [`${address}:5300`], upstream: [] },
    vip: { pool: "127.96.0.0/12", listen: false },
    ingress: { address },
    admin: { listen: `${address}:7651`, socket },
    log: { level: "warn", format: "text" },
  };
  for (const [section, values] of Object.entries(config)) {
    base[section] = { ...base[section], ...values };
  }
  writeFileSync(file, JSON.stringify({ ...base, services }));
  const startMs = performance.now();
  const child = spawn(process.execPath, [...AS_STARTED, PROGRAMS[program], "run", "--config", file], {
    env: {
      ...process.env,
      ...ENVIRONMENT,
      ...(compileCache !== undefined && { NODE_COMPILE_CACHE: compileCache }),
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const end = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    }
    rmSync(dir, { recursive: true, force: true });
  };
  const get = (path: string): Promise<unknown> => getJson(socket, path);
  try {
    await until(() => get("/readyz"), { what: `the daemon on ${address} is ready`, everyMs: 5 });
  } catch (thrown) {
    await end();
    throw thrown;
  }
  const readyMs = performance.now() - startMs;
  return {
    address,
    mesh: { host: address, port: 7650 },
    child,
    socket,
    readyMs,
    get,
    token: async () => ((await get("/api/v1/tokens/worker")) as TokenReport).token,
    rssBytes: () => rssOf(child.pid ?? 0),
    end,
  };
}

/** Resident memory of a process, from /proc. */
export function rssOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}
