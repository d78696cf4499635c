// Request: a head is what its parts say, or is not sent.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";

import * as fc from "fast-check";

import { renderLastChunk, renderRequest } from "../../../../src/proxy/http/wire/request.ts";
import { listening } from "../../fixtures.ts";

const HOST = (): string => "app:80";

function rendered(fields: readonly (readonly [string, readonly string[]])[], target = "/"): string | null {
  const head = renderRequest({ method: "GET", target, fields: new Map(fields) }, HOST);
  return typeof head === "string" ? null : head.text;
}

test("renderRequest: lines in the order and spelling given; Host and Connection only where nobody said them", () => {
  assert.equal(
    rendered([
      ["hOsT", ["a"]],
      ["X-Twice", ["1", "2"]],
      ["connection", ["keep-alive, TE"]],
    ]),
    "GET / HTTP/1.1\r\nhOsT: a\r\nX-Twice: 1\r\nX-Twice: 2\r\nconnection: keep-alive, TE\r\n\r\n",
  );
  assert.equal(rendered([]), "GET / HTTP/1.1\r\nHost: app:80\r\nConnection: keep-alive\r\n\r\n");
});

test("renderRequest: tells how the body is framed", () => {
  const framing = (name: string, value: string): unknown => {
    const head = renderRequest({ method: "PUT", target: "/", fields: new Map([[name, [value]]]) }, HOST);
    return typeof head === "string" ? "refused" : [head.isChunked, head.bodyBytes];
  };
  assert.deepEqual(framing("Content-Length", "5"), [false, 5]);
  assert.deepEqual(framing("transfer-encoding", "chunked"), [true, 0]);
  assert.deepEqual(framing("X-Other", "5"), [false, 0]);
  assert.equal(framing("content-length", "5, 5"), "refused");
});

test("renderRequest: no part can end its line, whatever is in it", () => {
  for (const bad of ["\r", "\n", "\0", "\r\nX: y", "\u010a", "\u{1f600}"]) {
    assert.equal(rendered([["X", [`a${bad}b`]]]), null, JSON.stringify(bad));
    assert.equal(rendered([[`X${bad}`, ["a"]]]), null);
    assert.equal(rendered([], `/${bad}`), null);
    assert.equal(
      typeof renderRequest({ method: `GET${bad}`, target: "/", fields: new Map() }, HOST),
      "string",
    );
  }
  assert.equal(rendered([], "/a b"), null);
  assert.equal(rendered([["a b", ["c"]]]), null);
  assert.equal(rendered([["a:b", ["c"]]]), null);
});

test("renderRequest: any head that is sent is read by a server as it was given", async (t) => {
  const received: IncomingMessage[] = [];
  const server = createServer({ maxHeaderSize: 65_536 }, (request, response) => {
    received.push(request);
    response.end();
  });
  const port = await listening(t, server);
  const letters = fc.constantFrom("a", "Z", "0", " ", "\t", ":", ",", '"', "\x80", "\xff", "\r", "\n", "\0");
  const VALUE = fc.string({ unit: letters, maxLength: 6 });
  const NAME = fc.string({ unit: fc.constantFrom("x", "Y", "-", "_", "1"), minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.tuple(NAME, VALUE), { maxLength: 4, selector: ([name]) => name }),
      async (given) => {
        const text = rendered(given.map(([name, value]) => [name, [value]]));
        if (text === null) {
          assert.ok(given.some(([, value]) => /[\0\r\n]/.test(value)));
          return;
        }
        received.length = 0;
        const socket = connect(port, "127.0.0.1");
        socket.write(text, "latin1");
        await once(socket, "data");
        socket.destroy();
        assert.equal(received.length, 1);
        const expected = given.flatMap(([name, value]) => [name, value.replaceAll(/^[\t ]+|[\t ]+$/g, "")]);
        assert.deepEqual(received[0]?.rawHeaders, [
          ...expected,
          "Host",
          "app:80",
          "Connection",
          "keep-alive",
        ]);
      },
    ),
    { numRuns: 150 },
  );
});

test("renderLastChunk: trailers behind it, but for those that cannot be written", () => {
  assert.equal(renderLastChunk([]), "0\r\n\r\n");
  assert.equal(
    renderLastChunk([
      ["X-Sum", "1"],
      ["X-Bad", "a\r\nb"],
      ["a b", "c"],
    ]),
    "0\r\nX-Sum: 1\r\n\r\n",
  );
});
