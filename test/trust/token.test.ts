// Join tokens: one text for each, no text that tells a secret.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { isSameSecret, parseToken, renderToken, secretOf } from "../../src/trust/token.ts";

const KEY = new Uint8Array(32).fill(7);
const fingerprints = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString("hex"));
const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
const roles = fc.constantFrom("worker" as const, "manager" as const);
const generations = fc.integer({ min: 1, max: 1_000_000 });

describe("token", () => {
  it("token: what is rendered is read back, as one word of 84 characters, with space around or not", () => {
    fc.assert(
      fc.property(fingerprints, keys, roles, generations, (fingerprint, key, role, generation) => {
        const token = { fingerprint, secret: secretOf(key, role, generation) };
        const text = renderToken(token);
        assert.match(text, /^SKTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
        for (const given of [text, ` ${text}\n`, `${text}\r\n`]) {
          const parsed = parseToken(given);
          assert.ok(parsed.ok);
          assert.deepEqual(parsed.value, token);
        }
      }),
    );
  });

  it("token: the least and the greatest digest have a text of the same length", () => {
    for (const digit of ["0", "f"]) {
      const token = { fingerprint: digit.repeat(64), secret: "0".repeat(25) };
      const parsed = parseToken(renderToken(token));
      assert.ok(parsed.ok);
      assert.deepEqual(parsed.value, token);
    }
  });

  it("token: the secret of a fixed key never changes: it is written in people's scripts", () => {
    const secrets = (["worker", "manager"] as const).map((role) => secretOf(KEY, role, 1));
    assert.deepEqual(secrets, ["cz5jsgosllffpfaw5cwee9c5t", "96s0bw7t98qsuo744ejolaf95"]);
  });

  it("token: another key, role or generation has another secret", () => {
    const one = fc.tuple(keys, roles, generations);
    fc.assert(
      fc.property(one, one, (first, second) => {
        fc.pre(JSON.stringify(first) !== JSON.stringify(second));
        assert.equal(isSameSecret(secretOf(...first), secretOf(...second)), false);
        assert.equal(isSameSecret(secretOf(...first), secretOf(...first)), true);
      }),
    );
  });

  it("token: one that differs in a character is refused or another, and the refusal repeats nothing of it", () => {
    const text = renderToken({ fingerprint: "ab".repeat(32), secret: secretOf(KEY, "worker", 1) });
    const changes = fc.record({
      at: fc.nat(text.length - 1),
      by: fc.constantFrom("A", "z", "-", " ", "é", ""),
    });
    fc.assert(
      fc.property(changes, ({ at, by }) => {
        fc.pre(text[at] !== by);
        const changed = text.slice(0, at) + by + text.slice(at + 1);
        const parsed = parseToken(changed);
        if (parsed.ok) return assert.notEqual(renderToken(parsed.value), text);
        assert.equal(parsed.failure.code, "usage");
        for (const part of text.slice(8).split("-")) {
          for (let from = 0; from + 6 <= part.length; from += 1) {
            assert.ok(!parsed.failure.message.includes(part.slice(from, from + 6)));
          }
        }
      }),
    );
  });

  it("token: any other text is refused, and so are numbers too great for their width", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        const parsed = parseToken(text);
        assert.equal(parsed.ok, false);
        if (!parsed.ok && text.trim().length > 6) assert.ok(!parsed.failure.message.includes(text.trim()));
      }),
    );
    assert.equal(parseToken(`SKTKN-1-${"z".repeat(50)}-${"0".repeat(25)}`).ok, false);
    assert.equal(parseToken(`SKTKN-1-${"0".repeat(50)}-${"z".repeat(25)}`).ok, false);
    assert.equal(parseToken(`SKTKN-2-${"0".repeat(50)}-${"0".repeat(25)}`).ok, false);
  });

  it("token: secrets of other lengths are not the same", () => {
    const secret = secretOf(KEY, "worker", 1);
    assert.equal(isSameSecret(secret, secret.slice(1)), false);
    assert.equal(isSameSecret(secret, ""), false);
    assert.equal(isSameSecret(secret, `${secret.slice(0, 24)}é`), false);
  });
});
