// Doctor where no daemon runs: what would keep one from starting, on real ports, folders and files.

import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import type { DoctorCheck, DoctorReport } from "../../src/admin/contract-doctor.ts";
import { daemonFor, openBlock, type DaemonUnderTest } from "../support/daemons.ts";

interface Told {
  readonly code: number | null;
  readonly checks: readonly DoctorCheck[];
}

async function doctored(daemon: DaemonUnderTest, ...more: readonly string[]): Promise<Told> {
  const { code, stdout, stderr } = await daemon.cli("doctor", "-o", "json", "--config", daemon.file, ...more);
  assert.notEqual(stdout, "", stderr);
  return { code, checks: (JSON.parse(stdout) as DoctorReport).checks };
}

const ill = ({ checks }: Told): readonly string[] =>
  checks.filter(({ state }) => state === "fail").map(({ id, subject }) => `${id} ${subject}`);

test("doctor: without a daemon it says so with 4, and what a start needs is looked at", async (t) => {
  const block = await openBlock(t);
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  const told = await doctored(daemon);
  assert.deepEqual([told.code, ill(told)], [4, ["daemon.answers skein"]]);
  assert.match(told.checks[0]?.text ?? "", /^no daemon answers: socket ".*skein\.sock" does not exist$/);
  assert.match(told.checks[0]?.remedy ?? "", /skein run/);
  const areas = new Set(told.checks.map(({ area }) => area));
  for (const area of ["config", "state", "docker", "kernel", "port", "range"] as const)
    assert.ok(areas.has(area), area);
  const ports = told.checks.filter(({ id }) => id === "port.free").map(({ subject }) => subject);
  assert.ok(ports.includes(`mesh.listen ${daemon.address}:7650/tcp`), ports.join(", "));
  assert.ok(ports.includes(`dns.listen ${daemon.address}:5300/udp`), ports.join(", "));
});

test("doctor: without a daemon it names who has a port, with 1", async (t) => {
  const block = await openBlock(t);
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  const server = createServer().listen(7650, daemon.address);
  await once(server, "listening");
  t.after(() => server.close());
  const told = await doctored(daemon);
  const subject = `mesh.listen ${daemon.address}:7650/tcp`;
  assert.deepEqual([told.code, ill(told)], [1, ["daemon.answers skein", `port.free ${subject}`]]);
  const check = told.checks.find((one) => one.subject === subject);
  assert.match(check?.text ?? "", new RegExp(`^is held by \\S+ \\(pid ${process.pid}\\)$`));
  assert.match(check?.remedy ?? "", /set mesh\.listen to another/);
  // Only the areas that are asked for count.
  assert.equal((await doctored(daemon, "--area", "config", "range")).code, 4);
});

test("doctor: without a daemon it tells a mistake in the configuration, and a state folder that is none", async (t) => {
  const block = await openBlock(t);
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  daemon.configure({ dns: { ttl: "soon" } });
  const wrong = await doctored(daemon);
  assert.deepEqual([wrong.code, ill(wrong)], [1, ["daemon.answers skein", `config.valid ${daemon.file}`]]);
  assert.match(wrong.checks[1]?.text ?? "", /dns\.ttl.*soon/);
  assert.match(wrong.checks[1]?.remedy ?? "", /skein config check/);

  const missing = await daemon.cli("doctor", "--config", join(daemon.dir, "other.yaml"));
  assert.equal(missing.code, 1);
  assert.match(missing.stdout, /other\.yaml/);

  daemon.configure({});
  writeFileSync(daemon.dataDir, "a file\n");
  const file = await doctored(daemon);
  assert.deepEqual([file.code, ill(file)], [1, ["daemon.answers skein", `state.data-dir ${daemon.dataDir}`]]);
});

test("doctor: a data dir that others may write is a warning", async (t) => {
  const block = await openBlock(t);
  const daemon = daemonFor(t, { name: "host-1", address: block.address(1), vipPool: block.vipPool });
  mkdirSync(daemon.dataDir);
  chmodSync(daemon.dataDir, 0o777);
  const told = await doctored(daemon, "--area", "state");
  const check = told.checks.find(({ id }) => id === "state.data-dir");
  assert.deepEqual([told.code, check?.state, check?.remedy], [4, "warn", `chmod 700 ${daemon.dataDir}`]);
});
