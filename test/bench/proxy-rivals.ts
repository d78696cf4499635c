/**
 * Proxy-rivals: the proxies that ours is measured beside, each set up as its users would for speed, and the upstreams.
 *
 * Each has one thread: ours has one, and the question is what a request costs. All lead to the same three upstreams,
 * keep connections to them, check nothing and log nothing.
 *
 * Touches: child processes, temporary folders, loopback sockets.
 */

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { until } from "../support/wait.ts";

/** How a proxy reads what it carries. */
export type Mode = "http" | "tcp";

/** What a rival is called, and in which modes it is measured. */
export interface Rival {
  readonly name: string;
  readonly mode: Mode;
  readonly port: number;
}

/** A program of the bench. */
export interface Running {
  readonly child: ChildProcess;
  end(): Promise<void>;
}

/** A file of this size is served besides the short answer, for rates in bytes. */
export const LARGE_BYTES = 1024 * 1024;

export const UPSTREAM_PORTS = [19_101, 19_102, 19_103];

const BARE = fileURLToPath(new URL("proxy-bare.ts", import.meta.url));

/** True when a program is on the path. */
export function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`], { env: withSbin() }).status === 0;
}

function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin`, GOMAXPROCS: "1" };
}

interface Program {
  readonly rival: Rival;
  /** The words that start it; `dir` is its own. */
  readonly start: (dir: string) => readonly string[];
}

/** Caddy and nginx have no TCP here: Debian's Caddy lacks the module, and HAProxy is the one to beat. */
const PROGRAMS: readonly Program[] = [
  {
    rival: { name: "http-proxy", mode: "http", port: 19_201 },
    start: () => [process.execPath, BARE, "19201", ...UPSTREAM_PORTS.map(String)],
  },
  {
    rival: { name: "haproxy", mode: "http", port: 19_202 },
    start: (dir) => ["haproxy", "-db", "-f", written(dir, haproxyConfig("http", 19_202))],
  },
  {
    rival: { name: "nginx", mode: "http", port: 19_203 },
    start: (dir) => [
      "nginx",
      "-p",
      dir,
      "-e",
      "stderr",
      "-c",
      written(dir, nginxConfig(dir, proxyServer(19_203))),
    ],
  },
  {
    rival: { name: "caddy", mode: "http", port: 19_204 },
    start: (dir) => ["caddy", "run", "--adapter", "caddyfile", "--config", written(dir, caddyConfig(19_204))],
  },
  {
    rival: { name: "haproxy", mode: "tcp", port: 19_205 },
    start: (dir) => ["haproxy", "-db", "-f", written(dir, haproxyConfig("tcp", 19_205))],
  },
];

/** The rivals that are installed here. */
export function rivalsHere(): readonly Rival[] {
  return PROGRAMS.filter(({ rival }) => rival.name === "http-proxy" || has(rival.name)).map(
    ({ rival }) => rival,
  );
}

/** Starts a rival and waits until it takes connections. */
export async function startRival(rival: Rival): Promise<Running> {
  const program = PROGRAMS.find((one) => one.rival === rival);
  if (program === undefined) throw new Error(`there is no rival ${rival.name}`);
  return await started(program.start, [rival.port]);
}

/** Starts one nginx that plays the three upstreams. */
export async function startUpstreams(): Promise<Running> {
  return await started((dir) => {
    const root = join(dir, "root");
    mkdirSync(root);
    writeFileSync(join(root, "large"), Buffer.alloc(LARGE_BYTES, "skein"));
    const servers = UPSTREAM_PORTS.map((port) => upstreamServer(port, root)).join("\n");
    return ["nginx", "-p", dir, "-e", "stderr", "-c", written(dir, nginxConfig(dir, servers))];
  }, UPSTREAM_PORTS);
}

async function started(
  wordsIn: (dir: string) => readonly string[],
  ports: readonly number[],
): Promise<Running> {
  const dir = mkdtempSync(join(tmpdir(), "skein-bench-"));
  const [program = "", ...words] = wordsIn(dir);
  const env = { ...withSbin(), HOME: dir, XDG_CONFIG_HOME: dir, XDG_DATA_HOME: dir };
  const child = spawn(program, words, { stdio: "ignore", env });
  // Also when the bench comes to a bad end.
  process.once("exit", () => child.kill("SIGKILL"));
  const end = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    for (const port of ports)
      await until(() => takesConnections(port), {
        what: `${program} listens on ${port}`,
        deadlineMs: 10_000,
      });
    return { child, end };
  } catch (thrown) {
    await end();
    throw thrown;
  }
}

async function takesConnections(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } finally {
    socket.destroy();
  }
}

function written(dir: string, text: string): string {
  const file = join(dir, "config");
  writeFileSync(file, text);
  return file;
}

function haproxyConfig(mode: Mode, port: number): string {
  const servers = UPSTREAM_PORTS.map((upstream) => `  server s${upstream} 127.0.0.1:${upstream}`).join("\n");
  const reuse = mode === "http" ? "  http-reuse always\n" : "";
  return `
global
  nbthread 1
  maxconn 4000
defaults
  mode ${mode}
  timeout connect 1s
  timeout client 60s
  timeout server 60s
listen front
  bind 127.0.0.1:${port}
  balance roundrobin
${reuse}${servers}
`;
}

/** One process, no master: it is ended by its id. */
function nginxConfig(dir: string, servers: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
daemon off;
master_process off;
pid ${dir}/nginx.pid;
error_log /dev/null;
events { worker_connections 8000; }
http {
  access_log off;
  keepalive_requests 100000000;
  ${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join(" ")}
  upstream pool { ${UPSTREAM_PORTS.map((port) => `server 127.0.0.1:${port};`).join(" ")} keepalive 256; }
  ${servers}
}
`;
}

function upstreamServer(port: number, root: string): string {
  return `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / { return 200 "hello\\n"; }
    location = /large { root ${root}; }
  }`;
}

function proxyServer(port: number): string {
  return `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / { proxy_pass http://pool; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }`;
}

function caddyConfig(port: number): string {
  const upstreams = UPSTREAM_PORTS.map((upstream) => `127.0.0.1:${upstream}`).join(" ");
  return `
{
  admin off
  auto_https off
}
http://127.0.0.1:${port} {
  reverse_proxy ${upstreams} {
    lb_policy round_robin
  }
}
`;
}
