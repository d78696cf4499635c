// The answer that tells of a request which never reached its replica.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isUndeliveredToken, renderUndelivered, UNDELIVERED_HEADER } from "../../src/model/undelivered.ts";

test("undelivered: the answer is a whole 408 that ends the connection and carries the token", () => {
  const [head, ...lines] = renderUndelivered("0123456789abcdef").split("\r\n");
  assert.equal(head, "HTTP/1.1 408 Request Timeout");
  assert.ok(lines.includes("Connection: close") && lines.includes("Content-Length: 0"));
  assert.ok(lines.includes(`${UNDELIVERED_HEADER}: 0123456789abcdef`));
  assert.deepEqual(lines.slice(-2), ["", ""]);
});

test("undelivered: a token cannot break out of its line", () => {
  assert.ok(isUndeliveredToken("0123456789abcdef"));
  for (const text of ["", "short", "0123456789abcde\r\n", "A".repeat(16), "x".repeat(65)])
    assert.equal(isUndeliveredToken(text), false, JSON.stringify(text));
});
