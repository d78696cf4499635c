// What the proxy's tests are made of: views, pools and tables by hand, a proxy on loopback, replicas to talk to.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  createServer,
  request as httpRequest,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
  type Server,
} from "node:http";
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { seededRandom } from "../../src/base/random.ts";
import { DEFAULT_TRAFFIC, type ServicePort } from "../../src/model/service.ts";
import type { Replica, Service, View } from "../../src/model/view.ts";
import { openProxy, type Proxy, type ProxyOptions } from "../../src/proxy/proxy.ts";
import type { Frontend, IngressRoute, Pool, RouteTable, Upstream } from "../../src/proxy/routes.ts";
import type { Caller } from "../../src/proxy/tcp/proxy-header.ts";
import type { Log } from "../../src/runtime/log.ts";
import { openMetrics, type Metrics } from "../../src/runtime/metrics.ts";
import { plainReplica, plainService } from "../support/view.ts";
import { readToEnd, until, within } from "../support/wait.ts";

const SELF = "aaaaaaaaaaaaaaaaaaaa";
const PORTS: readonly ServicePort[] = [{ name: "web", port: 80, target: 8080, protocol: "http" }];

export function replica(id: string, changes: Partial<Replica> = {}): Replica {
  return plainReplica(id, { node: SELF, address: "127.0.0.1", ports: PORTS, ...changes });
}

export function service(name: string, changes: Partial<Service> = {}): Service {
  return plainService("default", name, { vip: "127.96.0.1", ports: PORTS, ...changes });
}

export function view(services: readonly Service[], complete = true): View {
  const empty = { members: [], networks: [], problems: [] };
  return { version: 1, complete, self: SELF, services, ...empty };
}

export function upstream(id: string, port: number, changes: Partial<Upstream> = {}): Upstream {
  return {
    id: `${id}:${port}`,
    service: "default/web",
    replica: id,
    node: "aaaaaaaaaaaaaaaaaaaa",
    nodeName: "host-1",
    address: "127.0.0.1",
    port,
    via: "direct",
    weight: 1,
    distance: 0,
    sinceMs: 0,
    proxyProtocol: "off",
    drainUntilMs: null,
    ...changes,
  };
}

/** The ends of a client's connection. */
export const CALLER: Caller = { address: "127.0.0.1", port: 40_000, toAddress: "127.0.0.1", toPort: 8080 };

/** A pool; `tiers` in the order eligible, draining, panic. */
export function pool(...tiers: (readonly Upstream[])[]): Pool {
  const sorted = [0, 1, 2].map((at) => (tiers[at] ?? []).toSorted((a, b) => (a.id < b.id ? -1 : 1)));
  return {
    service: "default/web",
    port: 80,
    protocol: "http",
    tiers: sorted,
    resting: [],
    traffic: DEFAULT_TRAFFIC,
  };
}

export function frontend(kind: Frontend["kind"], to: Pool, changes: Partial<Frontend> = {}): Frontend {
  return { kind, origin: "published", address: "127.0.0.1", port: 0, pool: to, ...changes };
}

export function table(frontends: readonly Frontend[], routes: readonly IngressRoute[] = []): RouteTable {
  const ingress =
    routes.length === 0 ? null : { address: "127.0.0.2", port: 0, httpsPort: null, routes, passthrough: [] };
  return { complete: true, frontends, ingress, problems: [] };
}

export const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  setLevel: () => undefined,
};

/**
 * A clock that stands until a test moves it: on a busy machine too, nothing is late unless the test says so.
 */
export class Clock {
  #nowMs = 1_000_000;
  readonly nowMs = (): number => this.#nowMs;

  /** Moves the clock. */
  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /**
   * Lets time pass until a condition holds, a tenth of a second with each look: then the proxy looks at its deadlines
   * as often as it would if time passed by itself, and whatever can happen at once has its turns in between.
   */
  async passUntil(condition: () => boolean): Promise<void> {
    await until(() => {
      this.pass(100);
      return condition();
    });
  }

  /** Lets time pass until a promise is settled, and returns what it brings. */
  async passDuring<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    promise.then(settle, settle);
    await this.passUntil(() => isSettled);
    return promise;
  }
}

/** A proxy and its metrics, closed when the test ends. Its clock stands unless it is given another. */
export async function startProxy(
  t: TestContext,
  changes: Partial<ProxyOptions> = {},
): Promise<{ readonly proxy: Proxy; readonly metrics: Metrics }> {
  const metrics = openMetrics();
  const proxy = await openProxy({
    nodeId: "aaaaaaaaaaaaaaaaaaaa",
    dial: () => Promise.reject(new Failure("unreachable", "no mesh in this test")),
    log: SILENT,
    metrics,
    random: seededRandom(7),
    nowMs: new Clock().nowMs,
    trustedProxies: [],
    vipPool: "127.96.0.0/12",
    ...changes,
  });
  t.after(() => proxy.close(0));
  return { proxy, metrics };
}

/** The port that the proxy has opened at an address; tests ask for port 0. */
export function portAt(proxy: Proxy, address: string): number {
  const found = proxy.stats().listeners.find((listener) => listener.address === address);
  if (found === undefined) throw new Error(`nothing listens at ${address}`);
  return found.port;
}

/** A proxy with one frontend at 127.0.0.1; the port it got. */
export async function serveOne(
  t: TestContext,
  kind: Frontend["kind"],
  to: Pool,
  changes: Partial<ProxyOptions> = {},
): Promise<{ readonly proxy: Proxy; readonly metrics: Metrics; readonly port: number }> {
  const started = await startProxy(t, changes);
  await started.proxy.set(table([frontend(kind, to)]));
  return { ...started, port: portAt(started.proxy, "127.0.0.1") };
}

/** Listens on a free port of 127.0.0.1 and closes, with all its connections, when the test ends. */
export async function listening(
  t: TestContext,
  server: Server | ReturnType<typeof createTcpServer>,
): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** An HTTP replica in this process. */
export function httpReplica(t: TestContext, listener: RequestListener): Promise<number> {
  return listening(t, createServer(listener));
}

/** A TCP replica in this process; half-open sockets, as ours. */
export function tcpReplica(t: TestContext, accept: (socket: Socket) => void): Promise<number> {
  return listening(t, createTcpServer({ allowHalfOpen: true }, accept));
}

/** A client connection to 127.0.0.1, destroyed when the test ends; what it reads is gathered as latin1. */
export class Client {
  readonly socket: Socket;
  text = "";
  ended = false;
  errorCode: string | null = null;
  closed = false;

  constructor(t: TestContext, port: number, host = "127.0.0.1") {
    this.socket = connect({ port, host, allowHalfOpen: true });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (chunk: string) => (this.text += chunk));
    this.socket.on("end", () => (this.ended = true));
    this.socket.on("error", (error: NodeJS.ErrnoException) => (this.errorCode = error.code ?? "?"));
    this.socket.on("close", () => (this.closed = true));
    t.after(() => this.socket.destroy());
  }

  /** Sends text as latin1 and waits until what came back satisfies the test. */
  async ask(text: string, isEnough: (answer: string) => boolean): Promise<string> {
    this.socket.write(text, "latin1");
    await until(() => isEnough(this.text), { what: `enough of ${JSON.stringify(this.text.slice(0, 400))}` });
    return this.text;
  }
}

/** A replica as a process of its own, so that it can be stopped and killed like a container. */
export interface ChildReplica {
  readonly port: number;
  readonly child: ChildProcess;
}

/** Starts test/proxy/replica.ts; killed when the test ends. */
export async function childReplica(t: TestContext, name: string): Promise<ChildReplica> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "replica.ts"), name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let line = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (line += chunk));
  await until(() => line.includes("\n"), { what: `replica ${name} to listen` });
  return { port: Number(line), child };
}

/** What a client got. */
export interface Answer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly text: string;
}

/** One request of a client; rejects when the connection breaks before the answer is whole, or that comes too late. */
export async function ask(
  port: number,
  options: RequestOptions & { readonly body?: string } = {},
): Promise<Answer> {
  const { body, ...rest } = options;
  const request = httpRequest({ host: "127.0.0.1", port, agent: false, ...rest });
  request.end(body);
  const response = await responseTo(request);
  const text = await readToEnd(response, `the end of the answer to ${request.method} ${request.path}`);
  const { statusCode = 0, rawHeaders, headers, trailers } = response;
  return { status: statusCode, rawHeaders, headers, trailers, text };
}

/** The head of the answer to a request; the request is given up when that comes too late. */
export async function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  try {
    const told = once(request, "response") as Promise<[IncomingMessage]>;
    const [response] = await within(told, `an answer to ${request.method} ${request.path}`);
    return response;
  } catch (thrown) {
    request.destroy();
    throw thrown;
  }
}

/** A replica that writes bytes by hand: told of each request's head as text, and given its connection. */
export function rawReplica(t: TestContext, answer: (head: string, socket: Socket) => void): Promise<number> {
  return tcpReplica(t, (socket) => {
    let text = "";
    socket.once("end", () => socket.end());
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end !== -1; end = text.indexOf("\r\n\r\n")) {
        const head = text.slice(0, end + 4);
        text = text.slice(end + 4);
        answer(head, socket);
      }
    });
  });
}
