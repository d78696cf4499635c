// Response: reads what node:http's own client reads, whatever pieces it comes in, and refuses what that one refuses.

import assert from "node:assert/strict";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../../src/model/limits.ts";
import { ResponseReader } from "../../../../src/proxy/http/wire/response.ts";

/** An answer as its bytes say. */
interface Heard {
  readonly informed: string[];
  status: number;
  message: string;
  rawHeaders: readonly string[];
  body: string;
  rawTrailers: readonly string[];
  isWhole: boolean;
}

function nothing(): Heard {
  return {
    informed: [],
    status: 0,
    message: "",
    rawHeaders: [],
    body: "",
    rawTrailers: [],
    isWhole: false,
  };
}

/** What our reader makes of bytes that come in pieces, the connection's end behind them. */
function heard(pieces: readonly Buffer[], method = "GET"): Heard & { readonly isReusable: boolean } {
  const told = nothing();
  const reader = new ResponseReader({
    informed: (status, rawHeaders) => told.informed.push(`${status} ${rawHeaders.join("|")}`),
    answered: ({ status, message, rawHeaders }) => Object.assign(told, { status, message, rawHeaders }),
    data: (part) => (told.body += part.toString("latin1")),
    ended: (rawTrailers) => Object.assign(told, { rawTrailers, isWhole: true }),
  });
  reader.expect(method);
  for (const piece of pieces) if (reader.read(piece) !== null) return { ...told, isReusable: false };
  const { isReusable } = reader;
  reader.finish();
  return { ...told, isReusable };
}

/** What node:http's client makes of them. */
async function heardByNode(bytes: Buffer, method: string): Promise<Heard> {
  const told = nothing();
  let hasRead = false;
  const stream = new Duplex({
    read() {
      // Once: the client reads from the turn in which it has the stream.
    },
    write(_chunk, _encoding, done) {
      done();
      if (hasRead) return;
      hasRead = true;
      this.push(bytes);
      this.push(null);
    },
  });
  await new Promise<void>((resolve) => {
    const request = httpRequest({
      method,
      createConnection: () => stream,
      maxHeaderSize: LIMITS.httpHeadBytes,
    });
    request.on("information", ({ statusCode, rawHeaders }) => {
      if (statusCode !== 100) told.informed.push(`${statusCode} ${rawHeaders.join("|")}`);
    });
    request.on("error", () => resolve());
    request.on("close", () => resolve());
    request.on("upgrade", () => resolve());
    request.on("response", (response: IncomingMessage) => {
      const { statusCode: status = 0, statusMessage: message = "", rawHeaders } = response;
      Object.assign(told, { status, message, rawHeaders });
      response.on("data", (part: Buffer) => (told.body += part.toString("latin1")));
      response.on("error", () => resolve());
      response.on("close", () => {
        const { complete: isWhole, rawTrailers } = response;
        Object.assign(told, { isWhole, rawTrailers });
        resolve();
      });
    });
    request.end();
  });
  return told;
}

/** Text of letters out of a set. */
function textOf(
  letters: string,
  length: { readonly minLength?: number; readonly maxLength: number },
): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...letters.split("")), ...length });
}

const NAME = textOf("Xx-_1~", { minLength: 1, maxLength: 6 });
const VALUE = textOf('aZ 0\t:,"\x80\xff', { maxLength: 12 }).map((text) => text.trim());
const BODY = textOf("a\0\r\n0\xff ", { maxLength: 40 });
const DECIDING = fc.constantFrom(
  "Connection: close",
  "connection: Keep-Alive",
  "Connection: x, close",
  "Keep-Alive: timeout=5, max=9",
  "Transfer-Encoding: chunked",
  "transfer-encoding: CHUNKED",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: identity",
  "Content-Length: 5",
  "content-length: 0",
  "Content-Length: 5, 5",
  "Content-Length: +5",
  "Content-Length:",
  "Content-Length: 99999999999999999999",
  "Upgrade: websocket",
  " folded",
  "A : b",
);
const LINES = fc.array(
  fc
    .tuple(NAME, fc.constantFrom(":", ": ", ":\t "), VALUE, fc.constantFrom("", " ", "\t"))
    .map((parts) => parts.join("")),
  { maxLength: 6 },
);

/** A body and the lines that frame it. */
const FRAMED = fc.oneof(
  BODY.map((body) => ({ lines: [`Content-Length: ${body.length}`], bytes: body })),
  fc
    .record({
      parts: fc.array(
        fc.tuple(
          BODY.filter((part) => part.length > 0),
          fc.constantFrom("", ";a", ";a=b", ';a="b\\"c";d', ";"),
          fc.constantFrom("", "0", "00"),
        ),
        { maxLength: 4 },
      ),
      trailers: LINES,
    })
    .map(({ parts, trailers }) => {
      const chunks = parts.map(
        ([part, extension, zeros]) => `${zeros}${part.length.toString(16)}${extension}\r\n${part}\r\n`,
      );
      const end = `0\r\n${trailers.map((line) => `${line}\r\n`).join("")}\r\n`;
      return { lines: ["Transfer-Encoding: chunked"], bytes: `${chunks.join("")}${end}` };
    }),
  BODY.map((bytes) => ({ lines: [], bytes })),
);

const STATUS_LINE = fc.tuple(
  fc.constantFrom("HTTP/1.1", "HTTP/1.1", "HTTP/1.0"),
  fc.constantFrom("200", "204", "304", "404", "599", "600", "999"),
  fc.constantFrom(" OK", "", " ", " Not  Found\t\xe9"),
);

const INTERIM = fc.constantFrom(
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
  "HTTP/1.1 102\r\n\r\n",
);

const WELL_FORMED = fc
  .record({ interims: fc.array(INTERIM, { maxLength: 2 }), start: STATUS_LINE, lines: LINES, framed: FRAMED })
  .map(({ interims, start: [version, status, phrase], lines, framed }) => {
    const fields = [...lines, ...framed.lines].map((line) => `${line}\r\n`).join("");
    return `${interims.join("")}${version} ${status}${phrase}\r\n${fields}\r\n${framed.bytes}`;
  });

/** Changes at places, as parts of the whole. */
const MUTATED = fc
  .record({
    text: WELL_FORMED,
    changes: fc.array(
      fc.record({
        at: fc.double({ min: 0, max: 1, noNaN: true }),
        cut: fc.integer({ min: 0, max: 3 }),
        put: fc.oneof(
          fc.constantFrom(
            "",
            "\n",
            "\r",
            "\r\n",
            "\0",
            " ",
            ":",
            "\r\n\r\n",
            "0",
            "f",
            "HTTP/1.1 101 X\r\n\r\n",
          ),
          DECIDING.map((line) => `\r\n${line}`),
        ),
        /** Where the next line begins, as most that matters is there. */
        snaps: fc.boolean(),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  })
  .map(({ text, changes }) => {
    let changed = text;
    for (const { at, cut, put, snaps } of changes) {
      const wanted = Math.floor(at * changed.length);
      const line = changed.indexOf("\r\n", wanted);
      const from = snaps && line !== -1 ? line : wanted;
      changed = changed.slice(0, from) + put + changed.slice(from + cut);
    }
    return changed;
  });

const METHOD = fc.constantFrom("GET", "GET", "HEAD");

test("read: the same bytes in any pieces are the same answer", () => {
  const CUTS = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });
  fc.assert(
    fc.property(fc.oneof(WELL_FORMED, MUTATED), METHOD, CUTS, (text, method, cuts) => {
      const bytes = Buffer.from(text, "latin1");
      const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)).toSorted((a, b) => a - b)];
      const pieces = places.map((from, at) => bytes.subarray(from, places[at + 1] ?? bytes.length));
      const whole = heard([bytes], method);
      assert.deepEqual(heard(pieces, method), whole);
      assert.deepEqual(
        heard(
          Array.from(bytes, (byte) => Buffer.of(byte)),
          method,
        ),
        whole,
      );
    }),
    { numRuns: 2000 },
  );
});

test("read: a well-formed answer is what node:http's client reads", async () => {
  await fc.assert(
    fc.asyncProperty(WELL_FORMED, METHOD, async (text, method) => {
      const bytes = Buffer.from(text, "latin1");
      const { isReusable: _, ...ours } = heard([bytes], method);
      assert.deepEqual(ours, await heardByNode(bytes, method));
    }),
    { numRuns: 500 },
  );
});

test("read: what is taken for a whole answer node:http takes for the same one", async () => {
  let wholeCount = 0;
  await fc.assert(
    fc.asyncProperty(MUTATED, METHOD, async (text, method) => {
      const bytes = Buffer.from(text, "latin1");
      const { isReusable: _, ...ours } = heard([bytes], method);
      if (!ours.isWhole) return;
      wholeCount += 1;
      assert.deepEqual(ours, await heardByNode(bytes, method));
    }),
    { numRuns: 20000 },
  );
  assert.ok(wholeCount > 100);
});

test("read: heads, interim heads, lines of chunks and trailers end at their bounds, in pieces too", () => {
  const START = "HTTP/1.1 200 OK\r\n";
  const CHUNKED = `${START}Transfer-Encoding: chunked\r\n\r\n`;
  const filled = (before: string, after: string, bytes: number): string =>
    before + "x".repeat(bytes - before.length - after.length) + after;
  const bound = LIMITS.httpHeadBytes;
  const END = "\r\nContent-Length: 0\r\n\r\n";
  const LAST = "0\r\n";
  for (const over of [0, 1]) {
    const bytes = bound + over;
    const texts = [
      filled(`${START}X: `, END, bytes),
      `${CHUNKED}${filled("1;", "\r\n", bytes)}a\r\n0\r\n\r\n`,
      // The end of the line before the trailers counts as theirs.
      `${CHUNKED}${LAST}${filled("X: ", "\r\n\r\n", bytes - 2)}`,
    ];
    for (const text of texts) {
      const all = Buffer.from(text, "latin1");
      assert.equal(heard([all]).isWhole, over === 0);
      const halves = [all.subarray(0, 1000), all.subarray(1000)];
      assert.equal(heard(halves).isWhole, over === 0);
    }
  }
  const hint = `HTTP/1.1 103 X\r\nLink: ${"x".repeat(1000)}\r\n\r\n`;
  const fits = Math.floor(LIMITS.httpInterimBytes / hint.length);
  const LAST_ANSWER = "HTTP/1.1 204 X\r\n\r\n";
  assert.equal(heard([Buffer.from(hint.repeat(fits) + LAST_ANSWER)]).isWhole, true);
  assert.equal(heard([Buffer.from(hint.repeat(fits + 2) + LAST_ANSWER)]).isWhole, false);
});

test("read: what cannot become a head is refused before its end", () => {
  for (const text of ["220 smtp", "SSH-2.0", "\r\nHTTP/1.1 200", "HTTP/1.1 200 OK\n", "HTTP/2.0"]) {
    const reader = new ResponseReader({
      informed: () => undefined,
      answered: () => assert.fail("this is no answer"),
      data: () => undefined,
      ended: () => undefined,
    });
    reader.expect("GET");
    assert.notEqual(reader.read(Buffer.from(text)), null, text);
  }
});

test("isReusable: after a whole answer that leaves the connection open, with nothing behind it", () => {
  const isReusable = (text: string): boolean => heard([Buffer.from(text)]).isReusable;
  assert.equal(isReusable("HTTP/1.1 204 X\r\n\r\n"), true);
  assert.equal(isReusable("HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok"), true);
  assert.equal(isReusable("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), true);
  assert.equal(isReusable("HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\no"), false);
  assert.equal(isReusable("HTTP/1.1 204 X\r\nConnection: close\r\n\r\n"), false);
  assert.equal(isReusable("HTTP/1.1 204 X\r\n\r\nHTTP/1.1 204 X\r\n\r\n"), false);
  assert.equal(isReusable("HTTP/1.1 200 X\r\n\r\nok"), false);
});
