// What a node decides, what it takes from others, and whom it lets in after that.

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readdir } from "node:fs/promises";
import { describe, it } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openEnrolment, type Enrolment } from "../../src/trust/enrolment.ts";
import { renewAt } from "../../src/trust/joining.ts";
import { forgetCluster, openCredentials } from "../../src/trust/membership.ts";
import { renderBackup, readBackup } from "../../src/trust/backup.ts";

import { DAY_MS, newApplicant, newManager, newMember, NOW_MS, openDoor } from "./doors.ts";

const isRefusal =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

describe("credentials", () => {
  it("credentials: a removed node is let in no more by anybody who has heard of it, and is on the disk", async (t) => {
    const manager = await newManager(t);
    const [removed, worker] = [
      await newMember(t, manager.credentials, "worker"),
      await newMember(t, manager.credentials, "worker"),
    ];
    assert.ok(worker.credentials.admit(removed.credentials.certificate).ok);
    const charter = manager.credentials.revoke(removed.identity.id);
    assert.equal(worker.credentials.apply(charter), true);
    assert.equal(worker.credentials.apply(charter), false);
    const refused = worker.credentials.admit(removed.credentials.certificate);
    assert.ok(!refused.ok);
    assert.equal(refused.failure.code, "not-allowed");
    assert.ok(refused.failure.message.includes(removed.identity.id));
    await worker.credentials.saved();
    const again = await openCredentials(worker.options);
    assert.equal(again?.admit(removed.credentials.certificate).ok, false);
    assert.deepEqual(worker.credentials.ownerOf(removed.credentials.certificate), {
      id: removed.identity.id,
      revoked: true,
    });
  });

  it("credentials: a removal is remembered until no certificate of the node can count, and not for ever", async (t) => {
    const manager = await newManager(t);
    const removed = await newMember(t, manager.credentials, "worker");
    manager.credentials.revoke(removed.identity.id);
    await manager.credentials.saved();
    manager.clock.nowMs = removed.credentials.credential.notAfterMs + DAY_MS;
    assert.equal((await openCredentials(manager.options))?.charter.revoked.length, 1);
    manager.clock.nowMs += 2 * DAY_MS;
    assert.equal((await openCredentials(manager.options))?.charter.revoked.length, 0);
  });

  it("credentials: a certificate without name, of a foreign cluster, or junk is nobody's", async (t) => {
    const [manager, foreign] = [await newManager(t), await newManager(t)];
    const root = Buffer.from(manager.credentials.charter.roots[0]?.certificate ?? "", "base64");
    for (const certificate of [
      foreign.credentials.certificate,
      root,
      new Uint8Array(0),
      Buffer.from("junk"),
    ]) {
      assert.equal(manager.credentials.admit(certificate).ok, false);
    }
    assert.equal(manager.credentials.ownerOf(Buffer.from("junk")), null);
    const stranger = manager.credentials.ownerOf(foreign.credentials.certificate);
    assert.deepEqual(stranger, { id: foreign.identity.id, revoked: false });
  });

  it("credentials: a worker decides nothing for all", async (t) => {
    const manager = await newManager(t);
    const { credentials } = await newMember(t, manager.credentials, "worker");
    assert.throws(() => credentials.rotateToken("worker"), isRefusal("not-allowed"));
    assert.throws(() => credentials.revoke("a".repeat(20)), isRefusal("not-allowed"));
    assert.throws(() => credentials.retireRoots([], 0), isRefusal("not-allowed"));
    assert.throws(() => credentials.token("worker"), isRefusal("not-allowed"));
    await assert.rejects(credentials.rotateAuthority(), isRefusal("not-allowed"));
    await assert.rejects(credentials.renewOwn(), isRefusal("not-allowed"));
    assert.deepEqual(credentials.charter, manager.credentials.charter);
    assert.deepEqual(credentials.missingKeys(), []);
  });

  it("credentials: TLS material is the same object until something changes, and node:crypto reads it", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const before = credentials.material();
    credentials.rotateToken("worker");
    assert.equal(credentials.material(), before);
    await credentials.rotateAuthority();
    const rotated = credentials.material();
    assert.notEqual(rotated, before);
    assert.equal(rotated.chain, before.chain);
    assert.equal(rotated.roots.length, 2);
    await credentials.renewOwn();
    const renewed = credentials.material();
    assert.notEqual(renewed.chain, before.chain);
    const leaf = new X509Certificate(renewed.chain);
    assert.ok(renewed.roots.some((root) => leaf.verify(new X509Certificate(root).publicKey)));
  });

  it("credentials: an authority is retired only once nobody has a certificate of it", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const member = await newMember(t, credentials, "worker");
    const oldIssuer = member.credentials.credential.issuer;
    await credentials.rotateAuthority();
    const before = credentials.charter;
    // This node's own is of the old one still.
    assert.equal(credentials.retireRoots([], 0), before);
    await credentials.renewOwn();
    assert.equal(credentials.retireRoots([oldIssuer], 0), before);
    assert.ok(credentials.admit(member.credentials.certificate).ok);
    const after = credentials.retireRoots([credentials.credential.issuer], 0);
    assert.deepEqual(
      after.roots.filter(({ retired }) => retired).map(({ fingerprint }) => fingerprint),
      [oldIssuer],
    );
    assert.equal(credentials.admit(member.credentials.certificate).ok, false);
    assert.equal(credentials.retireRoots([], 0), after);
    // Whoever was away for all that still knows his own name, and starts.
    member.credentials.apply(after);
    await member.credentials.saved();
    const again = await openCredentials(member.options);
    assert.equal(again?.id, member.identity.id);
    assert.equal(again?.admit(again.certificate).ok, false);
  });

  it("credentials: an old authority stays for a day after a rotation, whoever this manager knows of", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const away = await newMember(t, credentials, "worker");
    await credentials.rotateAuthority();
    await credentials.renewOwn();
    const before = credentials.charter;
    // As a manager that was started anew, and has heard of nobody yet.
    for (const afterMs of [0, DAY_MS / 2, DAY_MS - 60_000]) {
      manager.clock.nowMs = NOW_MS + afterMs;
      assert.equal(credentials.retireRoots([]), before);
    }
    assert.ok(credentials.admit(away.credentials.certificate).ok);
    manager.clock.nowMs = NOW_MS + DAY_MS;
    assert.equal(credentials.retireRoots([]).roots.filter(({ retired }) => retired).length, 1);
  });

  it("credentials: of three authorities none is retired that is not older than anybody's", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const oldest = await newMember(t, credentials, "worker");
    await credentials.rotateAuthority();
    const middle = credentials.newestRoot;
    await credentials.rotateAuthority();
    await credentials.renewOwn();
    const before = credentials.charter;
    // Nobody has one of the middle authority, but whoever renews just now may get it.
    assert.equal(credentials.retireRoots([oldest.credentials.credential.issuer], 0), before);
    const after = credentials.retireRoots([middle.fingerprint], 0);
    assert.deepEqual(
      after.roots.filter(({ retired }) => retired).map(({ generation }) => generation),
      [1],
    );
    // Somebody who was left behind: nobody else is, until he is forgotten.
    assert.equal(credentials.retireRoots([oldest.credentials.credential.issuer], 0), after);
  });

  it("credentials: once closed they write nothing, so what is forgotten stays forgotten", async (t) => {
    const manager = await newManager(t);
    const member = await newMember(t, manager.credentials, "manager");
    const { credentials, identity, options } = member;
    const later = await manager.credentials.issue(identity.publicKey, identity.id, "manager");
    const charter = await manager.credentials.rotateAuthority();
    const writing = credentials.renewOwn();
    const closed = credentials.close();
    await assert.rejects(credentials.takeCertificate(later), isRefusal("busy"));
    await assert.rejects(credentials.rotateAuthority(), isRefusal("busy"));
    await assert.rejects(credentials.takeKeys(manager.credentials.keys()), isRefusal("busy"));
    assert.throws(() => credentials.rotateToken("worker"), isRefusal("busy"));
    // It counts as long as the daemon lives.
    assert.ok(credentials.apply(charter));
    await Promise.all([assert.rejects(writing, isRefusal("busy")), closed]);
    await forgetCluster(options.dataDir);
    await credentials.saved();
    assert.deepEqual(await readdir(options.dataDir), []);
  });

  it("credentials: a renewal that is answered after the node has left writes no certificate", async (t) => {
    const manager = await newManager(t);
    const { credentials, identity, options } = await newMember(t, manager.credentials, "worker");
    const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const answer: Enrolment = openEnrolment({
      credentials: manager.credentials,
      now: () => manager.clock.nowMs,
      members: () => [],
      managers: () => [],
      told: () => undefined,
    });
    const door = await openDoor(t, manager, {
      answer: async (request, response, caller) => {
        asked.resolve();
        await answered.promise;
        await answer(request, response, caller);
      },
    });
    const renewed = assert.rejects(renewAt(door.address, { credentials, identity }), isRefusal("busy"));
    await asked.promise;
    await credentials.close();
    await forgetCluster(options.dataDir);
    answered.resolve();
    await renewed;
    assert.deepEqual(await readdir(options.dataDir), []);
  });

  it("credentials: authorities are not rotated so often that members lose theirs", async (t) => {
    const manager = await newManager(t);
    const { credentials } = manager;
    const member = await newMember(t, credentials, "worker");
    await assert.rejects(async () => {
      for (let times = 0; times < LIMITS.rootsMax; times += 1) await credentials.rotateAuthority();
    }, isRefusal("busy"));
    assert.ok(credentials.admit(member.credentials.certificate).ok);
    assert.ok((await openCredentials(manager.options))?.admit(credentials.certificate).ok);
    await credentials.renewOwn();
    credentials.retireRoots([], 0);
    assert.ok((await credentials.rotateAuthority()).roots.length > LIMITS.rootsMax / 2);
  });

  it("credentials: two managers that rotate at the same time agree in the end", async (t) => {
    const one = await newManager(t);
    const other = await newMember(t, one.credentials, "manager");
    const [first, second] = [
      await one.credentials.rotateAuthority(),
      await other.credentials.rotateAuthority(),
    ];
    one.credentials.apply(second);
    other.credentials.apply(first);
    assert.deepEqual(one.credentials.charter, other.credentials.charter);
    assert.equal(one.credentials.newestRoot.fingerprint, other.credentials.newestRoot.fingerprint);
    await one.credentials.takeKeys(other.credentials.keys());
    await other.credentials.takeKeys(one.credentials.keys());
    await one.credentials.renewOwn();
    await other.credentials.renewOwn();
    assert.equal(one.credentials.token("worker"), other.credentials.token("worker"));
    assert.ok(one.credentials.admit(other.credentials.certificate).ok);
  });

  it("credentials: with a certificate of a new authority, that authority is on the disk as well", async (t) => {
    const manager = await newManager(t);
    const { credentials, identity, options } = await newMember(t, manager.credentials, "worker");
    const before = manager.credentials.rotateToken("worker");
    const after = await manager.credentials.rotateAuthority();
    const { publicKey, id } = identity;
    const certificate = await manager.credentials.issue(publicKey, id, "worker");
    // Two decisions: while the first is written, the one that counts here waits.
    credentials.apply(before);
    await new Promise(setImmediate);
    credentials.apply(after);
    await credentials.takeCertificate(certificate);
    // As after a power cut in this moment.
    const again = await openCredentials(options);
    assert.equal(again?.credential.issuer, manager.credentials.newestRoot.fingerprint);
  });

  it("credentials: the certificate of another is not taken for one's own", async (t) => {
    const manager = await newManager(t);
    const [member, other] = [
      await newMember(t, manager.credentials, "worker"),
      await newMember(t, manager.credentials, "worker"),
    ];
    const before = member.credentials.certificate;
    await assert.rejects(
      member.credentials.takeCertificate(other.credentials.certificate),
      isRefusal("corrupt"),
    );
    assert.equal(member.credentials.certificate, before);
    assert.equal((await openCredentials(member.options))?.id, member.identity.id);
  });

  it("credentials: a backup of them restores what they were", async (t) => {
    const { credentials } = await newManager(t);
    await credentials.rotateAuthority();
    const held = { charter: credentials.charter, keys: credentials.keys() };
    const read = await readBackup(await renderBackup(held, "a good long phrase", 0), "a good long phrase");
    assert.ok(read.ok);
    assert.deepEqual(read.value, held);
    assert.equal(Object.keys(read.value.keys).length, 2);
  });

  it("credentials: their seals are checked by other members, and not once they were removed", async (t) => {
    const manager = await newManager(t);
    const worker = await newMember(t, manager.credentials, "worker");
    const nowMs = manager.clock.nowMs;
    const { seals } = manager.credentials;
    const theirs = worker.credentials.seals;
    const by = seals.credentialOf(worker.identity.id, theirs.certificate, nowMs);
    assert.ok(by.ok);
    assert.ok(seals.isSigned(by.value, "words", theirs.sign("words")));
    const foreign = await newApplicant(t);
    assert.equal(seals.credentialOf(foreign.identity.id, theirs.certificate, nowMs).ok, false);
    manager.credentials.revoke(worker.identity.id);
    assert.equal(seals.isSigned(by.value, "words", theirs.sign("words")), false);
    assert.equal(seals.credentialOf(worker.identity.id, theirs.certificate, nowMs).ok, false);
  });
});
