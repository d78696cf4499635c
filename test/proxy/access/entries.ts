// Entries of the access log as tests make them.

import * as fc from "fast-check";

import type { AccessEntry, HttpFacts } from "../../../src/proxy/access/entry.ts";
import type { AttemptEnd } from "../../../src/proxy/choice/retry.ts";

export const FACTS: HttpFacts = {
  requestId: "0123456789abcdef",
  method: "GET",
  host: "app.example.com",
  target: "/shop/cart?token=secret",
  version: "1.1",
  proto: "https",
  status: 200,
  firstByteMs: 1.25,
  userAgent: "curl/8.5.0",
  referer: "https://example.com/list?q=private",
};

/** A request that went well. */
export function entry(changes: Partial<AccessEntry> = {}): AccessEntry {
  return {
    kind: "http",
    startedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    durationMs: 12.3456,
    client: "192.0.2.7",
    service: "default/web",
    replica: "0123456789ab",
    node: "host-1",
    bytesSent: 17,
    bytesReceived: 5120,
    retries: [],
    result: "ok",
    http: FACTS,
    ...changes,
  };
}

/** A TCP connection that went well. */
export function connection(changes: Partial<AccessEntry> = {}): AccessEntry {
  return entry({ kind: "tcp", http: null, service: "default/db", ...changes });
}

/** Text as a stranger may send it: any bytes of a header, or any characters at all. */
const strange = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom("", "-", '"', "\\", "\r\n", "\u001b[2J", "\u0085", "\ud83d", "a".repeat(2000), '" 200 "'),
);

const facts: fc.Arbitrary<HttpFacts> = fc.record({
  requestId: strange,
  method: strange,
  host: strange,
  target: strange,
  version: fc.constantFrom("1.0", "1.1", "2.0"),
  proto: fc.constantFrom("http", "https"),
  status: fc.constantFrom(0, 200, 404, 502),
  firstByteMs: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true })),
  userAgent: strange,
  referer: strange,
});

/** Any entry. */
export const entries: fc.Arbitrary<AccessEntry> = fc.record({
  kind: fc.constantFrom("http", "websocket", "tcp", "tls", "udp"),
  startedAtMs: fc.nat(4e12),
  durationMs: fc.double({ min: 0, max: 1e9, noNaN: true }),
  client: strange,
  service: fc.option(strange),
  replica: fc.option(strange),
  node: fc.option(strange),
  bytesSent: fc.nat(),
  bytesReceived: fc.nat(),
  retries: fc.array(fc.constantFrom<AttemptEnd>("connect", "stale", "died", "late"), { maxLength: 3 }),
  result: strange,
  http: fc.option(facts),
});
