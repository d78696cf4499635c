// Proxy header: what is written is read again, whatever comes in whatever pieces, and nonsense is told from a header.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { canonicalIpv6 } from "../../../src/base/ip.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import {
  readProxyHeader,
  renderProxyHeader,
  type Caller,
  type HeaderReading,
} from "../../../src/proxy/tcp/proxy-header.ts";

const ipv4 = fc.ipV4();
// Not in ::/96 or mapped: those have a second form.
const ipv6 = fc
  .ipV6()
  .map(canonicalIpv6)
  .filter((text) => !text.startsWith("::"));
const port = fc.nat({ max: 65_535 });
const callerOver = (address: fc.Arbitrary<string>): fc.Arbitrary<Caller> =>
  fc.record({ address, port, toAddress: address, toPort: port }).map((ends) => ({ ...ends }));
const anyCaller = fc.oneof(callerOver(ipv4), callerOver(ipv6));
const anyVersion = fc.constantFrom("v1" as const, "v2" as const);

const CALLER: Caller = { address: "192.0.2.7", port: 40_000, toAddress: "198.51.100.2", toPort: 443 };

function v2(family: number, block: Uint8Array, command = 0x21): Buffer {
  const head = Buffer.from("0d0a0d0a000d0a515549540a00000000", "hex");
  head[12] = command;
  head[13] = family;
  head.writeUInt16BE(block.length, 14);
  return Buffer.concat([head, block]);
}

test("proxy header: what is written is read, in any version and family, and what follows is left", () => {
  fc.assert(
    fc.property(anyVersion, anyCaller, fc.uint8Array({ maxLength: 40 }), (version, caller, rest) => {
      const header = renderProxyHeader({ version, caller });
      const read = readProxyHeader(Buffer.concat([header, rest]));
      assert.deepEqual(read, { kind: "whole", bytes: header.length, caller });
    }),
  );
});

test("proxy header: every shorter part of a header asks for more", () => {
  fc.assert(
    fc.property(anyVersion, fc.option(anyCaller), (version, caller) => {
      const header = renderProxyHeader({ version, caller });
      for (let bytes = 0; bytes < header.length; bytes += 1) {
        assert.deepEqual(readProxyHeader(header.subarray(0, bytes)), { kind: "more" });
      }
    }),
  );
});

test("proxy header: what bytes were found to be does not change with the bytes that follow", () => {
  const starts = fc.constantFrom(
    "",
    "PROXY ",
    "PROXY TCP4 1.2.3.4 ",
    "\r\n\r\n\0\r\nQUIT\n",
    "\r\n\r\n\0\r\nQUIT\n\x21\x11",
  );
  const soup = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(starts, soup, soup, (start, middle, end) => {
      const first = Buffer.concat([Buffer.from(start, "latin1"), middle]);
      const told = readProxyHeader(first);
      if (told.kind === "whole") assert.ok(told.bytes <= first.length);
      if (told.kind === "more") assert.ok(first.length < LIMITS.proxyHeaderBytes);
      else assert.deepEqual(readProxyHeader(Buffer.concat([first, end])), told);
    }),
    { numRuns: 2000 },
  );
});

test("proxy header: the examples of the specification", () => {
  assert.equal(
    renderProxyHeader({ version: "v1", caller: CALLER }).toString(),
    "PROXY TCP4 192.0.2.7 198.51.100.2 40000 443\r\n",
  );
  assert.equal(renderProxyHeader({ version: "v1", caller: null }).toString(), "PROXY UNKNOWN\r\n");
  assert.equal(
    renderProxyHeader({ version: "v2", caller: CALLER }).toString("hex"),
    "0d0a0d0a000d0a515549540a2111000cc0000207c63364029c4001bb",
  );
  assert.equal(
    renderProxyHeader({ version: "v2", caller: CALLER, transport: "udp" }).subarray(12, 14).toString("hex"),
    "2112",
  );
  assert.equal(
    renderProxyHeader({ version: "v2", caller: null }).toString("hex"),
    "0d0a0d0a000d0a515549540a20000000",
  );
});

test("proxy header: the longest line of version 1 is read, a longer one is not waited for", () => {
  const address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  const line = `PROXY UNKNOWN ${address} ${address} 65535 65535\r\n`;
  assert.equal(line.length, 107);
  assert.deepEqual(readProxyHeader(Buffer.from(line)), { kind: "whole", bytes: 107, caller: null });
  assert.equal(readProxyHeader(Buffer.from(`PROXY ${"x".repeat(101)}`)).kind, "malformed");
});

test("proxy header: a line that has two readings is malformed", () => {
  const lines = [
    "PROXY TCP4 192.0.2.7 198.51.100.2 40000 443 \r\n",
    "PROXY TCP4  192.0.2.7 198.51.100.2 40000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.2 40000\r\n",
    "PROXY TCP4 192.0.2.07 198.51.100.2 40000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.2 040000 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.2 65536 443\r\n",
    "PROXY TCP4 192.0.2.7 198.51.100.2 -1 443\r\n",
    "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "PROXY TCP6 192.0.2.7 198.51.100.2 1 2\r\n",
    "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    "PROXY UDP4 192.0.2.7 198.51.100.2 1 2\r\n",
    "PROXY \r\n",
  ];
  const kinds = lines.map((line) => readProxyHeader(Buffer.from(line)).kind);
  assert.deepEqual(new Set(kinds), new Set(["malformed"]));
});

test("proxy header: what no header begins with is told at its first byte", () => {
  for (const text of [
    "GET / HTTP/1.1\r\n",
    "PRI * HTTP/2.0",
    "\x16\x03\x01",
    "\r\nGET",
    "PROXYFOO",
    "proxy TCP4",
  ]) {
    const reading: HeaderReading = readProxyHeader(Buffer.from(text, "latin1"));
    assert.deepEqual(reading, { kind: "none" }, text);
  }
  assert.equal(readProxyHeader(Buffer.alloc(0)).kind, "more");
});

test("proxy header: version 2 leaves out what it cannot name, and skips what it need not know", () => {
  const block = renderProxyHeader({ version: "v2", caller: CALLER }).subarray(16);
  const addressed = Buffer.concat([block, Buffer.from([3, 0, 4, 1, 2, 3, 4])]);
  const read = (header: Buffer): HeaderReading => readProxyHeader(header);
  assert.deepEqual(read(v2(0x11, addressed)), {
    kind: "whole",
    bytes: 16 + addressed.length,
    caller: CALLER,
  });
  // The proxy for itself, with addresses that are not to be used.
  assert.deepEqual(read(v2(0x11, addressed, 0x20)), {
    kind: "whole",
    bytes: 16 + addressed.length,
    caller: null,
  });
  // Unix sockets, nothing said, and a family that is not defined.
  for (const family of [0x31, 0x00, 0x41, 0x13]) {
    assert.deepEqual(read(v2(family, Buffer.alloc(216))), { kind: "whole", bytes: 232, caller: null });
  }
  assert.deepEqual(read(v2(0x00, Buffer.alloc(0))), { kind: "whole", bytes: 16, caller: null });
});

test("proxy header: version 2 of another make, with too few addresses or too much of all is malformed", () => {
  const malformed = [
    v2(0x11, Buffer.alloc(12), 0x11),
    v2(0x11, Buffer.alloc(12), 0x22),
    v2(0x11, Buffer.alloc(11)),
    v2(0x21, Buffer.alloc(35)),
    // Refused by its length alone.
    v2(0x11, Buffer.alloc(LIMITS.proxyHeaderBytes - 15)).subarray(0, 16),
  ];
  for (const header of malformed) assert.equal(readProxyHeader(header).kind, "malformed");
});

test("proxy header: IPv4 in IPv6's clothes is told as IPv4, and beside IPv6 it gets them", () => {
  const mapped = readProxyHeader(Buffer.from("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6402 40000 443\r\n"));
  assert.deepEqual(mapped.kind === "whole" && mapped.caller, CALLER);
  const mixed: Caller = { ...CALLER, toAddress: "2001:db8::2" };
  for (const version of ["v1", "v2"] as const) {
    const read = readProxyHeader(renderProxyHeader({ version, caller: mixed }));
    assert.deepEqual(read.kind === "whole" && read.caller, mixed, version);
  }
});

test("proxy header: a caller without an address is told as unknown", () => {
  const caller: Caller = { address: "", port: 0, toAddress: "", toPort: 0 };
  assert.equal(renderProxyHeader({ version: "v1", caller }).toString(), "PROXY UNKNOWN\r\n");
  const read = readProxyHeader(renderProxyHeader({ version: "v2", caller }));
  assert.deepEqual(read, { kind: "whole", bytes: 16, caller: null });
});
