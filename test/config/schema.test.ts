// Schema: the JSON schema that editors use is the one the daemon checks by. UPDATE_GOLDEN=1 writes it anew.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { toJsonSchema } from "@valibot/to-json-schema";

import { CONFIG_SCHEMA, defaults } from "../../src/config/schema.ts";

const PATH = fileURLToPath(new URL("../../config/schema.json", import.meta.url));

/** What a file may hold: every key is optional there, since the defaults fill it in. */
function fileSchema(): string {
  const schema = toJsonSchema(CONFIG_SCHEMA, { errorMode: "ignore", typeMode: "input" });
  const optional = (node: unknown, depth: number): void => {
    if (typeof node !== "object" || node === null || !("properties" in node)) return;
    if (depth < 2 && "required" in node) delete node.required;
    for (const child of Object.values(node.properties as object)) optional(child, depth + 1);
  };
  optional(schema, 0);
  return `${JSON.stringify({ title: "skein.yaml", ...schema }, null, 2)}\n`;
}

test("schema: config/schema.json is made from the schema that the daemon checks by", () => {
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(PATH, fileSchema());
  assert.equal(readFileSync(PATH, "utf8"), fileSchema());
});

test("schema: every section of the defaults is checked", () => {
  const tree = defaults({ hostName: "host-1", stateDir: "/var/lib/skein" });
  assert.deepEqual(Object.keys(tree), Object.keys(CONFIG_SCHEMA.entries));
});
