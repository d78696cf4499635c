/**
 * Client: a program in a container (or on a host itself) that asks for names and sends requests as users' programs do.
 *
 * Tests of a cluster ask hundreds of questions from inside containers, and a `docker exec` for each would cost more
 * than the question. So one client stays there and takes its orders over a unix socket, which a folder shared with
 * the container carries out of it. Names are resolved by the C library, as the container's resolv.conf says, and each
 * request has a connection of its own, unless the order says otherwise: nothing is kept from one to the next that
 * could hide a wrong answer.
 *
 * A load is sent by the clock, whether or not earlier requests were answered, and is bounded in time.
 *
 * Node runs this file as it is, and it imports nothing of ours: a container has only this one file.
 *
 * Touches: the socket it is given, DNS, the network.
 */

import { createSocket } from "node:dgram";
import { promises as dns } from "node:dns";
import { rmSync } from "node:fs";
import { Agent, createServer, request, type IncomingMessage } from "node:http";
import { isIPv4 } from "node:net";

/** What a client can be told to do. */
export type Order =
  /** By a query to `server` ("address:port"), or to the container's own name server. */
  | {
      readonly kind: "resolve";
      readonly name: string;
      readonly server?: string;
      readonly type?: "A" | "AAAA";
    }
  /** By the C library. */
  | { readonly kind: "lookup"; readonly name: string }
  /** `count` requests, one after the other. */
  | {
      readonly kind: "get";
      readonly url: string;
      readonly count: number;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** `count` datagrams, one after the other, each from a socket of its own. */
  | {
      readonly kind: "datagrams";
      readonly host: string;
      readonly port: number;
      readonly count: number;
      readonly text: string;
    }
  /** Starts a load of `perSecond` requests that ends by `loaded`, or by itself after `longestMs`. */
  | {
      readonly kind: "load";
      readonly url: string;
      readonly perSecond: number;
      readonly longestMs: number;
      /** Whether connections are kept and used again, as by a program with a pool of them. */
      readonly keepsConnections: boolean;
      /** Whether every second request is a POST with a body of POST_BODY's length. */
      readonly posts: boolean;
    }
  /** What has become of the load so far. */
  | { readonly kind: "loading" }
  /** Ends the load; the answer comes when its last request is done. */
  | { readonly kind: "loaded" }
  /** Starts to ask for names, each every `everyMs`; ends by `watched`, or by itself after `longestMs`. */
  | {
      readonly kind: "watch";
      readonly names: readonly string[];
      readonly server?: string;
      readonly everyMs: number;
      readonly longestMs: number;
    }
  /** Ends the watch; the answer comes when each name was asked for once more. */
  | { readonly kind: "watched" };

/** An answer of DNS: an error's name as c-ares has it (ENOTFOUND: NXDOMAIN, ENODATA), "" for none. */
export interface Resolved {
  readonly error: string;
  /** Sorted. */
  readonly addresses: readonly string[];
}

/** One of the different answers that a watched name had: its addresses, or the error's name. */
export interface Sighting {
  readonly name: string;
  readonly answer: string;
  readonly count: number;
  /** When it came first and last, in milliseconds since the watch began. */
  readonly firstMs: number;
  readonly lastMs: number;
}

/** What became of requests. Only status 200 counts as answered. */
export interface Tally {
  readonly sent: number;
  /** How many were answered by whom: the body, without its newline. */
  readonly countByName: Readonly<Record<string, number>>;
  /** What went wrong, each with the milliseconds since the first request. */
  readonly failures: readonly string[];
  readonly slowestMs: number;
}

const REQUEST_MS = 5000;
const RESOLVE_MS = 1000;
const DATAGRAM_MS = 2000;
const FAILURES_KEPT = 20;

const POST_BODY = "x".repeat(1000);

/** What became of the requests of one order, so far. */
class Fates {
  readonly #startMs = performance.now();
  readonly #countByName: Record<string, number> = {};
  readonly #failures: string[] = [];
  #sent = 0;
  #slowestMs = 0;

  /** Counts one request, whatever becomes of it. @param ask  who answered */
  async count(what: string, ask: () => Promise<string>): Promise<void> {
    this.#sent += 1;
    const sentMs = performance.now();
    try {
      const name = await ask();
      this.#countByName[name] = (this.#countByName[name] ?? 0) + 1;
    } catch (thrown) {
      const atMs = Math.round(sentMs - this.#startMs);
      if (this.#failures.length < FAILURES_KEPT)
        this.#failures.push(`${what} after ${atMs} ms: ${(thrown as Error).message}`);
    }
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - sentMs);
  }

  get tally(): Tally {
    const slowestMs = Math.round(this.#slowestMs);
    return { sent: this.#sent, countByName: this.#countByName, failures: this.#failures, slowestMs };
  }
}

/** The requests of one order. */
class Requests {
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent | false;
  readonly #fates = new Fates();

  constructor(
    url: string,
    options: {
      readonly headers?: Readonly<Record<string, string>> | undefined;
      readonly keepsConnections?: boolean;
    },
  ) {
    this.#url = new URL(url);
    this.#headers = options.headers ?? {};
    this.#agent = options.keepsConnections === true ? new Agent({ keepAlive: true }) : false;
  }

  /** Ends the connections that were kept. */
  close(): void {
    if (this.#agent !== false) this.#agent.destroy();
  }

  async send(method: "GET" | "POST" = "GET"): Promise<void> {
    await this.#fates.count(method, async () => await this.#ask(method));
  }

  get tally(): Tally {
    return this.#fates.tally;
  }

  async #ask(method: "GET" | "POST"): Promise<string> {
    return await new Promise<string>((resolve, reject) => {
      const how = { method, agent: this.#agent, headers: this.#headers };
      const asked = request(this.#url, how, (response) => {
        named(response).then(resolve, reject);
      });
      const missing = (): string => (asked.socket?.connecting === false ? "no answer" : "no connection");
      const giveUp = (): void => void asked.destroy(new Error(`${missing()} in ${REQUEST_MS} ms`));
      const late = setTimeout(giveUp, REQUEST_MS);
      asked.on("close", () => clearTimeout(late));
      asked.on("error", reject);
      asked.end(method === "POST" ? POST_BODY : undefined);
    });
  }
}

/** A load under way. */
class Load {
  readonly #requests: Requests;
  readonly #posts: boolean;
  #sent = 0;
  readonly #pending = new Set<Promise<void>>();
  readonly #ticker: NodeJS.Timeout;
  readonly #end: NodeJS.Timeout;

  constructor(order: Extract<Order, { kind: "load" }>) {
    this.#requests = new Requests(order.url, order);
    this.#posts = order.posts;
    this.#ticker = setInterval(() => this.#send(), 1000 / order.perSecond);
    this.#end = setTimeout(() => clearInterval(this.#ticker), order.longestMs);
  }

  get tally(): Tally {
    return this.#requests.tally;
  }

  async finish(): Promise<Tally> {
    clearInterval(this.#ticker);
    clearTimeout(this.#end);
    await Promise.all(this.#pending);
    this.#requests.close();
    return this.#requests.tally;
  }

  #send(): void {
    this.#sent += 1;
    const sent = this.#requests.send(this.#posts && this.#sent % 2 === 0 ? "POST" : "GET");
    this.#pending.add(sent);
    void sent.then(() => this.#pending.delete(sent));
  }
}

/** Names under watch. None is asked for again before it was answered, so a slow name server is not asked the more. */
class Watch {
  readonly #order: Extract<Order, { kind: "watch" }>;
  readonly #startMs = performance.now();
  readonly #sightings = new Map<string, Sighting>();
  readonly #askingByName = new Map<string, Promise<void>>();
  readonly #ticker: NodeJS.Timeout;
  readonly #end: NodeJS.Timeout;

  constructor(order: Extract<Order, { kind: "watch" }>) {
    this.#order = order;
    this.#ticker = setInterval(() => this.#askForAll(), order.everyMs);
    this.#end = setTimeout(() => clearInterval(this.#ticker), order.longestMs);
  }

  async finish(): Promise<readonly Sighting[]> {
    clearInterval(this.#ticker);
    clearTimeout(this.#end);
    await Promise.all(this.#askingByName.values());
    // Once more: what the action left behind is to be seen too.
    this.#askForAll();
    await Promise.all(this.#askingByName.values());
    return [...this.#sightings.values()];
  }

  #askForAll(): void {
    for (const name of this.#order.names) {
      if (this.#askingByName.has(name)) continue;
      const asking = this.#ask(name).finally(() => this.#askingByName.delete(name));
      this.#askingByName.set(name, asking);
    }
  }

  async #ask(name: string): Promise<void> {
    const { server } = this.#order;
    const asked = await resolve({ kind: "resolve", name, ...(server === undefined ? {} : { server }) });
    const answer = asked.error === "" ? asked.addresses.join(" ") : asked.error;
    const lastMs = Math.round(performance.now() - this.#startMs);
    const { count = 0, firstMs = lastMs } = this.#sightings.get(`${name} ${answer}`) ?? {};
    this.#sightings.set(`${name} ${answer}`, { name, answer, count: count + 1, firstMs, lastMs });
  }
}

/** Who answered; throws unless the status is 200. */
async function named(response: IncomingMessage): Promise<string> {
  const text = await textOf(response);
  if (response.statusCode === 200) return text.trim();
  throw new Error(`status ${response.statusCode}: ${text.slice(0, 120)}`);
}

async function textOf(stream: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}

async function resolve(order: Extract<Order, { kind: "resolve" }>): Promise<Resolved> {
  const resolver = new dns.Resolver({ timeout: RESOLVE_MS, tries: 3 });
  if (order.server !== undefined) resolver.setServers([order.server]);
  const asked = order.type === "AAAA" ? resolver.resolve6(order.name) : resolver.resolve4(order.name);
  return await resolved(asked);
}

async function lookup(name: string): Promise<Resolved> {
  const asked = dns.lookup(name, { all: true });
  return await resolved(asked.then((found) => found.map(({ address }) => address).filter(isIPv4)));
}

async function resolved(asked: Promise<string[]>): Promise<Resolved> {
  try {
    return { error: "", addresses: (await asked).toSorted() };
  } catch (thrown) {
    return { error: (thrown as NodeJS.ErrnoException).code ?? String(thrown), addresses: [] };
  }
}

async function get({ url, count, headers }: Extract<Order, { kind: "get" }>): Promise<Tally> {
  const requests = new Requests(url, { headers });
  for (let sent = 0; sent < count; sent += 1) await requests.send();
  return requests.tally;
}

async function sendDatagrams(order: Extract<Order, { kind: "datagrams" }>): Promise<Tally> {
  const fates = new Fates();
  for (let sent = 0; sent < order.count; sent += 1)
    await fates.count("datagram", async () => await sendDatagram(order));
  return fates.tally;
}

async function sendDatagram({ host, port, text }: Extract<Order, { kind: "datagrams" }>): Promise<string> {
  const { address, family } = await dns.lookup(host);
  return await new Promise<string>((resolve, reject) => {
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    const end = (act: () => void): void => {
      clearTimeout(late);
      socket.close();
      act();
    };
    const late = setTimeout(
      () => end(() => reject(new Error(`no answer in ${DATAGRAM_MS} ms`))),
      DATAGRAM_MS,
    );
    socket.on("message", (message) => end(() => resolve(message.toString().trim())));
    socket.on("error", (error) => end(() => reject(error)));
    // Connected, so that a refusal told by ICMP is heard.
    socket.connect(port, address, () => socket.send(text));
  });
}

function serve(socketPath: string): void {
  let load: Load | null = null;
  let watch: Watch | null = null;
  const current = (): Load => {
    if (load === null) throw new Error("no load is under way");
    return load;
  };
  const obey = async (order: Order): Promise<unknown> => {
    switch (order.kind) {
      case "resolve":
        return await resolve(order);
      case "lookup":
        return await lookup(order.name);
      case "get":
        return await get(order);
      case "datagrams":
        return await sendDatagrams(order);
      case "load":
        if (load !== null) throw new Error("a load is under way already");
        load = new Load(order);
        return null;
      case "loading":
        return current().tally;
      case "loaded": {
        const ended = current();
        load = null;
        return await ended.finish();
      }
      case "watch":
        if (watch !== null) throw new Error("a watch is under way already");
        watch = new Watch(order);
        return null;
      case "watched": {
        const ended = watch;
        watch = null;
        return (await ended?.finish()) ?? [];
      }
    }
  };
  const server = createServer((asked, response) => {
    textOf(asked)
      .then(async (text) => await obey(JSON.parse(text) as Order))
      .then(
        (value) => response.end(JSON.stringify(value)),
        (thrown: unknown) => response.writeHead(500).end(String(thrown)),
      );
  });
  // Left by an earlier client that was killed.
  rmSync(socketPath, { force: true });
  server.listen(socketPath, () => console.log("listening"));
  // As the first process of a container it has no default action for signals.
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
}

serve(process.argv[2] ?? "");
