/**
 * Architecture: the tree follows the folder table, and pure files are pure. The rules are in house/architecture.ts.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { ARCHITECTURE_RULES, checkArchitecture, PLANNED_SHELL_FILES } from "./house/architecture.ts";
import { covers } from "./house/layout.ts";
import type { Manifest } from "./house/packages.ts";
import { renderViolations } from "./house/source.ts";
import { readTree } from "./house/tree.ts";

const texts = readTree(join(import.meta.dirname, ".."));
const manifest = JSON.parse(texts.get("package.json") ?? "{}") as Manifest;
const violations = checkArchitecture(texts, manifest);

for (const [rule, sentence] of Object.entries(ARCHITECTURE_RULES)) {
  test(`architecture: ${sentence}`, () => {
    const found = violations.filter((violation) => violation.rule === rule);
    assert.ok(found.length === 0, `\n${renderViolations(found)}`);
  });
}

test("architecture: every violation belongs to a rule that is tested here", () => {
  const unknown = violations.filter((violation) => !Object.hasOwn(ARCHITECTURE_RULES, violation.rule));
  assert.deepEqual(unknown, []);
});

test("architecture: shell files that are planned are told apart from those that exist", (t) => {
  const missing = PLANNED_SHELL_FILES.filter(
    (entry) => ![...texts.keys()].some((path) => covers(entry, path)),
  );
  if (missing.length > 0) t.diagnostic(`shell files planned and not written: ${missing.join(" ")}`);
});
