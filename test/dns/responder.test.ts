// The responder: whatever bytes arrive, it replies exactly once and never throws.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import { openResponder } from "../../src/dns/responder.ts";
import { planZone } from "../../src/dns/zone.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { decode, opt, OPTIONS, query, replicas, service, view } from "./fixture.ts";

const responder = openResponder({
  zone: planZone(view([service("default", "web", { replicas: replicas("web", 40, 1) })]), OPTIONS),
  askerOf: () => ({ kind: "host" }),
  isAllowed: () => true,
  forwarder: null,
  metrics: openMetrics(),
  random: seededRandom(1),
});

function serve(bytes: Buffer, transport: "udp" | "tcp"): Buffer | null {
  const replies: (Buffer | null)[] = [];
  responder.serve(bytes, { address: "127.0.0.1", transport }, (answer) => replies.push(answer));
  assert.equal(replies.length, 1);
  return replies[0] ?? null;
}

test("responder: any bytes get one answer under their id that UDP takes, or none; answers get none", () => {
  const whole = fc.constantFrom(
    query("web", "A"),
    query("tasks.web.default.skein.internal", "A", { additionals: [opt({ udpPayloadSize: 800 })] }),
    query("www.example.com", "AAAA", { additionals: [opt()] }),
    Buffer.alloc(0),
  );
  const damage = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(whole, damage, fc.uint8Array({ maxLength: 40 }), (start, changes, end) => {
      const bytes = Buffer.concat([start, end]);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const answer = serve(bytes, "udp");
      if (bytes.length < 17 || (bytes.readUInt8(2) & 0x80) !== 0) assert.equal(answer, null);
      if (answer === null) return;
      assert.ok(answer.length <= 1232);
      assert.equal(answer.readUInt16BE(0), bytes.readUInt16BE(0));
      assert.equal(decode(answer).type, "response");
    }),
    { numRuns: 5000 },
  );
});

test("responder: a cached answer is the answer that was made, but for its id and the order of addresses", () => {
  const names = fc.constantFrom("web", "tasks.web", "3.web", "nobody.skein.internal", "skein.internal");
  const types = fc.constantFrom("A", "AAAA", "SOA", "ANY");
  const ids = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(
      names,
      types,
      fc.constantFrom("udp" as const, "tcp" as const),
      ids,
      (name, type, transport, id) => {
        const first = serve(query(name, type, { id: 1 }), transport);
        const second = serve(query(name, type, { id }), transport);
        assert.ok(first !== null && second !== null);
        const normal = (bytes: Buffer): unknown => {
          const seen = decode(bytes);
          const answers = (seen.answers ?? []).map((record) => JSON.stringify(record)).toSorted();
          return { ...seen, id: 0, answers };
        };
        assert.deepEqual(normal(second), normal(first));
        assert.equal(decode(second).id, id);
      },
    ),
  );
});
