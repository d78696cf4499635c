// Replies of upstreams: which of them are to what was asked.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { readReply } from "../../../src/dns/forward/reply.ts";
import { opt, query, reply } from "../fixture.ts";

test("reply: a reply counts only for its own query", () => {
  const asked = query("Web.example", "A");
  const good = reply(asked, { address: "10.0.0.1" });
  assert.deepEqual(readReply(good, asked), { rcodeCode: 0, truncated: false, bytes: good });
  const lowered = reply(query("web.example", "A"), { rcode: 3, truncated: true });
  assert.deepEqual(readReply(lowered, asked), { rcodeCode: 3, truncated: true, bytes: lowered });
  const otherId = Buffer.from(good);
  otherId.writeUInt16BE(0x4321, 0);
  const others = [
    otherId,
    asked,
    reply(query("web.example", "AAAA"), {}),
    reply(query("evil.example", "A"), {}),
  ];
  for (const bytes of others) assert.equal(readReply(bytes, asked), null);
});

test("reply: a failure may come without its question and gets it back, an answer without it is none", () => {
  const asked = query("web.example", "A");
  const bare = (rcode: number): Buffer => Buffer.from(`1234808${rcode}0000000000000000`, "hex");
  for (const rcode of [1, 2, 4, 5]) {
    const expected = { rcodeCode: rcode, truncated: false, bytes: reply(asked, { rcode }) };
    assert.deepEqual(readReply(bare(rcode), asked), expected);
  }
  for (const rcode of [0, 3]) assert.equal(readReply(bare(rcode), asked), null);
});

test("reply: the upper bits of a code are in its EDNS part", () => {
  const asked = query("web.example", "A", { additionals: [opt()] });
  // BADVERS (RFC 6891 6.1.3).
  const badVersion = Buffer.concat([reply(asked, {}), Buffer.from("0000290400010000000000", "hex")]);
  badVersion.writeUInt16BE(1, 10);
  assert.equal(readReply(badVersion, asked)?.rcodeCode, 16);
});

test("reply: what is cut off or has something behind it is none, unless it says that it is cut off", () => {
  const asked = query("web.example", "A");
  const good = reply(asked, { address: "10.0.0.1" });
  assert.equal(readReply(Buffer.concat([good, Buffer.of(0)]), asked), null);
  for (let size = 0; size < good.length; size += 1)
    assert.equal(readReply(good.subarray(0, size), asked), null);
  const cut = Buffer.from(good.subarray(0, -2));
  cut.writeUInt16BE(cut.readUInt16BE(2) | 0x0200, 2);
  const given = readReply(cut, asked);
  assert.deepEqual(given?.bytes, reply(asked, { truncated: true }), "its broken part is not passed on");
});

test("reply: whatever an upstream sends, reading it never throws", () => {
  const asked = query("web.example", "A");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, hasHeader) => {
      const start = hasHeader ? Buffer.from("123481800001", "hex") : Buffer.alloc(0);
      readReply(Buffer.concat([start, bytes]), asked);
    }),
  );
});
