// Format: a line says what happened, and nobody but us writes one.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { renderAccess } from "../../../src/proxy/access/format.ts";

import { connection, entries, entry, FACTS } from "./entries.ts";

/** A line in the combined form as readers of it take it apart: Apache's fields, then ours. */
const QUOTED = String.raw`"(?:[^"\\]|\\.)*"`;
const COMBINED = new RegExp(
  String.raw`^\S+ - - \[[^\]]+\] ${QUOTED} (?:\d+|-) (?<bytes>\d+) ${QUOTED} ${QUOTED}` +
    String.raw` ${QUOTED} ${QUOTED} [\d.e+]+ms "[a-z,-]*" ${QUOTED}$`,
);

test("access: whatever a client sends, an entry is one line of printable ASCII that can be read again", () => {
  fc.assert(
    fc.property(entries, (any) => {
      const json = renderAccess(any, "json");
      const combined = renderAccess(any, "combined");
      for (const line of [json, combined]) assert.match(line, /^[\x20-\x7e]+$/);
      assert.equal(JSON.parse(json).bytesFromClient, any.bytesSent);
      assert.equal(COMBINED.exec(combined)?.groups?.["bytes"], String(any.bytesReceived));
    }),
  );
});

test("access: JSON says who came, where it led, how much passed, how long it took and why it was tried again", () => {
  assert.deepEqual(JSON.parse(renderAccess(entry({ retries: ["connect", "late"] }), "json")), {
    time: "2026-01-02T03:04:05.678Z",
    kind: "http",
    client: "192.0.2.7",
    service: "default/web",
    replica: "0123456789ab",
    node: "host-1",
    result: "ok",
    status: 200,
    method: "GET",
    host: "app.example.com",
    path: "/shop/cart",
    version: "1.1",
    proto: "https",
    requestId: "0123456789abcdef",
    firstByteMs: 1.25,
    userAgent: "curl/8.5.0",
    referer: "https://example.com/list",
    bytesFromClient: 17,
    bytesToClient: 5120,
    durationMs: 12.346,
    retries: ["connect", "late"],
  });
});

test("access: what is no request has no facts of one", () => {
  const line = JSON.parse(renderAccess(connection({ kind: "udp", result: "no replica" }), "json"));
  assert.deepEqual(
    [line.kind, line.result, "status" in line, "path" in line],
    ["udp", "no replica", false, false],
  );
});

test("access: the combined form is Apache's, with service, replica, duration, retries and result behind it", () => {
  const usual = '192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /shop/cart HTTP/1.1" 200 5120';
  const from = '"https://example.com/list" "curl/8.5.0"';
  assert.equal(
    renderAccess(entry({ retries: ["stale"] }), "combined"),
    `${usual} ${from} "default/web" "0123456789ab@host-1" 12.346ms "stale" "ok"`,
  );
  const time = "[02/Jan/2026:03:04:05 +0000]";
  assert.equal(
    renderAccess(connection({ replica: null, node: null, result: "no replica" }), "combined"),
    `192.0.2.7 - - ${time} "TCP default/db" - 5120 "-" "-" "default/db" "-" 12.346ms "-" "no replica"`,
  );
});

test("access: in the combined form a client that left before an answer has the status that nginx gives it", () => {
  const line = renderAccess(entry({ result: "client left", http: { ...FACTS, status: 0 } }), "combined");
  assert.match(line, /" 499 /);
});

test("access: quotes, backslashes and bytes that move a cursor are escaped as Apache does", () => {
  const line = renderAccess(
    entry({ http: { ...FACTS, userAgent: 'a"b\\c\u001b[2J\u0085\r\nGET' } }),
    "combined",
  );
  assert.ok(line.includes('"a\\"b\\\\c\\x1b[2J\\x85\\x0d\\x0aGET"'), line);
});

test("access: queries, fragments, users and passwords are never logged, in whatever form they come", () => {
  const secrets = [
    "/path?key=hidden",
    "/path#hidden",
    "http://user:hidden@app.example.com/path?hidden",
    "https://us@er:hid@den:hidden@app.example.com",
    "//path?hidden?hidden",
    "?hidden",
    "#hidden",
  ];
  for (const secret of secrets) {
    const line = { ...FACTS, target: secret, referer: secret };
    for (const format of ["json", "combined"] as const)
      assert.doesNotMatch(renderAccess(entry({ http: line }), format), /hidden|us@er/, secret);
  }
  const kept = JSON.parse(renderAccess(entry({ http: { ...FACTS, target: "/a@b/c@d" } }), "json"));
  assert.equal(kept.path, "/a@b/c@d");
});

test("access: a field longer than its bound is cut, so that no client makes a line of any length", () => {
  const long = "x".repeat(100_000);
  const facts = {
    ...FACTS,
    requestId: long,
    method: long,
    host: long,
    target: long,
    userAgent: long,
    referer: long,
  };
  const huge = entry({ client: long, result: long, http: facts });
  for (const format of ["json", "combined"] as const)
    assert.ok(renderAccess(huge, format).length < 10 * LIMITS.accessFieldChars);
});
