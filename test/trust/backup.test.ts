// A backup opens with its passphrase and not otherwise, and holds what was put in.

import assert from "node:assert/strict";
import { createCipheriv, randomBytes, scryptSync } from "node:crypto";
import { before, describe, it } from "node:test";

import * as fc from "fast-check";

import type { Charter } from "../../src/model/charter.ts";
import { createAuthority, drawClusterId, renderKey } from "../../src/trust/authority.ts";
import { readBackup, renderBackup, type Backup } from "../../src/trust/backup.ts";

const NOW_MS = Date.UTC(2026, 10, 21);
const PASSPHRASE = "correct horse battery";

const newBackup = async (clusterId = drawClusterId()): Promise<Backup> => {
  const authority = await createAuthority(clusterId, 1, NOW_MS);
  const revoked = [{ id: "a".repeat(20), untilMs: NOW_MS }];
  const charter: Charter = {
    clusterId,
    roots: [authority.root],
    tokens: { worker: 3, manager: 2 },
    revoked,
    networks: [],
  };
  return { charter, keys: { [authority.root.fingerprint]: renderKey(authority) } };
};

/** A backup as somebody makes it who has the passphrase, whatever is inside. */
const sealedAs = (plain: string, clusterId: string): string => {
  const [salt, nonce] = [randomBytes(16), randomBytes(12)];
  const values = [
    "Version: 1",
    `Cluster: ${clusterId}`,
    "Created: now",
    "Scrypt-N: 2",
    `Salt: ${salt.toString("base64")}`,
    `Nonce: ${nonce.toString("base64")}`,
  ];
  const head = values.join("\n");
  const cipher = createCipheriv("aes-256-gcm", scryptSync(PASSPHRASE, salt, 32, { N: 2, r: 8, p: 1 }), nonce);
  cipher.setAAD(Buffer.from(head));
  const body = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString("base64");
  const [begin, end] = ["BEGIN", "END"].map((which) => `-----${which} SKEIN AUTHORITY BACKUP-----`);
  return `${begin}\n${head}\n\n${body}\n${end}\n`;
};

const codeOf = (result: Awaited<ReturnType<typeof readBackup>>): string =>
  result.ok ? "ok" : result.failure.code;

describe("backup", () => {
  let backup: Backup;
  let text: string;
  before(async () => {
    backup = await newBackup();
    text = await renderBackup(backup, PASSPHRASE, NOW_MS);
  });

  it("backup: what was put in comes out, also after mail changed line ends and indented it", async () => {
    for (const given of [
      text,
      text.replaceAll("\n", "\r\n"),
      `see below\n\n  ${text.replaceAll("\n", "\n  ")}bye`,
    ]) {
      const read = await readBackup(given, PASSPHRASE);
      assert.ok(read.ok);
      assert.deepEqual(read.value, backup);
    }
  });

  it("backup: is text of short lines that says what it is, and nothing of what is in it", () => {
    assert.match(text, /^-----BEGIN SKEIN AUTHORITY BACKUP-----\nVersion: 1\n/);
    assert.ok(text.includes(`Cluster: ${backup.charter.clusterId}\n`));
    assert.ok(text.split("\n").every((line) => line.length <= 64));
    const [pem = ""] = Object.values(backup.keys);
    const secret = pem.split("\n")[1] ?? "";
    assert.ok(secret.length > 40 && !text.includes(secret.slice(0, 20)));
    assert.ok(!text.includes("PRIVATE KEY"));
  });

  it("backup: two of the same differ everywhere but in their head", async () => {
    const again = await renderBackup(backup, PASSPHRASE, NOW_MS);
    const bodyOf = (one: string): string => one.split("\n\n")[1]?.slice(0, 60) ?? "";
    assert.notEqual(bodyOf(again), bodyOf(text));
  });

  it("backup: with another passphrase it does not open, and the refusal holds neither", async () => {
    for (const wrong of ["", "Correct horse battery", `${PASSPHRASE} `, "correct horse batterz"]) {
      const read = await readBackup(text, wrong);
      assert.ok(!read.ok);
      assert.equal(read.failure.code, "not-allowed");
      assert.ok(!read.failure.message.includes("horse"));
    }
  });

  it("backup: a passphrase opens it however the keyboard composed its accents", async () => {
    const accented = await renderBackup(backup, "caf\u00e9 au lait sucr\u00e9", NOW_MS);
    assert.equal(codeOf(await readBackup(accented, "cafe\u0301 au lait sucre\u0301")), "ok");
  });

  it("backup: a passphrase of less than twelve characters is refused, and so is one without keys", async () => {
    await assert.rejects(renderBackup(backup, "short phras", NOW_MS), { code: "invalid" });
    await assert.rejects(renderBackup({ ...backup, keys: {} }, PASSPHRASE, NOW_MS), { code: "not-allowed" });
  });

  it("backup: altered in any place it does not open", async () => {
    const visible = Array.from(text.matchAll(/\S/g), ({ index }) => index);
    const changes = fc.record({ at: fc.constantFrom(...visible), by: fc.constantFrom("A", "b", "7", "+") });
    await fc.assert(
      fc.asyncProperty(changes, async ({ at, by }) => {
        fc.pre(text[at] !== by);
        const changed = text.slice(0, at) + by + text.slice(at + 1);
        const read = await readBackup(changed, PASSPHRASE);
        // The last digit of base64 has bits that stand for nothing.
        if (read.ok) assert.deepEqual(read.value, backup);
        else assert.ok(["invalid", "not-allowed"].includes(read.failure.code), read.failure.message);
      }),
      { numRuns: 25 },
    );
  });

  it("backup: a later version, a cost that would hang us, and any other text are refused at once", async () => {
    const cases = [
      text.replace("Version: 1", "Version: 2"),
      text.replace(/Scrypt-N: \d+/, "Scrypt-N: 1073741824"),
      text.replace(/Scrypt-N: \d+/, "Scrypt-N: 65537"),
      text.slice(0, text.length / 2),
      "",
      "junk",
      "x".repeat(3_000_000),
    ];
    for (const one of cases) assert.equal(codeOf(await readBackup(one, PASSPHRASE)), "invalid");
  });

  it("backup: what is inside and no backup is refused in words that repeat nothing of it", async () => {
    const secret = "MIGHAgEAMBMGByqGSM49";
    const fine = { charter: backup.charter, keys: backup.keys };
    const cases: readonly unknown[] = [
      null,
      7,
      secret,
      [],
      {},
      { ...fine, charter: null },
      { ...fine, charter: { ...backup.charter, clusterId: secret } },
      { ...fine, keys: null },
      { ...fine, keys: secret },
      { ...fine, keys: { [secret]: secret } },
      { ...fine, keys: { [Object.keys(backup.keys)[0] ?? ""]: 7 } },
    ];
    const texts = [...cases.map((one) => JSON.stringify(one)), secret, `{"keys":{"${secret}`];
    for (const plain of texts) {
      const read = await readBackup(sealedAs(plain, backup.charter.clusterId), PASSPHRASE);
      assert.equal(codeOf(read), "corrupt", plain);
      assert.ok(!read.ok && !read.failure.message.includes(secret.slice(0, 6)), plain);
    }
  });

  it("backup: keys that do not fit its authorities are refused though the passphrase is right", async () => {
    const other = await newBackup(backup.charter.clusterId);
    const [fingerprint = ""] = Object.keys(backup.keys);
    const [foreign = ""] = Object.values(other.keys);
    const cases: readonly Backup[] = [
      { charter: backup.charter, keys: { [fingerprint]: foreign } },
      { charter: backup.charter, keys: other.keys },
      { charter: { ...backup.charter, clusterId: "b".repeat(20) }, keys: backup.keys },
    ];
    for (const one of cases) {
      const rendered = await renderBackup(one, PASSPHRASE, NOW_MS);
      assert.equal(codeOf(await readBackup(rendered, PASSPHRASE)), "corrupt");
    }
  });
});
