// The responder: whatever bytes arrive, it replies exactly once and never throws.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { seededRandom } from "../../src/base/random.ts";
import type { Forwarder } from "../../src/dns/forward/forward.ts";
import {
  openResponder,
  type Client,
  type Responder,
  type ResponderOptions,
} from "../../src/dns/responder.ts";
import type { Asker, Stranger } from "../../src/dns/names/lookup.ts";
import { planZone, type Zone } from "../../src/dns/names/zone.ts";
import { LIMITS } from "../../src/model/limits.ts";
import { openMetrics } from "../../src/runtime/metrics.ts";
import {
  answersOf,
  decode,
  opt,
  OPTIONS,
  query,
  replica,
  replicas,
  reply,
  service,
  upstream,
  view,
} from "./fixture.ts";
import { until } from "../support/wait.ts";

const GIVEN: ResponderOptions = {
  zone: planZone(view([service("default", "web", { replicas: replicas("web", 40, 1) })]), OPTIONS),
  askerOf: () => ({ kind: "host" }),
  isAllowed: () => true,
  forwarder: null,
  metrics: openMetrics(),
  random: seededRandom(1),
};
const responder = openResponder(GIVEN);

function serve(bytes: Buffer, transport: "udp" | "tcp", by = responder): Buffer | null {
  const replies: (Buffer | null)[] = [];
  by.serve(bytes, { address: "127.0.0.1", transport }, (answer) => replies.push(answer));
  assert.equal(replies.length, 1);
  return replies[0] ?? null;
}

test("responder: any bytes get one answer under their id that UDP takes, or none; answers get none", () => {
  const whole = fc.constantFrom(
    query("web", "A"),
    query("tasks.web.default.skein.internal", "A", { additionals: [opt({ udpPayloadSize: 800 })] }),
    query("www.example.com", "AAAA", { additionals: [opt()] }),
    Buffer.alloc(0),
  );
  const damage = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(whole, damage, fc.uint8Array({ maxLength: 40 }), (start, changes, end) => {
      const bytes = Buffer.concat([start, end]);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const answer = serve(bytes, "udp");
      if (bytes.length < 17 || (bytes.readUInt8(2) & 0x80) !== 0) assert.equal(answer, null);
      if (answer === null) return;
      assert.ok(answer.length <= 1232);
      assert.equal(answer.readUInt16BE(0), bytes.readUInt16BE(0));
      assert.equal(decode(answer).type, "response");
    }),
    { numRuns: 5000 },
  );
});

test("responder: a cached answer is the answer that was made, but for its id and the order of addresses", () => {
  const names = fc.constantFrom("web", "tasks.web", "3.web", "nobody.skein.internal", "skein.internal");
  const types = fc.constantFrom("A", "AAAA", "SOA", "ANY");
  const ids = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(
      names,
      types,
      fc.constantFrom("udp" as const, "tcp" as const),
      ids,
      (name, type, transport, id) => {
        // One of its own: an answer that holds only some of many addresses is made anew after a while.
        const asked = openResponder(GIVEN);
        const first = serve(query(name, type, { id: 1 }), transport, asked);
        const second = serve(query(name, type, { id }), transport, asked);
        assert.ok(first !== null && second !== null);
        const normal = (bytes: Buffer): unknown => {
          const seen = decode(bytes);
          const answers = (seen.answers ?? []).map((record) => JSON.stringify(record)).toSorted();
          return { ...seen, id: 0, answers };
        };
        assert.deepEqual(normal(second), normal(first));
        assert.equal(decode(second).id, id);
      },
    ),
  );
});

test("responder: a tentative address has TTL 0, also from the cache, and nothing of it is left once settled", () => {
  const zone = (vipTentative: boolean, reach: "direct" | "stream") => {
    const copies = [replica("web-1", "10.0.0.1", { reach })];
    return planZone(
      view([service("default", "web", { vip: "10.96.0.9", vipTentative, replicas: copies })]),
      OPTIONS,
    );
  };
  const answers = (name: string, type: string): unknown[] => {
    const seen = decode(serve(query(name, type), "udp") ?? assert.fail());
    const records = [...(seen.answers ?? []), ...(seen.authorities ?? [])];
    return records.map((record) =>
      "ttl" in record ? [record.type, record.ttl, record.type === "A" ? record.data : ""] : [],
    );
  };
  for (const [reach, address] of [
    ["direct", "10.0.0.1"],
    ["stream", "10.96.0.9"],
  ] as const) {
    responder.setZone(zone(true, reach));
    for (let round = 0; round < 3; round += 1) {
      assert.deepEqual(answers("web", "A"), [["A", 0, address]]);
      assert.deepEqual(
        answers("web", "AAAA"),
        [["SOA", 0, ""]],
        "nor is it to be remembered that there is no other",
      );
      assert.deepEqual(answers("tasks.web", "A"), [["A", 5, "10.0.0.1"]]);
    }
    assert.notEqual(responder.recall(query("web", "A"), "127.0.0.1", "udp"), null, "it was cached");
    responder.setZone(zone(false, reach));
    assert.deepEqual(answers("web", "A"), [["A", 5, "10.96.0.9"]]);
    assert.deepEqual(answers("web", "AAAA"), [["SOA", 5, ""]]);
  }
});

test("responder: the same zone again leaves every finished answer as it is", () => {
  const zone = planZone(view([service("default", "web", { vip: "10.96.0.1" })]), OPTIONS);
  const given = opened({ zone });
  const asked = query("1.0.96.10.in-addr.arpa", "PTR");
  ask(given, asked, HERE);
  given.setZone(zone);
  assert.notEqual(given.recall(asked, HERE.address, "udp"), null);
  given.setZone({ ...zone });
  assert.equal(given.recall(asked, HERE.address, "udp"), null);
});

test("responder: who may ask for foreign names is told so with each answer, errors and truncated ones", async () => {
  const failing: Forwarder = {
    ...upstream((asked) => asked),
    forward: () => Promise.resolve({ kind: "failed", reason: "silent" }),
    isEcho: (name) => name === "probe.skein-loop.test",
  };
  const replica = { replicas: replicas("web", 2000, 1) };
  const zone = planZone(view([service("default", "web", replica)]), OPTIONS);
  const asked = [
    query("web", "A"),
    query("nobody.skein.internal", "A"),
    query("www.example.com", "A"),
    query("probe.skein-loop.test", "A"),
    query("skein.internal", "AXFR"),
    query("web", "A", { additionals: [opt({ ednsVersion: 1 })] }),
    Buffer.concat([query("web", "A").subarray(0, 10), Buffer.of(0, 9)]),
  ];
  for (const isAllowed of [true, false]) {
    const given = opened({ zone, forwarder: failing, isAllowed: () => isAllowed });
    const seen = async (bytes: Buffer, address = "192.0.2.1"): Promise<readonly unknown[]> => {
      const recalled = given.recall(bytes, address, "udp");
      const out =
        recalled ??
        (await new Promise<Buffer | null>((resolve) => {
          given.serve(bytes, { address, transport: "udp" }, resolve);
        }));
      const { rcode, flag_ra: recursion, flag_tc: truncated } = decode(out ?? assert.fail());
      return [rcode, recursion, truncated];
    };
    const foreign = isAllowed ? "SERVFAIL" : "REFUSED";
    // The sixth is BADVERS, whose lower bits alone are in the header (RFC 6891 6.1.3).
    const rcodes = ["NOERROR", "NXDOMAIN", foreign, "REFUSED", "REFUSED", "NOERROR", "FORMERR"];
    const told: unknown[] = [];
    for (const bytes of asked) told.push((await seen(bytes)).slice(0, 2));
    assert.deepEqual(
      told,
      rcodes.map((rcode) => [rcode, isAllowed]),
    );
    // Past the budget of its network.
    const limited = query("tasks.web", "A", { additionals: [opt()] });
    const served = Array.from({ length: 2000 }, () => seen(limited));
    assert.deepEqual((await Promise.all(served)).at(-1), ["NOERROR", isAllowed, true]);
  }
});

test("responder: what is finished is recalled, and what is not, or no query at all, has to be served", () => {
  const given = opened();
  const asked = query("web", "AAAA", { id: 77 });
  assert.equal(given.recall(asked, "127.0.0.1", "udp"), null);
  const served = ask(given, asked, HERE);
  assert.deepEqual(given.recall(asked, "127.0.0.1", "udp"), served);
  assert.equal(given.recall(asked, "127.0.0.1", "tcp"), null, "over TCP another answer may fit");
  for (const bytes of [Buffer.alloc(0), Buffer.of(1), Buffer.alloc(9000)])
    assert.equal(given.recall(bytes, "127.0.0.1", "udp"), null);
});

test("responder: at each moment a cached answer is what the zone of that moment says, however zones change", () => {
  const names = ["web", "api", "tasks.web", "tasks.api", "1.api", "nobody", "skein.internal"];
  const step = fc.record({
    vips: fc.tuple(fc.nat(3), fc.nat(3)),
    copies: fc.tuple(fc.nat(3), fc.nat(3)),
    asked: fc.array(fc.tuple(fc.constantFrom(...names), fc.constantFrom("A", "AAAA", "SOA")), {
      maxLength: 6,
    }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const kept = opened();
      let zone: Zone | null = null;
      for (const [version, { vips, copies, asked }] of steps.entries()) {
        const services = ["web", "api"].map((name, at) =>
          service("default", name, {
            vip: vips[at] === 0 ? null : `10.96.${at}.${vips[at]}`,
            replicas: replicas(name, copies[at] ?? 0, at + 1),
          }),
        );
        zone = planZone({ ...view(services), version }, OPTIONS, zone);
        kept.setZone(zone);
        const fresh = opened();
        fresh.setZone(zone);
        for (const [name, type] of asked) {
          const bytes = query(name, type, { additionals: [opt()] });
          assert.deepEqual(meaning(kept, bytes), meaning(fresh, bytes), `${name} ${type}`);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("responder: of more addresses than fit over UDP all are told in time, mostly from the cache", async () => {
  const metrics = openMetrics();
  const given = opened({ metrics });
  const seen = new Set<string>();
  for (let turn = 0; turn < 600; turn += 1) {
    const out = ask(given, query("tasks.web", "A"), HERE) ?? assert.fail();
    assert.deepEqual([decode(out).flag_tc, new Set(answersOf(out)).size], [true, 30]);
    for (const address of answersOf(out)) seen.add(address);
  }
  assert.equal(seen.size, 40);
  assert.match(await metrics.registry.metrics(), /dns_queries_total\{[^}]*source="zone"[^}]*\} 20\n/);
});

test("responder: a new zone leaves the finished answers of services that are as they were", async () => {
  const metrics = openMetrics();
  const kept = opened({ metrics });
  const web = service("default", "web", { vip: "10.96.0.1" });
  const first = planZone(view([web, service("default", "api", { vip: "10.96.0.2" })]), OPTIONS);
  kept.setZone(first);
  const ask = (name: string): unknown => meaning(kept, query(name, "A"));
  for (const name of ["web", "api"]) ask(name);
  kept.setZone(planZone(view([web, service("default", "api", { vip: "10.96.0.3" })]), OPTIONS, first));
  for (const name of ["web", "api"]) ask(name);
  const text = await metrics.registry.metrics();
  assert.match(text, /dns_queries_total\{qtype="A",rcode="NOERROR",source="cache"\} 1$/m);
  assert.match(text, /dns_queries_total\{qtype="A",rcode="NOERROR",source="zone"\} 3$/m);
});

test("responder: a network that gets far more than it asks for is sent to TCP, and others are not", async () => {
  const metrics = openMetrics();
  const busy = opened({ metrics });
  const large = query("tasks.web", "A", { additionals: [opt()] });
  const sizes = new Set<number>();
  for (let at = 0; at < 3000; at += 1) {
    const out = ask(busy, large, { address: `192.0.2.${at % 250}`, transport: "udp" });
    sizes.add(out?.length ?? 0);
    if (out !== null && decode(out).flag_tc) assert.ok(out.length <= large.length);
  }
  assert.deepEqual([sizes.size, Math.min(...sizes) <= large.length], [2, true]);
  const others = [
    { address: "192.0.3.1", transport: "udp" },
    { address: "127.0.0.1", transport: "udp" },
    { address: "192.0.2.7", transport: "tcp" },
  ] as const;
  for (const client of others) {
    const out = ask(busy, large, client);
    assert.deepEqual(out && [decode(out).flag_tc, answersOf(out).length], [false, 40]);
  }
  assert.match(await metrics.registry.metrics(), /dns_limited_total [1-9]/);
});

test("responder: of a forwarded answer no more is sent to such a network either", async () => {
  const bytes = (asked: Buffer): Buffer =>
    Buffer.concat([reply(asked, { address: "192.0.2.9" }), Buffer.alloc(400)]);
  const busy = opened({ forwarder: upstream(bytes) });
  const asked = query("www.example.com", "A");
  let truncated = 0;
  for (let at = 0; at < 4000; at += 1) {
    const out = await new Promise<Buffer | null>((resolve) => {
      busy.serve(asked, { address: "192.0.2.1", transport: "udp" }, resolve);
    });
    if (out === null || !decode(out).flag_tc) continue;
    truncated += 1;
    assert.ok(out.length <= asked.length);
  }
  assert.ok(truncated > 0);
});

test("responder: a loop's echo is refused, and what upstreams said before is told without asking them", () => {
  let forwarded = 0;
  const forwarder = {
    ...upstream((asked) => {
      forwarded += 1;
      return reply(asked, {});
    }),
    isEcho: (name: string) => name === "probe.skein-loop.test",
    remembered: (asked: Buffer) => {
      const isKnown = asked.includes("known");
      const bytes = reply(asked, { address: "192.0.2.9" });
      return isKnown ? ({ kind: "reply", bytes, rcodeCode: 0, fromCache: true } as const) : null;
    },
  };
  const given = opened({ forwarder });
  const rcodeOf = (name: string): string => {
    return decode(ask(given, query(name, "A"), HERE) ?? assert.fail()).rcode;
  };
  assert.equal(rcodeOf("probe.skein-loop.test"), "REFUSED");
  assert.equal(rcodeOf("known.example.com"), "NOERROR");
  assert.equal(forwarded, 0);
});

test("responder: an isolated container is told our names and refused all others, remembered or not", () => {
  let forwarded = 0;
  const forwarder: Forwarder = {
    ...upstream((asked) => {
      forwarded += 1;
      return reply(asked, { address: "192.0.2.9" });
    }),
    remembered: (asked) => {
      forwarded += 1;
      return { kind: "reply", bytes: reply(asked, { address: "192.0.2.9" }), rcodeCode: 0, fromCache: true };
    },
  };
  let isolated = false;
  const askerOf: ResponderOptions["askerOf"] = () => ({ kind: "container", networks: ["default"], isolated });
  const given = opened({ forwarder, askerOf });
  const says = (name: string, type = "A"): readonly unknown[] => {
    const { rcode, flag_ra } = decode(ask(given, query(name, type), HERE) ?? assert.fail());
    return [rcode, flag_ra];
  };
  // The same address is one container's and then another's.
  for (isolated of [false, true, false, true]) {
    const before = forwarded;
    const foreign = isolated ? "REFUSED" : "NOERROR";
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(says("web"), ["NOERROR", !isolated]);
      assert.deepEqual(says("www.example.com"), [foreign, !isolated]);
      assert.deepEqual(says("9.2.0.192.in-addr.arpa", "PTR"), [foreign, !isolated]);
    }
    assert.equal(forwarded > before, !isolated);
  }
});

test("responder: when an address last asked is known", () => {
  const given = opened();
  assert.equal(given.lastAskedMs("127.0.0.1"), null);
  ask(given, query("web", "A"), HERE);
  const first = given.lastAskedMs("127.0.0.1") ?? assert.fail();
  assert.ok(given.recall(query("web", "A"), HERE.address, "udp") !== null);
  assert.ok((given.lastAskedMs("127.0.0.1") ?? 0) >= first && given.lastAskedMs("127.0.0.2") === null);
});

const HERE: Client = { address: "127.0.0.1", transport: "udp" };

function opened(more: Partial<ResponderOptions> = {}): Responder {
  return openResponder({
    zone: planZone(view([service("default", "web", { replicas: replicas("web", 40, 1) })]), OPTIONS),
    askerOf: () => ({ kind: "host" }),
    isAllowed: () => true,
    forwarder: null,
    metrics: openMetrics(),
    random: seededRandom(1),
    ...more,
  });
}

/** The answer to a query that needs no upstream. */
function ask(given: Responder, bytes: Buffer, client: Client): Buffer | null {
  const replies: (Buffer | null)[] = [];
  const recalled = given.recall(bytes, client.address, client.transport);
  if (recalled !== null) return recalled;
  given.serve(bytes, client, (out) => replies.push(out));
  assert.equal(replies.length, 1);
  return replies[0] ?? null;
}

/** What an answer says, whatever the order of its addresses. */
function meaning(given: Responder, bytes: Buffer): unknown {
  const out = ask(given, bytes, HERE) ?? assert.fail();
  return { ...decode(out), answers: answersOf(out).toSorted() };
}

/** A responder with two services of one name, whose only client is who `who` says at the moment. */
function openedForStranger(forwarded: string[], more: Partial<ResponderOptions> = {}) {
  const networks = ["default", "shop"];
  const services = networks.map((network, at) => service(network, "db", { vip: `10.96.0.${at + 1}` }));
  const who: { asker: Asker | Stranger } = { asker: { kind: "unknown", isolated: false } };
  const forwarder = upstream((asked) => {
    forwarded.push(decode(asked).questions?.[0]?.name ?? "");
    return reply(asked, { address: "192.0.2.7" });
  });
  const given = opened({
    zone: planZone(view(services), OPTIONS),
    askerOf: () => who.asker,
    forwarder,
    ...more,
  });
  /** Asks; the answers come into the list, at once or later. */
  const asks = (name: string): readonly Buffer[] => {
    const replies: Buffer[] = [];
    const bytes = query(name, "A");
    const recalled = given.recall(bytes, "172.17.0.9", "udp");
    const take = (out: Buffer | null): void => void replies.push(out ?? assert.fail());
    if (recalled !== null) take(recalled);
    else given.serve(bytes, { address: "172.17.0.9", transport: "udp" }, take);
    return replies;
  };
  return { given, who, asks };
}

test("responder: a stranger is told nothing until it is known who it is, and then what he sees", () => {
  for (const [asker, address] of [
    [{ kind: "container", networks: ["shop", "default"], isolated: false }, "10.96.0.2"],
    [{ kind: "container", networks: ["default"], isolated: false }, "10.96.0.1"],
    [{ kind: "host" }, "10.96.0.1"],
  ] as const) {
    const told: string[] = [];
    const { given, who, asks } = openedForStranger([], { onStranger: () => told.push("stranger") });
    const waiting = ["db", "db.skein.internal"].map(asks);
    given.setZone(planZone(view([]), OPTIONS));
    given.askersTold();
    assert.deepEqual(
      waiting.map(({ length }) => length),
      [0, 0],
    );
    who.asker = asker;
    const services = ["default", "shop"].map((network, at) =>
      service(network, "db", { vip: `10.96.0.${at + 1}` }),
    );
    given.setZone(planZone(view(services), OPTIONS));
    given.askersTold();
    assert.deepEqual(
      waiting.map((replies) => replies.map(answersOf)),
      [[[address]], [[address]]],
    );
    assert.deepEqual(told, ["stranger", "stranger"]);
    assert.deepEqual(asks("db").map(answersOf), [[address]]);
  }
});

test("responder: who stays a stranger gets SERVFAIL for our names, found or not; and only so many wait", async () => {
  const forwarded: string[] = [];
  const { given, asks } = openedForStranger(forwarded);
  const names = ["db", "db.shop", "nobody.skein.internal", "1.0.96.10.in-addr.arpa"];
  const waiting = names.map(asks);
  const more = Array.from({ length: LIMITS.dnsStrangersPerAddress }, () => asks("db"));
  assert.deepEqual(more.filter(({ length }) => length > 0).length, names.length);
  await until(() => [...waiting, ...more].every(({ length }) => length === 1));
  for (const [first] of [...waiting, ...more]) assert.equal(decode(first ?? assert.fail()).rcode, "SERVFAIL");
  assert.deepEqual(forwarded, []);
  given.close();
});

test("responder: foreign names are forwarded for a stranger at once, unless he may be isolated", async () => {
  const forwarded: string[] = [];
  const { given, who, asks } = openedForStranger(forwarded);
  const open = asks("www.example.com");
  await until(() => open.length === 1);
  assert.deepEqual(open.map(answersOf), [["192.0.2.7"]]);
  who.asker = { kind: "unknown", isolated: true };
  const sealed = asks("www.example.org");
  who.asker = { kind: "container", networks: ["default"], isolated: true };
  given.askersTold();
  assert.equal(decode(sealed[0] ?? assert.fail()).rcode, "REFUSED");
  assert.deepEqual(forwarded, ["www.example.com"]);
  given.close();
});

test("responder: while the picture is incomplete an upstream's NXDOMAIN is not passed on, an answer is", async () => {
  const outcome = async (complete: boolean, name: string): Promise<string> => {
    const forwarder: Forwarder = {
      ...upstream(() => assert.fail()),
      forward: (asked) => {
        const isThere = name === "www.example.com";
        const bytes = reply(asked, isThere ? { address: "192.0.2.7" } : { rcode: 3 });
        return Promise.resolve({ kind: "reply", bytes, rcodeCode: isThere ? 0 : 3 });
      },
    };
    const given = opened({ forwarder, zone: planZone(view([], { complete }), OPTIONS) });
    const replies: (Buffer | null)[] = [];
    given.serve(query(name, "A"), HERE, (out) => replies.push(out));
    await until(() => replies.length === 1);
    return decode(replies[0] ?? assert.fail()).rcode;
  };
  assert.equal(await outcome(false, "web.shop"), "SERVFAIL");
  assert.equal(await outcome(false, "www.example.com"), "NOERROR");
  assert.equal(await outcome(true, "web.shop"), "NXDOMAIN");
});

test("responder: of more addresses than fit others are told after some time, over TCP as well", () => {
  const many = service("default", "many", { replicas: replicas("many", 4500, 1) });
  const given = opened({ zone: planZone(view([many]), OPTIONS) });
  const bytes = query("tasks.many.default.skein.internal", "A");
  const seen = new Set<string>();
  for (let times = 0; times < 2 * LIMITS.dnsRecordsMax + 2; times += LIMITS.dnsRecordsMax - 1) {
    for (const address of answersOf(
      ask(given, bytes, { address: "127.0.0.1", transport: "tcp" }) ?? assert.fail(),
    ))
      seen.add(address);
    for (let skipped = 0; skipped < LIMITS.dnsRecordsMax - 2; skipped += 1)
      given.recall(bytes, "127.0.0.1", "tcp");
  }
  assert.ok(seen.size > LIMITS.dnsRecordsMax, `${seen.size} addresses`);
});
