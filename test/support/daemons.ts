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
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Resolver } from "node:dns/promises";
import { createServer, request, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import type { TrustPace } from "../../src/daemon/options.ts";

import { until, within } from "./wait.ts";

/** For a program that starts, ends or runs: a busy machine takes seconds for each. */
const PROGRAM_DEADLINE_MS = 60_000;
/** For one answer: so long that who runs into it hangs, and is not merely waiting for its turn on a core. */
const ANSWER_DEADLINE_MS = 15_000;

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
const PACED = fileURLToPath(new URL("paced-daemon.ts", import.meta.url));

/** A config tree as in skein.yaml; sections given here replace the defaults key by key. */
export type ConfigTree = Readonly<Record<string, unknown>>;

/** One daemon. */
export interface DaemonUnderTest {
  readonly name: string;
  readonly address: string;
  readonly dir: string;
  /** Its config file; a test may write over it before a start or a reload. */
  readonly file: string;
  readonly dataDir: string;
  readonly socket: string;
  /** All that it wrote to standard error, of all its runs. */
  readonly log: () => string;
  readonly pid: () => number;
  /** True while the process of the last start lives. */
  readonly isRunning: () => boolean;
  /** Starts it, or starts it again, and waits until it is ready. */
  readonly start: () => Promise<void>;
  /**
   * Starts another process beside the one that runs, to take over from it (`--replace`); from then on it is the daemon.
   *
   * @returns once the old one has handed over: how the old process ends
   */
  readonly replace: () => Promise<{ readonly ended: Promise<number | null>; readonly pid: number }>;
  /** Starts one that is expected to end by itself; settles when it has. */
  readonly runToEnd: () => Promise<Ran>;
  /** Sends a signal; settles when the process has ended, with its exit code, null for a signal's death. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
  /** Sends a signal that it survives. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Writes its config anew, laid over what it was prepared with; what an earlier call laid over that is gone. */
  readonly configure: (over: ConfigTree) => void;
  /** SIGHUP; settles when it has taken its config again, or said that it will not. */
  readonly reload: () => Promise<void>;
  /** GET of the admin API over the unix socket, parsed; text when it is no JSON; null for any status but 200. */
  readonly get: (path: string) => Promise<unknown>;
  /** Asks its DNS for addresses; an error's code instead of a throw. */
  readonly lookup: (name: string, family?: 4 | 6) => Promise<string[] | string>;
  /** The sum of a metric's series whose text contains all of `labels`; 0 when there is none. */
  readonly metric: (name: string, ...labels: string[]) => Promise<number>;
  /** Runs a CLI command against it. */
  readonly cli: (...args: string[]) => Promise<Ran>;
}

/** A finished program. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Anything with an `after` hook: a test's context, or a file's. */
export type Ending = Pick<TestContext, "after">;

/** Loopback addresses and a VIP range that no other test has at the same time. */
export interface Block {
  /** `127.<x>.<host>.<last>` */
  readonly address: (host: number, last?: number) => string;
  /** `127.<x + 128>.0.0/16` */
  readonly vipPool: string;
}

/** Blocks that this process holds and no test of it has at the moment. */
const heldBlocks: Block[] = [];

/**
 * Takes a block for a test. The lock is a listener on one of its addresses: the kernel gives it to one process.
 *
 * It is held until the process ends, and a later test of the same process has the block again: node runs what is to be
 * done after a test in the order in which it was said, so a lock that a test gives back is free before its servers are
 * gone, and another process would find these in its block.
 */
export async function openBlock(t: Ending): Promise<Block> {
  const block = heldBlocks.shift() ?? (await lockBlock());
  t.after(() => void heldBlocks.push(block));
  return block;
}

/** The second byte of each 127.x.0.0/16 that somebody waits in for connections or datagrams (proc_net(5)). */
export function inhabitedBlocks(): ReadonlySet<number> {
  const lines = ["tcp", "udp"].flatMap((kind) => readFileSync(`/proc/net/${kind}`, "utf8").split("\n"));
  const found = new Set<number>();
  for (const line of lines) {
    // Bytes of the address from the last to the first; 0A is LISTEN, 07 any socket for datagrams that has no peer.
    const second = /^\s*\d+: [0-9A-F]{4}([0-9A-F]{2})7F:[0-9A-F]+ [0-9A-F:]+ (?:0A|07) /.exec(line)?.[1];
    if (second !== undefined) found.add(Number.parseInt(second, 16));
  }
  return found;
}

async function lockBlock(): Promise<Block> {
  const first = Math.floor(Math.random() * 90);
  // Not only tests live on this machine: who knows no lock is not disturbed, and does not disturb.
  const inhabited = inhabitedBlocks();
  for (let tries = 0; tries < 90; tries += 1) {
    const second = 1 + ((first + tries) % 90);
    if (inhabited.has(second)) continue;
    const lock = createTcpServer().listen(7650, `127.${second}.255.254`);
    try {
      await once(lock, "listening");
    } catch {
      // Another process holds this block, or somebody listens on every address: the next one.
      continue;
    }
    lock.unref();
    const address = (host: number, last = 1): string => `127.${second}.${host}.${last}`;
    return { address, vipPool: `127.${second + 128}.0.0/16` };
  }
  throw new Error("no free block of loopback addresses; does something listen on 0.0.0.0:7650?");
}

/** A folder that goes away with the test. */
export function folderFor(t: Ending): string {
  const dir = mkdtempSync(join(tmpdir(), "skein-test-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Processes that live now: they must not outlive this one, however it ends. */
const children = new Set<ChildProcess>();
process.once("exit", killChildren);
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    killChildren();
    process.kill(process.pid, signal);
  });
}

/** This process's environment without settings meant for a daemon of its user. */
function plainEnv(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("SKEIN_"));
  return Object.fromEntries(kept);
}

function killChildren(): void {
  for (const child of children) child.kill("SIGKILL");
}

/** Prepares one daemon; `config`, told its folder, is laid over a config that listens on `address` only, for good. */
export function daemonFor(
  t: Ending,
  options: {
    name: string;
    address: string;
    vipPool?: string;
    config?: (dir: string) => ConfigTree;
    /** How fast certificates come and go there; as in the product unless told. */
    pace?: TrustPace;
    /** Words that run a program elsewhere, such as in a network of its own; it must be the process that they start. */
    enter?: readonly string[];
  },
): DaemonUnderTest {
  const { name, address, pace, enter = [] } = options;
  const dir = mkdtempSync(join(tmpdir(), "skein-test-"));
  const dataDir = join(dir, "state");
  const socket = join(dir, "skein.sock");
  const file = join(dir, "skein.yaml");
  const { vipPool = "127.96.0.0/12", config = () => ({}) } = options;
  const base = overlaid(baseConfig({ name, address, dir, vipPool }), config(dir));
  let child: ChildProcess | null = null;
  let log = "";
  const replaced: ChildProcess[] = [];
  t.after(async () => {
    for (const one of [...replaced, child]) if (one !== null) await ended(one, "SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });
  const configure = (over: ConfigTree): void => writeFileSync(file, JSON.stringify(overlaid(base, over)));
  configure({});
  const spawned = (...flags: readonly string[]): ChildProcess => {
    const plain = [MAIN, "run", "--config", file, ...flags];
    const program = pace === undefined ? plain : [PACED, file, JSON.stringify(pace)];
    const [command = "", ...words] = [...enter, process.execPath, ...program];
    const started = spawn(command, words, { env: plainEnv(), stdio: ["ignore", "ignore", "pipe"] });
    children.add(started);
    started.once("exit", () => children.delete(started));
    started.stderr?.on("data", (chunk: Buffer) => (log += chunk.toString()));
    child = started;
    return started;
  };
  const isRunning = (): boolean => child !== null && child.exitCode === null && child.signalCode === null;
  const get = (path: string): Promise<unknown> => getJson(socket, path);
  return {
    name,
    address,
    dir,
    file,
    dataDir,
    socket,
    log: () => log,
    pid: () => child?.pid ?? 0,
    isRunning,
    configure,
    get,
    async start() {
      spawned();
      const isReady = async (): Promise<boolean> => !isRunning() || (await get("/readyz")) !== null;
      await until(isReady, { what: `${name} is ready`, deadlineMs: PROGRAM_DEADLINE_MS });
      if (!isRunning()) throw new Error(`${name} ended instead of getting ready: ${log}`);
    },
    async replace() {
      const [before, old] = [log.length, child];
      if (old === null) throw new Error(`${name} was never started: there is nothing to replace`);
      replaced.push(old);
      const exit = once(old, "exit") as Promise<[number | null]>;
      spawned("--replace");
      const isOver = (): boolean => !isRunning() || log.slice(before).includes("handed over");
      await until(isOver, { what: `${name} is replaced`, deadlineMs: PROGRAM_DEADLINE_MS });
      if (!isRunning()) throw new Error(`${name}'s successor ended: ${log.slice(before)}`);
      return { ended: exit.then(([code]) => code), pid: old.pid ?? 0 };
    },
    async runToEnd() {
      const before = log.length;
      const started = spawned();
      const timer = setTimeout(() => started.kill("SIGKILL"), PROGRAM_DEADLINE_MS);
      // Not "exit": standard error may still hold its last words.
      const [code] = (await once(started, "close")) as [number | null];
      clearTimeout(timer);
      return { code, stdout: "", stderr: log.slice(before) };
    },
    end: (signal) => (child === null ? Promise.resolve(null) : ended(child, signal)),
    signal: (signal) => child?.kill(signal),
    async reload() {
      const before = log.length;
      child?.kill("SIGHUP");
      await until(() => /configuration (not )?reloaded/.test(log.slice(before)), { what: `${name} reloads` });
    },
    lookup: (question, family = 4) => lookup(address, question, family),
    metric: async (metric, ...labels) => sumOf(String(await get("/metrics")), metric, labels),
    cli: (...args) => run([MAIN, "--socket", socket, ...args]),
  };
}

/** Runs a Node program of this repository to its end, within PROGRAM_DEADLINE_MS. */
export async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const child = spawn(process.execPath, [...args], {
    env: { ...plainEnv(), NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PROGRAM_DEADLINE_MS,
    killSignal: "SIGKILL",
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const closed = once(child, "close") as Promise<[number | null]>;
  // A little more than it may run: one whose own child holds its output open is over, and does not close.
  const [code] = await within(closed, `the end of node ${args.join(" ")}`, 2 * PROGRAM_DEADLINE_MS);
  return { code, stdout, stderr };
}

/** A web server of this process that answers with its name; a test tells it how to behave. */
export interface WebReplica {
  readonly name: string;
  readonly address: string;
  readonly endpoint: string;
  readonly port: number;
  /** Requests answered, health checks apart. */
  served: number;
  /** False: its health check is answered with 503. */
  healthy: boolean;
  /** True: it takes connections and requests, and does not answer; health checks apart. */
  silent: boolean;
  /** Answers all that it was asked while it was silent, and is silent no more. */
  readonly release: () => void;
  /** How many requests wait for that. */
  readonly held: () => number;
  /** Listens no more and drops its connections: connects are refused. */
  readonly stop: () => Promise<void>;
  /** Listens again on the same port. */
  readonly start: () => Promise<void>;
}

/** Opens a web replica on an address, on a port that the system chooses; it is closed with the test. */
export async function webReplica(t: Ending, name: string, address: string): Promise<WebReplica> {
  const held = new Set<ServerResponse>();
  const answer = (response: ServerResponse): void => {
    held.delete(response);
    replica.served += 1;
    response.end(`${name}\n`);
  };
  const server = createServer((incoming, response) => {
    if (incoming.url === "/healthz") {
      response.writeHead(replica.healthy ? 200 : 503).end();
    } else if (replica.silent) {
      held.add(response);
      response.once("close", () => held.delete(response));
    } else answer(response);
  });
  const listen = async (port: number): Promise<void> => {
    server.listen(port, address);
    await once(server, "listening");
  };
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  await listen(0);
  t.after(stop);
  const port = portOf(server);
  const replica: WebReplica = {
    name,
    address,
    endpoint: `${address}:${port}`,
    port,
    served: 0,
    healthy: true,
    silent: false,
    held: () => held.size,
    release() {
      replica.silent = false;
      for (const response of held) answer(response);
    },
    stop,
    start: () => listen(port),
  };
  return replica;
}

function portOf(server: Server): number {
  const bound = server.address();
  return bound === null || typeof bound === "string" ? 0 : bound.port;
}

/** One GET over a fresh connection: status and body. Rejects when there was no answer. */
export function httpGet(
  host: string,
  port: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host, port, path: "/", headers, agent: false, timeout: ANSWER_DEADLINE_MS },
      (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => (body += chunk.toString()));
        response.on("error", reject);
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: body.trim() }));
      },
    );
    sent.on("timeout", () => sent.destroy(new Error(`no answer in ${ANSWER_DEADLINE_MS} ms`)));
    sent.on("error", reject);
    sent.end();
  });
}

function baseConfig(of: { name: string; address: string; dir: string; vipPool: string }): ConfigTree {
  const { name, address, dir, vipPool } = of;
  return {
    node: { name, dataDir: join(dir, "state") },
    mesh: { listen: `${address}:7650` },
    docker: { socket: "off" },
    dns: { listen: [`${address}:5300`], upstream: [] },
    vip: { pool: vipPool, listen: false },
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
  const [code] = await within(exit, `the end of ${child.pid} by ${signal}`, 2 * PROGRAM_DEADLINE_MS);
  return code;
}

/** The parsed answer; null for any status but 200. */
export function getJson(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, agent: false, timeout: ANSWER_DEADLINE_MS }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => {
        const isJson = response.headers["content-type"]?.includes("json") === true;
        if (response.statusCode !== 200) resolve(null);
        else resolve(isJson ? JSON.parse(text) : text);
      });
      response.on("error", reject);
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer in ${ANSWER_DEADLINE_MS} ms`)));
    sent.on("error", reject);
    sent.end();
  });
}

async function lookup(address: string, name: string, family: 4 | 6): Promise<string[] | string> {
  const resolver = new Resolver({ timeout: 5000, tries: 3 });
  resolver.setServers([`${address}:5300`]);
  try {
    return (await (family === 4 ? resolver.resolve4(name) : resolver.resolve6(name))).sort();
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? String(thrown);
  }
}

/** Sums the series of a metric in Prometheus' text format. */
function sumOf(text: string, metric: string, labels: readonly string[]): number {
  const lines = text
    .split("\n")
    .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `));
  return lines
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
