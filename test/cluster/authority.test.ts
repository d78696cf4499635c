// Certificates and the authority while daemons run: renewal, rotation, a backup when all managers are lost.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import type { TokenReport } from "../../src/admin/contract-trust.ts";
import type { EventLine, MemberDetail } from "../../src/admin/contract.ts";
import type { DaemonUnderTest } from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  doorAt,
  prepareCluster,
  startAll,
  statusOf,
  untilAlive,
  untilOpen,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";
import { steadyLoad } from "./load.ts";

async function countOf(host: DaemonUnderTest, kind: string): Promise<number> {
  const events = (await host.get("/api/v1/events")) as readonly EventLine[];
  return events.filter((event) => event.kind === kind).length;
}

/** Waits until a host, and every other that looks at it, has a certificate of this authority. */
async function untilIssuedBy(hosts: readonly DaemonUnderTest[], generation: number): Promise<void> {
  for (const host of hosts) {
    for (const { name } of hosts) {
      await until(
        async () => {
          const detail = (await host.get(`/api/v1/members/${name}`)) as MemberDetail | null;
          return detail?.certificate?.issuerGeneration === generation;
        },
        { what: `${host.name} sees a certificate of authority ${generation} at ${name}` },
      );
    }
  }
}

test("cluster: certificates of ten seconds are renewed again and again, under load, and nobody notices", async (t) => {
  const { block, hosts } = await prepareCluster(t, { pace: { lifeMs: 10_000 } });
  const [first, second, third] = hosts;
  const replicas = (await webReplicas(t, block, [1, 1, 1])).flat();
  const publish = ["8088:8000"];
  for (const [at, host] of hosts.entries())
    host.configure({ services: [webService(replicas.slice(at, at + 1), { publish })] });
  await startAll(hosts);
  await untilServing(hosts, replicas);
  const door = doorAt(third, 8088);
  await untilOpen(door);
  const { endsAtMs } = (await statusOf(second)).certificate;
  const pid = second.pid();
  const load = steadyLoad(t, [door]);
  for (const host of hosts) {
    await until(async () => (await countOf(host, "certificate.renewed")) >= 2, {
      what: `${host.name} has renewed twice`,
    });
  }
  await load.stop();
  assert.ok(Date.now() > endsAtMs - 10_000 && (await statusOf(second)).certificate.endsAtMs > endsAtMs);
  assert.equal(second.pid(), pid);
  for (const host of hosts) assert.equal(await countOf(host, "member.dead"), 0);
  await untilAlive(first, hosts);
});

test("cluster: a new authority takes over, all members end on it, and openssl agrees", async (t) => {
  const pace = { graceMs: 1000, spreadMs: 1000, retireMs: 5000 };
  const { block, hosts } = await prepareCluster(t, { pace });
  const [first, second, third] = hosts;
  const [[one] = []] = await webReplicas(t, block, [1]);
  assert.ok(one !== undefined);
  first.configure({ services: [webService([one])] });
  await startAll(hosts);
  await untilServing(hosts, [one]);
  const tokenOf = async (host: DaemonUnderTest): Promise<string> =>
    ((await host.get("/api/v1/tokens/worker")) as TokenReport).token;
  const before = await tokenOf(first);
  // One that is away meanwhile finds back all the same.
  await third.end("SIGTERM");
  const { code, stderr } = await first.cli("authority", "rotate");
  assert.equal(code, 0, stderr);
  await untilIssuedBy([first, second], 2);
  assert.notEqual(await tokenOf(first), before);
  await third.start();
  await untilIssuedBy(hosts, 2);
  for (const host of hosts) await untilAlive(host, hosts);
  await untilServing(hosts, [one]);
  const charterOf = (
    host: DaemonUnderTest,
  ): { roots: { generation: number; retired: boolean; certificate: string }[] } =>
    (JSON.parse(readFileSync(join(host.dataDir, "charter.json"), "utf8")) as { value: never }).value;
  await until(() => hosts.every((host) => charterOf(host).roots.some(({ retired }) => retired)), {
    what: "the old authority is retired everywhere",
  });
  const newest = charterOf(second).roots.find(({ generation }) => generation === 2);
  const root = join(second.dir, "root.pem");
  writeFileSync(root, new X509Certificate(Buffer.from(newest?.certificate ?? "", "base64")).toString());
  for (const host of hosts) {
    const said = execFileSync("openssl", ["verify", "-CAfile", root, join(host.dataDir, "node.crt")], {
      encoding: "utf8",
    });
    assert.match(said, /: OK/);
  }
});

test("cluster: a manager that was started anew after a rotation still lets in who was away for it", async (t) => {
  const pace = { graceMs: 200, spreadMs: 200 };
  const { hosts } = await prepareCluster(t, { pace });
  const [first, second, third] = hosts;
  await startAll(hosts);
  await third.end("SIGTERM");
  const { code, stderr } = await first.cli("authority", "rotate");
  assert.equal(code, 0, stderr);
  await untilIssuedBy([first, second], 2);
  // Now nobody is left to tell the manager of the third.
  await second.end("SIGTERM");
  await first.end("SIGTERM");
  await first.start();
  const { startedAtMs } = await statusOf(first);
  // Many times as long as it waits between two looks at what to retire.
  await until(() => Date.now() > startedAtMs + 5000, { what: "it has looked" });
  const charter = readFileSync(join(first.dataDir, "charter.json"), "utf8");
  assert.doesNotMatch(charter, /"retired":true/);
  await third.start();
  await untilAlive(third, [first, third]);
  await untilIssuedBy([first, third], 2);
});

test("cluster: all managers lost: it goes on, and a backup makes a manager of a worker", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  const [, [two] = []] = await webReplicas(t, block, [0, 1]);
  assert.ok(two !== undefined);
  second.configure({ services: [webService([two])] });
  await startAll([first, second]);
  await untilServing([first, second], [two]);
  const backup = join(second.dir, "backup");
  const phrase = join(second.dir, "phrase");
  writeFileSync(phrase, "correct horse battery staple\n");
  const made = await first.cli("authority", "backup", backup, "--passphrase-file", phrase);
  assert.equal(made.code, 0, made.stderr);
  assert.doesNotMatch(readFileSync(backup, "utf8"), /PRIVATE KEY/);
  const { id } = (await statusOf(first)).node;
  await first.end("SIGKILL");
  rmSync(first.dataDir, { recursive: true });

  assert.match((await second.cli("token", "worker")).stderr, /is for managers/);
  const wrong = join(second.dir, "wrong");
  writeFileSync(wrong, "another passphrase\n");
  const refused = await second.cli("authority", "restore", backup, "--passphrase-file", wrong);
  assert.equal(refused.code, 5);
  assert.match(refused.stderr, /the passphrase is wrong, or the file was altered/);
  const restored = await second.cli("authority", "restore", backup, "--passphrase-file", phrase);
  assert.equal(restored.code, 0, restored.stderr);
  assert.equal((await statusOf(second)).node.role, "manager");
  await untilServing([second], [two]);
  await third.start();
  await untilAlive(second, [second, third]);
  await untilServing([second, third], [two]);
  // Who was lost is taken out, so that nobody who finds its disk comes back with it.
  const removed = await second.cli("node", "rm", id);
  assert.equal(removed.code, 0, removed.stderr);
  await until(() => readFileSync(join(third.dataDir, "charter.json"), "utf8").includes(id), {
    what: "the other host has heard of it",
  });
});
