// Joining, tokens and the authority by command: what is asked of the daemon, what is told, and what never is.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import type { JoinRequest } from "../../src/admin/contract-trust.ts";
import { Failure } from "../../src/base/failure.ts";
import type { ConfigFlags, Surroundings } from "../../src/cli/context.ts";
import { readSecretFile } from "../../src/config/secret-file.ts";
import { JOIN_TOKEN, openDoors, type Doors } from "../admin/doors.ts";
import { CLUSTER, exampleSnapshot, OTHER } from "../admin/picture.ts";
import { run, type Ran } from "./terminal.ts";

const NOWHERE = ["--socket", "/nowhere/x.sock"];

async function exampleDoors(t: TestContext): Promise<Doors> {
  const doors = await openDoors(t);
  doors.daemon.snapshot = exampleSnapshot();
  return doors;
}

function at(doors: Doors, line: string, given: Partial<Surroundings> = {}): Promise<Ran> {
  return run([...line.split(" "), "--socket", doors.socketPath], given);
}

/** The daemon begins another life as soon as it has answered, as one that opens itself anew does. */
function opensAnew(doors: Doors): void {
  const { snapshot: was } = doors.daemon;
  doors.daemon.snapshot = { ...was, startedAtMs: was.startedAtMs + 1000 };
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "skein-cli-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const READS_TOKEN = { readSecret: () => Promise.resolve(JOIN_TOKEN) };

test("cli: join asks the daemon with the token of a file, and ends when its next life serves", async (t) => {
  const doors = await exampleDoors(t);
  doors.daemon.trust = {
    join() {
      opensAnew(doors);
      return Promise.resolve({ node: "host-9", clusterId: CLUSTER, role: "worker", joined: true });
    },
  };
  const asked: string[] = [];
  const readSecret = (path: string): Promise<string> => {
    asked.push(path);
    return Promise.resolve(JOIN_TOKEN);
  };
  for (const option of ["--token-file /run/t", "--token -"]) {
    const { status, out, err } = await at(doors, `join 192.0.2.1 ${option}`, { readSecret });
    assert.equal(status, 0, err);
    assert.equal(out, `host-9 is a worker of cluster ${CLUSTER} now; its daemon serves\n`);
    assert.doesNotMatch(out + err, /SKTKN/);
  }
  assert.deepEqual(asked, ["/run/t", "-"]);
});

test("cli: join sends host and token as given; for a member already nothing changes", async (t) => {
  const doors = await exampleDoors(t);
  const node = { node: "host-1", clusterId: CLUSTER, role: "manager" } as const;
  doors.daemon.trust = {
    join(host, token) {
      doors.daemon.trusted.push(["join", host, token]);
      return Promise.resolve({ ...node, joined: false });
    },
  };
  const { status, out } = await at(doors, "join 192.0.2.1:7700 --token-file x", READS_TOKEN);
  assert.deepEqual(
    [status, out],
    [0, `host-1 is a manager of cluster ${CLUSTER} already; nothing was changed\n`],
  );
  assert.deepEqual(doors.daemon.trusted, [["join", { host: "192.0.2.1", port: 7700 }, JOIN_TOKEN]]);
});

test("cli: a token among the arguments is taken, with the advice that others see it, and not repeated", async (t) => {
  const doors = await exampleDoors(t);
  doors.daemon.trust = { join: () => Promise.reject(new Failure("not-allowed", "the token was rotated")) };
  const { status, out, err } = await at(doors, `join 192.0.2.1 --token ${JOIN_TOKEN}`);
  assert.deepEqual([status, out], [5, ""]);
  assert.match(err, /other users of this host see the token among the arguments; better --token-file FILE/);
  assert.match(err, /the token was rotated/);
  assert.doesNotMatch(err, /SKTKN/);
});

test("cli: without a daemon join makes the data dir ready for one", async () => {
  const asked: [ConfigFlags, JoinRequest][] = [];
  const joinCluster: Surroundings["joinCluster"] = (flags, request) => {
    asked.push([flags, request]);
    return Promise.resolve({ node: "host-1", clusterId: CLUSTER, role: "worker", joined: true });
  };
  const argv = ["join", "192.0.2.1", "--token-file", "t", "--data-dir", "/d", ...NOWHERE];
  const { status, out } = await run(argv, { ...READS_TOKEN, joinCluster });
  assert.deepEqual(
    [status, out],
    [0, `host-1 is a worker of cluster ${CLUSTER} now; start its daemon with: skein run\n`],
  );
  const [[flags, request] = []] = asked;
  assert.equal(flags?.values["node.dataDir"], "/d");
  assert.deepEqual(request, { host: "192.0.2.1", token: JOIN_TOKEN });
});

test("cli: init leaves a running daemon as it is, and makes a cluster where none runs", async (t) => {
  const doors = await exampleDoors(t);
  const running = await at(doors, "init -o json");
  assert.deepEqual(JSON.parse(running.out), { clusterId: CLUSTER, made: false });
  const fresh = await run(["init", ...NOWHERE]);
  assert.equal(fresh.out, `made cluster ${CLUSTER} in /state; start its daemon with: skein run\n`);
  const initCluster = () => Promise.resolve({ clusterId: CLUSTER, made: false, dataDir: "/state" });
  const again = await run(["init", ...NOWHERE], { initCluster });
  assert.deepEqual([again.status, again.out.includes("already")], [0, true]);
});

test("cli: a rotated token is the new one, and what became of the old is said", async (t) => {
  const doors = await exampleDoors(t);
  const { status, out, err } = await at(doors, "token worker --rotate");
  assert.deepEqual([status, doors.daemon.trusted], [0, [["rotateToken", "worker"]]]);
  assert.match(out, /echo SKTKN-1-\S+ \| skein join 192\.0\.2\.1:7650 --token -/);
  assert.equal(err, "the worker tokens before this one let nobody in any more\n");
});

test("cli: node rm names whom it removed, by name or by the start of an id", async (t) => {
  const doors = await exampleDoors(t);
  assert.match((await at(doors, "node rm host-2")).out, /^host-2 \(b{20}\) was removed: its certificate/);
  await at(doors, `node rm ${OTHER.slice(0, 6)}`);
  assert.deepEqual(doors.daemon.trusted, [
    ["remove", OTHER],
    ["remove", OTHER],
  ]);
});

test("cli: node rm of a manager, or of one that is forgotten, says what its key can still do", async (t) => {
  const doors = await exampleDoors(t);
  assert.equal((await at(doors, "node rm host-2")).err, "");
  for (const role of ["manager", null] as const) {
    doors.daemon.trust = { remove: (id) => Promise.resolve({ node: "host-2", id, role }) };
    const { status, out, err } = await at(doors, "node rm host-2");
    assert.equal(status, 0);
    assert.match(out, /^host-2 \(b{20}\) was removed/);
    assert.match(err, /has had the authority's key.*make members(.|\n)*skein node ls(.|\n)*authority rotate/);
    assert.match(err, /when in doubt make a new cluster/);
  }
});

test("cli: a backup goes to a new file of its owner alone; restore sends it back", async (t) => {
  const doors = await exampleDoors(t);
  const dir = folder(t);
  const file = join(dir, "backup");
  const env = { SKEIN_PASSPHRASE: "a long passphrase" };
  const { status, out, err } = await at(doors, `authority backup ${file}`, { env });
  assert.equal(status, 0, err);
  assert.ok(out.includes(file) && !(out + err).includes('passphrase"'), out);
  assert.equal(readFileSync(file, "utf8"), "sealed");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const again = await at(doors, `authority backup ${file}`, { env });
  assert.equal(again.status, 1);
  assert.match(again.err, /is there already/);
  const stdout = await at(doors, "authority backup -", { env });
  assert.equal(stdout.out, "sealed");

  doors.daemon.trust = {
    restore(...given) {
      doors.daemon.trusted.push(given);
      opensAnew(doors);
      return Promise.resolve({ node: "host-1", clusterId: CLUSTER, generation: 1 });
    },
  };
  const restored = await at(doors, `authority restore ${file}`, { env });
  assert.equal(restored.status, 0, restored.err);
  assert.deepEqual(doors.daemon.trusted.at(-1), ["sealed", "a long passphrase"]);
  assert.equal((await at(doors, `authority restore ${dir}/none`, { env })).status, 3);
});

test("cli: a passphrase comes from the file that is named, before the environment's", async (t) => {
  const doors = await exampleDoors(t);
  const env = { SKEIN_PASSPHRASE_FILE: "/run/p", SKEIN_PASSPHRASE: "of the environment" };
  await at(doors, "authority backup - --passphrase-file /run/flag", { env });
  await at(doors, "authority backup -", { env });
  await at(doors, "authority backup -", { env: { SKEIN_PASSPHRASE: env.SKEIN_PASSPHRASE } });
  assert.deepEqual(
    doors.daemon.trusted.map(([, passphrase]) => passphrase),
    ["secret in /run/flag", "secret in /run/p", "of the environment"],
  );
});

test("cli: rotating the authority says what is left to do", async (t) => {
  const doors = await exampleDoors(t);
  const { status, out, err } = await at(doors, "authority rotate");
  assert.equal(status, 0);
  assert.match(out, /authority 2 of cluster k{20} issues from now on/);
  assert.match(err, /make new ones/);
});

test("cli: leave --force is passed on; without a daemon it makes the data dir forget its cluster", async (t) => {
  const doors = await exampleDoors(t);
  const forced: boolean[] = [];
  doors.daemon.leaveResult = (force) => {
    forced.push(force);
    return Promise.reject(new Failure("not-allowed", "host-1 is the last manager"));
  };
  assert.equal((await at(doors, "leave")).status, 5);
  assert.equal((await at(doors, "leave --force")).status, 5);
  assert.deepEqual(forced, [false, true]);
  const { status, out } = await run(["leave", "--force", ...NOWHERE]);
  assert.equal(status, 0);
  assert.match(out, /\/state has forgotten its cluster/);
});

test("cli: status shows the cluster and the certificate, and a rotation that is under way", async (t) => {
  const doors = await exampleDoors(t);
  const before = (await at(doors, "status")).out;
  assert.match(before, new RegExp(`^cluster +${CLUSTER}$`, "m"));
  assert.match(before, /^certificate +good for another 88d, of authority 1$/m);
  const { trust } = doors.daemon.snapshot;
  doors.daemon.snapshot = { ...doors.daemon.snapshot, trust: { ...trust, authorityGeneration: 2 } };
  assert.match((await at(doors, "status")).out, /of authority 1; authority 2 takes over$/m);
});

test("cli: the token is the first line of its file; a file that is not there is named", async (t) => {
  const doors = await exampleDoors(t);
  const file = join(folder(t), "token");
  writeFileSync(file, `${JOIN_TOKEN}\nmore\n`, { mode: 0o600 });
  doors.daemon.trust = {
    join: (_host, token) => Promise.reject(new Failure("busy", `is it ${token.length}`)),
  };
  const given = { readSecret: readSecretFile };
  assert.match((await at(doors, `join a --token-file ${file}`, given)).err, /is it 84/);
  const missing = await at(doors, "join a --token-file /nowhere/t", given);
  assert.equal(missing.status, 3);
  assert.match(missing.err, /token file \/nowhere\/t cannot be read/);
});
