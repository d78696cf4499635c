// Throws hostile HTTP/1.1 answers at the proxy, from an upstream that is broken or means harm, and compares what a
// client gets with what node:http makes of the same bytes. There must never be two readings of one answer:
//
// - what a client gets as a whole answer is to node:http, asked without us, that same answer;
// - what is left over of an answer is never taken for the next one, whoever asked for that.
//
// To refuse is always allowed: a client then gets an error page, or a connection that breaks off.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

import { below, pick, type Random } from "../../src/base/random.ts";

import { Finding, type LateFuzzer, type OpenFuzzer } from "./fuzzer.ts";
import { textOf } from "./http-readers.ts";
import { openWays, WAYS, type Way } from "./http-ways.ts";
import { mutated } from "./mutate.ts";

/** An upstream that has said all it says ends the connection after this long, unless it is asked more. */
const QUIET_MS = 25;
const ANSWER_MS_MAX = 10_000;

const ODD_STATUS = [
  "HTTP/1.0 200 OK",
  "HTTP/1.1 200",
  "HTTP/1.1 200 ",
  "HTTP/1.1  200 OK",
  "HTTP/1.1 2OO OK",
  "HTTP/1.1 0200 OK",
  "HTTP/1.1 99 Low",
  "HTTP/1.1 600 High",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK",
  "HTTP/1.1 101 Switching Protocols",
  "HTTP/1.1 204 No Content",
  "HTTP/1.1 304 Not Modified",
  "HTTP/1.1 205 Reset Content",
  "HTTP/2.0 200 OK",
  "HTTP/1.2 200 OK",
  "http/1.1 200 OK",
  "ICY 200 OK",
  "\r\nHTTP/1.1 200 OK",
  "HTTP/1.1 200 O\x00K",
  "HTTP/1.1 200 \xff\xfe",
];
/** N stands for the body's true length. */
const ODD_FRAMING = [
  "Content-Length: +N",
  "Content-Length: -N",
  "Content-Length: 0xN",
  "Content-Length: 00N",
  "Content-Length: N, N",
  "Content-Length: N\r\nContent-Length: N",
  "Content-Length: N\r\nContent-Length: 0",
  "Content-Length: 0",
  "Content-Length: 1",
  "Content-Length: 99999",
  "Content-Length : N",
  " Content-Length: N",
  "Content-Length:N",
  "Content-Length: N ",
  "Content-Length: N\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nContent-Length: N",
  "Content-Length: 18446744073709551616",
  "Content-Length:\r\n N",
  "Content-Length\x00: N",
  "Transfer-Encoding: Chunked",
  "Transfer-Encoding: identity",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: gzip",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding:\x0bchunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
  "X: y\rContent-Length: N",
  "X: y\nContent-Length: N",
  "",
];
const ODD_LINES = [
  "X-Canary: a\r\n b",
  "X-Canary : a",
  "X-Canary",
  ": a",
  "X-Canary: a\x00b",
  "X-Canary: a\rb",
  "X-Canary: \xff",
  "Connection: close",
  "Connection: keep-alive, x-canary",
  "Connection: content-length",
  "Keep-Alive: timeout=0",
  "Keep-Alive: timeout=5, max=1",
  "Upgrade: h2c\r\nConnection: Upgrade",
  "Trailer: X-After",
  "Set-Cookie: a=b\r\nSet-Cookie: c=d",
  `X-Long: ${"y".repeat(3000)}`,
];
const ODD_SIZES = [
  "0xN",
  "+N",
  "-N",
  " N",
  "N ",
  "000N",
  "N;ext",
  'N;ext="\r\n0\r\n\r\n"',
  "N\x00",
  "",
  "FFFFFFFFFFFFFFFFN",
];
const ODD_ENDS = [
  "0\r\n",
  "00\r\n\r\n",
  "0;x\r\n\r\n",
  "0\r\nX-After: t\r\n\r\n",
  "0\n\n",
  "",
  "0\r\nContent-Length: 5\r\n\r\n",
];
const ODD_LINE_ENDS = ["\n", "\r", "\r\r\n", "\0\r\n", " \r\n"];
/** Bodies that read as answers to whoever takes the body for the next one. */
const BODIES = [
  "",
  "hello",
  "0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
  "5\r\nhello\r\n0\r\n\r\n",
];
/** What follows an answer, sent together with it. */
const REST = ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", "\r\n", "x", "HTTP/1.1 "];

const ODD_SHARE = 0.08;

function oddly(random: Random, usual: string, odd: readonly string[]): string {
  return random() < ODD_SHARE ? (pick(random, odd) ?? usual) : usual;
}

/** The bytes of one hostile answer. */
export function hostileAnswer(random: Random): Buffer {
  const bytes = Buffer.from(answerText(random), "latin1");
  if (random() >= 0.3) return bytes;
  return Buffer.from(mutated(bytes, Buffer.from(answerText(random), "latin1"), random));
}

function answerText(random: Random): string {
  const body = pick(random, BODIES) ?? "";
  const isChunked = random() < 0.5;
  const usual = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: N";
  const framing = oddly(random, usual, ODD_FRAMING).replaceAll("N", String(body.length));
  const lines = [
    oddly(random, "HTTP/1.1 200 OK", ODD_STATUS),
    framing,
    oddly(random, "X-Canary: a", ODD_LINES),
  ];
  const head = lines
    .filter((line) => line !== "")
    .map((line) => line + (random() < 0.01 ? (pick(random, ODD_LINE_ENDS) ?? "") : "\r\n"))
    .join("");
  const rest = random() < ODD_SHARE ? (pick(random, REST) ?? "") : "";
  return `${head}\r\n${isChunked ? chunked(random, body) : body}${rest}`;
}

function chunked(random: Random, body: string): string {
  const parts: string[] = [];
  for (let at = 0; at < body.length;) {
    const part = body.slice(at, at + 1 + below(random, body.length));
    at += part.length;
    const size = oddly(random, "N", ODD_SIZES).replaceAll("N", part.length.toString(16));
    parts.push(
      `${size}${oddly(random, "\r\n", ["\n", "\r"])}${part}${oddly(random, "\r\n", ["", "\n", "xx"])}`,
    );
  }
  return parts.join("") + oddly(random, "0\r\n\r\n", ODD_ENDS);
}

/** An upstream that answers `/hostile` with the bytes it was given, and `/plain/<word>` with the word. */
class HostileUpstream {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** What it answers to what is hostile. */
  bytes: Buffer = Buffer.alloc(0);

  constructor() {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
  }

  async open(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let text = "";
    let quiet: NodeJS.Timeout | undefined;
    socket.on("error", () => undefined);
    socket.once("end", () => socket.end());
    socket.once("close", () => {
      clearTimeout(quiet);
      this.#sockets.delete(socket);
    });
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end !== -1; end = text.indexOf("\r\n\r\n")) {
        const [, word = ""] = /^GET \/plain\/(\S+)/.exec(text) ?? [];
        text = text.slice(end + 4);
        // Not sooner: to end a connection that was never answered on is nobody's fault but ours.
        clearTimeout(quiet);
        quiet = setTimeout(() => socket.end(), QUIET_MS);
        socket.write(
          word === "" ? this.bytes : `HTTP/1.1 200 OK\r\nContent-Length: ${word.length}\r\n\r\n${word}`,
        );
      }
    });
  }
}

/** A whole answer as node:http reads it; null for none. */
type Read = { readonly status: number; readonly body: string; readonly isOurs: boolean } | null;

async function ask(
  { host, port }: { readonly host: string; readonly port: number },
  path: string,
): Promise<Read> {
  return await new Promise<Read>((resolve, reject) => {
    const asked = request({ host, port, path, agent: false });
    const late = setTimeout(() => asked.destroy(new Error("late")), ANSWER_MS_MAX);
    const settle = (read: Read): void => {
      clearTimeout(late);
      resolve(read);
    };
    let answer: IncomingMessage | null = null;
    asked.on("error", (error) => {
      if (error.message === "late") reject(new Finding(`no end of ${path} in ${ANSWER_MS_MAX} ms`, null));
      // What follows a whole answer may be nonsense; the answer is whole all the same.
      if (answer?.complete !== true) settle(null);
    });
    asked.on("upgrade", (_response, socket: Socket) => {
      socket.destroy();
      settle(null);
    });
    asked.on("response", (response) => {
      answer = response;
      bodyOf(response).then(
        (body) => settle({ status: response.statusCode ?? 0, body, isOurs: isOurs(response) }),
        () => settle(null),
      );
    });
    asked.end();
  });
}

/** Whether the proxy has answered in the upstream's place. */
function isOurs({ statusCode = 0, headers }: IncomingMessage): boolean {
  return statusCode >= 500 && "x-request-id" in headers;
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const hash = createHash("sha1");
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  if (!response.complete) throw new Error("cut");
  return `${bytes}:${hash.digest("hex").slice(0, 8)}`;
}

/** The fuzzer of answers. */
export function answerFuzzer(): LateFuzzer {
  return { name: "answers", obstacle: () => false, open: openAnswerFuzzer };
}

async function openAnswerFuzzer(): Promise<OpenFuzzer> {
  const upstreams = Array.from({ length: WAYS }, () => new HostileUpstream());
  await Promise.all(upstreams.map((upstream) => upstream.open()));
  const ways = await openWays(upstreams);
  return {
    atATime: WAYS,
    round: (random, seed) => ways.lend((way) => judgeAnswer(hostileAnswer(random), way, seed)),
    async close() {
      await ways.close();
      for (const upstream of upstreams) upstream.close();
    },
  };
}

/** Runs one case. @returns in a word what the proxy made of it */
async function judgeAnswer(bytes: Buffer, way: Way<HostileUpstream>, seed: number): Promise<string> {
  way.upstream.bytes = bytes;
  const direct = await ask({ host: "127.0.0.1", port: way.upstream.port }, "/hostile");
  const through = await ask(way, "/hostile");
  const word = `word-${seed}`;
  const next = await ask(way, `/plain/${word}`);
  const expected = `${word.length}:${createHash("sha1").update(word).digest("hex").slice(0, 8)}`;
  if (next?.body !== expected)
    throw new Finding(`the next answer is ${JSON.stringify(next)} after ${textOf(bytes)}`, bytes);
  if (through === null) return "cut";
  if (through.isOurs) return direct === null ? "refused by both" : "refused by us";
  if (direct === null) throw new Finding(`node:http refuses what we pass on: ${textOf(bytes)}`, bytes);
  if (through.status !== direct.status || through.body !== direct.body) {
    const readings = `${JSON.stringify(through)} and to node:http ${JSON.stringify(direct)}`;
    throw new Finding(`an answer has two readings: ${readings} of ${textOf(bytes)}`, bytes);
  }
  return "passed";
}
