// Secrets: what is printed of a configuration says that there is one, and not which.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  givenTwice,
  isSecret,
  REDACTED,
  redacted,
  SECRET_KEYS,
  siblingOf,
  withoutSecrets,
} from "../../src/config/secrets.ts";
import { defaults } from "../../src/config/schema.ts";

const TREE = defaults({ hostName: "host-1", stateDir: "/var/lib/skein" });

test("secrets: each has a sibling that names a file, and both are keys of the configuration", () => {
  for (const key of SECRET_KEYS) {
    const file = siblingOf(key) ?? "";
    assert.equal(siblingOf(file), key);
    for (const path of [key, file]) {
      const [section = "", name = ""] = path.split(".");
      assert.ok(Object.hasOwn((TREE as Readonly<Record<string, object>>)[section] ?? {}, name), path);
    }
  }
  assert.deepEqual([siblingOf("dns.ttl"), siblingOf("mesh.joinFile")], [null, null]);
});

test("secrets: a key with anything below it is one, its file is none", () => {
  assert.ok(isSecret(["mesh", "token"]) && isSecret(["admin", "token", 0, "x"]));
  assert.ok(!isSecret(["mesh", "tokenFile"]) && !isSecret(["mesh"]) && !isSecret([]));
});

test("secrets: a printed tree covers those that are set, keeps those that are not, and leaves the tree alone", () => {
  const tree = { ...TREE, mesh: { ...TREE.mesh, token: "secret", tokenFile: "/run/t" } };
  const printed = redacted(tree) as typeof tree;
  assert.deepEqual(
    [printed.mesh.token, printed.mesh.tokenFile, printed.admin.token],
    [REDACTED, "/run/t", ""],
  );
  assert.equal(tree.mesh.token, "secret");
});

test("secrets: given in both ways, one is named once", () => {
  assert.deepEqual(givenTwice(new Set(["mesh.token", "mesh.tokenFile", "admin.token"])), ["mesh.token"]);
});

test("secrets: a quoted line that speaks of a token is left out, and so is a join token anywhere", () => {
  assert.equal(withoutSecrets("bad at line 2:\n\n  token: abc\n         ^"), "bad at line 2:");
  assert.equal(withoutSecrets("bad at line 2:\n\n  name: a\n"), "bad at line 2:\n\n  name: a\n");
  assert.equal(withoutSecrets("is SKTKN-1-abc-def here"), `is ${REDACTED} here`);
});
