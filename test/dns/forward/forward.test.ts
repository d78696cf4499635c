// Forwarding: upstreams that are slow, dead, wrong, truncated or lying.

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { test } from "node:test";

import { openMetrics } from "../../../src/runtime/metrics.ts";
import { openBlock } from "../../support/daemons.ts";
import { until } from "../../support/wait.ts";
import { decode, opt, query, reply } from "../fixture.ts";
import {
  TIMES,
  ASKED,
  silent,
  says,
  fails,
  upstream,
  forwarder,
  outcome,
  PROBE_MS,
  ONLY_HERE,
  states,
  missThrice,
  another,
  openDripping,
  openSlow,
} from "./forwarding.ts";

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
    await until(async () => ignored.test(await metrics.registry.metrics()), { what: "it is ignored" });
    t.mock.timers.tick(TIMES.hedgeMs);
    assert.equal(await told, "192.0.2.7");
  }
});

test("forward: a reply over TCP may come in pieces of any size", async (t) => {
  const dripping = await openDripping(t);
  assert.equal(await outcome(forwarder(t, [dripping]), "tcp"), "192.0.2.8");
});

test("forward: an upstream given by name is refused, since its lookup would come to us", (t) => {
  const named = [{ host: "dns.example", port: 53 }];
  const isInvalid = (thrown: { code?: string }): boolean => thrown.code === "invalid";
  assert.throws(() => forwarder(t, named), isInvalid);
  assert.throws(() => forwarder(t, []).setUpstreams(named), isInvalid);
});

/** A server that truncates over UDP, and over TCP sends its answer byte by byte, as far as the system lets it. */
