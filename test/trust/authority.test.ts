// What an authority signs, judged by openssl and node:crypto.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";

import * as fc from "fast-check";

import { Failure } from "../../src/base/failure.ts";
import {
  AUTHORITY_LIFE_MS,
  authorityOf,
  CERTIFICATE_LIFE_MS,
  createAuthority,
  crossSign,
  drawClusterId,
  issueCertificate,
  makeCsr,
  readCsr,
  renderKey,
} from "../../src/trust/authority.ts";
import { nodeIdOf } from "../../src/trust/identity.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openFolder } from "../support/folder.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 12);
const DAY_MS = 86_400_000;
const CLUSTER = "abcdefghij234567abcd";

const newKey = (namedCurve = "prime256v1") => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
  const spki = publicKey.export({ type: "spki", format: "der" });
  return { privateKey, publicKey: spki, id: nodeIdOf(spki) };
};

const certificateOf = (der: Uint8Array | string): X509Certificate =>
  new X509Certificate(typeof der === "string" ? Buffer.from(der, "base64") : der);

/** Runs openssl; its words on both channels, and whether it was content. */
const openssl = (...args: readonly string[]): { readonly ok: boolean; readonly text: string } => {
  try {
    return { ok: true, text: execFileSync("openssl", args, { encoding: "utf8", stdio: "pipe" }) };
  } catch (thrown) {
    return { ok: false, text: String((thrown as { stderr?: string }).stderr) };
  }
};

const withFile = async (t: TestContext) => {
  const folder = await openFolder(t);
  return async (name: string, der: Uint8Array | string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, certificateOf(der).toString());
    return path;
  };
};

const atTime = (ms: number): string => String(Math.floor(ms / 1000));

describe("authority", () => {
  it("openssl accepts a certificate for a server and for a client, under its own authority alone", async (t) => {
    const save = await withFile(t);
    const [ours, foreign] = [
      await createAuthority(CLUSTER, 1, NOW_MS),
      await createAuthority(CLUSTER, 1, NOW_MS),
    ];
    const { publicKey, id } = newKey();
    const leaf = await issueCertificate(ours, {
      publicKey,
      id,
      clusterId: CLUSTER,
      role: "worker",
      nowMs: NOW_MS,
    });
    const [root, other, file] = [
      await save("root.pem", ours.root.certificate),
      await save("other.pem", foreign.root.certificate),
      await save("leaf.pem", leaf),
    ];
    for (const purpose of ["sslserver", "sslclient"]) {
      const strict = ["-x509_strict", "-purpose", purpose, "-attime", atTime(NOW_MS)];
      assert.equal(openssl("verify", ...strict, "-CAfile", root, file).text.trim(), `${file}: OK`);
      assert.equal(openssl("verify", ...strict, "-CAfile", other, file).ok, false);
    }
    assert.ok(certificateOf(leaf).verify(certificateOf(ours.root.certificate).publicKey));
    assert.ok(certificateOf(leaf).checkIssued(certificateOf(ours.root.certificate)));
  });

  it("a certificate says cluster, role and id where openssl shows them", async (t) => {
    const save = await withFile(t);
    const authority = await createAuthority(CLUSTER, 7, NOW_MS);
    const { publicKey, id } = newKey();
    const leaf = await issueCertificate(authority, {
      publicKey,
      id,
      clusterId: CLUSTER,
      role: "manager",
      nowMs: NOW_MS,
    });
    const { text } = openssl("x509", "-noout", "-text", "-in", await save("leaf.pem", leaf));
    assert.match(text, /Version: 3/);
    assert.match(text, new RegExp(`Issuer: O = ${CLUSTER}, CN = skein authority 7`));
    assert.match(text, new RegExp(`Subject: O = ${CLUSTER}, OU = manager, CN = ${id}`));
    assert.match(text, new RegExp(`URI:skein://${CLUSTER}/node/${id}`));
    assert.match(text, /Basic Constraints: critical\s+CA:FALSE/);
    assert.match(text, /Key Usage: critical\s+Digital Signature\n/);
    assert.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/);
    assert.match(text, /ecdsa-with-SHA256/);
    const root = openssl(
      "x509",
      "-noout",
      "-text",
      "-in",
      await save("root.pem", authority.root.certificate),
    );
    assert.match(root.text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    assert.match(root.text, /Key Usage: critical\s+Certificate Sign\n/);
  });

  it("a certificate is good for hosts whose clock is off by a day, for 90 days, and no longer", async (t) => {
    const save = await withFile(t);
    const authority = await createAuthority(CLUSTER, 1, NOW_MS);
    const { publicKey, id } = newKey();
    const leaf = await issueCertificate(authority, {
      publicKey,
      id,
      clusterId: CLUSTER,
      role: "worker",
      nowMs: NOW_MS,
    });
    const root = await save("root.pem", authority.root.certificate);
    const file = await save("leaf.pem", leaf);
    const goodAt = (ms: number): boolean =>
      openssl("verify", "-attime", atTime(ms), "-CAfile", root, file).ok;
    const offsets = [-3, -1.9, -1, 0, 1, 89, 91];
    assert.deepEqual(
      offsets.map((days) => goodAt(NOW_MS + days * DAY_MS)),
      [false, true, true, true, true, true, false],
    );
    assert.equal(certificateOf(leaf).validToDate.getTime(), NOW_MS + CERTIFICATE_LIFE_MS);
    const rootEnd = certificateOf(authority.root.certificate).validToDate.getTime();
    assert.equal(rootEnd, NOW_MS + AUTHORITY_LIFE_MS);
  });

  it("a later authority is vouched for by the one before it, and openssl sees why", async (t) => {
    const save = await withFile(t);
    const older = await createAuthority(CLUSTER, 1, NOW_MS);
    const later = await createAuthority(CLUSTER, 2, NOW_MS);
    const root = await crossSign(older, later.root, NOW_MS);
    assert.deepEqual({ ...root, cross: null }, later.root);
    assert.ok(root.cross !== null);
    const [oldFile, cross] = [
      await save("old.pem", older.root.certificate),
      await save("cross.pem", root.cross),
    ];
    const judged = openssl("verify", "-x509_strict", "-attime", atTime(NOW_MS), "-CAfile", oldFile, cross);
    assert.equal(judged.text.trim(), `${cross}: OK`);
    const [crossed, self] = [certificateOf(root.cross), certificateOf(later.root.certificate)];
    assert.equal(crossed.subject, self.subject);
    assert.deepEqual(
      crossed.publicKey.export({ type: "spki", format: "der" }),
      self.publicKey.export({ type: "spki", format: "der" }),
    );
    assert.ok(crossed.verify(certificateOf(older.root.certificate).publicKey));
  });

  it("serial numbers have 16 bytes and never come twice; cluster ids neither", async () => {
    const authority = await createAuthority(CLUSTER, 1, NOW_MS);
    const { publicKey, id } = newKey();
    const request = { publicKey, id, clusterId: CLUSTER, role: "worker", nowMs: NOW_MS } as const;
    const ders = await Promise.all(Array.from({ length: 50 }, () => issueCertificate(authority, request)));
    const serials = ders.map((der) => certificateOf(der).serialNumber);
    assert.ok(serials.every((serial) => /^[4-7][0-9A-F]{31}$/.test(serial)));
    assert.equal(new Set(serials).size, 50);
    const ids = Array.from({ length: 50 }, drawClusterId);
    assert.ok(ids.every((one) => /^[a-z2-7]{20}$/.test(one)));
    assert.equal(new Set(ids).size, 50);
  });

  it("an authority is the same after its key was written and read; another's key is refused", async () => {
    const [one, other] = [
      await createAuthority(CLUSTER, 1, NOW_MS),
      await createAuthority(CLUSTER, 1, NOW_MS),
    ];
    const again = authorityOf(one.root, renderKey(one));
    assert.ok(again.ok && again.value.privateKey.equals(one.privateKey));
    for (const pem of [renderKey(other), "", "junk", renderKey(one).slice(0, 100)]) {
      const refused = authorityOf(one.root, pem);
      assert.ok(!refused.ok);
      assert.equal(refused.failure.code, "corrupt");
      assert.ok(!pem.includes("PRIVATE") || !refused.failure.message.includes(pem.slice(40, 60)));
    }
  });
});

describe("signing request", () => {
  it("openssl verifies ours, and we read it back: the id comes from the key", async (t) => {
    const folder = await openFolder(t);
    const { privateKey, publicKey, id } = newKey();
    const csr = await makeCsr(id, privateKey, publicKey);
    const path = join(folder, "node.csr");
    await writeFile(path, csr);
    assert.ok(openssl("req", "-verify", "-noout", "-inform", "DER", "-in", path).ok);
    const read = await readCsr(csr);
    assert.ok(read.ok);
    assert.equal(read.value.id, id);
    assert.deepEqual(Buffer.from(read.value.publicKey), publicKey);
    assert.ok(csr.length < LIMITS.csrBytes / 2);
  });

  it("one of openssl's is read too, whatever name it has", async (t) => {
    const folder = await openFolder(t);
    const { privateKey, id } = newKey();
    const [keyPath, path] = [join(folder, "key.pem"), join(folder, "csr.der")];
    await writeFile(keyPath, privateKey.export({ type: "pkcs8", format: "pem" }));
    openssl("req", "-new", "-key", keyPath, "-subj", "/CN=somebody", "-outform", "DER", "-out", path);
    const { readFile } = await import("node:fs/promises");
    const read = await readCsr(await readFile(path));
    assert.ok(read.ok);
    assert.equal(read.value.id, id);
  });

  it("another's signature, another curve, or too many bytes are refused", async () => {
    const [one, other] = [newKey(), newKey()];
    const stolen = await makeCsr(one.id, one.privateKey, other.publicKey);
    const p384 = newKey("secp384r1");
    const refusals = [
      await readCsr(stolen),
      await readCsr(new Uint8Array(LIMITS.csrBytes + 1)),
      await readCsr(new Uint8Array(0)),
      await readCsr(p384.publicKey),
    ];
    assert.ok(refusals.every((refusal) => !refusal.ok && refusal.failure.code === "invalid"));
  });

  it("damaged anywhere it is refused, or says the same", async () => {
    const { privateKey, publicKey, id } = newKey();
    const whole = await makeCsr(id, privateKey, publicKey);
    const damage = fc.record({ at: fc.nat(whole.length - 1), bit: fc.nat(7), cut: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(damage, async ({ at, bit, cut }) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        const read = await readCsr(cut ? bytes.subarray(0, at) : bytes);
        if (read.ok) assert.equal(read.value.id, id);
        else assert.ok(read.failure instanceof Failure && read.failure.code === "invalid");
      }),
    );
  });

  it("any bytes of a stranger's are refused, never more than that", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        assert.equal((await readCsr(bytes)).ok, false);
      }),
    );
  });
});
