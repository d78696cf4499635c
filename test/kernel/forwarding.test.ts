// Forwarding: which families this host passes on, as its settings say it.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { observeForwarding } from "../../src/kernel/forwarding.ts";
import { openFolder } from "../support/folder.ts";

test("forwarding: each family by its own setting; one that is hidden, or is not there, forwards nothing", async (t) => {
  const root = await openFolder(t);
  const set = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  assert.deepEqual(await observeForwarding(root), { v4: false, v6: false });
  set("ipv4/ip_forward", "1\n");
  assert.deepEqual(await observeForwarding(root), { v4: true, v6: false });
  set("ipv4/ip_forward", "0\n");
  set("ipv6/conf/all/forwarding", "1\n");
  assert.deepEqual(await observeForwarding(root), { v4: false, v6: true });
});
