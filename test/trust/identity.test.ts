// A node's id comes from its public key alone.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { isNodeId } from "../../src/model/ids.ts";
import { nodeIdOf } from "../../src/trust/identity.ts";

describe("identity", () => {
  it("an id has the form of a node id and carries the first 100 bits of the key's SHA-256", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (key) => {
        const id = nodeIdOf(key);
        assert.ok(isNodeId(id), id);
        const digits = id.split("").map((char) => "abcdefghijklmnopqrstuvwxyz234567".indexOf(char));
        const bits = digits.map((digit) => digit.toString(2).padStart(5, "0")).join("");
        const digest = createHash("sha256").update(key).digest();
        const expected = [...digest].map((byte) => byte.toString(2).padStart(8, "0")).join("");
        assert.equal(bits, expected.slice(0, 100));
      }),
    );
  });

  it("the id of a fixed key never changes: peers know it", () => {
    assert.equal(nodeIdOf(Buffer.from("skein")), "f4tueojmm73ayxysl2v7");
  });
});
