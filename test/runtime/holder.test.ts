// Holder: who has a port, as the kernel tells it.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";

import { holderOf } from "../../src/runtime/holder.ts";
import { openBlock } from "../support/daemons.ts";

const skip = existsSync("/proc/net/udp") ? false : "this system has no /proc/net";
const SELF = new RegExp(`^\\S+ \\(process ${process.pid}\\)$`);

test("holder: names the program that has an address and port, over UDP and TCP", { skip }, async (t) => {
  const block = await openBlock(t);
  const udp = createSocket("udp4");
  udp.bind(5301, block.address(1));
  await once(udp, "listening");
  t.after(() => udp.close());
  const tcp = createServer().listen(5301, block.address(2));
  await once(tcp, "listening");
  t.after(() => tcp.close());
  assert.match((await holderOf({ host: block.address(1), port: 5301 })) ?? "", SELF);
  assert.match((await holderOf({ host: block.address(2), port: 5301 })) ?? "", SELF);
});

test("holder: one that has the port on every address is in the way of each", { skip }, async (t) => {
  const udp = createSocket("udp4");
  udp.bind(0);
  await once(udp, "listening");
  t.after(() => udp.close());
  assert.match((await holderOf({ host: "127.0.0.1", port: udp.address().port })) ?? "", SELF);
});

test("holder: of a free port, and of an address it cannot look up, nothing is told", async (t) => {
  const block = await openBlock(t);
  assert.equal(await holderOf({ host: block.address(3), port: 5301 }), null);
  assert.equal(await holderOf({ host: "::1", port: 5301 }), null);
});
