// Which authorities are of this cluster, and whom they vouch for, judged side by side with `openssl verify`.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { sha256Hex } from "../../src/base/bytes.ts";
import type { Root } from "../../src/model/charter.ts";
import { mergeCharter, trustedRoots } from "../../src/trust/charter.ts";
import { authorityName, readRoot, rootVerifier } from "../../src/trust/root.ts";

import {
  authorities,
  certify,
  charterWith,
  CLUSTER,
  drawKey,
  makeAuthority,
  makeNode,
  openssl,
  OTHER_CLUSTER,
  type Holding,
} from "./certificates.ts";

const CA = "basicConstraints=critical,CA:TRUE,pathlen:0";

function refusalOf(root: Root): string {
  const read = readRoot(CLUSTER, root);
  assert.ok(!read.ok, "it is refused");
  return read.failure.message;
}

function rootOf({ der }: Holding, changed: Partial<Root> = {}): Root {
  const certificate = der.toString("base64");
  return { fingerprint: sha256Hex(der), certificate, cross: null, generation: 1, retired: false, ...changed };
}

function own(wanted: {
  subject?: string;
  extensions?: readonly string[];
  curve?: string;
  issuer?: Holding;
}): Holding {
  const {
    subject = `/O=${CLUSTER}/CN=skein authority 1`,
    extensions = [CA, "keyUsage=critical,keyCertSign"],
  } = wanted;
  const key = drawKey(wanted.curve);
  return certify({
    key,
    subject,
    extensions,
    ...(wanted.issuer === undefined ? {} : { issuer: wanted.issuer }),
  });
}

describe("root", () => {
  it("an authority is read with its generation and key, and openssl takes it for one that may issue", () => {
    const [first, second] = authorities();
    for (const [at, { root, pem }] of [first, second].entries()) {
      const read = readRoot(CLUSTER, root);
      assert.ok(read.ok, read.ok ? "" : read.failure.message);
      assert.deepEqual(
        [read.value.generation, read.value.fingerprint, read.value.trusted],
        [at + 1, root.fingerprint, true],
      );
      assert.equal(authorityName(at + 1), `skein authority ${at + 1}`);
      assert.ok(
        openssl(["verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.pem", "ca.pem"], { "ca.pem": pem })
          .ok,
      );
    }
    const kept = readRoot(CLUSTER, { ...first.root, retired: true });
    assert.ok(kept.ok && !kept.value.trusted);
  });

  it("an authority that is not what is said of it is refused, and the refusal says why", () => {
    const [first, second] = authorities();
    assert.match(refusalOf({ ...first.root, fingerprint: second.root.fingerprint }), /another fingerprint/);
    assert.match(refusalOf({ ...first.root, generation: 2 }), /CN=skein authority 2/);
    assert.match(refusalOf(makeAuthority(OTHER_CLUSTER, 1).root), new RegExp(`expected O=${CLUSTER}`));
    assert.match(refusalOf(rootOf(own({ extensions: ["basicConstraints=CA:FALSE"] }))), /may not issue/);
    assert.match(refusalOf(rootOf(own({ curve: "secp384r1" }))), /key of another kind/);
    assert.match(refusalOf(rootOf(own({ issuer: first }))), /not signed by itself/);
    assert.match(
      refusalOf(rootOf(own({ subject: `/O=${CLUSTER}/OU=x/CN=skein authority 1` }))),
      /is another/,
    );
    assert.match(refusalOf({ ...first.root, certificate: "AAAA" }), /cannot be read/);
    assert.match(refusalOf(rootOf(makeNode(first))), /is another/);
  });

  it("an authority vouches for another by a certificate of the same name and key, as openssl judges, too", () => {
    const [first, second] = authorities();
    const isVouched = rootVerifier(CLUSTER);
    assert.ok(isVouched(second.root, [first.root]));
    assert.ok(!isVouched(first.root, [second.root]), "not the other way");
    assert.ok(!isVouched(second.root, []));
    const files = { "old.pem": first.pem, "cross.pem": pemOfText(second.root.cross ?? "") };
    const judged = openssl(["verify", "-partial_chain", "-CAfile", "old.pem", "cross.pem"], files);
    assert.ok(judged.ok, judged.text);
  });

  it("crosses that are somebody else's, by somebody else, or no certificates vouch for nobody", () => {
    const [first, second] = authorities();
    const third = makeAuthority(CLUSTER, 3, { before: second });
    const foreign = makeAuthority(CLUSTER, 1);
    const heirOfForeign = makeAuthority(CLUSTER, 2, { before: foreign });
    const isVouched = rootVerifier(CLUSTER);
    const crosses = [null, "", "AAAA", first.root.certificate, third.root.cross, second.root.certificate];
    for (const cross of crosses) {
      assert.ok(!isVouched({ ...second.root, cross }, [first.root]), `${cross?.slice(0, 20)}`);
    }
    assert.ok(!isVouched(heirOfForeign.root, [first.root]), "the same names do not make the same authority");
    assert.ok(!isVouched({ ...third.root, cross: third.root.cross }, [first.root]));
    const leaf = makeNode(first, { key: second.key, subject: `/O=${CLUSTER}/CN=skein authority 2` });
    assert.ok(
      !isVouched({ ...second.root, cross: leaf.der.toString("base64") }, [first.root]),
      "it may not issue",
    );
    const member = makeNode(first);
    const byMember = makeAuthority(CLUSTER, 2, { before: { ...first, ...member } });
    assert.ok(!isVouched(byMember.root, [first.root]), "a member vouches for nobody");
  });

  it("who knows the first authority alone takes the third by way of the second, and no foreign one", () => {
    const [first, second] = authorities();
    const third = makeAuthority(CLUSTER, 3, { before: second });
    const foreign = makeAuthority(CLUSTER, 9);
    const known = charterWith([first]);
    const merged = mergeCharter(known, charterWith([third, foreign, second]), rootVerifier(CLUSTER));
    assert.deepEqual(
      trustedRoots(merged).map(({ generation }) => generation),
      [3, 2, 1],
    );
    assert.equal(mergeCharter(known, charterWith([third]), rootVerifier(CLUSTER)), known);
  });
});

function pemOfText(base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
