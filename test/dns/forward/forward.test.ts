// Forwarding: upstreams that are slow, dead, wrong, truncated or lying.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { test, type TestContext } from "node:test";

import type { HostPort } from "../../../src/base/ip.ts";
import { openForwarder, type Forwarder, type ForwarderOptions } from "../../../src/dns/forward/forward.ts";
import { Remembered } from "../../../src/dns/forward/remembered.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import type { Log } from "../../../src/runtime/log.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { openBlock } from "../../support/daemons.ts";
import { until } from "../../support/wait.ts";
import {
  answersOf,
  decode,
  frame,
  openUpstream,
  opt,
  query,
  reply,
  type Behaviour,
  type FakeUpstream,
} from "../fixture.ts";

/** Longer than any pause of a busy machine: where silence must be noticed, the test moves the timers. */
const TIMES = { hedgeMs: 60_000, roundMs: 100_000, staleAfterMs: 200_000, totalMs: 600_000 };
const ASKED = query("www.example.com", "A");
const SILENCE = { kind: "failed", reason: "silent" };
const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };

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

function forwarder(
  t: TestContext,
  upstreams: readonly HostPort[],
  more: Partial<ForwarderOptions> = {},
): Forwarder {
  const fixed = { times: TIMES, nowMs: () => 0, log: SILENT, metrics: openMetrics() };
  const opened = openForwarder({ upstreams, ...fixed, ...more });
  t.after(() => opened.close());
  return opened;
}

async function outcome(from: Forwarder, transport: "udp" | "tcp" = "udp"): Promise<string> {
  const given = await from.forward(ASKED, transport);
  if (given.kind === "failed") return given.reason;
  assert.equal(decode(given.bytes).id, 0x1234, "the reply has the client's id");
  return answersOf(given.bytes).join(" ") || decode(given.bytes).rcode;
}

/** How long what a server is asked out of turn is waited for. */
const PROBE_MS = 2000;
const ONLY_HERE = { address: "192.0.2.7" };

function states(from: Forwarder): string {
  return from
    .stats()
    .upstreams.map(({ state }) => state)
    .join(" ");
}

/** Three names, each of which the first server is late with. */
async function missThrice(t: TestContext, from: Forwarder, first: FakeUpstream): Promise<void> {
  for (const round of [1, 2, 3]) {
    const told = from.forward(another(), "udp");
    await until(() => first.seen.length === round);
    t.mock.timers.tick(TIMES.hedgeMs);
    await told;
  }
}

/** A different name each time, so that nothing is remembered or shared. */
function another(): Buffer {
  names += 1;
  return query(`host-${names}.example.com`, "A");
}
let names = 0;

test("forward: the reply comes back under the client's id, which the upstream never saw", async (t) => {
  const ids = new Set<number>();
  const server = await upstream(t, (bytes) => {
    ids.add(bytes.readUInt16BE(0));
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  const from = forwarder(t, [server]);
  for (let turn = 0; turn < 5; turn += 1) {
    const given = await from.forward(another(), "udp");
    assert.ok(given.kind === "reply" && given.bytes.readUInt16BE(0) === 0x1234);
  }
  assert.ok(ids.size >= 4, `ids are random, and were ${[...ids].join(" ")}`);
});

test("forward: the query goes on as it came, EDNS options and all but the size, which is ours", async (t) => {
  const came: Buffer[] = [];
  const server = await upstream(t, (bytes) => {
    came.push(bytes);
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  const subnet = { code: "CLIENT_SUBNET", ip: "192.0.2.0", sourcePrefixLength: 24 };
  const cookie = { code: 10, data: Buffer.from("0123456789abcdef", "hex") };
  const asked = query("wWw.example.com", "HTTPS", {
    additionals: [opt({ udpPayloadSize: 1400, flags: 0x8000, flag_do: true, options: [subnet, cookie] })],
  });
  await forwarder(t, [server]).forward(asked, "udp");
  const expected = Buffer.from(asked);
  expected.writeUInt16BE(1232, expected.indexOf(Buffer.of(0, 0, 41, 1400 >> 8, 1400 & 255)) + 3);
  assert.deepEqual(came[0]?.subarray(2), expected.subarray(2));
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
  const old = await upstream(t, fails(1));
  assert.equal(await outcome(forwarder(t, [old])), "FORMERR", "a client learns that EDNS is not understood");
});

test("forward: a failure is passed on when the others are silent, without waiting for all rounds", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const failing = await upstream(t, fails(2));
  const quiet = await upstream(t, silent);
  const told = outcome(forwarder(t, [failing, quiet]));
  await until(() => quiet.seen.length === 1);
  t.mock.timers.tick(TIMES.roundMs);
  assert.equal(await told, "SERVFAIL");
});

test("forward: a dead server is followed by the next at once, a silent one after a moment", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  // On an address that is this test's alone nobody else listens.
  const dead = { host: (await openBlock(t)).address(1), port: 5300 };
  const quiet = await upstream(t, silent);
  const good = await upstream(t, says("192.0.2.7"));
  const from = forwarder(t, [dead, quiet, good]);
  const first = outcome(from);
  await until(() => quiet.seen.length === 1);
  assert.equal(good.seen.length, 0);
  t.mock.timers.tick(TIMES.hedgeMs);
  assert.equal(await first, "192.0.2.7");
});

test("forward: a silent server is asked last, and first again when it has spoken", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  let isQuiet = true;
  const lame = await upstream(t, (bytes) => (isQuiet ? [] : [reply(bytes, { address: "192.0.2.1" })]));
  const good = await upstream(t, says("192.0.2.7"));
  const from = forwarder(t, [lame, good], { nowMs: () => nowMs });
  await missThrice(t, from, lame);
  assert.equal(states(from), "unknown alive", "what was missed proves nothing");
  await until(() => lame.seen.length === 4);
  t.mock.timers.tick(PROBE_MS);
  await until(() => states(from) === "silent alive");
  const asked = lame.seen.length;
  await from.forward(another(), "udp");
  assert.equal(lame.seen.length, asked, "the fourth query went straight to the one that spoke");
  isQuiet = false;
  nowMs = 60_000;
  assert.equal(await outcome(from), "192.0.2.1");
  await from.forward(another(), "udp");
  assert.equal(lame.seen.length, asked + 2);
  assert.equal(good.seen.length, 4);
});

test("forward: a server that is slow for somebody's names is still asked first for those it alone knows", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const company = await upstream(t, (bytes) => {
    return decode(bytes).questions?.[0]?.name.startsWith("host-") === true ? [] : [reply(bytes, ONLY_HERE)];
  });
  const other = await upstream(t, fails(3));
  const from = forwarder(t, [company, other]);
  await missThrice(t, from, company);
  await until(() => states(from) === "alive alive");
  t.mock.timers.tick(PROBE_MS);
  assert.equal(await outcome(from), ONLY_HERE.address);
});

test("forward: a slow server's answer counts although the next was asked meanwhile", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let answerNow = (): void => {};
  const slow = await openSlow(t, (release) => {
    answerNow = release;
  });
  const quiet = await upstream(t, silent);
  const told = outcome(forwarder(t, [slow, quiet]));
  await until(() => slow.seen === 1);
  t.mock.timers.tick(TIMES.hedgeMs);
  await until(() => quiet.seen.length === 1);
  answerNow();
  assert.equal(await told, "192.0.2.9");
});

test("forward: silence of all is failure within the total deadline, after three rounds", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const quiet = await upstream(t, silent);
  const told = outcome(forwarder(t, [quiet]));
  for (const round of [1, 2, 3]) {
    await until(() => quiet.seen.length === round);
    t.mock.timers.tick(TIMES.roundMs);
  }
  t.mock.timers.tick(TIMES.totalMs);
  assert.equal(await told, "silent");
  assert.equal(quiet.seen.length, 3);
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
  t.mock.timers.tick(TIMES.roundMs);
  assert.equal(await told, "192.0.2.7");
});

test("forward: a pause of the own process is not held against a server that answered in it", async (t) => {
  const realTimeout = setTimeout;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = await upstream(t, (bytes) => {
    // The pause: all deadlines are due with the timers that come before the answer can be read.
    setImmediate(() => {
      realTimeout(() => t.mock.timers.tick(TIMES.totalMs), 1);
      for (const start = performance.now(); performance.now() - start < 10;);
    });
    return [reply(bytes, { address: "192.0.2.7" })];
  });
  assert.equal(await outcome(forwarder(t, [server])), "192.0.2.7");
  assert.equal(server.seen.length, 1);
});

test("forward: wrong ids, questions and junk are waited past and counted, and the true reply counts", async (t) => {
  const liar = await upstream(t, (bytes) => {
    const forged = Buffer.from(reply(bytes, { address: "203.0.113.66" }));
    forged.writeUInt16BE((bytes.readUInt16BE(0) + 1) & 0xffff, 0);
    const other = reply(query("evil.example", "A", { id: bytes.readUInt16BE(0) }), {
      address: "203.0.113.66",
    });
    return [forged, other, Buffer.from("junk"), bytes, reply(bytes, { address: "192.0.2.7" })];
  });
  const metrics = openMetrics();
  assert.equal(await outcome(forwarder(t, [liar], { metrics })), "192.0.2.7");
  assert.match(await metrics.registry.metrics(), /^skein_dns_upstream_ignored_total 4$/m);
});

test("forward: what another host or port sends is no reply, though it knows the id", async (t) => {
  const stranger = createSocket("udp4");
  t.after(() => stranger.close());
  const asker = Promise.withResolvers<number>();
  const server = await openSlow(t, (release, port) => {
    asker.resolve(port);
    return release;
  });
  const told = outcome(forwarder(t, [server]));
  const port = await asker.promise;
  const lie = reply(server.query(), { address: "203.0.113.66" });
  await new Promise((sent) => stranger.send(lie, port, "127.0.0.1", sent));
  server.release();
  assert.equal(await told, "192.0.2.9");
});

test("forward: a truncated reply goes to a UDP client as it is, and is fetched whole for one on TCP", async (t) => {
  const server = await upstream(t, (bytes, transport) => [
    transport === "udp" ? reply(bytes, { truncated: true }) : reply(bytes, { address: "192.0.2.7" }),
  ]);
  const from = forwarder(t, [server]);
  const over = await from.forward(ASKED, "udp");
  assert.ok(over.kind === "reply" && decode(over.bytes).flag_tc);
  assert.equal(from.remembered(ASKED), null, "a part is not remembered");
  assert.equal(await outcome(from, "tcp"), "192.0.2.7");
  assert.deepEqual(server.seen, ["udp", "udp", "tcp"]);
  assert.equal(from.remembered(ASKED)?.kind, "reply", "the whole is, for clients on UDP as well");
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
  t.mock.timers.tick(TIMES.hedgeMs);
  assert.equal(await told, "192.0.2.7");
  assert.equal(await outcome(forwarder(t, [wrong, good]), "tcp"), "192.0.2.7");
});

test("forward: identical queries under way are asked once, and each client gets its own id and case", async (t) => {
  const server = await openSlow(t);
  const from = forwarder(t, [server]);
  const asked = [
    query("www.example.com", "A", { id: 1 }),
    query("WWW.example.com", "A", { id: 2 }),
    query("www.EXAMPLE.com", "A", { id: 3 }),
  ];
  const waiting = asked.map((bytes) => from.forward(bytes, "udp"));
  const secure = from.forward(
    query("www.example.com", "A", { additionals: [opt({ flags: 0x8000 })] }),
    "udp",
  );
  await until(() => server.seen === 2);
  assert.equal(from.stats().underWay, 4);
  server.release();
  const given = await Promise.all(waiting);
  for (const [at, { kind, ...one }] of given.entries()) {
    assert.ok(kind === "reply" && "bytes" in one);
    assert.deepEqual([decode(one.bytes).id, answersOf(one.bytes)], [at + 1, ["192.0.2.9"]]);
    assert.deepEqual(decode(one.bytes).questions, decode(asked[at] ?? assert.fail()).questions);
  }
  await secure;
  assert.equal(server.seen, 2);
});

test("forward: what is remembered is told without asking, until it is due", async (t) => {
  let nowMs = 0;
  const server = await upstream(t, says("192.0.2.7"));
  const from = forwarder(t, [server], { nowMs: () => nowMs });
  assert.equal(from.remembered(ASKED), null);
  await from.forward(ASKED, "udp");
  nowMs = 20_000;
  const kept = from.remembered(query("WWW.EXAMPLE.COM", "A", { id: 9 }));
  assert.ok(kept?.kind === "reply" && kept.fromCache === true);
  const { id, questions, answers } = decode(kept.bytes);
  assert.deepEqual([id, questions?.[0]?.name], [9, "WWW.EXAMPLE.COM"]);
  assert.deepEqual(
    answers?.map((record) => "ttl" in record && record.ttl),
    [40],
  );
  nowMs = 60_000;
  assert.equal(from.remembered(ASKED), null);
});

test("forward: an answer that is due is told when upstreams take long, and at once after they failed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  let isQuiet = false;
  const server = await upstream(t, (bytes) => (isQuiet ? [] : [reply(bytes, { address: "192.0.2.7" })]));
  const from = forwarder(t, [server], { nowMs: () => nowMs });
  await from.forward(ASKED, "udp");
  nowMs = 3_600_000;
  isQuiet = true;
  const told = from.forward(ASKED, "udp");
  await until(() => server.seen.length === 2);
  t.mock.timers.tick(TIMES.staleAfterMs);
  const given = await told;
  assert.ok(given.kind === "reply" && given.fromCache === true);
  assert.deepEqual(answersOf(given.bytes), ["192.0.2.7"]);
  assert.equal(await outcome(from), "192.0.2.7", "whoever comes later need not wait as long again");
  assert.equal(from.remembered(ASKED), null, "while it may still be answered anew");
  t.mock.timers.tick(TIMES.totalMs);
  await until(() => from.remembered(ASKED) !== null);
  isQuiet = false;
  nowMs += 60_000;
  assert.equal(from.remembered(ASKED), null, "after a while upstreams get another chance");
  const anew = await from.forward(ASKED, "udp");
  assert.ok(anew.kind === "reply" && anew.fromCache === undefined);
});

test("forward: an answer that is due is told instead of SERVFAIL", async (t) => {
  let nowMs = 0;
  let rcode = 0;
  const server = await upstream(t, (bytes) => [
    reply(bytes, rcode === 0 ? { address: "192.0.2.7" } : { rcode }),
  ]);
  const from = forwarder(t, [server], { nowMs: () => nowMs });
  await from.forward(ASKED, "udp");
  nowMs = 3_600_000;
  rcode = 2;
  assert.equal(await outcome(from), "192.0.2.7");
  nowMs += 60_000;
  rcode = 3;
  assert.equal(await outcome(from), "NXDOMAIN", "an upstream that says so is believed");
});

test("forward: should a reply not be readable, its query alone suffers, and it is told once", async (t) => {
  const errors: string[] = [];
  const log: Log = { ...SILENT, error: (text) => errors.push(text) };
  const good = await upstream(t, says("192.0.2.7"));
  const from = forwarder(t, [good], { log });
  const fails = (): never => {
    throw new RangeError("out of range");
  };
  const put = t.mock.method(Remembered.prototype, "put", fails);
  const get = t.mock.method(Remembered.prototype, "get", fails);
  for (let turn = 0; turn < 2; turn += 1) {
    assert.equal(from.remembered(ASKED), null);
    assert.equal(await outcome(from), "192.0.2.7");
  }
  assert.deepEqual([put.mock.callCount(), get.mock.callCount(), errors.length], [2, 2, 1]);
});

test("forward: other upstreams answer for themselves, nothing of the old ones is told", async (t) => {
  const one = await upstream(t, says("192.0.2.1"));
  const two = await upstream(t, says("192.0.2.2"));
  const from = forwarder(t, []);
  assert.equal(from.hasUpstreams, false);
  assert.equal(await outcome(from), "silent");
  from.setUpstreams([one]);
  assert.equal(from.hasUpstreams, true);
  assert.equal(await outcome(from), "192.0.2.1");
  from.setUpstreams([{ host: one.host, port: one.port }]);
  assert.equal(from.remembered(ASKED)?.kind, "reply", "the same ones change nothing");
  from.setUpstreams([two]);
  assert.equal(from.remembered(ASKED), null);
  assert.equal(await outcome(from), "192.0.2.2");
});

test("forward: an answer that comes after its upstream was given up is not remembered", async (t) => {
  const old = await openSlow(t);
  const next = await upstream(t, says("192.0.2.2"));
  const from = forwarder(t, [old]);
  const told = outcome(from);
  await until(() => old.seen === 1);
  from.setUpstreams([next]);
  assert.equal(await outcome(from), "192.0.2.2", "nor waited for");
  old.release();
  assert.equal(await told, "192.0.2.9");
  const kept = from.remembered(ASKED);
  assert.deepEqual(kept?.kind === "reply" && answersOf(kept.bytes), ["192.0.2.2"]);
});

test("forward: of too many different queries the oldest gives way, and close() ends those under way", async (t) => {
  const quiet = await upstream(t, silent);
  const from = forwarder(t, [quiet]);
  const waiting = Array.from({ length: LIMITS.dnsForwardsMax }, (_, at) =>
    from.forward(another(), "udp", `192.0.2.${at % 4}`),
  );
  assert.equal(from.stats().underWay, LIMITS.dnsForwardsMax);
  const last = from.forward(another(), "udp", "192.0.2.99");
  const [first] = waiting;
  assert.deepEqual(await first, { kind: "failed", reason: "busy" });
  assert.equal(from.stats().underWay, LIMITS.dnsForwardsMax);
  from.close();
  const outcomes = await Promise.all([...waiting, last]);
  assert.equal(outcomes.filter((given) => given.kind === "failed" && given.reason === "busy").length, 1);
  assert.equal(from.stats().underWay, 0);
  assert.equal(await outcome(from), "silent");
});

test("forward: names that nobody answers, from however many addresses, keep nobody from an answer", async (t) => {
  const server = await upstream(t, (bytes) => {
    return decode(bytes).questions?.[0]?.name.startsWith("host-") === true ? [] : [reply(bytes, ONLY_HERE)];
  });
  // So many datagrams at once may be too many for the server's socket: the next round makes it good.
  const from = forwarder(t, [server], { times: { ...TIMES, roundMs: 500 } });
  const flood: Promise<unknown>[] = [];
  for (let at = 0; at < 2 * LIMITS.dnsForwardsMax; at += 1) {
    flood.push(from.forward(another(), "udp", at % 2 === 0 ? "192.0.2.66" : `2001:db8:0:${at}::1`));
    if (at % 32 === 0) await new Promise(setImmediate);
  }
  for (const client of ["192.0.2.1", "192.0.2.66"]) {
    const name = query(`${client.replaceAll(".", "-")}.example`, "A");
    const given = await from.forward(name, "udp", client);
    assert.deepEqual(given.kind === "reply" && answersOf(given.bytes), [ONLY_HERE.address], client);
  }
  from.close();
  await Promise.all(flood);
});

test("forward: of one client's too many queries its oldest gives way, and others keep theirs", async (t) => {
  const quiet = await upstream(t, silent);
  const from = forwarder(t, [quiet]);
  const modest = from.forward(another(), "udp", "192.0.2.2");
  const greedy = Array.from({ length: LIMITS.dnsForwardWaitersPerClient }, () =>
    from.forward(another(), "udp", "192.0.2.1"),
  );
  const newest = from.forward(another(), "udp", "192.0.2.1");
  assert.deepEqual(await greedy[0], { kind: "failed", reason: "busy" });
  assert.equal(from.stats().underWay, greedy.length + 1);
  from.close();
  const outcomes = await Promise.all([modest, newest]);
  assert.deepEqual(outcomes, [SILENCE, SILENCE]);
  await Promise.all(greedy);
});

test("forward: a few sockets for upstreams are enough for everybody's turn, and no more are taken", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const ports = new Set<number>();
  const quiet = await openSlow(t, (_release, port) => ports.add(port));
  const other = await openSlow(t, (_release, port) => ports.add(port));
  const from = forwarder(t, [quiet, other], { exchangesMax: 8 });
  const waiting = Array.from({ length: 4 }, () => from.forward(another(), "udp", "192.0.2.1"));
  await until(() => quiet.seen === 4);
  t.mock.timers.tick(TIMES.hedgeMs);
  await until(() => other.seen === 4);
  t.mock.timers.tick(TIMES.roundMs);
  await until(() => quiet.seen === 8);
  assert.equal(ports.size, 8, "another round takes no other sockets");
  const fifth = from.forward(another(), "udp", "192.0.2.2");
  assert.deepEqual(await waiting[0], { kind: "failed", reason: "busy" });
  from.close();
  await Promise.all([...waiting, fifth]);
});

test("forward: one question in many forms is asked once, so that a forger has one chance", async (t) => {
  const server = await openSlow(t);
  const from = forwarder(t, [server]);
  const waiting = Array.from({ length: 200 }, (_, at) => {
    const bytes = query("www.example.com", "A", { additionals: [opt({ udpPayloadSize: 512 + at })] });
    return from.forward(Buffer.concat([bytes, Buffer.alloc(at % 3)]), "udp", "192.0.2.1");
  });
  await until(() => server.seen > 0);
  server.release();
  for (const { kind } of await Promise.all(waiting)) assert.equal(kind, "reply");
  assert.equal(server.seen, 1);
});

test("forward: of one question with options that are each client's own only so many are under way", async (t) => {
  const quiet = await upstream(t, silent);
  const from = forwarder(t, [quiet]);
  const ask = (at: number) => {
    const cookie = { code: 10, data: Buffer.from(at.toString(16).padStart(16, "0"), "hex") };
    return from.forward(query("www.example.com", "A", { additionals: [opt({ options: [cookie] })] }), "udp");
  };
  const waiting = Array.from({ length: LIMITS.dnsForwardsPerQuestion }, (_, at) => ask(at));
  assert.deepEqual(await ask(1000), { kind: "failed", reason: "busy" });
  const plain = from.forward(ASKED, "udp");
  assert.equal(from.stats().underWay, waiting.length + 1);
  from.close();
  assert.deepEqual(await plain, SILENCE);
  await Promise.all(waiting);
});

test("forward: what all are silent about is asked again after a second, not at once", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let nowMs = 0;
  const quiet = await upstream(t, silent);
  const from = forwarder(t, [quiet], { nowMs: () => nowMs });
  const told = from.forward(ASKED, "udp");
  await until(() => quiet.seen.length === 1);
  t.mock.timers.tick(TIMES.totalMs);
  assert.deepEqual(await told, SILENCE);
  assert.deepEqual(from.remembered(ASKED), SILENCE);
  nowMs = 1000;
  assert.equal(from.remembered(ASKED), null);
});

test("forward: a damaged reply, or one without its question, sends on to the next server", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const good = await upstream(t, says("192.0.2.7"));
  const damages: ((whole: Buffer) => Buffer)[] = [
    (whole) => whole.subarray(0, -1),
    (whole) => Buffer.concat([whole, Buffer.of(0)]),
    (whole) => {
      const bare = Buffer.from(whole.subarray(0, 12));
      bare.writeUIntBE(0, 4, 6);
      bare[11] = 0;
      bare[3] = 0x83;
      return bare;
    },
  ];
  for (const damage of damages) {
    const metrics = openMetrics();
    const bad = await upstream(t, (bytes) => [damage(reply(bytes, { address: "203.0.113.66" }))]);
    const told = outcome(forwarder(t, [bad, good], { metrics }));
    await until(() => bad.seen.length === 1);
    const ignored = /^skein_dns_upstream_ignored_total 1$/m;
    for (let isIgnored = false; !isIgnored;) isIgnored = ignored.test(await metrics.registry.metrics());
    t.mock.timers.tick(TIMES.hedgeMs);
    assert.equal(await told, "192.0.2.7");
  }
});

test("forward: a reply over TCP may come in pieces of any size", async (t) => {
  const dripping = await openDripping(t);
  assert.equal(await outcome(forwarder(t, [dripping]), "tcp"), "192.0.2.8");
});

test("forward: an upstream that asks us is found, left out, named, and asked again when it has stopped", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let nowMs = 0;
  const lines: string[] = [];
  const log = {
    ...SILENT,
    warn: (text: string, fields = {}) => lines.push(`${text} ${JSON.stringify(fields)}`),
  };
  // Our listeners, round the circle: an echo is REFUSED, and so is what the upstream says.
  let behave: Behaviour = (bytes) => {
    const name = decode(bytes).questions?.[0]?.name ?? "";
    return [reply(bytes, from.isEcho(name.toUpperCase()) ? { rcode: 5 } : { address: "192.0.2.1" })];
  };
  const circle = await upstream(t, (bytes, transport) => behave(bytes, transport));
  const good = await upstream(t, says("192.0.2.7"));
  const metrics = openMetrics();
  const from = forwarder(t, [circle, good], { nowMs: () => nowMs, log, metrics });
  from.watchLoops();
  nowMs = 2000;
  t.mock.timers.tick(1000);
  await until(() => states(from) === "loop alive");
  assert.match(lines.join("\n"), new RegExp(`left out.*dns.upstream.*127.0.0.1:${circle.port}`));
  assert.match(await metrics.registry.metrics(), /^skein_dns_upstreams\{state="loop"\} 1$/m);
  assert.equal(await outcome(from), "192.0.2.7");
  for (const say of [silent, fails(2)]) {
    behave = say;
    nowMs += 60_000;
    const before = circle.seen.length;
    t.mock.timers.tick(1000);
    await until(() => circle.seen.length > before);
    assert.equal(states(from), "loop alive", "silence and failure prove nothing");
  }
  behave = says("192.0.2.1");
  nowMs += 60_000;
  t.mock.timers.tick(1000);
  await until(() => states(from) === "alive alive");
  const given = await from.forward(another(), "udp");
  assert.deepEqual(given.kind === "reply" && answersOf(given.bytes), ["192.0.2.1"]);
});

test("forward: a circle not found yet multiplies nothing: the query that comes back joins the first", async (t) => {
  const circle = await upstream(t, (bytes) => {
    const back = Buffer.from(bytes);
    back.writeUInt16BE(7, 0);
    void from.forward(back, "udp", "127.0.0.1");
    return [];
  });
  const from = forwarder(t, [circle]);
  const told = from.forward(ASKED, "udp", "192.0.2.1");
  await until(() => from.stats().underWay === 2);
  assert.equal(circle.seen.length, 1);
  from.close();
  assert.equal((await told).kind, "failed");
});

test("forward: an upstream given by name is refused, since its lookup would come to us", (t) => {
  const named = [{ host: "dns.example", port: 53 }];
  const isInvalid = (thrown: { code?: string }): boolean => thrown.code === "invalid";
  assert.throws(() => forwarder(t, named), isInvalid);
  assert.throws(() => forwarder(t, []).setUpstreams(named), isInvalid);
});

/** A server that truncates over UDP, and over TCP sends its answer byte by byte, as far as the system lets it. */
async function openDripping(t: TestContext): Promise<HostPort> {
  const udp = createSocket("udp4");
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  const { port } = udp.address();
  udp.on("message", (bytes, from) => udp.send(reply(bytes, { truncated: true }), from.port, from.address));
  const tcp = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      const whole = frame(reply(chunk.subarray(2), { address: "192.0.2.8" }));
      for (const byte of whole) socket.write(Buffer.of(byte));
    });
  });
  tcp.listen(port, "127.0.0.1");
  await once(tcp, "listening");
  t.after(() => {
    udp.close();
    tcp.close();
  });
  return { host: "127.0.0.1", port };
}

/** A server over UDP that answers when it is told to. */
interface SlowUpstream extends HostPort {
  /** Queries that came. */
  readonly seen: number;
  /** The query that came last. */
  query(): Buffer;
  release(): void;
}

/** @param came  told of each query: how to let it be answered, and the port it came from */
async function openSlow(
  t: TestContext,
  came: (release: () => void, port: number) => void = () => {},
): Promise<SlowUpstream> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => socket.close());
  const waiting: (() => void)[] = [];
  const queries: Buffer[] = [];
  const release = (): void => {
    for (const answer of waiting.splice(0)) answer();
  };
  socket.on("message", (bytes, from) => {
    queries.push(bytes);
    waiting.push(() => socket.send(reply(bytes, { address: "192.0.2.9" }), from.port, from.address));
    came(release, from.port);
  });
  return {
    host: "127.0.0.1",
    port: socket.address().port,
    get seen() {
      return queries.length;
    },
    query: () => queries.at(-1) ?? assert.fail("no query came"),
    release,
  };
}
