/**
 * Daemons: real ones, as users run them, on loopback addresses nobody else uses.
 *
 * Each daemon is a child process with its own address in 127/8, so every port of the contract is free on it, and its
 * own folder. What a test does not set has the product's default. All is ended and removed when the test ends,
 * whatever its outcome.
 *
 * Touches: child processes, temporary folders, loopback sockets.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Resolver } from "node:dns/promises";
import { createServer, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { until } from "./wait.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** A config tree as in skein.yaml; sections given here replace the defaults key by key. */
export type ConfigTree = Readonly<Record<string, unknown>>;

/** One daemon. */
export interface DaemonUnderTest {
  readonly name: string;
  readonly address: string;
  readonly dir: string;
  readonly socket: string;
  /** All that it wrote to standard error, of all its runs. */
  readonly log: () => string;
  readonly pid: () => number;
  /** Starts it, or starts it again, and waits until it is ready. */
  readonly start: () => Promise<void>;
  /** Sends a signal; settles when the process has ended, with its exit code, null for a signal's death. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
  /** GET of the admin API over the unix socket, parsed. */
  readonly get: (path: string) => Promise<unknown>;
  /** Asks its DNS for addresses; an error's code instead of a throw. */
  readonly lookup: (name: string) => Promise<string[] | string>;
  /** Runs a CLI command against it. */
  readonly cli: (...args: string[]) => Promise<Ran>;
}

/** A finished program. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An address block of this test process: 127.<64..191>.<n>.x, drawn so that parallel test files stay apart. */
export function addressBlock(): (last: number) => string {
  const second = 64 + (process.pid % 128);
  const third = 1 + Math.floor(Math.random() * 250);
  return (last) => `127.${second}.${third}.${last}`;
}

/** A folder that goes away with the test. */
export function folderFor(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "skein-test-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Prepares one daemon; `config` is laid over a config that listens on `address` only. */
export function daemonFor(
  t: TestContext,
  options: { name: string; address: string; config?: ConfigTree },
): DaemonUnderTest {
  const { name, address } = options;
  const dir = folderFor(t);
  const socket = join(dir, "skein.sock");
  const file = join(dir, "skein.yaml");
  writeFileSync(file, JSON.stringify(overlaid(baseConfig(name, address, dir), options.config ?? {})));
  let child: ChildProcess | null = null;
  let log = "";
  t.after(async () => {
    if (child !== null) await ended(child, "SIGKILL");
  });
  const get = (path: string): Promise<unknown> => getJson(socket, path);
  return {
    name,
    address,
    dir,
    socket,
    log: () => log,
    pid: () => child?.pid ?? 0,
    get,
    async start() {
      child = spawn(process.execPath, [MAIN, "run", "--config", file], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      const started = child;
      started.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString()));
      await until(
        async () => {
          if (started.exitCode !== null) throw new Error(`${name} ended with ${started.exitCode}: ${log}`);
          return (await getJson(socket, "/readyz")) !== null;
        },
        { what: `${name} is ready`, deadlineMs: 15_000 },
      );
    },
    end: (signal) => (child === null ? Promise.resolve(null) : ended(child, signal)),
    lookup: (question) => lookup(address, question),
    cli: (...args) => run([MAIN, "--socket", socket, ...args]),
  };
}

/** Runs a Node program of this repository to its end, within 20 s. */
export async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const child = spawn(process.execPath, [...args], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 20_000,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** A web server of this process that answers with its name; healthy while `healthy` says so. */
export interface WebReplica {
  readonly name: string;
  readonly endpoint: string;
  readonly port: number;
  readonly server: Server;
  served: number;
  healthy: boolean;
}

/** Opens a web replica on an address; it is closed with the test. */
export async function webReplica(t: TestContext, name: string, address: string): Promise<WebReplica> {
  const server = createServer((incoming, response) => {
    if (incoming.url === "/healthz") {
      response.writeHead(replica.healthy ? 200 : 503).end();
      return;
    }
    replica.served += 1;
    response.end(`${name}\n`);
  });
  server.listen(0, address);
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const bound = server.address();
  const port = bound === null || typeof bound === "string" ? 0 : bound.port;
  const replica: WebReplica = {
    name,
    endpoint: `${address}:${port}`,
    port,
    server,
    served: 0,
    healthy: true,
  };
  return replica;
}

/** One GET over a fresh connection: status and body. Rejects when there was no answer. */
export function httpGet(
  host: string,
  port: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, path: "/", headers, agent: false, timeout: 5000 }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk.toString()));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: body.trim() }));
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer in 5 s")));
    sent.on("error", reject);
    sent.end();
  });
}

function baseConfig(name: string, address: string, dir: string): ConfigTree {
  return {
    node: { name, dataDir: join(dir, "state") },
    mesh: { listen: `${address}:7650` },
    docker: { socket: "off" },
    dns: { listen: [`${address}:5300`], upstream: [] },
    vip: { pool: "127.96.0.0/12", listen: false },
    ingress: { address },
    admin: { listen: `${address}:7651`, socket: join(dir, "skein.sock") },
    log: { format: "text" },
  };
}

function overlaid(base: ConfigTree, over: ConfigTree): ConfigTree {
  const merged: Record<string, unknown> = { ...base };
  for (const [section, value] of Object.entries(over)) {
    const held = merged[section];
    const areTrees = isTree(held) && isTree(value);
    merged[section] = areTrees ? { ...held, ...value } : value;
  }
  return merged;
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = once(child, "exit") as Promise<[number | null]>;
  child.kill(signal);
  if (signal === "SIGKILL") child.kill("SIGCONT");
  return (await exit)[0];
}

/** The parsed answer; null for any status but 200. */
function getJson(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, agent: false, timeout: 2000 }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => {
        const isJson = response.headers["content-type"]?.includes("json") === true;
        if (response.statusCode !== 200) resolve(null);
        else resolve(isJson ? JSON.parse(text) : text);
      });
      response.on("error", reject);
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer in 2 s")));
    sent.on("error", reject);
    sent.end();
  });
}

async function lookup(address: string, name: string): Promise<string[] | string> {
  const resolver = new Resolver({ timeout: 1000, tries: 2 });
  resolver.setServers([`${address}:5300`]);
  try {
    return (await resolver.resolve4(name)).sort();
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? String(thrown);
  }
}
