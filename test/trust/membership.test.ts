// What a data dir knows of its cluster: all of it or nothing, and never a new cluster because a file is damaged.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import type { Credentials } from "../../src/trust/credentials.ts";
import { openIdentity } from "../../src/trust/keyfile.ts";
import {
  adopt,
  forgetCluster,
  foundCluster,
  openCredentials,
  restoreAuthority,
  restoreMember,
} from "../../src/trust/membership.ts";

import { DAY_MS, newApplicant, newManager, newMember, NOW_MS, type Applicant } from "./doors.ts";

const failureOf = async (work: Promise<unknown>): Promise<Failure> => {
  const thrown = await work.then(
    () => assert.fail("it did not fail"),
    (caught: unknown) => caught,
  );
  if (!(thrown instanceof Failure)) throw thrown;
  return thrown;
};

const backupOf = (credentials: Credentials) => ({ charter: credentials.charter, keys: credentials.keys() });

const opened = async ({ options, writes }: Applicant): Promise<Credentials> => {
  const credentials = await openCredentials(options);
  assert.ok(credentials !== null);
  return writes(credentials);
};

describe("membership", () => {
  it("membership: a data dir without files is in no cluster, and looking makes none", async (t) => {
    const applicant = await newApplicant(t);
    assert.equal(await openCredentials(applicant.options), null);
    assert.deepEqual(await readdir(applicant.options.dataDir), ["node.key"]);
  });

  it("membership: a new cluster has this node as its manager, and is the same after a restart", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    assert.equal(credentials.role, "manager");
    assert.match(credentials.clusterId, /^[a-z2-7]{20}$/);
    const again = await opened(manager);
    assert.deepEqual(again.charter, credentials.charter);
    assert.deepEqual(again.credential, credentials.credential);
    assert.deepEqual(again.material(), credentials.material());
    assert.equal(again.token("worker"), credentials.token("worker"));
    assert.ok(credentials.admit(again.certificate).ok);
    const other = await newManager(t);
    assert.notEqual(other.credentials.clusterId, credentials.clusterId);
    assert.equal(other.credentials.admit(credentials.certificate).ok, false);
  });

  it("membership: no cluster is made by a clock that is not set, and nothing is written", async (t) => {
    const applicant = await newApplicant(t, { nowMs: 5 * DAY_MS });
    await assert.rejects(foundCluster(applicant.options), /clock shows 1970-01-06/);
    assert.equal(await openCredentials(applicant.options), null);
    applicant.clock.nowMs = NOW_MS;
    const credentials = await foundCluster(applicant.options);
    assert.ok(credentials.admit(credentials.certificate).ok);
  });

  it("membership: its files are for their owner alone, and none but keys holds a key", async (t) => {
    const { credentials, options } = await newManager(t);
    const names = (await readdir(options.dataDir)).sort();
    assert.deepEqual(names, ["authority", "charter.json", "node.crt", "node.key"]);
    const [root] = credentials.charter.roots;
    const keyPath = join(options.dataDir, "authority", `${root?.fingerprint}.key`);
    for (const path of [...names.slice(1).map((name) => join(options.dataDir, name)), keyPath]) {
      assert.equal((await stat(path)).mode & 0o777, 0o600, path);
      const isKey = path.endsWith(".key");
      assert.equal((await readFile(path, "utf8")).includes("PRIVATE KEY"), isKey, path);
    }
    assert.equal((await stat(join(options.dataDir, "authority"))).mode & 0o777, 0o700);
    assert.ok(new X509Certificate(await readFile(join(options.dataDir, "node.crt"))).raw.length > 0);
  });

  it("membership: any file that is missing or damaged is a failure that names it, at every start", async (t) => {
    const manager = await newManager(t);
    const { dataDir } = manager.options;
    const [root] = manager.credentials.charter.roots;
    const key = join("authority", `${root?.fingerprint}.key`);
    const other = await newManager(t);
    const otherFile = (name: string): string => join(other.options.dataDir, name);
    const saved = join(dataDir, "saved");
    await mkdir(saved);
    for (const name of ["charter.json", "node.crt", key]) {
      const path = join(dataDir, name);
      const kept = join(saved, "kept");
      await copyFile(path, kept);
      const damages: readonly (() => Promise<void>)[] = [
        () => writeFile(path, ""),
        () => writeFile(path, "junk"),
        ...(name === key ? [] : [() => rm(path), () => copyFile(otherFile(name), path)]),
      ];
      for (const damage of damages) {
        await damage();
        for (let start = 0; start < 2; start += 1) {
          const failure = await failureOf(openCredentials(manager.options));
          assert.equal(failure.code, "corrupt", `${name}: ${failure.message}`);
          assert.ok(!failure.message.includes("PRIVATE"));
        }
        await copyFile(kept, path);
        await chmod(path, 0o600);
        assert.equal((await opened(manager)).clusterId, manager.credentials.clusterId);
      }
    }
  });

  it("membership: of a damaged charter the previous one is used when there is one", async (t) => {
    const manager = await newManager(t);
    manager.credentials.rotateToken("worker");
    await manager.credentials.saved();
    await writeFile(join(manager.options.dataDir, "charter.json"), "junk");
    const again = await opened(manager);
    assert.equal(again.clusterId, manager.credentials.clusterId);
    assert.equal(again.charter.tokens.worker, 1);
  });

  it("membership: a key of the authority that others may read is refused, with what to do", async (t) => {
    const { credentials, options } = await newManager(t);
    const path = join(options.dataDir, "authority", `${credentials.charter.roots[0]?.fingerprint}.key`);
    await chmod(path, 0o640);
    const failure = await failureOf(openCredentials(options));
    assert.equal(failure.code, "not-allowed");
    assert.ok(failure.message.includes(`chmod 600 ${path}`));
  });

  it("membership: another node's key makes the certificate useless, and says so", async (t) => {
    const manager = await newManager(t);
    const stranger = await newApplicant(t);
    const failure = await failureOf(openCredentials({ ...manager.options, identity: stranger.identity }));
    assert.equal(failure.code, "corrupt");
    assert.ok(
      failure.message.includes(stranger.identity.id) && failure.message.includes(manager.identity.id),
    );
  });

  it("membership: a crash in the middle of founding leaves no cluster, and the next start makes one", async (t) => {
    const manager = await newManager(t);
    const { dataDir } = manager.options;
    for (const missing of [["node.crt"], ["node.crt", "charter.json"], []]) {
      await writeFile(join(dataDir, "membership.unfinished"), "");
      for (const name of missing) await rm(join(dataDir, name));
      assert.equal(await openCredentials(manager.options), null);
      assert.deepEqual(await readdir(dataDir), ["node.key"]);
      manager.writes(await foundCluster(manager.options));
    }
  });

  it("membership: whoever leaves is a new node afterwards, in no cluster", async (t) => {
    const manager = await newManager(t);
    const { dataDir } = manager.options;
    manager.credentials.rotateToken("worker");
    await manager.credentials.saved();
    await forgetCluster(dataDir);
    assert.deepEqual(await readdir(dataDir), []);
    const identity = await openIdentity(dataDir);
    assert.notEqual(identity.id, manager.identity.id);
    assert.equal(await openCredentials({ ...manager.options, identity }), null);
  });

  it("membership: what was not granted to this node is not adopted, and nothing is written", async (t) => {
    const [manager, foreign] = [await newManager(t), await newManager(t)];
    const [applicant, other] = [await newApplicant(t), await newApplicant(t)];
    const { credentials } = manager;
    const { charter } = credentials;
    const mine = await credentials.issue(applicant.identity.publicKey, applicant.identity.id, "worker");
    const theirs = await credentials.issue(other.identity.publicKey, other.identity.id, "worker");
    const keys = foreign.credentials.keys();
    for (const grant of [
      { certificate: theirs, charter, keys: {} },
      { certificate: mine, charter: foreign.credentials.charter, keys: {} },
      { certificate: mine, charter, keys },
    ]) {
      await failureOf(adopt(applicant.options, grant));
      assert.deepEqual(await readdir(applicant.options.dataDir), ["node.key"]);
    }
  });

  it("membership: one whose certificate has ended opens all the same, to be told and to renew", async (t) => {
    const manager = await newManager(t);
    manager.clock.nowMs += 100 * DAY_MS;
    const again = await opened(manager);
    assert.equal(again.admit(again.certificate).ok, false);
    await again.renewOwn();
    assert.ok(again.admit(again.certificate).ok);
    assert.ok((await opened(manager)).admit(again.certificate).ok);
  });
});

describe("restoring the authority", () => {
  it("restoring: makes a new host a manager of the old cluster, with the same tokens", async (t) => {
    const lost = await newManager(t);
    const worker = await newMember(t, lost.credentials, "worker");
    const fresh = await newApplicant(t);
    const restored = fresh.writes(await restoreAuthority(fresh.options, backupOf(lost.credentials)));
    assert.equal(restored.role, "manager");
    assert.equal(restored.clusterId, lost.credentials.clusterId);
    assert.equal(restored.token("manager"), lost.credentials.token("manager"));
    const admitted = worker.credentials.admit(restored.certificate);
    assert.ok(admitted.ok && admitted.value.role === "manager");
    assert.equal((await opened(fresh)).role, "manager");
  });

  it("restoring: makes a worker a manager, and keeps what it knows that the backup does not", async (t) => {
    const lost = await newManager(t);
    const backup = backupOf(lost.credentials);
    const worker = await newMember(t, lost.credentials, "worker");
    worker.credentials.apply(lost.credentials.rotateToken("worker"));
    worker.credentials.apply(lost.credentials.revoke("b".repeat(20)));
    await worker.credentials.saved();
    await restoreMember(worker.credentials, backup);
    const restored = await opened(worker);
    assert.equal(restored.id, worker.identity.id);
    assert.equal(restored.role, "manager");
    assert.deepEqual(restored.charter, lost.credentials.charter);
    assert.equal(restored.token("worker"), lost.credentials.token("worker"));
  });

  it("restoring: goes on beside what the cluster decides and renews meanwhile, and outlasts it", async (t) => {
    const lost = await newManager(t);
    const backup = backupOf(lost.credentials);
    const worker = await newMember(t, lost.credentials, "worker");
    const { credentials, identity, options } = worker;
    const late = await lost.credentials.issue(identity.publicKey, identity.id, "worker");
    const removed = ["b", "c", "d", "e"].map((letter) => letter.repeat(20));
    const [first = "", ...others] = removed;
    credentials.apply(lost.credentials.revoke(first));
    const restored = restoreMember(credentials, backup);
    // A certificate that was asked for as a worker comes late.
    const renewed = credentials.takeCertificate(late).then(
      () => "taken",
      () => "refused",
    );
    for (const id of others) {
      credentials.apply(lost.credentials.revoke(id));
      await new Promise(setImmediate);
    }
    await restored;
    assert.equal(await renewed, "refused");
    await credentials.close();
    const again = await openCredentials(options);
    assert.equal(again?.role, "manager");
    const known = again?.charter.revoked.map(({ id }) => id) ?? [];
    assert.ok(known.includes(first));
  });

  it("restoring: is refused in another cluster, to a removed node, and with a retired authority", async (t) => {
    const [lost, other] = [await newManager(t), await newManager(t)];
    const backup = backupOf(lost.credentials);
    const elsewhere = await failureOf(restoreMember(other.credentials, backup));
    assert.equal(elsewhere.code, "busy");
    assert.match(elsewhere.message, /skein leave/);
    const [removed, worker] = [
      await newMember(t, lost.credentials, "worker"),
      await newMember(t, lost.credentials, "worker"),
    ];
    removed.credentials.apply(lost.credentials.revoke(removed.identity.id));
    await removed.credentials.saved();
    assert.equal((await failureOf(restoreMember(removed.credentials, backup))).code, "not-allowed");
    await lost.credentials.rotateAuthority();
    await lost.credentials.renewOwn();
    worker.credentials.apply(lost.credentials.retireRoots([], 0));
    await worker.credentials.saved();
    const retired = await failureOf(restoreMember(worker.credentials, backup));
    assert.equal(retired.code, "not-allowed");
    assert.match(retired.message, /retired/);
    assert.equal((await opened(worker)).role, "worker");
  });
});
