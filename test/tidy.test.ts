/**
 * Tidy: the tree keeps to the written style. The rules are in house/tidy.ts.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { renderViolations } from "./house/source.ts";
import { checkTidy, TIDY_RULES } from "./house/tidy.ts";
import { readTree } from "./house/tree.ts";

const violations = checkTidy(readTree(join(import.meta.dirname, "..")));

for (const [rule, sentence] of Object.entries(TIDY_RULES)) {
  test(`tidy: ${sentence}`, () => {
    const found = violations.filter((violation) => violation.rule === rule);
    assert.ok(found.length === 0, `\n${renderViolations(found)}`);
  });
}

test("tidy: every violation belongs to a rule that is tested here", () => {
  const unknown = violations.filter((violation) => !Object.hasOwn(TIDY_RULES, violation.rule));
  assert.deepEqual(unknown, []);
});
