// Who is admitted follows the charter at once: a removal, a retirement, a new authority.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Charter } from "../../src/model/charter.ts";
import { Admission } from "../../src/trust/admission.ts";

import { authorities, charterWith, makeNode, retired } from "./certificates.ts";

/** Certificates made while the tests run are good from now on: on a busy machine that may be a while. */
const nowMs = Date.now() + 600_000;

describe("admission", () => {
  it("a member is admitted until it is removed, and by no certificate after that", () => {
    const [first, second] = authorities();
    let charter: Charter = charterWith([first, second]);
    const admission = new Admission(() => charter);
    const member = makeNode(first, { role: "manager" });
    const again = makeNode(second, { key: member.key, role: "manager" });
    const neighbour = makeNode(first);
    const admitted = admission.admit(member.der, nowMs);
    assert.ok(admitted.ok && admission.isAccepted(admitted.value.credential));
    charter = { ...charter, revoked: [{ id: member.id, untilMs: nowMs + 1000 }] };
    for (const { der } of [member, again]) {
      const refused = admission.admit(der, nowMs);
      assert.ok(!refused.ok && refused.failure.code === "not-allowed");
      assert.ok(
        refused.failure.message.includes(member.id) && refused.failure.message.includes("was removed"),
      );
    }
    assert.ok(admission.isRevoked(member.id) && !admission.isAccepted(admitted.value.credential));
    assert.ok(admission.admit(neighbour.der, nowMs).ok);
  });

  it("what a new authority issues counts as soon as the charter has it, what a retired one issued no longer", () => {
    const [first, second] = authorities();
    let charter: Charter = charterWith([first]);
    const admission = new Admission(() => charter);
    const old = makeNode(first);
    const fresh = makeNode(second);
    const isAdmitted = (): boolean[] => [old, fresh].map(({ der }) => admission.admit(der, nowMs).ok);
    assert.deepEqual(isAdmitted(), [true, false]);
    charter = charterWith([first, second]);
    assert.deepEqual(isAdmitted(), [true, true]);
    const admitted = admission.admit(old.der, nowMs);
    charter = retired(charter, first);
    assert.deepEqual(isAdmitted(), [false, true]);
    assert.ok(admitted.ok && !admission.isAccepted(admitted.value.credential));
  });

  it("who was admitted is objected to once he was removed, his authority is retired or his time is over", () => {
    const [first, second] = authorities();
    let charter: Charter = charterWith([first, second]);
    const admission = new Admission(() => charter);
    const admitted = admission.admit(makeNode(first).der, nowMs);
    assert.ok(admitted.ok);
    const { credential } = admitted.value;
    assert.equal(admission.objection(credential, credential.notAfterMs), null);
    assert.match(admission.objection(credential, credential.notAfterMs + 1) ?? "", /has ended/);
    charter = retired(charter, first);
    assert.match(admission.objection(credential, nowMs) ?? "", /retired/);
    charter = { ...charterWith([first, second]), revoked: [{ id: credential.id, untilMs: nowMs + 1000 }] };
    assert.match(admission.objection(credential, nowMs) ?? "", /removed/);
  });

  it("the newest authority counts even when all are marked as retired", () => {
    const [first, second] = authorities();
    const admission = new Admission(() => retired(retired(charterWith([first, second]), first), second));
    assert.ok(!admission.admit(makeNode(first).der, nowMs).ok);
    assert.ok(admission.admit(makeNode(second).der, nowMs).ok);
  });

  it("an authority in the charter that cannot be read harms nobody but those it issued to", () => {
    const [first, second] = authorities();
    const broken = { ...second.root, certificate: "AAAA" };
    const charter = { ...charterWith([first]), roots: [broken, first.root] };
    const admission = new Admission(() => charter);
    assert.ok(admission.admit(makeNode(first).der, nowMs).ok);
    assert.ok(!admission.admit(makeNode(second).der, nowMs).ok);
    assert.equal(admission.issuers, admission.issuers, "they are not read again while they are the same");
  });
});
