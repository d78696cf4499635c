// Nameservers: what a resolv.conf names.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { nameserversOf } from "../../src/base/nameservers.ts";

test("nameservers: the servers of a file in its order; comments, options and what is no address are none", () => {
  const conf = [
    "# nameserver 192.0.2.9",
    "; nameserver 192.0.2.8",
    "domain example.com",
    "nameserver 192.0.2.1",
    "  nameserver\t2001:db8::1 # the second",
    "nameserver fe80::1%eth0",
    "nameserver",
    "nameserver ns.example.com",
    "nameserver 192.0.2.300",
    "nameservers 192.0.2.7",
    "options edns0",
    "nameserver 192.0.2.2\r",
  ].join("\n");
  assert.deepEqual(nameserversOf(conf), ["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "192.0.2.2"]);
  assert.deepEqual(nameserversOf(""), []);
});

test("nameservers: addresses that are written to a file are read from it, whatever stands between", () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  const noise = fc.constantFrom("", "search a b", "# nameserver 192.0.2.1", "options ndots:5", "\0");
  fc.assert(
    fc.property(fc.array(fc.tuple(noise, address)), (lines) => {
      const conf = lines.map(([before, server]) => `${before}\nnameserver ${server}\n`).join("");
      assert.deepEqual(
        nameserversOf(conf),
        lines.map(([, server]) => server),
      );
    }),
  );
});
