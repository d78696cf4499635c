// The kernel's setting is switched on for a handover, and is afterwards what it was.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";

import { openMigration } from "../../src/kernel/migration.ts";
import { folderFor } from "../support/daemons.ts";

test("migration: a setting that is off is switched on and back", async (t) => {
  const path = join(folderFor(t), "tcp_migrate_req");
  writeFileSync(path, "0\n");
  const migration = await openMigration(path);
  assert.equal(migration.isOn, true);
  assert.equal(readFileSync(path, "utf8"), "1\n");
  await migration.restore();
  assert.equal(readFileSync(path, "utf8"), "0\n");
});

test("migration: a setting that was on stays on", async (t) => {
  const path = join(folderFor(t), "tcp_migrate_req");
  writeFileSync(path, "1\n");
  const migration = await openMigration(path);
  await migration.restore();
  assert.equal(migration.isOn, true);
  assert.equal(readFileSync(path, "utf8"), "1\n");
});

test("migration: a kernel without the setting is told of, and is no failure", async (t) => {
  const migration = await openMigration(join(folderFor(t), "none"));
  assert.equal(migration.isOn, false);
  await migration.restore();
});
