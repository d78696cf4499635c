// What tests of daemons are built on: a block of addresses is one process's alone, for as long as anybody is in it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";

import { inhabitedBlocks, openBlock, type Block } from "./daemons.ts";
import { openUdp } from "./udp.ts";

/** Whether a process that wants the block would get it. */
async function isFree({ address }: Block): Promise<boolean> {
  const server = createServer().listen(7650, address(255, 254));
  const taken = once(server, "error").then(() => false);
  if (!(await Promise.race([taken, once(server, "listening").then(() => true)]))) return false;
  server.close();
  await once(server, "close");
  return true;
}

test("block: nobody else gets it while servers of its test are still being ended", async (t) => {
  const free: boolean[] = [];
  await t.test("one that takes a block, and then starts something in it", async (inner) => {
    const block = await openBlock(inner);
    inner.after(async () => free.push(await isFree(block)));
  });
  assert.deepEqual(free, [false]);
});

test("block: tests one after the other have the same one, tests at the same time do not", async (t) => {
  const seen: string[] = [];
  for (const name of ["first", "second"]) {
    await t.test(name, async (inner) => {
      const [one, other] = [await openBlock(inner), await openBlock(inner)];
      assert.notEqual(one.address(1), other.address(1));
      seen.push(one.address(1), other.address(1));
    });
  }
  assert.equal(new Set(seen).size, 2);
});

test("block: one in which somebody listens already, who knows of no lock, is known as inhabited", async (t) => {
  // Beyond those that are given to tests.
  const [datagrams, connections] = [95, 96];
  const before = inhabitedBlocks();
  assert.deepEqual([before.has(datagrams), before.has(connections)], [false, false]);
  await openUdp(t, { host: `127.${datagrams}.1.1` });
  const server = createServer().listen(0, `127.${connections}.1.1`);
  t.after(() => server.close());
  await once(server, "listening");
  const after = inhabitedBlocks();
  assert.deepEqual([after.has(datagrams), after.has(connections)], [true, true]);
});
