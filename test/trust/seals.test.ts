// Nobody speaks for another: what a seal holds for, and everything it does not hold for. With real keys.

import assert from "node:assert/strict";
import { verify } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { Charter } from "../../src/model/charter.ts";
import type { Credential } from "../../src/model/credential.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { SEAL_BYTES, type ContentSum, type SealedHead } from "../../src/model/seal.ts";
import { Admission } from "../../src/trust/admission.ts";
import { judgedBy, NodeSeals } from "../../src/trust/seals.ts";
import { sealsContract } from "../contracts/seals.ts";

import {
  authorities,
  charterWith,
  CLUSTER,
  DAY_MS,
  makeAuthority,
  makeNode,
  OTHER_CLUSTER,
  retired,
  type TestAuthority,
} from "./certificates.ts";

/** Certificates made while the tests run are good from now on: on a busy machine that may be a while. */
const nowMs = Date.now() + 600_000;

/** A node with a charter that the test may change. */
class Member {
  readonly id: string;
  readonly seals: NodeSeals;
  readonly node: ReturnType<typeof makeNode>;
  charter: Charter = charterWith(authorities());

  constructor(authority: TestAuthority, clusterId = CLUSTER, node = makeNode(authority, { clusterId })) {
    this.node = node;
    this.id = node.id;
    this.seals = new NodeSeals({
      clusterId,
      privateKey: node.key,
      certificate: () => node.der.toString("base64"),
      admission: new Admission(() => this.charter),
    });
  }

  /** What this node makes of another's certificate. */
  knows(other: Member, atMs = nowMs): Credential {
    const found = this.seals.credentialOf(other.id, other.seals.certificate, atMs);
    assert.ok(found.ok, found.ok ? "" : found.failure.message);
    return found.value;
  }
}

const [FIRST, SECOND] = authorities();
const owner = new Member(FIRST);
const holder = new Member(SECOND);
const head: SealedHead = { owner: owner.id, incarnation: 7, version: 3 };

function sumOf(member: Member, ...bodies: readonly string[]): ContentSum {
  const sum = member.seals.emptySum();
  for (const [at, body] of bodies.entries()) sum.add(`key-${at}`, at + 1, body);
  return sum;
}

sealsContract("real seals", () => {
  const elsewhere = makeAuthority(OTHER_CLUSTER, 1);
  return {
    nowMs,
    afterMs: nowMs + 30 * DAY_MS,
    make: ({ role = "worker", cluster = "this", ends = false } = {}) => {
      const [clusterId, authority] = cluster === "this" ? [CLUSTER, FIRST] : [OTHER_CLUSTER, elsewhere];
      return new Member(authority, clusterId, makeNode(authority, { clusterId, role, days: ends ? 10 : 90 }));
    },
  };
});

describe("seals", () => {
  it("what an owner has sealed holds for everybody who has the same entries", () => {
    const seal = owner.seals.seal(head, sumOf(owner, "a", "b", "c"));
    assert.equal(seal.length, SEAL_BYTES);
    const by = holder.knows(owner);
    assert.equal(by.id, owner.id);
    assert.ok(holder.seals.isSealed(by, head, sumOf(holder, "a", "b", "c"), seal, nowMs));
  });

  it("a seal holds for no other content, version, life or owner, and not with any bit flipped", () => {
    const sum = sumOf(owner, "a", "b", "c");
    const seal = owner.seals.seal(head, sum);
    const by = holder.knows(owner);
    const isSealed = (changed: Partial<SealedHead>, other: ContentSum, bytes: Uint8Array = seal): boolean =>
      holder.seals.isSealed(by, { ...head, ...changed }, other, bytes, nowMs);
    assert.ok(isSealed({}, sum));
    assert.ok(!isSealed({ version: 4 }, sum));
    assert.ok(!isSealed({ incarnation: 8 }, sum));
    assert.ok(!isSealed({ incarnation: 73, version: 3 }, sum));
    assert.ok(!isSealed({ owner: holder.id }, sum));
    for (const bodies of [[], ["a", "b"], ["a", "b", "c", "d"], ["b", "a", "c"], ["a", "b", "c!"]])
      assert.ok(!isSealed({}, sumOf(holder, ...bodies)));
    fc.assert(
      fc.property(fc.nat({ max: SEAL_BYTES * 8 - 1 }), (bit) => {
        const forged = Uint8Array.from(seal);
        forged[bit >>> 3] = (forged[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
        assert.ok(!isSealed({}, sum, forged));
      }),
    );
    for (const bytes of [
      new Uint8Array(0),
      new Uint8Array(64),
      seal.subarray(1),
      Buffer.concat([seal, seal]),
    ])
      assert.ok(!isSealed({}, sum, bytes));
  });

  it("a member cannot seal for another, not even a manager", () => {
    const forger = new Member(FIRST, CLUSTER, makeNode(FIRST, { role: "manager" }));
    const sum = sumOf(forger, "a");
    const seal = forger.seals.seal(head, sum);
    assert.ok(!holder.seals.isSealed(holder.knows(owner), head, sum, seal, nowMs));
    assert.ok(!holder.seals.isSealed(holder.knows(forger), head, sum, seal, nowMs));
    const passedOff = holder.seals.credentialOf(owner.id, forger.seals.certificate, nowMs);
    assert.ok(!passedOff.ok);
    assert.ok(passedOff.failure.message.includes(owner.id) && passedOff.failure.message.includes(forger.id));
  });

  it("a seal of one cluster is none of another, with the same key", () => {
    const { key } = owner.node;
    const elsewhere = makeAuthority(OTHER_CLUSTER, 1);
    const twin = new Member(elsewhere, OTHER_CLUSTER, makeNode(elsewhere, { clusterId: OTHER_CLUSTER, key }));
    assert.equal(twin.id, owner.id);
    const sum = sumOf(owner, "a");
    const by = holder.knows(owner);
    assert.ok(!holder.seals.isSealed(by, head, sum, twin.seals.seal(head, sum), nowMs));
    assert.ok(!holder.seals.isSigned(by, "word", twin.seals.sign("word")));
    assert.ok(!holder.seals.credentialOf(twin.id, twin.seals.certificate, nowMs).ok);
  });

  it("a word holds for its text, its speaker and as a word alone", () => {
    const by = holder.knows(owner);
    const signature = owner.seals.sign("rumor a dead");
    assert.ok(holder.seals.isSigned(by, "rumor a dead", signature));
    assert.ok(!holder.seals.isSigned(by, "rumor a alive", signature));
    assert.ok(!holder.seals.isSigned(holder.knows(new Member(FIRST)), "rumor a dead", signature));
    const sum = sumOf(owner, "a");
    const digest = Buffer.from(owner.seals.emptySum().digest()).toString("hex");
    const sealed = owner.seals.seal(head, owner.seals.emptySum());
    const text = `${owner.id}\n${head.incarnation}\n${head.version}\n${digest}`;
    assert.ok(!holder.seals.isSigned(by, text, sealed), "a seal is no word");
    assert.ok(!holder.seals.isSealed(by, head, sum, owner.seals.sign(text), nowMs), "a word is no seal");
  });

  it("what is signed is what it says it is, by node:crypto's own judgement", () => {
    const text = `skein word 1\n${CLUSTER}\nhello`;
    const key = { key: owner.node.key, dsaEncoding: "ieee-p1363" } as const;
    assert.ok(verify("sha256", Buffer.from(text), key, owner.seals.sign("hello")));
  });

  it("after the end of its certificate nothing that a node seals is taken", () => {
    const by = holder.knows(owner);
    const sum = sumOf(owner, "a");
    const seal = owner.seals.seal(head, sum);
    assert.ok(holder.seals.isSealed(by, head, sum, seal, nowMs + 89 * DAY_MS));
    assert.ok(!holder.seals.isSealed(by, head, sum, seal, nowMs + 91 * DAY_MS));
    const late = holder.seals.credentialOf(owner.id, owner.seals.certificate, nowMs + 91 * DAY_MS);
    assert.ok(!late.ok && late.failure.message.includes("has ended"));
  });

  it("from its removal on nothing of a node is taken, also by a credential that was got before", () => {
    const sum = sumOf(owner, "a");
    const seal = owner.seals.seal(head, sum);
    const word = owner.seals.sign("word");
    const witness = new Member(FIRST);
    const by = witness.knows(owner);
    assert.ok(witness.seals.isSealed(by, head, sum, seal, nowMs) && witness.seals.isSigned(by, "word", word));
    witness.charter = { ...witness.charter, revoked: [{ id: owner.id, untilMs: nowMs + 1 }] };
    assert.ok(
      !witness.seals.isSealed(by, head, sum, seal, nowMs) && !witness.seals.isSigned(by, "word", word),
    );
    const found = witness.seals.credentialOf(owner.id, owner.seals.certificate, nowMs);
    assert.ok(!found.ok && found.failure.message.includes("was removed"));
  });

  it("after a change of authorities only those with a certificate of the new one are heard", () => {
    const witness = new Member(SECOND);
    const renewed = new Member(SECOND, CLUSTER, makeNode(SECOND, { key: owner.node.key }));
    const sum = sumOf(owner, "a");
    const seal = owner.seals.seal(head, sum);
    const before = witness.knows(owner);
    witness.charter = retired(witness.charter, FIRST);
    assert.ok(!witness.seals.isSealed(before, head, sum, seal, nowMs));
    assert.ok(!witness.seals.credentialOf(owner.id, owner.seals.certificate, nowMs).ok);
    const after = witness.knows(renewed);
    assert.equal(after.issuer, SECOND.root.fingerprint);
    assert.ok(
      witness.seals.isSealed(after, head, sum, seal, nowMs),
      "the key is the same, so the seal still holds",
    );
  });

  it("a credential stays the same object while the certificate does, whatever else changes in the charter", () => {
    const witness = new Member(FIRST);
    const before = witness.knows(owner);
    assert.equal(witness.knows(owner), before);
    witness.charter = { ...charterWith(authorities()), tokens: { worker: 2, manager: 1 } };
    assert.equal(witness.knows(owner), before);
    assert.ok(witness.seals.isSigned(before, "x", owner.seals.sign("x")));
  });

  it("a credential that nobody checked is worth nothing", () => {
    const claimed: Credential = { ...holder.knows(owner), role: "manager" };
    assert.ok(!holder.seals.isSigned(claimed, "x", owner.seals.sign("x")));
  });

  it("a certificate that is no certificate is refused with its owner's name", () => {
    for (const text of [
      "",
      "AAAA",
      "not base64",
      "A".repeat(2 * LIMITS.certificateBytes),
      SECOND.root.certificate,
    ]) {
      const found = holder.seals.credentialOf(owner.id, text, nowMs);
      assert.ok(!found.ok && found.failure.message.includes(owner.id), text.slice(0, 20));
    }
  });
});

describe("seals judged by a clock of their own", () => {
  it("whatever time the asker gives, a certificate and a seal end when that clock says so", () => {
    let atMs = nowMs;
    const judging = judgedBy(() => atMs, owner.seals);
    const { certificate } = holder.seals;
    const sealed: SealedHead = { owner: holder.id, incarnation: 1, version: 1 };
    const sum = sumOf(holder, "a");
    const seal = holder.seals.seal(sealed, sum);
    const found = judging.credentialOf(holder.id, certificate, nowMs + 400 * DAY_MS);
    assert.ok(found.ok, "the asker's clock is far ahead");
    assert.ok(judging.isSealed(found.value, sealed, sum, seal, nowMs + 400 * DAY_MS));
    atMs = nowMs + 400 * DAY_MS;
    assert.ok(!judging.credentialOf(holder.id, certificate, nowMs).ok);
    assert.ok(!judging.isSealed(found.value, sealed, sum, seal, nowMs));
  });
});
