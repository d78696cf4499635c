// Which certificates count, judged side by side with `openssl verify`; and what a person is told of the others.

import assert from "node:assert/strict";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { Result } from "../../src/base/failure.ts";
import type { Root } from "../../src/model/charter.ts";
import {
  checkCertificate,
  decodeCertificate,
  parseCertificate,
  parseCertificateText,
  type Holder,
  type Issuer,
} from "../../src/trust/certificate.ts";
import { nodeIdOf, spkiOf } from "../../src/trust/identity.ts";
import { readRoot } from "../../src/trust/root.ts";

import {
  authorities,
  certify,
  CLUSTER,
  DAY_MS,
  drawKey,
  makeAuthority,
  makeNode,
  openssl,
  OTHER_CLUSTER,
  type Holding,
} from "./certificates.ts";

/** Certificates made while the tests run are good from now on: on a busy machine that may be a while. */
const nowMs = Date.now() + 600_000;
const madeAtMs = (der: Uint8Array): number => Date.parse(new X509Certificate(der).validFrom);

function issuer(root: Root): Issuer {
  const read = readRoot(CLUSTER, root);
  assert.ok(read.ok, read.ok ? "" : read.failure.message);
  return read.value;
}

function check(
  der: Uint8Array,
  options: { nowMs?: number; issuers?: readonly Issuer[] } = {},
): Result<Holder> {
  const issuers = options.issuers ?? authorities().map(({ root }) => issuer(root));
  return checkCertificate(der, { clusterId: CLUSTER, issuers, nowMs: options.nowMs ?? nowMs });
}

/** The text of the refusal, which names the subject, too. */
function refusalOf(
  holding: Holding & { readonly id?: string },
  options: Parameters<typeof check>[1] = {},
): string {
  const checked = check(holding.der, options);
  assert.ok(!checked.ok, "it is refused");
  assert.equal(checked.failure.code, "not-allowed");
  if (holding.id !== undefined)
    assert.ok(checked.failure.message.includes(holding.id), checked.failure.message);
  return checked.failure.message;
}

/** What openssl says of a node's certificate under the first authority, as a client's and as a server's. */
function opensslAccepts(der: Holding, purpose: "sslclient" | "sslserver"): boolean {
  const args = [
    "verify",
    "-x509_strict",
    "-check_ss_sig",
    "-purpose",
    purpose,
    "-CAfile",
    "ca.pem",
    "node.pem",
  ];
  return openssl(args, { "ca.pem": authorities()[0].pem, "node.pem": der.pem }).ok;
}

describe("certificate", () => {
  it("a certificate of this cluster says who holds it, in which role, until when and by whose word", () => {
    const [first, second] = authorities();
    for (const [authority, role] of [
      [first, "worker"],
      [second, "manager"],
    ] as const) {
      const node = makeNode(authority, { role });
      const checked = check(node.der);
      assert.ok(checked.ok, checked.ok ? "" : checked.failure.message);
      const { credential, publicKey } = checked.value;
      assert.deepEqual(
        [credential.id, credential.role, credential.issuer],
        [nodeIdOf(spkiOf(node.key)), role, authority.root.fingerprint],
      );
      assert.equal(credential.notAfterMs - madeAtMs(node.der), 90 * DAY_MS);
      assert.deepEqual(spkiOf(publicKey), spkiOf(node.key));
    }
  });

  it("openssl takes what we take, as a client's and as a server's, and refuses what another authority issued", () => {
    const node = makeNode(authorities()[0]);
    assert.ok(check(node.der).ok);
    assert.ok(opensslAccepts(node, "sslclient") && opensslAccepts(node, "sslserver"));
    const foreign = makeNode(makeAuthority(CLUSTER, 1));
    assert.ok(!opensslAccepts(foreign, "sslclient"));
    assert.match(refusalOf(foreign), /not issued by an authority of this cluster/);
  });

  it("who signed it himself, or was signed by a member, is not of this cluster", () => {
    const [first] = authorities();
    const member = makeNode(first, { role: "manager" });
    const posing = makeNode(first, { issuer: member });
    assert.match(refusalOf(posing), /not issued by an authority/);
    const key = drawKey();
    const id = nodeIdOf(spkiOf(key));
    const extensions = [
      "basicConstraints=critical,CA:FALSE",
      "extendedKeyUsage=serverAuth,clientAuth",
      `subjectAltName=URI:skein://${CLUSTER}/node/${id}`,
    ];
    const own = certify({ key, subject: `/O=${CLUSTER}/OU=manager/CN=${id}`, extensions });
    assert.match(refusalOf({ ...own, id }), /not issued by an authority/);
  });

  it("the right authority's certificate for another cluster is refused", () => {
    assert.match(
      refusalOf(makeNode(authorities()[0], { clusterId: OTHER_CLUSTER })),
      /is for another cluster/,
    );
  });

  it("a role that there is none of, more fields or fewer, or names beside ours are refused", () => {
    const [first] = authorities();
    assert.match(
      refusalOf(makeNode(first, { role: "Manager" })),
      /expected O=cluster, OU=manager\|worker, CN=id/,
    );
    const key = drawKey();
    const id = nodeIdOf(spkiOf(key));
    const subjects = [
      `/O=${CLUSTER}/OU=worker/OU=manager/CN=${id}`,
      `/O=${CLUSTER}/OU=manager/CN=${id}/CN=${id}`,
      `/O=${CLUSTER}/OU=manager\\nx/CN=${id}`,
      `/O=${CLUSTER}/CN=${id}`,
      `/CN=${id}`,
      `/O=${CLUSTER}/OU=worker\nOU=manager/CN=${id}`,
    ];
    for (const subject of subjects)
      assert.match(refusalOf(makeNode(first, { key, subject })), /does not name a node/);
    const good = `URI:skein://${CLUSTER}/node/${id}`;
    for (const names of [
      `${good},DNS:localhost`,
      `URI:skein://${CLUSTER}/node/${"a".repeat(20)}`,
      `DNS:${id}`,
    ])
      assert.match(refusalOf(makeNode(first, { key, names })), /has other names/);
  });

  it("an id that is not made of the certified key is refused, with the id that it should be", () => {
    const key = drawKey();
    const other = nodeIdOf(spkiOf(drawKey()));
    assert.ok(refusalOf(makeNode(authorities()[0], { key, id: other })).includes(nodeIdOf(spkiOf(key))));
  });

  it("a certificate that may issue others, or is for another purpose, is refused", () => {
    const [first] = authorities();
    const key = drawKey();
    const san = `subjectAltName=URI:skein://${CLUSTER}/node/${nodeIdOf(spkiOf(key))}`;
    const both = "extendedKeyUsage=serverAuth,clientAuth";
    const withCa = makeNode(first, { key, extensions: ["basicConstraints=critical,CA:TRUE", both, san] });
    assert.match(refusalOf(withCa), /may issue others/);
    for (const purposes of [[], ["extendedKeyUsage=clientAuth"], ["extendedKeyUsage=serverAuth,codeSigning"]])
      assert.match(refusalOf(makeNode(first, { key, extensions: [...purposes, san] })), /for other purposes/);
  });

  it("keys of other kinds are refused", () => {
    const [first] = authorities();
    const keys = [
      drawKey("secp384r1"),
      drawKey("secp256k1"),
      generateKeyPairSync("ed25519").privateKey,
      generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey,
    ];
    for (const key of keys) {
      assert.match(refusalOf(makeNode(first, { key, id: "a".repeat(20) })), /key of another kind/);
    }
  });

  it("before its time and after it a certificate is refused, saying by how far and what the clock shows", () => {
    const node = makeNode(authorities()[0], { days: 10 });
    const madeMs = madeAtMs(node.der);
    assert.ok(check(node.der, { nowMs: madeMs + 9.9 * DAY_MS }).ok);
    assert.match(
      refusalOf(node, { nowMs: madeMs - 3 * 3_600_000 }),
      /is good only in (2|3) hours; .* clock shows 20/,
    );
    assert.match(refusalOf(node, { nowMs: madeMs + 13.5 * DAY_MS }), /has ended 3 days ago/);
    assert.match(refusalOf(node, { nowMs: madeMs + 10 * DAY_MS + 600_000 }), /has ended (9|10) minutes ago/);
    const ofShortLived = makeAuthority(CLUSTER, 1, { days: 5 });
    const later = makeNode(ofShortLived);
    const issuers = [issuer(ofShortLived.root)];
    assert.ok(check(later.der, { issuers }).ok);
    assert.match(
      refusalOf(later, { issuers, nowMs: madeMs + 8 * DAY_MS }),
      /has an authority that has ended (2|3) days ago/,
    );
  });

  it("what a retired authority issued does not count", () => {
    const [first, second] = authorities();
    const issuers = [{ ...issuer(first.root), trusted: false }, issuer(second.root)];
    assert.match(refusalOf(makeNode(first), { issuers }), /authority 1, which is retired/);
    assert.ok(check(makeNode(second).der, { issuers }).ok);
  });

  it("a certificate with any bit flipped is refused, and nothing that bytes can say throws", () => {
    const { der } = makeNode(authorities()[0]);
    for (let at = 0; at < der.length; at += 1) {
      const damaged = Buffer.from(der);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      assert.ok(!check(damaged).ok, `byte ${at}`);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: der.length }), (bytes, at) => {
        assert.ok(!check(bytes).ok);
        const damaged = Buffer.concat([der.subarray(0, at), bytes, der.subarray(at + bytes.length + 1)]);
        // At its very end nothing is cut off.
        assert.ok(damaged.equals(der) || !check(damaged).ok);
      }),
    );
  });

  it("a certificate is one form of bytes: not PEM, nothing after it, not larger than the bound", () => {
    const { der, pem } = makeNode(authorities()[0]);
    assert.ok(parseCertificate(der).ok && parseCertificateText(der.toString("base64")).ok);
    for (const other of [
      Buffer.from(pem),
      Buffer.concat([der, Buffer.of(0)]),
      Buffer.alloc(4097),
      Buffer.alloc(0),
    ]) {
      const parsed = parseCertificate(other);
      assert.ok(!parsed.ok && parsed.failure.code === "invalid");
    }
    const text = der.toString("base64");
    for (const other of [` ${text}`, `${text}\n`, text.replace(/.$/, "!"), "A".repeat(6000)])
      assert.ok(!decodeCertificate(other).ok && !parseCertificateText(other).ok);
  });
});
