// Self: the process tells of itself what Prometheus' own dashboards look for.

import assert from "node:assert/strict";
import { openSync, closeSync } from "node:fs";
import { test } from "node:test";

import { Registry } from "prom-client";

import { addSelf, openFilesMax } from "../../src/runtime/self.ts";

async function values(): Promise<ReadonlyMap<string, number>> {
  const registry = new Registry();
  addSelf(registry);
  const text = await registry.metrics();
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const [name = "", value = ""] = line.split(" ");
      return [name, Number(value)] as const;
    }),
  );
}

test("self: memory, CPU time, start and open files are told in base units", async () => {
  const told = await values();
  const rss = told.get("process_resident_memory_bytes") ?? 0;
  assert.ok(rss > 10e6 && rss > (told.get("process_heap_bytes") ?? Infinity) / 2, String(rss));
  assert.ok((told.get("process_cpu_seconds_total") ?? 0) > 0);
  const started = told.get("process_start_time_seconds") ?? 0;
  assert.ok(started <= Date.now() / 1000 && started > Date.now() / 1000 - 3600, String(started));
  assert.ok((told.get("process_open_fds") ?? 0) < (told.get("process_max_fds") ?? 0));
});

test("self: a file that is opened is counted", async () => {
  const before = (await values()).get("process_open_fds") ?? 0;
  const fd = openSync("/dev/null", "r");
  const after = (await values()).get("process_open_fds") ?? 0;
  closeSync(fd);
  assert.equal(after, before + 1);
});

test("self: the bound of open files is read, of this very process as well", () => {
  const max = openFilesMax();
  assert.ok(max === null || max > 0);
  const line = "Max open files            1048576              1048576              files     \n";
  assert.equal(openFilesMax(`Limit   Soft Limit\n${line}`), 1_048_576);
  assert.equal(
    openFilesMax("Max open files            unlimited            unlimited            files\n"),
    null,
  );
});
