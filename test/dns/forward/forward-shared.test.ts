// Forwarding for many: queries that are one, what is remembered, who gives way, circles.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Remembered } from "../../../src/dns/forward/remembered.ts";
import { LIMITS } from "../../../src/model/limits.ts";
import type { Log } from "../../../src/runtime/log.ts";
import { openMetrics } from "../../../src/runtime/metrics.ts";
import { until } from "../../support/wait.ts";
import { answersOf, decode, opt, query, reply, type Behaviour } from "../fixture.ts";
import {
  TIMES,
  ASKED,
  SILENCE,
  SILENT,
  silent,
  says,
  fails,
  upstream,
  forwarder,
  outcome,
  ONLY_HERE,
  states,
  another,
  openSlow,
} from "./forwarding.ts";

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
