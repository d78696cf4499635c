// Replies of upstreams: which of them are to what was asked.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { readReply } from "../../src/dns/reply.ts";
import { query, reply } from "./fixture.ts";

test("reply: a reply counts only for its own query", () => {
  const asked = query("Web.example", "A");
  const good = reply(asked, { address: "10.0.0.1" });
  assert.deepEqual(readReply(good, asked), { rcodeCode: 0, truncated: false });
  const lowered = reply(query("web.example", "A"), { rcode: 3, truncated: true });
  assert.deepEqual(readReply(lowered, asked), { rcodeCode: 3, truncated: true });
  const otherId = Buffer.from(good);
  otherId.writeUInt16BE(0x4321, 0);
  const others = [
    otherId,
    asked,
    reply(query("web.example", "AAAA"), {}),
    reply(query("evil.example", "A"), {}),
  ];
  for (const bytes of others) assert.equal(readReply(bytes, asked), null);
  const bareError = Buffer.from("123480010000000000000000", "hex");
  assert.deepEqual(readReply(bareError, asked), { rcodeCode: 1, truncated: false });
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
