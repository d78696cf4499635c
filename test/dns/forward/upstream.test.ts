// Upstreams: what a resolv.conf says, and which servers are ourselves.

import assert from "node:assert/strict";
import { mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { latest } from "../../../src/base/latest.ts";
import { isOurself, readUpstreams, watchResolver } from "../../../src/dns/forward/upstream.ts";
import { until } from "../../support/wait.ts";

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

test("upstreams: a resolv.conf that is written, replaced or made is noticed, also behind a link", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "skein-dns-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "resolv.conf");
  const target = join(folder, "real.conf");
  await symlink(target, path);
  let seen: readonly string[] = [];
  const refresh = latest<null>(
    async () => {
      seen = (await readUpstreams(path, [])).map(({ host }) => host);
    },
    (thrown) => assert.fail(String(thrown)),
  );
  const end = watchResolver(path, () => refresh.set(null), 50);
  t.after(end);
  await writeFile(target, "nameserver 192.0.2.1\n");
  await until(() => seen.join() === "192.0.2.1");
  await writeFile(target, "nameserver 192.0.2.22\n");
  await until(() => seen.join() === "192.0.2.22");
  await writeFile(`${target}.new`, "nameserver 192.0.2.33\n");
  await rename(`${target}.new`, target);
  await until(() => seen.join() === "192.0.2.33");
});

test("upstreams: an upstream is ourself by the same address, or any of this host's under a wildcard", () => {
  const here = (host: string, port = 53) => ({ host, port });
  assert.equal(isOurself(here("127.0.0.1"), [here("127.0.0.1")]), true);
  assert.equal(isOurself(here("::ffff:127.0.0.1"), [here("127.0.0.1")]), true);
  assert.equal(isOurself(here("::ffff:7f00:1"), [here("127.0.0.1")]), true);
  assert.equal(isOurself(here("0:0:0:0:0:0:0:1"), [here("::1")]), true);
  assert.equal(
    isOurself(here("0.0.0.0"), [here("127.0.0.1")]),
    true,
    "what is sent there stays on this host",
  );
  assert.equal(isOurself(here("::"), [here("::1")]), true);
  assert.equal(isOurself(here("0.0.0.0"), [here("192.0.2.1")]), false);
  assert.equal(isOurself(here("fe80::1%eth0"), [here("fe80::1%eth1")]), false);
  assert.equal(isOurself(here("127.0.0.1"), [here("0.0.0.0")]), true);
  assert.equal(isOurself(here("127.0.0.53"), [here("0.0.0.0")]), false, "another resolver of the host");
  assert.equal(isOurself(here("::1"), [here("::")]), true);
  assert.equal(isOurself(here("127.0.0.1"), [here("127.0.0.1", 5300)]), false);
  assert.equal(isOurself(here("127.0.0.53"), [here("127.0.0.1")]), false);
  assert.equal(isOurself(here("192.0.2.1"), [here("0.0.0.0")]), false);
});
