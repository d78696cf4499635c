// Purge: one thing after the other, each told where it stays, and all of it within a time.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Failure } from "../../src/base/failure.ts";
import { purge, takeAway } from "../../src/daemon/purge.ts";
import { openSilentLog } from "../support/silence.ts";

const LONG_MS = 600_000;

test("purge: what cannot be taken away is told, and the rest goes all the same", async () => {
  const gone: string[] = [];
  const left = await takeAway(
    [
      { what: "rules", remove: () => Promise.reject(new Failure("not-found", "nft is not installed")) },
      { what: "links", remove: async () => ["device sk-vx4100 is busy"] },
      { what: "pools", remove: async () => (gone.push("pools"), []) },
    ],
    LONG_MS,
  );
  assert.deepEqual(left, ["rules: nft is not installed", "device sk-vx4100 is busy"]);
  assert.deepEqual(gone, ["pools"]);
});

test("purge: it ends in its time, and names what hangs and what was not begun for it", async () => {
  const begun: string[] = [];
  const left = await takeAway(
    [
      { what: "rules", remove: () => new Promise(() => begun.push("rules")) },
      { what: "links", remove: async () => (begun.push("links"), []) },
    ],
    20,
  );
  assert.deepEqual(left, ["rules: not removed within 0.02 s", "links: not removed within 0.02 s"]);
  assert.deepEqual(begun, ["rules"]);
});

test("purge: a daemon takes the kernel's things before the routes of its VIPs, and says what is left", async () => {
  const order: string[] = [];
  const log = openSilentLog();
  const rules = { what: "rules", remove: async () => (order.push("rules"), ["a table"]) };
  const remove = async (): Promise<readonly string[]> => (order.push("pools"), []);
  await purge({ kernel: { removals: [rules] }, pools: { remove }, log });
  assert.deepEqual(order, ["rules", "pools"]);
  assert.deepEqual(
    log.lines.map(({ text }) => text),
    ["left behind: a table"],
  );
});

test("purge: only a host on which nothing is left is told to be clean", async () => {
  const log = openSilentLog();
  await purge({ kernel: { removals: [] }, pools: { remove: async () => [] }, log });
  assert.match(log.lines[0]?.text ?? "", /^rules, links, routes and networks of this host are removed$/);
});
