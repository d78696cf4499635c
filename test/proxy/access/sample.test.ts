// Sample: failures are always logged, and of the rest a share.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../../src/base/random.ts";
import type { AccessEntry } from "../../../src/proxy/access/entry.ts";
import { isLogged, type AccessMode } from "../../../src/proxy/access/sample.ts";

import { connection, entry, FACTS } from "./entries.ts";

/** How many of 10,000 such entries are logged. */
function logged(one: AccessEntry, mode: AccessMode, oneIn: number): number {
  const random = seededRandom(7);
  return Array.from({ length: 10_000 }, () => isLogged(one, { mode, oneIn }, random)).filter(Boolean).length;
}

const status = (code: number): AccessEntry => entry({ http: { ...FACTS, status: code } });

test("sample: off logs nothing, full everything, sampled about one in so many", () => {
  assert.equal(logged(status(502), "off", 1), 0);
  assert.equal(logged(entry(), "full", 100), 10_000);
  assert.equal(logged(entry(), "sampled", 1), 10_000);
  const share = logged(entry(), "sampled", 100);
  assert.ok(share > 60 && share < 140, `${share} of 10,000`);
});

test("sample: failures, retries and answers that were cut are logged whatever the share", () => {
  const failures = [
    status(500),
    status(503),
    entry({ retries: ["late"] }),
    entry({ result: "upstream reset" }),
    connection({ result: "no replica" }),
    connection({ retries: ["connect"] }),
    connection({ kind: "udp", result: "no replica" }),
  ];
  for (const failure of failures) assert.equal(logged(failure, "sampled", 1_000_000), 10_000);
});

test("sample: what a client did itself, or asked for in vain, is no failure", () => {
  const usual = [
    status(404),
    entry({ result: "no route", http: { ...FACTS, status: 404 } }),
    entry({ result: "client left", http: { ...FACTS, status: 0 } }),
    connection({ result: "client reset" }),
  ];
  for (const one of usual) assert.equal(logged(one, "sampled", 1_000_000), 0);
});

test("sample: flows that want no answer, or that give way to others of their client, are no failures", () => {
  for (const result of ["no answer", "too many flows"]) {
    assert.equal(logged(connection({ kind: "udp", result }), "sampled", 1_000_000), 0, result);
  }
});
