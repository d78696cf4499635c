// Forwarding: upstreams that are slow, dead, wrong, truncated or lying.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../src/base/ip.ts";
import { openForwarder, type Forwarder } from "../../src/dns/forward.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openBlock } from "../support/daemons.ts";
import { until } from "../support/wait.ts";
import {
  answersOf,
  decode,
  openUpstream,
  query,
  reply,
  type Behaviour,
  type FakeUpstream,
} from "./fixture.ts";

/** Longer than any pause of a busy machine: where silence must be noticed, the test moves the timers. */
const TIMES = { tryMs: 60_000, totalMs: 600_000 };
const ASKED = query("www.example.com", "A");

const silent: Behaviour = () => [];
const says =
  (address: string): Behaviour =>
  (bytes) => [reply(bytes, { address })];
const fails =
  (rcode: number): Behaviour =>
  (bytes) => [reply(bytes, { rcode })];

async function upstream(t: TestContext, behave: Behaviour): Promise<FakeUpstream> {
  const opened = await openUpstream(behave);
  t.after(() => opened.close());
  return opened;
}

function forwarder(t: TestContext, upstreams: readonly HostPort[]): Forwarder {
  const opened = openForwarder({ upstreams, ...TIMES });
  t.after(() => opened.close());
  return opened;
}

async function outcome(from: Forwarder, transport: "udp" | "tcp" = "udp"): Promise<string> {
  const given = await from.forward(ASKED, transport);
  if (given.kind === "failed") return given.reason;
  assert.equal(decode(given.bytes).id, 0x1234, "the reply has the client's id");
  return answersOf(given.bytes).join(" ") || decode(given.bytes).rcode;
}

test("forward: the reply comes back under the client's id, which the upstream never saw", async (t) => {
  const ids = new Set<number>();
  const server = await upstream(t, (bytes) => {
    ids.add(bytes.readUInt16BE(0));
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  const from = forwarder(t, [server]);
  for (let turn = 0; turn < 5; turn += 1) assert.equal(await outcome(from), "192.0.2.7");
  assert.ok(ids.size >= 4, `ids are random, and were ${[...ids].join(" ")}`);
});

test("forward: NXDOMAIN is an answer, SERVFAIL and REFUSED send on to the next server", async (t) => {
  const good = await upstream(t, says("192.0.2.7"));
  for (const [rcode, expected] of [
    [3, "NXDOMAIN"],
    [2, "192.0.2.7"],
    [5, "192.0.2.7"],
  ] as const) {
    const first = await upstream(t, fails(rcode));
    assert.equal(await outcome(forwarder(t, [first, good])), expected);
  }
});

test("forward: when all servers fail, the first failure is what the client hears", async (t) => {
  const one = await upstream(t, fails(2));
  const two = await upstream(t, fails(5));
  assert.equal(await outcome(forwarder(t, [one, two])), "SERVFAIL");
});

test("forward: a dead server and a silent one are followed by the next, and then asked last", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  // On an address that is this test's alone nobody else listens.
  const dead = { host: (await openBlock(t)).address(1), port: 5300 };
  const quiet = await upstream(t, silent);
  const good = await upstream(t, says("192.0.2.7"));
  const from = forwarder(t, [dead, quiet, good]);
  const first = outcome(from);
  await until(() => quiet.seen.length === 1);
  t.mock.timers.tick(TIMES.tryMs);
  assert.equal(await first, "192.0.2.7");
  assert.equal(await outcome(from), "192.0.2.7");
  assert.deepEqual(quiet.seen, ["udp"], "the second query went straight to the one that spoke");
});

test("forward: silence of all is failure within the total deadline, after a second round", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const quiet = await upstream(t, silent);
  const told = outcome(forwarder(t, [quiet]));
  for (const round of [1, 2]) {
    await until(() => quiet.seen.length === round);
    t.mock.timers.tick(TIMES.tryMs);
  }
  assert.equal(await told, "silent");
  assert.equal(quiet.seen.length, 2);
});

test("forward: a lost datagram is made good by the second round", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let count = 0;
  const lossy = await upstream(t, (bytes) => {
    count += 1;
    return count === 1 ? [] : [reply(bytes, { address: "192.0.2.7" })];
  });
  const told = outcome(forwarder(t, [lossy]));
  await until(() => count === 1);
  t.mock.timers.tick(TIMES.tryMs);
  assert.equal(await told, "192.0.2.7");
});

test("forward: a pause of the own process is not held against a server that answered in it", async (t) => {
  const realTimeout = setTimeout;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = await upstream(t, (bytes) => {
    // The pause: the try's deadline is due with the timers that come before the answer can be read.
    setImmediate(() => {
      realTimeout(() => t.mock.timers.tick(TIMES.tryMs), 1);
      for (const start = performance.now(); performance.now() - start < 10;);
    });
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  assert.equal(await outcome(forwarder(t, [server])), "192.0.2.7");
  assert.equal(server.seen.length, 1);
});

test("forward: wrong ids, wrong questions and junk are waited past, and the true reply counts", async (t) => {
  const liar = await upstream(t, (bytes) => {
    const forged = Buffer.from(reply(bytes, { address: "203.0.113.66" }));
    forged.writeUInt16BE((bytes.readUInt16BE(0) + 1) & 0xffff, 0);
    const other = reply(query("evil.example", "A", { id: bytes.readUInt16BE(0) }), {
      address: "203.0.113.66",
    });
    return [forged, other, Buffer.from("junk"), bytes, reply(bytes, { address: "192.0.2.7" })];
  });
  assert.equal(await outcome(forwarder(t, [liar])), "192.0.2.7");
});

test("forward: a truncated reply goes to a UDP client as it is, and is fetched whole for one on TCP", async (t) => {
  const server = await upstream(t, (bytes, transport) => [
    transport === "udp" ? reply(bytes, { truncated: true }) : reply(bytes, { address: "192.0.2.7" }),
  ]);
  const from = forwarder(t, [server]);
  const over = await from.forward(ASKED, "udp");
  assert.ok(over.kind === "reply" && decode(over.bytes).flag_tc);
  assert.equal(await outcome(from, "tcp"), "192.0.2.7");
  assert.deepEqual(server.seen, ["udp", "udp", "tcp"]);
});

test("forward: TCP that stays silent or answers with a wrong id is followed by the next server", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const good = await upstream(t, says("192.0.2.7"));
  const stuck = await upstream(t, (bytes, transport) =>
    transport === "udp" ? [reply(bytes, { truncated: true })] : [],
  );
  const wrong = await upstream(t, (bytes, transport) => [
    transport === "udp" ? reply(bytes, { truncated: true }) : reply(ASKED, { address: "203.0.113.66" }),
  ]);
  const told = outcome(forwarder(t, [stuck, good]), "tcp");
  await until(() => stuck.seen.includes("tcp"));
  t.mock.timers.tick(TIMES.tryMs);
  assert.equal(await told, "192.0.2.7");
  assert.equal(await outcome(forwarder(t, [wrong, good]), "tcp"), "192.0.2.7");
});

test("forward: more queries than the bound fail at once, and close() ends those under way", async (t) => {
  const quiet = await upstream(t, silent);
  const from = forwarder(t, [quiet]);
  const waiting = Array.from({ length: LIMITS.dnsForwardsMax }, () => from.forward(ASKED, "udp"));
  assert.equal(from.underWay, LIMITS.dnsForwardsMax);
  assert.equal(await outcome(from), "busy");
  from.close();
  const outcomes = await Promise.all(waiting);
  assert.ok(outcomes.every((given) => given.kind === "failed"));
  assert.equal(from.underWay, 0);
});

test("forward: an upstream given by name is refused, since its lookup would come to us", () => {
  assert.throws(
    () => openForwarder({ upstreams: [{ host: "dns.example", port: 53 }], ...TIMES }),
    (thrown: { code?: string }) => thrown.code === "invalid",
  );
});
