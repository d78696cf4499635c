// Upstreams: what a resolv.conf says, and which servers are ourselves.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { isOurself, readUpstreams } from "../../src/dns/upstream.ts";

test("upstreams: the servers of a resolv.conf in their order, three at most, without ourselves", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "skein-dns-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "resolv.conf");
  const lines = [
    "# nameserver 192.0.2.9",
    "search example.com",
    "nameserver 127.0.0.1",
    "  nameserver\t2001:db8::1",
    "nameserver not-an-address",
    "nameserver 192.0.2.2",
    "nameserver 192.0.2.3",
  ];
  await writeFile(path, lines.join("\n"));
  const six = { host: "2001:db8::1", port: 53 };
  const two = { host: "192.0.2.2", port: 53 };
  assert.deepEqual(await readUpstreams(path, [{ host: "127.0.0.1", port: 53 }]), [six, two]);
  assert.deepEqual(await readUpstreams(path, []), [{ host: "127.0.0.1", port: 53 }, six, two]);
});

test("upstreams: no file, no upstreams; a file that cannot be read is a failure", async () => {
  assert.deepEqual(await readUpstreams("/nonexistent/resolv.conf", []), []);
  await assert.rejects(readUpstreams("/", []), { code: "unreachable" });
});

test("upstreams: an upstream is ourself by the same address, or any of this host's under a wildcard", () => {
  const here = (host: string, port = 53) => ({ host, port });
  assert.equal(isOurself(here("127.0.0.1"), [here("127.0.0.1")]), true);
  assert.equal(isOurself(here("::ffff:127.0.0.1"), [here("127.0.0.1")]), true);
  assert.equal(isOurself(here("127.0.0.53"), [here("0.0.0.0")]), true);
  assert.equal(isOurself(here("::1"), [here("::")]), true);
  assert.equal(isOurself(here("127.0.0.1"), [here("127.0.0.1", 5300)]), false);
  assert.equal(isOurself(here("127.0.0.53"), [here("127.0.0.1")]), false);
  assert.equal(isOurself(here("192.0.2.1"), [here("0.0.0.0")]), false);
});
