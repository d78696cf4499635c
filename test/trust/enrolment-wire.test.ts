// What a door and a joiner read of each other: whole or refused, whatever comes.

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../src/model/limits.ts";
import {
  isProof,
  MEMBERS_NAMED,
  parseClusterAnswer,
  parseGrantAnswer,
  parseJoinRequest,
  parseKeysAnswer,
  parseRefusal,
  parseRenewRequest,
  proofText,
} from "../../src/trust/enrolment-wire.ts";

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const anything = fc.oneof(
  fc.string(),
  fc.json(),
  fc.object().map((one) => JSON.stringify(one)),
);

describe("enrolment wire", () => {
  it("enrolment wire: a request is read as it was written; a name that is no label is left out", () => {
    const names = fc.option(fc.constantFrom("host-7", "Host-7", "no label", "", "a".repeat(64)));
    fc.assert(
      fc.property(bytes(LIMITS.csrBytes), bytes(72), names, (csr, proof, name) => {
        const sent = { csr: base64(csr), proof: base64(proof), secret: "0".repeat(25), name };
        const parsed = parseJoinRequest(JSON.stringify(sent));
        assert.ok(parsed.ok);
        assert.deepEqual(Buffer.from(parsed.value.csr), Buffer.from(csr));
        assert.deepEqual(Buffer.from(parsed.value.proof), Buffer.from(proof));
        assert.equal(parsed.value.name, name?.toLowerCase() === "host-7" ? "host-7" : null);
      }),
    );
  });

  it("enrolment wire: anything else is refused without an exception, and without repeating the secret", () => {
    const secret = "s".repeat(25);
    fc.assert(
      fc.property(
        anything,
        fc.dictionary(fc.constantFrom("csr", "proof", "name"), fc.jsonValue()),
        (text, fields) => {
          const parsers = [
            parseRenewRequest,
            parseClusterAnswer,
            parseGrantAnswer,
            parseKeysAnswer,
            parseJoinRequest,
          ];
          for (const parse of parsers) {
            for (const given of [text, JSON.stringify({ ...fields, secret })]) {
              const parsed = parse(given);
              if (!parsed.ok) assert.ok(!parsed.failure.message.includes(secret));
            }
          }
          assert.equal(typeof parseRefusal(text).text, "string");
        },
      ),
    );
  });

  it("enrolment wire: a signing request, a proof or a secret past its bound is refused", () => {
    const good = { csr: base64(new Uint8Array(10)), proof: base64(new Uint8Array(70)), secret: "0" };
    assert.ok(parseJoinRequest(JSON.stringify(good)).ok);
    for (const worse of [
      { csr: base64(new Uint8Array(LIMITS.csrBytes + 3)) },
      { proof: base64(new Uint8Array(100)) },
      { secret: "0".repeat(65) },
    ]) {
      assert.equal(parseJoinRequest(JSON.stringify({ ...good, ...worse })).ok, false);
    }
  });

  it("enrolment wire: nobody is sent to a name, only to addresses, and to so many at most", () => {
    const managers = [
      "192.0.2.1:7650",
      "[2001:db8::1]:7650",
      "evil.example:7650",
      "192.0.2.1",
      "192.0.2.300:1",
      7,
      null,
    ];
    assert.deepEqual(parseRefusal(JSON.stringify({ managers })).managers, [
      { host: "192.0.2.1", port: 7650 },
      { host: "2001:db8::1", port: 7650 },
    ]);
    const many = Array.from({ length: 1000 }, () => "192.0.2.1:1");
    assert.equal(parseRefusal(JSON.stringify({ managers: many })).managers.length, MEMBERS_NAMED);
  });

  it("enrolment wire: a refusal's text moves nobody's cursor and fills nobody's screen", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 2000 }), (error) => {
        const { text, reason } = parseRefusal(JSON.stringify({ error, reason: error }));
        assert.match(text, /^[\x20-\x7e]*$/);
        assert.ok(text.length <= LIMITS.problemTextBytes);
        assert.ok(reason === null || reason === error);
      }),
    );
    assert.equal(parseRefusal('{"reason":"wrong-token"}').reason, "wrong-token");
    assert.equal(parseRefusal('{"reason":"toString"}').reason, null);
  });

  it("enrolment wire: a proof counts for its key, its kind and its connection, and for nothing else", () => {
    const [one, other] = [0, 1].map(() => generateKeyPairSync("ec", { namedCurve: "prime256v1" }));
    assert.ok(one !== undefined && other !== undefined);
    const spki = (pair: typeof one): Uint8Array => pair.publicKey.export({ type: "spki", format: "der" });
    const binding = Buffer.alloc(32, 1);
    const proof = sign("sha256", proofText("join", binding), one.privateKey);
    assert.equal(isProof("join", binding, { publicKey: spki(one), proof }), true);
    assert.equal(isProof("renew", binding, { publicKey: spki(one), proof }), false);
    assert.equal(isProof("join", Buffer.alloc(32, 2), { publicKey: spki(one), proof }), false);
    assert.equal(isProof("join", binding, { publicKey: spki(other), proof }), false);
    fc.assert(
      fc.property(bytes(80), (junk) => {
        assert.equal(isProof("join", binding, { publicKey: spki(one), proof: junk }), false);
      }),
    );
  });
});
