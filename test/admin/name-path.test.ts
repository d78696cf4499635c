// Name path: whether a container's questions reach this daemon, case by case.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { DoctorCheck } from "../../src/admin/contract-doctor.ts";
import type { ProblemLine } from "../../src/admin/contract.ts";
import {
  askedAgoMsOf,
  judgeNamePath,
  placeOf,
  type Answering,
  type AskingContainer,
} from "../../src/admin/name-path.ts";

/** Docker's two bridges, both served, beside a loopback listener. */
const SERVED: Answering = {
  dnsPlaces: ["127.0.0.1:5300", "172.17.0.1:53", "172.18.0.1:53"],
  gateways: ["172.17.0.1", "172.18.0.1"],
};
const TAKEN = "dns address 172.18.0.1:53/udp is taken; expected a free port";
const BUSY: readonly ProblemLine[] = [{ area: "bind", subject: "172.18.0.1:53", text: TAKEN }];
const UNSERVED: Answering = { ...SERVED, dnsPlaces: ["127.0.0.1:5300"] };

const own = (address: string) => ({ address, fromHost: false });

/** A container on a compose network that was pointed at its gateway. */
function container(over: Partial<AskingContainer> = {}): AskingContainer {
  return {
    name: "shop-web-1",
    addresses: [{ address: "172.18.0.5", sinceMs: 0 }],
    gateways: ["172.18.0.1"],
    stack: "own",
    isolated: false,
    embedded: true,
    servers: [own("172.18.0.1")],
    askedAgoMs: null,
    ...over,
  };
}

function judge(
  over: Partial<AskingContainer>,
  answering: Answering = SERVED,
  problems: readonly ProblemLine[] = [],
): DoctorCheck {
  const check = judgeNamePath(container(over), answering, problems);
  assert.ok(check !== null);
  return check;
}

test("name path: one that was pointed at a gateway where we answer is well, through Docker's server or not", () => {
  const check = judge({});
  assert.deepEqual(
    [check.area, check.subject, check.state, check.remedy],
    ["container", "shop-web-1", "ok", null],
  );
  assert.match(check.text, /Docker's own server \(127\.0\.0\.11\), behind it 172\.18\.0\.1: this daemon/);
  assert.equal(judge({ embedded: false }).state, "ok");
  assert.equal(
    judge({ servers: [own("172.17.0.1")] }).state,
    "ok",
    "another bridge's gateway is this host, too",
  );
});

test("name path: what the kernel leads here is well whomever it is for, unless Docker asks in the host's name", () => {
  const led = { led: true as const, servers: [own("8.8.8.8")] };
  const check = judge(led);
  assert.deepEqual([check.state, check.remedy], ["ok", null]);
  assert.match(check.text, /8\.8\.8\.8, which the kernel's rules lead to this daemon/);
  assert.equal(judge({ ...led, servers: [own("172.18.0.1")] }, UNSERVED, BUSY).state, "ok");
  assert.equal(judge({ ...led, servers: [{ address: "127.0.0.53", fromHost: true }] }).state, "warn");
  assert.equal(judge({ servers: [own("8.8.8.8")] }).state, "warn");
  assert.equal(judge({ ...led, servers: null }).state, "ok");
  assert.equal(judge({ ...led, servers: [] }).state, "warn", "Docker asks nobody for it");
  assert.equal(judge({ ...led, isolated: true }).state, "warn", "nor for internal networks");
});

test("name path: a question that was seen outdoes whatever is known of the way", () => {
  const check = judge({ servers: [own("8.8.8.8")], askedAgoMs: 12_300 }, UNSERVED, BUSY);
  assert.deepEqual([check.state, check.text], ["ok", "asked this daemon 12 s ago"]);
});

test("name path: a question from the address before this run had it is another's, and proves nothing", () => {
  const [first, second] = ["172.18.0.5", "172.19.0.5"];
  const asked = (times: Readonly<Record<string, number>>, sinceMs: number) =>
    askedAgoMsOf(
      [
        { address: first, sinceMs },
        { address: second, sinceMs: 0 },
      ],
      (address) => times[address] ?? null,
      9000,
    );
  assert.equal(asked({ [first]: 4000 }, 1000), 5000);
  assert.equal(asked({ [first]: 4000 }, 4500), null);
  assert.equal(asked({ [first]: 4000, [second]: 3000 }, 4500), 6000, "its other address is judged by itself");
  assert.equal(asked({ [first]: 4000, [second]: 3000 }, 1000), 5000, "the last question counts");
  assert.equal(asked({}, 0), null);
  const broken = { servers: [own("8.8.8.8")], askedAgoMs: asked({ [first]: 4000 }, 4500) };
  assert.equal(judge(broken).state, "warn");
});

test("name path: one that asks others is warned of, with the address to give it", () => {
  const check = judge({ servers: [own("8.8.8.8"), own("1.1.1.1")] });
  assert.equal(check.state, "warn");
  assert.match(check.text, /8\.8\.8\.8, 1\.1\.1\.1: not this daemon/);
  assert.match(check.remedy ?? "", /--dns 172\.18\.0\.1 .*"dns": \["172\.18\.0\.1"\] into daemon\.json/);
});

test("name path: our address behind another does not help, for the first no is final", () => {
  const check = judge({ servers: [own("8.8.8.8"), own("172.18.0.1")] });
  assert.equal(check.state, "warn");
  assert.match(check.text, /not this daemon first/);
});

test("name path: a gateway that another program holds breaks whom was pointed at it, in status' words", () => {
  const check = judge({}, UNSERVED, BUSY);
  assert.equal(check.state, "fail");
  assert.ok(check.text.includes(TAKEN));
  assert.match(
    judge({ servers: [own("8.8.8.8")] }, UNSERVED, BUSY).remedy ?? "",
    /is taken.*--dns 172\.18\.0\.1/,
  );
});

test("name path: the gateway of another bridge is named where the container's own does not answer", () => {
  const only17 = { ...SERVED, dnsPlaces: ["172.17.0.1:53"] };
  assert.match(judge({ servers: null }, only17, BUSY).remedy ?? "", /--dns 172\.17\.0\.1/);
});

test("name path: on internal networks the engine's age decides whether Docker's server asks on", () => {
  for (const servers of [[own("172.18.0.1")], [own("8.8.8.8")], [], null]) {
    const check = judge({ isolated: true, servers });
    assert.equal(check.state, "warn");
    assert.match(
      check.text,
      /^all its networks are internal: .* asks nobody .* since Docker 26.*older ones ask on/,
    );
    assert.match(check.remedy ?? "", /not internal as well, or mount .*\/etc\/resolv\.conf/);
  }
});

test("name path: on internal networks whoever asks us is told that foreign names are refused", () => {
  const refused = /; names outside the zone are refused, since all its networks are internal$/;
  const seen = judge({ isolated: true, askedAgoMs: 12_300 });
  assert.equal(seen.state, "ok");
  assert.match(seen.text, /^asked this daemon 12 s ago; /);
  const direct = judge({ isolated: true, gateways: [], embedded: false });
  assert.equal(direct.state, "ok", "its own file names us, and we are next door");
  for (const { text } of [seen, direct]) assert.match(text, refused);
  const elsewhere = judge({ isolated: true, embedded: false, servers: [own("8.8.8.8")] });
  assert.doesNotMatch(elsewhere.remedy ?? "", /--dns/, "no engine of today would ask on");
});

test("name path: without a way out, but not known to be internal, nothing is said of internal networks", () => {
  assert.doesNotMatch(judge({ gateways: [] }).text, /internal/);
});

test("name path: loopback is the container's own, but where the host is asked on its behalf", () => {
  const answering = { ...SERVED, dnsPlaces: ["127.0.0.1:53", "172.18.0.1:53"] };
  assert.equal(judge({ embedded: false, servers: [own("127.0.0.1")] }, answering).state, "warn");
  const check = judge({ servers: [{ address: "127.0.0.1", fromHost: true }] }, answering);
  assert.equal(check.state, "ok");
  assert.match(check.text, /in the host's name/);
});

test("name path: on the host's network stack it is the host's resolver that counts", () => {
  const onHost = { stack: "host", addresses: [], gateways: [], embedded: false } as const;
  const at = (address: string) => ({ ...onHost, servers: [{ address, fromHost: true }] });
  assert.equal(judge(at("127.0.0.1"), { ...SERVED, dnsPlaces: ["127.0.0.1:53"] }).state, "ok");
  const check = judge(at("192.0.2.1"));
  assert.equal(check.state, "warn");
  assert.match(check.remedy ?? "", /host's \/etc\/resolv\.conf/);
});

test("name path: what cannot be told is said to be unknown, and one without a server has none", () => {
  const unknown = judge({ servers: null });
  assert.equal(unknown.state, "warn");
  assert.match(
    unknown.text,
    /behind it those of daemon\.json or else of the host, which cannot be told from here/,
    "engines before Docker 26 do not write them down",
  );
  assert.match(judge({ servers: null, embedded: false }).text, /^asks servers that cannot be told from here/);
  assert.match(judge({ servers: [] }).text, /has no server for names/);
});

test("name path: one without a network asks nobody, so there is nothing to tell", () => {
  assert.equal(judgeNamePath(container({ stack: "none" }), SERVED, []), null);
});

test("name path: whatever is not well comes with a remedy or says what is in the way", () => {
  const address = fc.constantFrom("172.17.0.1", "172.18.0.1", "127.0.0.1", "8.8.8.8", "fd00::1");
  const server = fc.record({ address, fromHost: fc.boolean() });
  const any = fc.record({
    gateways: fc.array(address, { maxLength: 2 }),
    stack: fc.constantFrom("own", "host"),
    embedded: fc.boolean(),
    isolated: fc.boolean(),
    servers: fc.option(fc.array(server, { maxLength: 3 })),
  });
  const answering = fc.record({
    dnsPlaces: fc.array(address.map(placeOf)),
    gateways: fc.array(address, { maxLength: 2 }),
  });
  fc.assert(
    fc.property(any, answering, (over, where) => {
      const { state, text, remedy } = judge(over, where, BUSY);
      assert.equal(state === "warn", remedy !== null, text);
      // Nobody is told to use an address where nobody answers, without what is to be done first.
      const advised = /^start it with --dns (\S+)/.exec(remedy ?? "")?.[1];
      if (advised !== undefined) assert.ok(where.dnsPlaces.includes(placeOf(advised)));
    }),
  );
});
