// Joining by command and by configuration: who gets in, who does not and is told why, and what it changes.

import assert from "node:assert/strict";
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import type { JoinResult, TokenReport } from "../../src/admin/contract-trust.ts";
import type { EventLine } from "../../src/admin/contract.ts";
import {
  daemonFor,
  openBlock,
  run,
  type Block,
  type ConfigTree,
  type DaemonUnderTest,
  type Ending,
} from "../support/daemons.ts";
import { until } from "../support/wait.ts";

import {
  explain,
  membersOf,
  prepareCluster,
  problemsOf,
  startAll,
  stateOf,
  statusOf,
  untilAlive,
  untilServing,
  webReplicas,
  webService,
} from "./cluster.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** A host that knows of no other. */
function hostAlone(t: Ending, block: Block, number: number): DaemonUnderTest {
  return daemonFor(t, { name: `host-${number}`, address: block.address(number), vipPool: block.vipPool });
}

/** The token of a host's cluster, in a file. */
async function tokenFile(of: DaemonUnderTest, role = "worker"): Promise<string> {
  const { code, stdout, stderr } = await of.cli("token", role, "-q");
  assert.equal(code, 0, stderr);
  const file = join(of.dir, `${role}-token`);
  writeFileSync(file, stdout);
  return file;
}

async function eventsOf(host: DaemonUnderTest): Promise<string> {
  const events = (await host.get("/api/v1/events")) as readonly EventLine[];
  return events.map(({ kind, subject, text }) => `${kind} ${subject}: ${text}`).join("\n");
}

test("cluster: hosts that were alone join one by one, by command", async (t) => {
  const block = await openBlock(t);
  const [first, second, third] = [1, 2, 3].map((number) => hostAlone(t, block, number));
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const [[one] = [], [two] = []] = await webReplicas(t, block, [1, 1]);
  assert.ok(one !== undefined && two !== undefined);
  first.configure({ services: [webService([one])] });
  second.configure({ services: [webService([two])] });
  await Promise.all([first, second, third].map((host) => host.start()));
  const file = await tokenFile(first);
  const { id: clusterId } = (await statusOf(first)).cluster;
  const joinBy = (host: DaemonUnderTest, at: DaemonUnderTest, from = file) =>
    host.cli("join", at.address, "--token-file", from, "-o", "json");

  await t.test(
    "a running daemon opens itself anew as a worker, in the same process, and serves",
    async () => {
      const pid = second.pid();
      const before = (await statusOf(second)).node.id;
      const { code, stdout, stderr } = await joinBy(second, first);
      assert.equal(code, 0, stderr);
      const result: JoinResult = { node: "host-2", clusterId, role: "worker", joined: true };
      assert.deepEqual(JSON.parse(stdout), result);
      assert.ok(second.isRunning() && second.pid() === pid);
      const { node, cluster } = await statusOf(second);
      assert.deepEqual([node.id, node.role, cluster.id], [before, "worker", clusterId]);
      for (const host of [first, second]) await untilAlive(host, [first, second]);
      await untilServing([first, second], [one, two]);
      assert.match(
        await eventsOf(first),
        new RegExp(`join\\.accepted host-2: let in as a worker .*${before}`),
      );
      assert.ok(!existsSync(join(second.dataDir, "authority")), "a worker has no authority's key");
    },
  );

  await t.test("by way of a worker, which names a manager", async () => {
    const { code, stderr } = await joinBy(third, second);
    assert.equal(code, 0, stderr);
    for (const host of [first, second, third]) await untilAlive(host, [first, second, third]);
  });

  await t.test(
    "joining again changes nothing; joining another cluster is refused before it is left",
    async () => {
      const started = (await statusOf(second)).startedAtMs;
      const again = await joinBy(second, first);
      assert.equal((JSON.parse(again.stdout) as JoinResult).joined, false);
      assert.equal((await statusOf(second)).startedAtMs, started);
      const stranger = hostAlone(t, block, 4);
      await stranger.start();
      const other = await joinBy(second, stranger, await tokenFile(stranger));
      assert.equal(other.code, 1);
      assert.match(other.stderr, /host-2 is in a cluster with .*; leave it first: skein leave/);
      await stranger.end("SIGTERM");
    },
  );

  await t.test("after a restart it is a member without any token", async () => {
    await second.end("SIGTERM");
    await second.start();
    for (const host of [first, second, third]) await untilAlive(host, [first, second, third]);
    await untilServing([first, second, third], [one, two]);
  });

  await t.test("a worker has no tokens, removes nobody, and drains its own replicas only", async () => {
    for (const command of [
      ["token", "worker"],
      ["token", "manager", "--rotate"],
      ["node", "rm", "host-3"],
      ["authority", "rotate"],
    ]) {
      const { code, stdout, stderr } = await second.cli(...command);
      assert.deepEqual([code, stdout], [5, ""], command.join(" "));
      assert.match(stderr, /ask a manager: host-1/);
    }
    const idOf = async (address: string): Promise<string> =>
      (await explain(second)).replicas.find((replica) => replica.address === address)?.id ?? "";
    assert.equal((await second.cli("drain", await idOf(one.address))).code, 5);
    assert.equal((await second.cli("drain", await idOf(two.address), "--wait")).code, 0);
    assert.equal((await first.cli("drain", await idOf(two.address), "--undo")).code, 0);
  });

  await t.test("a worker drains all of its own host, and no other", async () => {
    for (const command of ["drain", "activate"]) {
      const refused = await second.cli("node", command, "host-1");
      assert.deepEqual([refused.code, refused.stdout], [5, ""], command);
      assert.match(refused.stderr, /another host \(host-1\) .*ask a manager: host-1/);
    }
    assert.equal((await second.cli("node", "drain", "host-2", "--wait")).code, 0);
    assert.equal((await second.cli("node", "activate", "host-2")).code, 0);
  });

  await t.test(
    "an old token lets nobody in once it was rotated; the new one does, and members stay",
    async () => {
      const { code, stdout } = await first.cli("token", "worker", "--rotate", "-o", "json");
      assert.equal(code, 0);
      assert.equal((JSON.parse(stdout) as TokenReport).generation, 2);
      const late = hostAlone(t, block, 4);
      await late.start();
      const refused = await joinBy(late, first);
      assert.equal(refused.code, 5);
      assert.match(refused.stderr, /the join token was rotated/);
      assert.equal(await first.metric("skein_join_attempts_total", 'result="rotated-token"'), 1);
      assert.match(await eventsOf(first), /join\.refused host-4: refused to join .*rotated/);
      const { code: joined, stderr } = await joinBy(late, first, await tokenFile(first, "manager"));
      assert.equal(joined, 0, stderr);
      const all = [first, second, third, late];
      for (const host of all) await untilAlive(host, all);
      assert.equal((await membersOf(first)).find(({ name }) => name === "host-4")?.role, "manager");
      // Every manager prints the same token.
      assert.equal(
        (await late.cli("token", "worker", "-q")).stdout,
        (await first.cli("token", "worker", "-q")).stdout,
      );
      assert.equal((await late.cli("leave")).code, 0);
    },
  );

  await t.test("removed: cut off within a second, for good; it goes on alone and says so", async () => {
    const { id } = (await statusOf(third)).node;
    const removed = await first.cli("node", "rm", "host-3");
    assert.equal(removed.code, 0, removed.stderr);
    await until(async () => (await membersOf(second)).every((member) => member.id !== id), {
      what: "nobody knows it any more",
      deadlineMs: 1000,
    });
    await until(async () => (await problemsOf(third)).some((text) => /trust: .*was removed/.test(text)), {
      what: "it says that it was removed",
    });
    const refused = await third.cli("join", first.address, "--token-file", await tokenFile(first));
    assert.equal(refused.code, 5, refused.stderr);
    assert.match(refused.stderr, /was removed from the cluster; run "skein leave --force" there/);
    await third.end("SIGTERM");
    await third.start();
    await until(async () => /mesh\.refused .*(revoked|certificate)/.test(await eventsOf(first)), {
      what: "its knocking is told of",
    });
    assert.ok((await membersOf(first)).every((member) => member.id !== id));
  });

  await t.test("forgotten there, it is a new node and may come again", async () => {
    assert.equal((await third.cli("leave", "--force")).code, 0);
    await until(() => !third.isRunning());
    assert.ok(!existsSync(join(third.dataDir, "node.key")));
    await third.start();
    const { code, stderr } = await joinBy(third, first, await tokenFile(first));
    assert.equal(code, 0, stderr);
    for (const host of [first, second, third]) await untilAlive(host, [first, second, third]);
  });

  await t.test("guessing tokens is slowed down, counted and told of", async () => {
    const [token = ""] = (await first.cli("token", "worker", "-q")).stdout.split("\n");
    const late = hostAlone(t, block, 5);
    await late.start();
    const ends = new Set<string>();
    for (let guess = 0; guess < 12; guess += 1) {
      const file = join(late.dir, "guess");
      writeFileSync(file, token.replace(/.{25}$/, `${guess}`.padStart(25, "0")));
      const { code, stderr } = await joinBy(late, first, file);
      ends.add(/too many failed attempts/.test(stderr) ? `limited ${code}` : `wrong ${code}`);
    }
    assert.deepEqual(ends, new Set(["wrong 5", "limited 1"]));
    assert.ok((await first.metric("skein_join_attempts_total", 'result="wrong-token"')) >= 5);
    assert.ok((await first.metric("skein_join_attempts_total", 'result="limited"')) >= 1);
    assert.match(await eventsOf(first), /join\.refused host-5: .*the join token is wrong/);
    await late.end("SIGTERM");
  });
});

test("join: a token in the configuration joins at the first start, and is not looked at afterwards", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second, third] = hosts;
  await first.start();
  const [token = ""] = (await first.cli("token", "worker", "-q")).stdout.split("\n");
  const mesh = { listen: `${second.address}:7650`, join: [`${first.address}:7650`], tokenFile: "" };
  second.configure({ mesh: { ...mesh, token } });
  await second.start();
  await untilAlive(second, [first, second]);
  assert.equal((await statusOf(second)).node.role, "worker");
  await second.end("SIGTERM");
  await first.cli("token", "worker", "--rotate");
  await second.start();
  await untilAlive(second, [first, second]);
  second.configure({ mesh: { ...mesh, tokenFile: join(second.dir, "gone") } });
  await second.end("SIGTERM");
  await second.start();
  await untilAlive(second, [first, second]);

  const address = `${block.address(3)}:7650`;
  const late = { listen: address, join: [`${first.address}:7650`], tokenFile: "", token };
  third.configure({ mesh: late });
  const refused = await third.runToEnd();
  assert.equal(refused.code, 5, refused.stderr);
  assert.match(refused.stderr, /the join token was rotated/);
  assert.doesNotMatch(refused.stderr, /SKTKN|\n\s+at /);
});

test("join: while no host of the cluster answers it waits, says so, and stops when it is told to", async (t) => {
  const block = await openBlock(t);
  const first = hostAlone(t, block, 1);
  await first.start();
  const file = await tokenFile(first);
  await first.end("SIGTERM");
  const config = (): ConfigTree => ({ mesh: { join: [`${first.address}:7650`], tokenFile: file } });
  const second = daemonFor(t, { name: "host-2", address: block.address(2), config });
  const ended = second.runToEnd();
  await until(() => second.log().includes("not joined yet, and nothing is served until then"), {
    what: "it says what it waits for",
  });
  second.signal("SIGTERM");
  assert.equal((await ended).code, 0);
  const started = second.start();
  await first.start();
  await started;
  for (const host of [first, second]) await untilAlive(host, [first, second]);
});

test("join: hosts to join but no token: a cluster of its own, and a problem that says what to do", async (t) => {
  const block = await openBlock(t);
  const [first, second] = [hostAlone(t, block, 1), hostAlone(t, block, 2)];
  await first.start();
  second.configure({ mesh: { listen: `${second.address}:7650`, join: [`${first.address}:7650`] } });
  await second.start();
  assert.match(
    (await problemsOf(second)).join("\n"),
    /trust: mesh\.join: this host is in a cluster of its own/,
  );
  const { code, stderr } = await second.cli("join", first.address, "--token-file", await tokenFile(first));
  assert.equal(code, 0, stderr);
  await untilAlive(second, [first, second]);
  assert.deepEqual(await problemsOf(second), []);
});

test("join: without a daemon the data dir is made ready; init makes a cluster there", async (t) => {
  const block = await openBlock(t);
  const [first, second] = [hostAlone(t, block, 1), hostAlone(t, block, 2)];
  const init = await first.cli("init", "--config", first.file, "-o", "json");
  assert.equal(init.code, 0, init.stderr);
  assert.deepEqual((JSON.parse(init.stdout) as { made: boolean }).made, true);
  assert.equal(statSync(first.dataDir).mode & 0o777, 0o700);
  assert.equal(statSync(join(first.dataDir, "node.key")).mode & 0o777, 0o600);
  await first.start();
  const joined = await second.cli(
    "join",
    first.address,
    "--token-file",
    await tokenFile(first),
    "--config",
    second.file,
  );
  assert.equal(joined.code, 0, joined.stderr);
  await second.start();
  for (const host of [first, second]) await untilAlive(host, [first, second]);
  await second.end("SIGTERM");
  const forgotten = await second.cli("leave", "--force", "--config", second.file);
  assert.equal(forgotten.code, 0, forgotten.stderr);
  assert.ok(!existsSync(join(second.dataDir, "node.crt")));
});

test("leave: the last manager does not go while others remain; who left is a new node", async (t) => {
  const { hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  await startAll([first, second]);
  const refused = await first.cli("leave");
  assert.equal(refused.code, 5);
  assert.match(refused.stderr, /this is the last manager, and host-2 would be left without/);
  assert.ok(first.isRunning());
  const { id: before } = (await statusOf(second)).node;
  assert.equal((await second.cli("leave")).code, 0);
  await until(() => !second.isRunning());
  for (const file of ["node.key", "node.crt", "charter.json", "state.json"])
    assert.ok(!existsSync(join(second.dataDir, file)), file);
  second.configure({ mesh: { listen: `${second.address}:7650`, join: [], tokenFile: "" } });
  await second.start();
  await untilAlive(second, [second]);
  assert.notEqual((await statusOf(second)).node.id, before);
  assert.equal(await stateOf(first, "host-2"), "left");
  assert.equal((await first.cli("leave")).code, 0, "nobody remains");
});

test("identity: a copy of a data dir without its key is of no use to anybody", async (t) => {
  const { block, hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  await startAll([first, second]);
  const copy = daemonFor(t, { name: "copy", address: block.address(4), vipPool: block.vipPool });
  await second.end("SIGTERM");
  cpSync(second.dataDir, copy.dataDir, { recursive: true });
  rmSync(join(copy.dataDir, "node.key"));
  const headless = await copy.runToEnd();
  assert.equal(headless.code, 1, "a certificate without its key is of no use");
  assert.match(headless.stderr, /this node's certificate .*expected one of node/);
});

test("secrets: none is in a log, a metric, an answer, a printed config or a process's arguments", async (t) => {
  const { hosts } = await prepareCluster(t);
  const [first, second] = hosts;
  const adminToken = "an-admin-token-that-is-secret";
  first.configure({ log: { format: "text", level: "debug" }, admin: { token: adminToken } });
  second.configure({ log: { format: "text", level: "debug" } });
  await startAll([first, second]);
  const passphrase = "correct horse battery staple";
  const phraseFile = join(first.dir, "passphrase");
  writeFileSync(phraseFile, passphrase);
  const backup = await first.cli(
    "authority",
    "backup",
    join(first.dir, "backup"),
    "--passphrase-file",
    phraseFile,
  );
  assert.equal(backup.code, 0, backup.stderr);
  const tokens = await Promise.all(
    ["worker", "manager"].map(async (role) => (await first.cli("token", role, "-q")).stdout.trim()),
  );
  const secrets = [
    ...tokens,
    ...tokens.map((token) => token.split("-").at(-1) ?? ""),
    adminToken,
    passphrase,
  ];
  const printed = await run([MAIN, "config", "print", "--config", first.file]);
  const paths = ["status", "members", "members/host-2", "events", "services"].map(
    (path) => `/api/v1/${path}`,
  );
  const reads = await Promise.all(
    [...paths, "/metrics"].map(async (path) => JSON.stringify(await first.get(path))),
  );
  const said = [
    first.log(),
    second.log(),
    printed.stdout,
    printed.stderr,
    backup.stdout,
    backup.stderr,
    ...reads,
  ].join("\n");
  assert.match(printed.stdout, /token: \(redacted\)/);
  for (const secret of secrets) assert.ok(secret.length > 10 && !said.includes(secret), secret.slice(0, 12));
  for (const host of [first, second]) {
    const argv = readFileSync(`/proc/${host.pid()}/cmdline`, "utf8");
    for (const secret of secrets) assert.ok(!argv.includes(secret));
  }
});

test("admin: with its token the port has full rights, but not for other sites; guesses are counted", async (t) => {
  const block = await openBlock(t);
  const first = hostAlone(t, block, 1);
  const adminToken = "an-admin-token-that-is-secret";
  const file = join(first.dir, "admin-token");
  writeFileSync(file, `${adminToken}\n`);
  first.configure({ admin: { tokenFile: file } });
  await first.start();
  const ask = async (headers: Record<string, string>): Promise<number> => {
    const answer = await fetch(`http://${first.address}:7651/api/v1/tokens/worker`, { headers });
    await answer.text();
    return answer.status;
  };
  const authorization = `Bearer ${adminToken}`;
  assert.equal(await ask({}), 403);
  assert.equal(await ask({ authorization }), 200);
  assert.equal(await ask({ authorization, origin: "http://evil.example" }), 403);
  const guesses = await Promise.all(Array.from({ length: 30 }, () => ask({ authorization: "Bearer guess" })));
  const refused = (status: number): number => guesses.filter((one) => one === status).length;
  assert.deepEqual(new Set(guesses), new Set([401, 429]));
  assert.ok(refused(401) >= 10, "nobody is held up for a few mistakes");
  assert.equal(await first.metric("skein_admin_refused_total", 'reason="token"'), refused(401));
  assert.equal(await first.metric("skein_admin_refused_total", 'reason="attempts"'), refused(429));
  assert.match(await eventsOf(first), /admin\.refused admin listener: the admin token is wrong/);
});
