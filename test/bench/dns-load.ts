/**
 * Dns-load: dnsperf against a name server, and name servers to compare with.
 *
 * Servers run on one CPU and dnsperf on another, so that neither slows the other and all are slowed alike.
 *
 * Touches: child processes, temporary folders, loopback sockets.
 */

import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

import type { HostPort } from "../../src/base/ip.ts";
import { answersOf, query } from "../dns/fixture.ts";
import { until } from "../support/wait.ts";

import { quantile } from "./statistics.ts";

export const DOMAIN = "default.skein.internal";
export const NAMES = Array.from({ length: 200 }, (_, at) => `svc-${at}`);

/** The CPU of servers and that of clients; null where there is but one, and nothing is pinned. */
const CPUS = availableParallelism() > 1 ? { server: "0", client: "1" } : null;

/** The commands that keep a process on the servers' CPU, by its id, and that start one on that of clients. */
export const pinWords =
  CPUS === null
    ? null
    : { server: ["taskset", "-a", "-c", "-p", CPUS.server], client: ["taskset", "-c", CPUS.client] };

/** A server under load. */
export interface Server extends HostPort {
  readonly name: string;
  end(): Promise<void>;
}

/** What dnsperf measured. */
export interface Load {
  readonly perSecond: number;
  readonly lost: number;
  /** NaN unless asked for. */
  readonly p99Ms: number;
}

/** Why there is nothing to measure with, in words; false when there is. */
export function dnsLoadObstacle(): string | false {
  const missing = ["dnsperf", "dnsmasq", "unbound", "taskset"].filter(
    (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0,
  );
  return missing.length === 0 ? false : `${missing.join(", ")} not installed`;
}

/** Keeps a process, and all it starts, on the servers' CPU. */
export function pin(child: ChildProcess): void {
  const [program = "", ...words] = pinWords?.server ?? [];
  if (program !== "") spawnSync(program, [...words, String(child.pid)]);
}

/** A file with one question a line for dnsperf. */
export function questionsIn(dir: string, names: readonly string[], types: readonly string[] = ["A"]): string {
  const file = join(dir, `questions-${types.join("-")}`);
  const lines = names.flatMap((name) => types.map((type) => `${name} ${type}\n`));
  writeFileSync(file, lines.join(""));
  return file;
}

/** What a server is asked, and how hard. */
export interface LoadOptions {
  readonly questions: string;
  readonly seconds: number;
  readonly transport?: "udp" | "tcp";
  /** Queries a second at most; then each one's latency is looked at. */
  readonly perSecond?: number;
}

/** Asks for some seconds. */
export async function load(server: HostPort, options: LoadOptions): Promise<Load> {
  const argv = dnsperf(server, options);
  const [program = "", ...args] = [...(pinWords?.client ?? []), ...argv];
  const report = await new Promise<string>((resolve, reject) => {
    const bounds = { timeout: (options.seconds + 30) * 1000, maxBuffer: 2 ** 28 };
    execFile(program, args, bounds, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
  });
  return loadIn(report);
}

/** The command that asks a server. */
export function dnsperf(server: HostPort, options: LoadOptions): readonly string[] {
  const { questions, seconds, transport = "udp", perSecond } = options;
  const shape = ["-c", "4", "-T", "1", "-q", "200", "-l", String(seconds), "-m", transport];
  const limit = perSecond === undefined ? [] : ["-v", "-Q", String(Math.round(perSecond))];
  return ["dnsperf", "-s", server.host, "-p", String(server.port), "-d", questions, ...shape, ...limit];
}

/** What dnsperf's report says. */
export function loadIn(report: string): Load {
  return {
    perSecond: Number(/Queries per second:\s+([\d.]+)/.exec(report)?.[1]),
    lost: Number(/Queries lost:\s+(\d+)/.exec(report)?.[1]),
    p99Ms: quantile(latenciesIn(report), 0.99) * 1000,
  };
}

/** Of the lines `> NOERROR web.default.skein.internal A 0.000123`, seconds. */
function latenciesIn(report: string): readonly number[] {
  return [...report.matchAll(/^> \S+ \S+ \S+ ([\d.]+)$/gm)].map(([, seconds]) => Number(seconds));
}

/** dnsmasq with the names in its configuration. */
export function startDnsmasq(port: number): Promise<Server> {
  const lines = NAMES.map((name, at) => `address=/${name}.${DOMAIN}/10.96.0.${at + 1}`);
  const text = [
    "no-resolv",
    "no-hosts",
    "local-ttl=5",
    "bind-interfaces",
    "listen-address=127.0.0.1",
    ...lines,
  ];
  return start("dnsmasq", port, (dir) => {
    return { file: join(dir, "dnsmasq.conf"), text, args: (file) => ["-k", "-C", file, "-p", String(port)] };
  });
}

/** unbound with the names as its own data, on one thread. */
export function startUnbound(port: number): Promise<Server> {
  const settings = [
    `interface: 127.0.0.1@${port}`,
    "num-threads: 1",
    "do-daemonize: no",
    'chroot: ""',
    'username: ""',
    'pidfile: ""',
    "use-syslog: no",
    'module-config: "iterator"',
    "incoming-num-tcp: 100",
    `local-zone: "${DOMAIN}." static`,
    ...NAMES.map((name, at) => `local-data: "${name}.${DOMAIN}. 5 IN A 10.96.0.${at + 1}"`),
  ];
  const text = ["server:", ...settings.map((line) => `  ${line}`)];
  return start("unbound", port, (dir) => {
    return { file: join(dir, "unbound.conf"), text, args: (file) => ["-c", file] };
  });
}

async function start(
  name: string,
  port: number,
  plan: (dir: string) => {
    readonly file: string;
    readonly text: readonly string[];
    readonly args: (file: string) => readonly string[];
  },
): Promise<Server> {
  const dir = mkdtempSync(join(tmpdir(), "skein-bench-"));
  const { file, text, args } = plan(dir);
  writeFileSync(file, `${text.join("\n")}\n`);
  const child = spawn(name, args(file), { stdio: "ignore" });
  const end = async (): Promise<void> => {
    const exited = once(child, "exit");
    if (child.kill("SIGKILL")) await exited;
    rmSync(dir, { recursive: true, force: true });
  };
  const server = { name, host: "127.0.0.1", port, end };
  pin(child);
  await answering(server);
  return server;
}

/** Waits until a server answers; what comes before it listens is lost, so it is asked again and again. */
export async function answering(server: HostPort): Promise<void> {
  const socket = createSocket("udp4");
  const asked = query(`${NAMES[0] ?? ""}.${DOMAIN}`, "A");
  let isThere = false;
  socket.on("message", (bytes) => (isThere ||= answersOf(bytes).length > 0));
  socket.on("error", () => {});
  try {
    await until(
      () => {
        if (!isThere) socket.send(asked, server.port, server.host);
        return isThere;
      },
      { what: `the name server on port ${server.port} answers`, everyMs: 50 },
    );
  } finally {
    socket.close();
  }
}
