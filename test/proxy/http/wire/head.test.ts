// Head: a status line and fields in their one spelling, or what is wrong with them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readAnswerHead, readFields } from "../../../../src/proxy/http/wire/head.ts";

test("readAnswerHead: gives names, values and the reason phrase as they came, without the blanks around values", () => {
  const text = "HTTP/1.1 404 Not  \xe9\r\nX-A:1\r\nx-a: \t 2 \t\r\nEmpty:\r\nC: a: b\xff";
  assert.deepEqual(readAnswerHead(text), {
    minor: 1,
    status: 404,
    message: "Not  \xe9",
    rawHeaders: ["X-A", "1", "x-a", "2", "Empty", "", "C", "a: b\xff"],
  });
  assert.deepEqual(readAnswerHead("HTTP/1.0 200"), { minor: 0, status: 200, message: "", rawHeaders: [] });
});

test("readAnswerHead: refuses any other status line", () => {
  for (const line of [
    "",
    "HTTP/1.1",
    "HTTP/1.1 20",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 099 No",
    "HTTP/1.1  200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/2 200",
    "http/1.1 200 OK",
    " HTTP/1.1 200 OK",
    "\r\nHTTP/1.1 200 OK",
    "HTTP/1.1 200 a\0b",
    "HTTP/1.1 200 a\nb",
    "ICY 200 OK",
  ])
    assert.equal(typeof readAnswerHead(line), "string", JSON.stringify(line));
});

test("readFields: refuses what has two readings", () => {
  for (const field of [
    "no colon",
    ": no name",
    "A : b",
    " A: folded",
    "A\tb: c",
    "A: b\r\n c",
    "A: b\nB: c",
    "A: b\rB: c",
    "A: b\0",
    "A: b\x7f",
    "A: b\r\n",
    "A: b\r\n\r\nB: c",
    "\xe9: b",
  ]) {
    const fields = readFields(field, 0);
    // One that ends in a line end was cut off by whoever gave it: all that counts is that nothing is made of it.
    if (field === "A: b\r\n") assert.deepEqual(fields, ["A", "b"]);
    else assert.equal(typeof fields, "string", JSON.stringify(field));
  }
});
