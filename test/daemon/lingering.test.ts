// Lingering: what a daemon that has handed over still waits for, and what it does when it is hurried.

import assert from "node:assert/strict";
import { test } from "node:test";

import { handOver, type Lingering, type LingeringParts } from "../../src/daemon/lingering.ts";
import type { Log } from "../../src/runtime/log.ts";
import { until, within } from "../support/wait.ts";

interface Scene {
  readonly lingering: Lingering;
  /** What was done to its parts, in order. */
  readonly done: string[];
  /** Ends DNS's leaving: well, or with a failure. */
  readonly left: PromiseWithResolvers<void>;
  readonly warnings: string[];
}

async function prepare(): Promise<Scene> {
  const done: string[] = [];
  const warnings: string[] = [];
  const left = Promise.withResolvers<void>();
  const does = (what: string) => (): Promise<void> => {
    done.push(what);
    return Promise.resolve();
  };
  const log: Log = {
    debug() {},
    info() {},
    warn: (text) => void warnings.push(text),
    error() {},
    setLevel() {},
  };
  const parts = {
    lifecycle: { yieldParts: does("yield"), close: does("close") },
    node: { found: { endpoints: [] } },
    view: () => ({ services: [] }),
    mesh: { retire() {}, stopListening() {}, streamCount: () => 0 },
    dns: {
      leave: () => left.promise,
      async close() {
        done.push("dns closed");
        left.resolve();
      },
    },
    proxy: { stopListening: does("proxy listens no more"), close: does("proxy closed") },
    log,
  };
  const lingering = await handOver(parts as unknown as LingeringParts);
  return { lingering, done, left, warnings };
}

test("lingering: it is not over before what DNS was asked is answered", async () => {
  const { lingering, done, left } = await prepare();
  await lingering.stopListening();
  const finished = lingering.finish(new AbortController().signal);
  await until(() => done.includes("proxy closed"));
  assert.ok(!done.includes("close"));
  left.resolve();
  await within(finished, "the end of the daemon");
  assert.deepEqual(done, ["yield", "proxy listens no more", "proxy closed", "close"]);
});

test("lingering: when it is hurried it waits for nothing that DNS was asked", async () => {
  const { lingering, done } = await prepare();
  await lingering.stopListening();
  const hurried = new AbortController();
  const finished = lingering.finish(hurried.signal);
  hurried.abort();
  await within(finished, "the end of the daemon");
  assert.ok(done.includes("dns closed"));
  assert.equal(done.at(-1), "close");
});

test("lingering: a server that cannot leave is told of, and holds up nothing", async () => {
  const { lingering, done, left, warnings } = await prepare();
  await lingering.stopListening();
  left.reject(new Error("no way out"));
  await within(lingering.finish(new AbortController().signal), "the end of the daemon");
  assert.equal(done.at(-1), "close");
  assert.match(warnings.join(), /no way out/);
});
