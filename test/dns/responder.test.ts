// The responder: whatever bytes arrive, it replies exactly once and never throws.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import { openResponder } from "../../src/dns/responder.ts";
import { planZone } from "../../src/dns/zone.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { decode, opt, OPTIONS, query, replica, replicas, service, view } from "./fixture.ts";

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

test("responder: a tentative address has TTL 0, also from the cache, and nothing of it is left once settled", () => {
  const zone = (vipTentative: boolean, reach: "direct" | "stream") => {
    const copies = [replica("web-1", "10.0.0.1", { reach })];
    return planZone(
      view([service("default", "web", { vip: "10.96.0.9", vipTentative, replicas: copies })]),
      OPTIONS,
    );
  };
  const answers = (name: string, type: string): unknown[] => {
    const seen = decode(serve(query(name, type), "udp") ?? assert.fail());
    const records = [...(seen.answers ?? []), ...(seen.authorities ?? [])];
    return records.map((record) =>
      "ttl" in record ? [record.type, record.ttl, record.type === "A" ? record.data : ""] : [],
    );
  };
  for (const [reach, address] of [
    ["direct", "10.0.0.1"],
    ["stream", "10.96.0.9"],
  ] as const) {
    responder.setZone(zone(true, reach));
    const before = responder.cacheEntries;
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual(answers("web", "A"), [["A", 0, address]]);
      assert.deepEqual(
        answers("web", "AAAA"),
        [["SOA", 0, ""]],
        "nor is it to be remembered that there is no other",
      );
      assert.deepEqual(answers("tasks.web", "A"), [["A", 5, "10.0.0.1"]]);
    }
    assert.equal(responder.cacheEntries, before + 3, "it was answered from the cache");
    responder.setZone(zone(false, reach));
    assert.deepEqual(answers("web", "A"), [["A", 5, "10.96.0.9"]]);
    assert.deepEqual(answers("web", "AAAA"), [["SOA", 5, ""]]);
  }
});
