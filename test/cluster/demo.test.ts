// The README's first command, as its reader runs it: three daemons, and every promise of the table kept.

import assert from "node:assert/strict";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { run } from "../support/daemons.ts";

const DEMO = fileURLToPath(new URL("../../config/demo/demo.ts", import.meta.url));

test("demo: it ends with a table in which nothing failed, and status 0", async () => {
  const { code, stdout, stderr } = await run([DEMO, "--once"]);
  assert.equal(code, 0, `${stdout}${stderr}`);
  const rows = stdout.split("\n").filter((line) => /^[✓✗] {2}\S/.test(line));
  assert.ok(rows.length >= 10, stdout);
  assert.deepEqual(
    rows.filter((row) => !row.startsWith("✓")),
    [],
  );
});
