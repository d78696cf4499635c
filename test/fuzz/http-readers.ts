// Readers of HTTP/1.1: node:http as an upstream that tells what it has read and keeps the bytes it came in, and nginx
// in front of another; and a client that sends bytes as they are.

import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type Server } from "node:http";
import { connect, createServer, type AddressInfo, type Server as NetServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { findProgram } from "../lab/requirements.ts";
import { until } from "../support/wait.ts";

import { LAST_REQUEST } from "./http-requests.ts";

const NGINX_FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/usr/bin"];
const READING_HEADER = "x-reading";

/** A client that hears nothing for so long ends its half: some requests stay incomplete for ever. */
const QUIET_MS = 40;
/** A connection that is still open after so long is a finding. */
const OPEN_MS_MAX = 10_000;

/** One request as somebody read it. */
export interface Reading {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  /** The value of a header that many cases tamper with. */
  readonly canary: string;
  /** The body's length and a digest of it. */
  readonly body: string;
}

/** One answer: what was read, or null for a refusal. */
export interface Answer {
  readonly status: number;
  readonly reading: Reading | null;
}

/** What came to an upstream for one request: whole, or broken off. */
export interface Slice {
  readonly bytes: Buffer;
  /** Null when it broke off. */
  readonly reading: Reading | null;
}

/** Told by an echo of what comes on each connection. */
interface EchoEvents {
  readonly head?: (socket: Socket) => void;
  readonly answered?: (socket: Socket, reading: Reading) => void;
}

/** A server that answers each request with what it has read of it. */
function openEcho(events: EchoEvents = {}): Server {
  const options = { requireHostHeader: false, maxHeaderSize: 256 * 1024, keepAliveTimeout: 0 };
  return createHttpServer(options, (request, response) => {
    events.head?.(request.socket);
    const hash = createHash("sha1");
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
    });
    request.on("end", () => {
      const reading = readingOf(request, `${bytes}:${hash.digest("hex").slice(0, 8)}`);
      events.answered?.(request.socket, reading);
      response.setHeader(READING_HEADER, encodeURIComponent(JSON.stringify(reading)));
      response.end();
    });
    request.on("error", () => undefined);
  });
}

function readingOf({ method = "", url = "", headers }: IncomingMessage, body: string): Reading {
  const canary = headers["x-canary"];
  const { host = "" } = headers;
  return { method, target: url, host, canary: String(canary), body };
}

/** What has come on a connection since its last answer. */
interface Arriving {
  parts: Buffer[];
  heads: number;
}

/** An upstream of the proxy: tells what came, request by request. */
export class Recorder {
  readonly #server: NetServer;
  readonly #echo: Server;
  readonly #arrivingBySocket = new Map<Socket, Arriving>();
  #slices: Slice[] = [];
  #fault: string | null = null;

  /** Use `Recorder.open`. */
  private constructor() {
    this.#echo = openEcho({
      head: (socket) => this.#countHead(socket),
      answered: (socket, reading) => this.#cut(socket, reading),
    });
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#take(socket));
  }

  static async open(): Promise<Recorder> {
    const recorder = new Recorder();
    recorder.#server.listen(0, "127.0.0.1");
    await once(recorder.#server, "listening");
    return recorder;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The first thing that must never come, in words; null while there was none. */
  get fault(): string | null {
    return this.#fault;
  }

  /** What came since it was asked last. */
  takeSlices(): readonly Slice[] {
    const slices = this.#slices;
    this.#slices = [];
    return slices;
  }

  close(): void {
    for (const socket of this.#arrivingBySocket.keys()) socket.destroy();
    this.#server.close();
    this.#echo.close();
  }

  #take(socket: Socket): void {
    const arriving: Arriving = { parts: [], heads: 0 };
    this.#arrivingBySocket.set(socket, arriving);
    socket.on("error", () => undefined);
    socket.once("close", () => {
      this.#cut(socket, null);
      this.#arrivingBySocket.delete(socket);
    });
    this.#echo.emit("connection", socket);
    // Before the parser's own listener, for what that tells of must be here by then; but added after it, or the parser
    // would read past all listeners.
    socket.prependListener("data", (chunk: Buffer) => arriving.parts.push(chunk));
  }

  #countHead(socket: Socket): void {
    const arriving = this.#arrivingBySocket.get(socket);
    if (arriving === undefined) return;
    arriving.heads += 1;
    // Invariant: the proxy has one request at a time on a connection, so a second head came out of the first's bytes.
    if (arriving.heads > 1) this.#fault ??= `two requests in one: ${textOf(Buffer.concat(arriving.parts))}`;
  }

  #cut(socket: Socket, reading: Reading | null): void {
    const arriving = this.#arrivingBySocket.get(socket);
    if (arriving === undefined || arriving.parts.length === 0) return;
    this.#slices.push({ bytes: Buffer.concat(arriving.parts), reading });
    arriving.parts = [];
    arriving.heads = 0;
  }
}

/** Bytes as text that can be read and pasted. */
export function textOf(bytes: Buffer): string {
  return JSON.stringify(bytes.toString("latin1"));
}

function parseReading(text: string): Reading {
  return JSON.parse(decodeURIComponent(text)) as Reading;
}

/** Why nginx cannot be asked here, in words; false when it can. */
export function nginxObstacle(): string | false {
  return findProgram("nginx", NGINX_FOLDERS) === null
    ? "it needs program nginx (Debian package nginx-light)"
    : false;
}

/** nginx, and behind it a server that tells what nginx made of each request. */
export class NginxReader {
  readonly path: string;
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #echo: Server;

  private constructor(folder: string, child: ChildProcess, echo: Server) {
    this.path = join(folder, "nginx.sock");
    this.#folder = folder;
    this.#child = child;
    this.#echo = echo;
  }

  static async open(): Promise<NginxReader> {
    const folder = mkdtempSync(join(tmpdir(), "skein-fuzz-"));
    const echo = openEcho();
    echo.listen(join(folder, "echo.sock"));
    await once(echo, "listening");
    const file = join(folder, "nginx.conf");
    writeFileSync(file, nginxConfig(folder));
    const program = findProgram("nginx", NGINX_FOLDERS) ?? "nginx";
    const child = spawn(program, ["-c", file, "-p", folder, "-e", join(folder, "error.log")], {
      stdio: "ignore",
    });
    // Also when this process comes to a bad end: a fuzzer is there for that.
    process.once("exit", () => child.kill("SIGKILL"));
    const reader = new NginxReader(folder, child, echo);
    const greets = async (): Promise<boolean> => (await answersOf(reader, LAST_REQUEST)).length === 1;
    await until(greets, { what: "nginx answers", everyMs: 20 });
    return reader;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
    this.#echo.close();
    this.#echo.closeAllConnections();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function nginxConfig(folder: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  return `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log crit;
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary.join("\n  ")}
  large_client_header_buffers 8 64k;
  client_max_body_size 0;
  underscores_in_headers on;
  ignore_invalid_headers off;
  upstream echo { server unix:${folder}/echo.sock; keepalive 64; }
  server {
    listen unix:${folder}/nginx.sock;
    location / {
      proxy_pass http://echo;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_ignore_client_abort on;
    }
  }
}
`;
}

/** Where a reader listens. */
export type To = { readonly host: string; readonly port: number } | { readonly path: string };

/** Sends bytes as they are, and returns the answers in order. */
export async function answersOf(to: To, bytes: Buffer): Promise<readonly Answer[]> {
  const socket = connect({ ...to, allowHalfOpen: true });
  const parts: Buffer[] = [];
  let quiet: NodeJS.Timeout | undefined;
  const late = setTimeout(() => socket.destroy(new Error(`still open after ${OPEN_MS_MAX} ms`)), OPEN_MS_MAX);
  await new Promise<void>((resolve, reject) => {
    // A refusal may come as a reset once its text was read; what was read counts.
    socket.on("error", (error) => ("code" in error ? undefined : reject(error)));
    socket.on("data", (chunk: Buffer) => {
      parts.push(chunk);
      quiet?.refresh();
    });
    socket.on("end", () => socket.end());
    socket.once("close", () => resolve());
    socket.write(bytes);
    quiet = setTimeout(() => socket.end(), QUIET_MS);
  }).finally(() => {
    clearTimeout(late);
    clearTimeout(quiet);
  });
  return parseAnswers(Buffer.concat(parts).toString("latin1"));
}

/** Splits what came back into answers. No body of theirs has a line that reads as a status line. */
export function parseAnswers(text: string): readonly Answer[] {
  return text
    .split(/^(?=HTTP\/1\.[01] \d{3}[ \r])/m)
    .filter((part) => part.startsWith("HTTP/"))
    .map((part) => {
      const [, told] = new RegExp(`^${READING_HEADER}: (\\S+)`, "im").exec(part) ?? [];
      return { status: Number(part.slice(9, 12)), reading: told === undefined ? null : parseReading(told) };
    })
    .filter(({ status }) => status >= 200);
}
