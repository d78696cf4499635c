// Hostile answers: whatever bytes a replica sends, its client is answered or cut off, and everybody else is served.

import assert from "node:assert/strict";
import { constants, type ClientHttp2Session } from "node:http2";
import { test, type TestContext } from "node:test";

import * as fc from "fast-check";

import { until } from "../support/wait.ts";

import { Client, pool, serveOne, tcpReplica, upstream } from "./fixtures.ts";
import { http2Client, serveHttps } from "./tls/fixtures.ts";

const HOST = "a.example";

/** A replica that answers every connection's first request with bytes that a test sets, and ends. */
interface Liar {
  readonly port: number;
  bytes: string;
}

async function liar(t: TestContext): Promise<Liar> {
  const told = { port: 0, bytes: "" };
  const port = await tcpReplica(t, (socket) => {
    socket.once("data", () => socket.end(told.bytes, "latin1"));
  });
  return Object.assign(told, { port });
}

/** What a client got: its status, 0 for none, and whether that was all of an answer in its one form. */
interface Got {
  readonly status: number;
  readonly isWellFormed: boolean;
  readonly trailers: readonly string[];
}

async function askHttp2(session: ClientHttp2Session, method: string): Promise<Got> {
  const stream = session.request({ ":path": "/", ":authority": HOST, ":method": method });
  let status = 0;
  let trailers: readonly string[] = [];
  stream.on("response", (headers) => (status = Number(headers[":status"])));
  stream.on("trailers", (headers) => (trailers = Object.keys(headers)));
  stream.on("error", () => undefined);
  stream.resume().end();
  await new Promise((resolve) => stream.once("close", resolve));
  // The client's own HTTP/2 resets with this what we must not have sent.
  return { status, isWellFormed: stream.rstCode !== constants.NGHTTP2_PROTOCOL_ERROR, trailers };
}

const HEAD_LINES =
  /^HTTP\/1\.1 \d{3} [\t\x20-\x7e\x80-\xff]*(?:\r\n[!#$%&'*+.^_`|~\w-]+:[\t\x20-\x7e\x80-\xff]*)*$/;

async function askHttp1(t: TestContext, port: number, { method, minor }: { method: string; minor: 0 | 1 }) {
  const client = new Client(t, port);
  const text = `${method} / HTTP/1.${minor}\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`;
  await client.ask(text, () => client.ended || client.closed);
  const heads = client.text.split("\r\n\r\n");
  const last = heads.findIndex((head) => !head.startsWith("HTTP/1.1 1"));
  // A reset may come in place of the final head, or of all of them.
  const written = heads.slice(0, last + 1).filter((head) => head !== "");
  const isWellFormed = written.every((head) => HEAD_LINES.test(head)) && (minor === 1 || written.length <= 1);
  return { status: Number((heads[last] ?? "").slice(9, 12)), isWellFormed, trailers: [] };
}

/** A proxy in front of a liar, as clients of each kind see it. */
async function lied(t: TestContext): Promise<{
  readonly replica: Liar;
  readonly session: ClientHttp2Session;
  readonly ask: (kind: "2" | "1.1" | "1.0", method: string) => Promise<Got>;
}> {
  const replica = await liar(t);
  const to = pool([upstream("a", replica.port)]);
  const secure = await serveHttps(t, { routes: [{ host: HOST, path: "/", pool: to }] }, { a: [HOST] });
  const plain = await serveOne(t, "http", to);
  const session = http2Client(t, secure.port, HOST);
  const ask = (kind: "2" | "1.1" | "1.0", method: string): Promise<Got> => {
    if (kind === "2") return askHttp2(session, method);
    return askHttp1(t, plain.port, { method, minor: kind === "1.1" ? 1 : 0 });
  };
  return { replica, session, ask };
}

const GOOD = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TWICE = "ETag: a\r\netag: b\r\nDate: c\r\nDate: d\r\nContent-Type: e\r\nContent-Type: f\r\n";
const CHUNKS = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";

test("hostile: headers that HTTP/2 has once, or not at all, pass in a head, in hints and in trailers", async (t) => {
  const { replica, ask, session } = await lied(t);
  const odd = `${TWICE}HTTP2-Settings: x\r\n`;
  for (const bytes of [
    `HTTP/1.1 200 OK\r\n${odd}Content-Length: 2\r\n\r\nok`,
    `HTTP/1.1 103 Early Hints\r\n${odd}\r\n${GOOD}`,
    `HTTP/1.1 200 OK\r\n${CHUNKS}${odd}\r\n`,
  ]) {
    replica.bytes = bytes;
    for (const method of ["GET", "HEAD"]) {
      const { status, isWellFormed } = await ask("2", method);
      assert.deepEqual([status, isWellFormed], [200, true], bytes);
    }
  }
  assert.deepEqual((await ask("2", "GET")).trailers.slice(0, 2), ["etag", "date"]);
  assert.equal(session.closed, false);
});

test("hostile: trailers announced to clients that take none, and lengths of no body, do no harm", async (t) => {
  const { replica, ask } = await lied(t);
  const rests = [`Trailer: x-sum\r\n${CHUNKS}x-sum: 1\r\n\r\n`, "Content-Length: 2\r\n\r\nok"];
  const kinds = ["2", "1.1", "1.0"] as const;
  const cases = [200, 204, 205, 304].flatMap((status) =>
    rests.flatMap((rest) => kinds.map((kind) => ({ status, rest, kind }))),
  );
  for (const { status, rest, kind } of cases) {
    replica.bytes = `HTTP/1.1 ${status} Some\r\n${rest}`;
    for (const method of ["GET", "HEAD"]) {
      const got = await ask(kind, method);
      assert.deepEqual([got.status, got.isWellFormed], [status, true], `${kind} ${method} ${replica.bytes}`);
    }
  }
});

const NAMES: readonly string[] = [
  ..."ETag Date Content-Type Content-Length Content-Range Set-Cookie Location Age Host".split(" "),
  ..."Connection Keep-Alive Proxy-Connection Transfer-Encoding TE Upgrade Trailer Expect HTTP2-Settings".split(
    " ",
  ),
  ..."Via Status :status :path __proto__ constructor !#$%&'*+^`|~".split(" "),
  "x y",
  "",
];
const VALUES = [
  "",
  "x",
  "1",
  "2",
  "close",
  "trailers",
  "chunked",
  "upgrade, te",
  "\xe4\xff",
  "a\tb",
  "\0",
  "\x7f",
  "a\r",
];

const fields = fc
  .array(
    fc.tuple(
      fc.oneof(fc.constantFrom(...NAMES), fc.constantFrom(...NAMES.map((name) => name.toLowerCase()))),
      fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...VALUES) }, fc.string({ maxLength: 20 })),
    ),
    { maxLength: 6 },
  )
  .map((lines) => lines.map(([name, value]) => `${name}: ${value}\r\n`).join(""));

const reason = fc.constantFrom("OK", "", "\xe4", "a\tb", "\x01");

const interim = fc
  .tuple(fc.constantFrom(100, 101, 102, 103, 104, 150, 199), reason, fields)
  .map(([status, words, lines]) => `HTTP/1.1 ${status} ${words}\r\n${lines}\r\n`);

const answer = fc.record({
  interims: fc.array(interim, { maxLength: 2 }),
  status: fc.oneof(
    fc.constantFrom(200, 204, 205, 206, 304, 421, 500, 599, 600, 999),
    fc.integer({ min: 99, max: 1000 }),
  ),
  words: reason,
  lines: fields,
  rest: fc.oneof(
    fc.constantFrom("Content-Length: 2\r\n\r\nok", "\r\nok", "Content-Length: 9\r\n\r\nok", `${CHUNKS}\r\n`),
    fields.map((trailers) => `Trailer: x\r\n${CHUNKS}${trailers}\r\n`),
  ),
});

test("hostile: whatever a replica answers, clients get that, an error or a cut, in good form", async (t) => {
  const { replica, ask, session } = await lied(t);
  const kinds = fc.constantFrom("2" as const, "1.1" as const, "1.0" as const);
  const asked = fc.record({ kind: kinds, method: fc.constantFrom("GET", "HEAD", "POST"), told: answer });
  await fc.assert(
    fc.asyncProperty(asked, async ({ kind, method, told }) => {
      const { interims, status, words, lines, rest } = told;
      replica.bytes = `${interims.join("")}HTTP/1.1 ${status} ${words}\r\n${lines}${rest}`;
      const got = await ask(kind, method);
      assert.ok(got.isWellFormed, "in good form");
      assert.ok([0, 502, status].includes(got.status), `a ${got.status}`);
      assert.equal(session.closed, false);
    }),
    { numRuns: 150, endOnFailure: true },
  );
  replica.bytes = GOOD;
  await until(async () => (await ask("2", "GET")).status === 200);
});
