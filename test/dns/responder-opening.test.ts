// The responder while listeners are still to be opened: it does not tell of an address before it is served.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seededRandom } from "../../src/base/random.ts";
import type { Asker, Stranger } from "../../src/dns/names/lookup.ts";
import { planZone } from "../../src/dns/names/zone.ts";
import { openResponder, type ResponderOptions } from "../../src/dns/responder.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import { answersOf, decode, OPTIONS, query, service, upstream, view } from "./fixture.ts";
import { until } from "../support/wait.ts";

/** A responder of a host that has still to open listeners at some addresses, for so long at most. */
function openedWhileOpening(names: readonly string[], more: Partial<ResponderOptions> = {}) {
  const opensInMs = new Map<string, number>();
  const of = (name: string, at: number) =>
    service("default", name, { vip: `10.96.0.${at + 1}`, vip6: `fd00::${at + 1}` });
  const given = openResponder({
    zone: planZone(view(names.map(of)), OPTIONS),
    askerOf: () => ({ kind: "host" }),
    isAllowed: () => true,
    forwarder: null,
    metrics: openMetrics(),
    random: seededRandom(1),
    opensInMs: (address) => opensInMs.get(address) ?? 0,
    ...more,
  });
  const asks = (bytes: Buffer, address = "127.0.0.1", replies: Buffer[] = []): readonly Buffer[] => {
    const take = (out: Buffer | null): void => void replies.push(out ?? assert.fail());
    const recalled = given.recall(bytes, address, "udp");
    if (recalled !== null) take(recalled);
    else given.serve(bytes, { address, transport: "udp" }, take);
    return replies;
  };
  return { given, opensInMs, of, asks };
}

test("responder: the address of a new service is told once something listens there, all else at once", () => {
  const { given, opensInMs, of, asks } = openedWhileOpening(["db", "web"]);
  opensInMs.set("10.96.0.2", 60_000);
  const asked = query("web", "A");
  const sent = Buffer.from(asked);
  const waiting = asks(asked);
  // Whose buffer it is may write over it: over TCP the next query.
  asked.fill(0);
  assert.deepEqual(asks(query("db", "A")).map(answersOf), [["10.96.0.1"]]);
  assert.equal(asks(query("tasks.web", "A")).length, 1);
  assert.equal(decode(asks(query("nobody.skein.internal", "A"))[0] ?? assert.fail()).rcode, "NXDOMAIN");
  given.listenersTold();
  assert.equal(waiting.length, 0);
  // The address is another one by then.
  opensInMs.clear();
  given.setZone(planZone(view([of("db", 0), of("web", 8)]), OPTIONS));
  given.listenersTold();
  assert.deepEqual(waiting.map(answersOf), [["10.96.0.9"]]);
  assert.equal(waiting[0]?.readUInt16BE(0), sent.readUInt16BE(0));
  assert.deepEqual(asks(sent).map(answersOf), [["10.96.0.9"]]);
  given.close();
});

test("responder: the IPv6 address of a service is waited for by itself", () => {
  const { given, opensInMs, asks } = openedWhileOpening(["db"]);
  opensInMs.set("fd00::1", 60_000);
  assert.deepEqual(asks(query("db", "A")).map(answersOf), [["10.96.0.1"]]);
  const waiting = asks(query("db", "AAAA"));
  given.listenersTold();
  assert.equal(waiting.length, 0);
  opensInMs.clear();
  given.listenersTold();
  assert.deepEqual(waiting.map(answersOf), [["fd00::1"]]);
  given.close();
});

test("responder: who waits at an address that changes hands gets what its new owner sees", () => {
  const on = (...networks: readonly string[]): Asker => ({ kind: "container", networks, isolated: false });
  const [one, two] = ["172.17.0.1", "::ffff:172.17.0.2"];
  const askers = new Map<string, Asker | Stranger>([
    [one, on("a")],
    ["172.17.0.2", on("b")],
  ]);
  const services = ["a", "b"].map((network, at) => service(network, "db", { vip: `10.96.0.${at + 1}` }));
  const { given, opensInMs, asks } = openedWhileOpening([], {
    zone: planZone(view(services), OPTIONS),
    askerOf: (address) => askers.get(address) ?? assert.fail(address),
  });
  for (const address of ["10.96.0.1", "10.96.0.2"]) opensInMs.set(address, 60_000);
  const waiting = asks(query("db", "A"), one);
  const mapped = asks(query("db", "A"), two);
  askers.set(one, { kind: "unknown", isolated: false });
  askers.set("172.17.0.2", on("a"));
  opensInMs.clear();
  given.listenersTold();
  assert.equal(waiting.length, 0);
  assert.deepEqual(mapped.map(answersOf), [["10.96.0.1"]]);
  const askedMs = given.lastAskedMs("172.17.0.2") ?? assert.fail();
  askers.set(one, on("b"));
  // It asks for something else meanwhile, as the one who it is now.
  assert.equal(asks(query("other", "A"), one).length, 1);
  given.askersTold();
  assert.deepEqual(waiting.map(answersOf), [["10.96.0.2"]]);
  for (const [address, told] of [
    [one, "10.96.0.2"],
    [two, "10.96.0.1"],
  ] as const)
    assert.deepEqual(asks(query("db", "A"), address).map(answersOf), [[told]]);
  assert.ok((given.lastAskedMs("172.17.0.2") ?? 0) > askedMs);
  given.close();
});

test("responder: a query that waits is forwarded for nobody who is isolated by then", () => {
  const who: { asker: Asker } = { asker: { kind: "container", networks: ["default"], isolated: false } };
  const { given, opensInMs, asks } = openedWhileOpening(["db"], {
    askerOf: () => who.asker,
    forwarder: upstream(() => assert.fail("forwarded")),
  });
  opensInMs.set("10.96.0.1", 60_000);
  const waiting = asks(query("db", "A"));
  who.asker = { kind: "container", networks: ["default"], isolated: true };
  given.setZone(planZone(view([]), OPTIONS));
  given.askersTold();
  assert.equal(decode(waiting[0] ?? assert.fail()).rcode, "REFUSED");
  given.close();
});

test("responder: once it is closed nobody who waits is told anything", () => {
  const { given, opensInMs, asks } = openedWhileOpening(["db"]);
  opensInMs.set("10.96.0.1", 60_000);
  const waiting = asks(query("db", "A"));
  given.close();
  opensInMs.clear();
  given.listenersTold();
  assert.equal(waiting.length, 0);
});

test("responder: a name that was told is told on, whatever listeners are still to be opened at its address", () => {
  const { given, opensInMs, asks } = openedWhileOpening(["db"]);
  assert.deepEqual(asks(query("db", "A")).map(answersOf), [["10.96.0.1"]]);
  opensInMs.set("10.96.0.1", 60_000);
  assert.deepEqual(asks(query("db", "A")).map(answersOf), [["10.96.0.1"]]);
  given.close();
});

test("responder: where nothing comes to listen the name is told when nobody waits any more", async () => {
  const { given, opensInMs, asks } = openedWhileOpening(["db", "web"]);
  opensInMs.set("10.96.0.1", 1);
  opensInMs.set("10.96.0.2", 60_000);
  const told: Buffer[] = [];
  for (const name of ["web", "db"]) asks(query(name, "A"), "127.0.0.1", told);
  assert.equal(told.length, 0);
  await until(() => told.length > 0);
  assert.deepEqual(answersOf(told[0] ?? assert.fail()), ["10.96.0.1"]);
  given.close();
});

test("responder: a name may have another address by then, for which it is waited as well", async () => {
  const { given, opensInMs, of, asks } = openedWhileOpening(["db", "web"]);
  for (const vip of ["10.96.0.1", "10.96.0.2"]) opensInMs.set(vip, 200);
  const waiting = ["db", "web"].map((name) => asks(query(name, "A")));
  given.setZone(planZone(view([of("db", 8), of("web", 9)]), OPTIONS));
  opensInMs.set("10.96.0.10", 60_000);
  await until(() => waiting.every(({ length }) => length === 1));
  const [db, web] = waiting.map(([answer]) => answer ?? assert.fail());
  assert.deepEqual(answersOf(db ?? assert.fail()), ["10.96.0.9"]);
  assert.equal(decode(web ?? assert.fail()).rcode, "SERVFAIL");
  given.close();
});

test("responder: until then it is SERVFAIL for who has waited as long as clients do, or with too many", async () => {
  const { given, opensInMs, asks } = openedWhileOpening(["db"]);
  opensInMs.set("10.96.0.1", 60_000);
  const waiting = Array.from({ length: LIMITS.dnsOpeningPerAddress }, () => asks(query("db", "A")));
  const [one] = asks(query("db", "A"));
  assert.equal(decode(one ?? assert.fail()).rcode, "SERVFAIL");
  assert.equal(asks(query("db", "A"), "127.0.0.2").length, 0);
  assert.ok(waiting.every(({ length }) => length === 0));
  await until(() => waiting.every(({ length }) => length === 1));
  for (const [answer] of waiting) assert.equal(decode(answer ?? assert.fail()).rcode, "SERVFAIL");
  given.close();
});
