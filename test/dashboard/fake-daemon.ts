// Fake daemon: serves the built page and tells it whatever a test wants to be true, by the admin API's own shapes.

import { readFile } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import type { Picture, PictureChange, TrafficReport } from "../../src/admin/contract-live.ts";

/** As the daemon sends it. */
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

/** A daemon of a test's own making. */
export class FakeDaemon {
  /** What a new stream begins with. */
  picture: Picture;
  /** Answers by path without the query; a function is given the query. */
  readonly answers = new Map<string, unknown>();
  /** Paths that were asked for, with their queries. */
  readonly asked: string[] = [];
  /** It has all the watchers that it takes. */
  isFull = false;
  /** Only what stands before it answers, and says that it is away. */
  isBehindProxy = false;
  readonly #folder: string;
  /** Streams that pages have begun, ever. */
  begun = 0;
  readonly #streams = new Set<ServerResponse>();
  #server: Server | null = null;
  #port = 0;

  constructor(folder: string, picture: Picture) {
    this.#folder = folder;
    this.picture = picture;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Begins to listen; again on the same port. */
  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "/", this.url);
      this.asked.push(`${url.pathname}${url.search}`);
      if (url.pathname === "/api/v1/watch") this.#watch(response);
      else if (url.pathname.startsWith("/api/")) this.#answer(url, response);
      else void this.#file(url.pathname, response);
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Stops as a daemon that is killed: every connection breaks. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  /** Tells every page of a change; what later streams begin with is the test's matter. */
  change(change: PictureChange): void {
    this.#send("change", change);
  }

  /** Tells every page what passes. */
  traffic(report: TrafficReport): void {
    this.#send("traffic", report);
  }

  #send(kind: string, message: unknown): void {
    for (const stream of this.#streams) stream.write(`event: ${kind}\ndata: ${JSON.stringify(message)}\n\n`);
  }

  #watch(response: ServerResponse): void {
    if (this.isBehindProxy) {
      response.writeHead(503, { "content-type": "text/html", "retry-after": "1" });
      return void response.end("<h1>503 Service Unavailable</h1>");
    }
    if (this.isFull) {
      const type = "application/problem+json";
      response.writeHead(503, { "content-type": type, "skein-api": "1", "retry-after": "1" });
      return void response.end(JSON.stringify({ title: "Service Unavailable", status: 503, code: "busy" }));
    }
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(`event: picture\ndata: ${JSON.stringify(this.picture)}\n\n`);
    this.#streams.add(response);
    this.begun += 1;
    response.once("close", () => this.#streams.delete(response));
  }

  #answer(url: URL, response: ServerResponse): void {
    const found = this.answers.get(url.pathname);
    const value: unknown = typeof found === "function" ? found(url.searchParams) : found;
    const problem = {
      title: "Not Found",
      status: 404,
      detail: `nothing is at ${url.pathname}`,
      code: "not-found",
    };
    const type = value === undefined ? "application/problem+json" : "application/json";
    response.writeHead(value === undefined ? 404 : 200, { "content-type": type });
    response.end(JSON.stringify(value ?? problem));
  }

  async #file(path: string, response: ServerResponse): Promise<void> {
    const name = path === "/" ? "index.html" : path.replace(/^\/dashboard\//, "");
    const bytes = await readFile(join(this.#folder, name)).catch(() => null);
    const type = TYPES[name.split(".").at(-1) ?? ""] ?? "application/octet-stream";
    response.writeHead(bytes === null ? 404 : 200, { "content-type": type, "content-security-policy": CSP });
    response.end(bytes ?? "");
  }
}
