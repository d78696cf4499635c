// Connections: counted, bounded, awaited.

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";

import { Connections } from "../../../src/proxy/listen/connections.ts";
import { until } from "../../support/wait.ts";

test("admit: takes connections up to the bound, resets what comes beyond until one has gone", async () => {
  const connections = new Connections(2);
  const [first, second, third, fourth] = Array.from({ length: 4 }, () => new PassThrough());
  assert.ok(first !== undefined && second !== undefined && third !== undefined && fourth !== undefined);
  assert.deepEqual(
    [first, second, third].map((one) => connections.admit(one)),
    [true, true, false],
  );
  assert.equal(third.destroyed, true);
  first.destroy();
  await until(() => connections.size === 1);
  assert.equal(connections.admit(fourth), true);
});

test("empty: settles when the last connection has gone, for everyone who waits", async () => {
  const connections = new Connections(9);
  await connections.empty();
  connections.admit(new PassThrough());
  connections.admit(new PassThrough());
  const both = Promise.all([connections.empty(), connections.empty()]);
  connections.resetAll();
  await both;
  assert.equal(connections.size, 0);
});

test("release: a connection that is open is counted no longer, and its end is not waited for", async () => {
  const connections = new Connections(1);
  const [first, second] = [new PassThrough(), new PassThrough()];
  connections.admit(first);
  const empty = connections.empty();
  connections.release(first);
  await empty;
  assert.equal(connections.admit(second), true);
  first.destroy();
  connections.resetAll();
  assert.deepEqual([connections.size, second.destroyed], [1, true]);
});
