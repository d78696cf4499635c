// The key file: made once, kept for good, and never replaced because it cannot be read.

import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { isNodeId } from "../../src/model/ids.ts";
import { nodeIdOf } from "../../src/trust/identity.ts";
import { openIdentity, type Identity } from "../../src/trust/keyfile.ts";
import { openFolder } from "../support/folder.ts";

const withCode =
  (code: string) =>
  (thrown: unknown): boolean =>
    thrown instanceof Failure && thrown.code === code;

describe("keyfile", () => {
  it("a first start makes a key, a second finds it: same id, same key", async (t) => {
    const dataDir = join(await openFolder(t), "data");
    const first = await openIdentity(dataDir);
    const second = await openIdentity(dataDir);
    assert.ok(isNodeId(first.id));
    assert.equal(first.id, nodeIdOf(first.publicKey));
    assert.deepEqual([first.isNew, second.isNew], [true, false]);
    assert.equal(second.id, first.id);
    assert.ok(second.privateKey.equals(first.privateKey));
  });

  it("two data dirs have two ids", async (t) => {
    const [one, other] = [await openIdentity(await openFolder(t)), await openIdentity(await openFolder(t))];
    assert.notEqual(one.id, other.id);
  });

  it("the key is PEM that only its owner may read, in a folder that only its owner may enter", async (t) => {
    const dataDir = join(await openFolder(t), "data");
    await openIdentity(dataDir);
    assert.deepEqual(await readdir(dataDir), ["node.key"]);
    assert.equal((await stat(join(dataDir, "node.key"))).mode & 0o777, 0o600);
    assert.equal((await stat(dataDir)).mode & 0o777, 0o700);
    assert.match(await readFile(join(dataDir, "node.key"), "utf8"), /^-----BEGIN PRIVATE KEY-----\n/);
  });

  it("a damaged key is a failure or still the same key, never another", async (t) => {
    const dataDir = await openFolder(t);
    const path = join(dataDir, "node.key");
    const original = await openIdentity(dataDir);
    const whole = await readFile(path);
    const signs = ({ privateKey }: Identity): boolean =>
      verify("sha256", whole, createPublicKey(original.privateKey), sign("sha256", whole, privateKey));
    const damaged = [...whole.keys()].flatMap((at) => {
      const flips = [0, 1, 2, 3, 4, 5, 6, 7].map((bit) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        return bytes;
      });
      return [whole.subarray(0, at), ...flips];
    });
    // Every one of them: a random choice found the bit that gave another id in one run of twenty.
    for (const bytes of damaged) {
      await writeFile(path, bytes);
      const opened = await openIdentity(dataDir).catch((thrown: unknown) => thrown);
      if (opened instanceof Failure) {
        assert.equal(opened.code, "corrupt");
        assert.ok(opened.message.includes(path) && opened.message.includes("backup"));
      } else {
        assert.equal((opened as Identity).id, original.id);
        assert.ok(signs(opened as Identity), "it signs as the same key");
      }
      assert.deepEqual(await readFile(path), bytes);
    }
  });

  it("the same key with its public point in another form has the same id", async (t) => {
    const dataDir = await openFolder(t);
    const { id, privateKey } = await openIdentity(dataDir);
    const der = privateKey.export({ type: "pkcs8", format: "der" });
    const formAt = der.length - 65;
    assert.equal(der[formAt], 4);
    // The hybrid form of X9.62: 6 or 7, by the parity of y. It is one flipped bit away from the usual one.
    der[formAt] = 6 + ((der.at(-1) ?? 0) & 1);
    const pem = createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({
      type: "pkcs8",
      format: "pem",
    });
    await writeFile(join(dataDir, "node.key"), pem);
    assert.equal((await openIdentity(dataDir)).id, id);
  });

  it("an empty key file, another kind of key or a public key is corrupt", async (t) => {
    const dataDir = await openFolder(t);
    const path = join(dataDir, "node.key");
    const pkcs8 = { type: "pkcs8", format: "pem" } as const;
    const contents = [
      "",
      generateKeyPairSync("ed25519").privateKey.export(pkcs8),
      generateKeyPairSync("ec", { namedCurve: "secp384r1" }).privateKey.export(pkcs8),
      generateKeyPairSync("ec", { namedCurve: "prime256v1" }).publicKey.export({
        type: "spki",
        format: "pem",
      }),
    ];
    for (const content of contents) {
      await writeFile(path, content, { mode: 0o600 });
      await assert.rejects(openIdentity(dataDir), withCode("corrupt"));
    }
  });

  it("a key that others may read is refused, with what to do", async (t) => {
    const dataDir = await openFolder(t);
    const path = join(dataDir, "node.key");
    const { id } = await openIdentity(dataDir);
    await chmod(path, 0o640);
    await assert.rejects(openIdentity(dataDir), (thrown) => {
      assert.ok(thrown instanceof Failure && thrown.code === "not-allowed");
      assert.ok(thrown.message.includes(`chmod 600 ${path}`));
      return true;
    });
    await chmod(path, 0o400);
    assert.equal((await openIdentity(dataDir)).id, id);
  });
});
