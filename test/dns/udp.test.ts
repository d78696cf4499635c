// The UDP socket of the DNS server: how it goes away beside another one, with what it was asked before.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import type { Reply, Responder } from "../../src/dns/responder.ts";
import { UdpListener } from "../../src/dns/udp.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { openBlock } from "../support/daemons.ts";
import { connectUdp, type UdpEnd } from "../support/udp.ts";
import { until, within } from "../support/wait.ts";

/** Longer than any test: what ends before ends by its own cause. */
const LONG_MS = 600_000;
const CLIENTS = 40;

interface Opened {
  readonly listener: UdpListener;
  /** Queries that wait for their answers. */
  readonly waiting: Reply[];
  readonly dropped: () => Promise<number>;
}

/** A listener that knows the answer to what begins with "known", and says with its name who answered. */
async function open(t: TestContext, at: HostPort, name: string): Promise<Opened> {
  const waiting: Reply[] = [];
  const responder: Pick<Responder, "recall" | "serve"> = {
    recall: (bytes) => (bytes.toString().startsWith("known") ? Buffer.from(name) : null),
    serve: (_bytes, _client, reply) => void waiting.push(reply),
  };
  const metrics = openMetrics();
  const listener = new UdpListener(at, responder as Responder, metrics);
  await listener.open(at);
  t.after(() => listener.shut());
  const dropped = async (): Promise<number> => {
    const { values } = await metrics.dnsDropped.get();
    return values.reduce((sum, { value }) => sum + value, 0);
  };
  return { listener, waiting, dropped };
}

function answersOf(clients: readonly UdpEnd[]): readonly string[] {
  return clients.flatMap(({ received }) => received.map(({ text }) => text));
}

test("udp: one that leaves answers all it was asked, now and later, and is closed when it has", async (t) => {
  const at = { host: (await openBlock(t)).address(1), port: 5300 };
  const old = await open(t, at, "old");
  const young = await open(t, at, "young");
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connectUdp(t, at)));
  for (const { send } of clients) send("slow");
  await until(() => old.waiting.length + young.waiting.length === CLIENTS);
  for (const { send } of clients) send("known, unread");
  const left = old.listener.leave(LONG_MS);
  assert.equal(left === old.listener.leave(LONG_MS), false);
  for (const { send } of clients) send("known, later");
  await until(() => answersOf(clients).length === 2 * CLIENTS);
  const own = old.waiting.length;
  assert.equal(
    answersOf(clients).filter((text) => text === "old").length,
    own,
    "the other has all that came later",
  );
  for (const reply of old.waiting) reply(Buffer.from("old"));
  await within(left, "the end of the socket");
  await until(() => answersOf(clients).filter((text) => text === "old").length === 2 * own);
  assert.ok(own > 0 && own < CLIENTS);
  assert.equal(await old.dropped(), 0);
});

test("udp: one that leaves is closed at once when it is told to, and when its time is over", async (t) => {
  const at = { host: (await openBlock(t)).address(1), port: 5300 };
  for (const graceMs of [LONG_MS, 50]) {
    const { listener, waiting } = await open(t, at, "old");
    const client = await connectUdp(t, at);
    client.send("slow");
    await until(() => waiting.length === 1);
    const left = listener.leave(graceMs);
    if (graceMs === LONG_MS) await within(listener.shut(), "the end of the socket");
    await within(left, "the end of its leaving");
    // Closed by now: nothing throws, and nothing is sent.
    waiting[0]?.(Buffer.from("late"));
    assert.deepEqual(answersOf([client]), []);
  }
});

test("udp: one on a port that the system chose answers from that port to its end", async (t) => {
  const listening = { host: "127.0.0.1", port: 0 };
  const waiting: Reply[] = [];
  const responder: Pick<Responder, "recall" | "serve"> = {
    recall: () => null,
    serve: (_bytes, _client, reply) => void waiting.push(reply),
  };
  const listener = new UdpListener(listening, responder as Responder, openMetrics());
  const at = await listener.open(listening);
  t.after(() => listener.shut());
  const client = await connectUdp(t, at);
  client.send("slow");
  await until(() => waiting.length === 1);
  const left = listener.leave(LONG_MS);
  waiting[0]?.(Buffer.from("answer"));
  await until(() => answersOf([client]).length === 1);
  await within(left, "the end of the socket");
});
