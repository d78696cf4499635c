// Labels: what a container's labels say of its service, and what becomes of bad ones.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../../src/model/limits.ts";
import { parseRecord, recordKey, renderRecord, type ReplicaRecord } from "../../../src/model/record.ts";
import {
  readEnablement,
  readLabels,
  readNetwork,
  type LabelContext,
} from "../../../src/source/docker/labels.ts";
import { context, labels } from "./fixture.ts";

const read = (entries: Readonly<Record<string, string>>, over: Partial<LabelContext> = {}) =>
  readLabels(labels(entries), context(over));

/** One good value of each label; only that of skein.udp.mode is its default, beside which the idle time counts. */
const GOOD: Readonly<Record<string, string>> = {
  "skein.service": "shop",
  "skein.network": "app",
  "skein.port": "web=80:8080/http,dns=53/udp",
  "skein.publish": "8088:80,host:5353:53/udp",
  "skein.http.host": "a.example.com,*.example.org",
  "skein.http.path": "/api",
  "skein.endpoint-mode": "dnsrr",
  "skein.weight": "7",
  "skein.alias": "boutique,store",
  "skein.health.http": "/healthz",
  "skein.health.interval": "2s",
  "skein.health.timeout": "300ms",
  "skein.health.rise": "3",
  "skein.health.fall": "4",
  "skein.lb": "source-hash",
  "skein.prefer": "local",
  "skein.slow-start": "30s",
  "skein.first-byte": "2s",
  "skein.proxy-protocol": "v2",
  "skein.drain": "1m",
  "skein.udp.mode": "flow",
  "skein.udp.idle": "5s",
  "skein.tls.passthrough": "db.example.com",
};

/** What of the whole each label decides, once all the others are good. */
const PARTS: Readonly<Record<string, (from: ReturnType<typeof read>) => unknown>> = {
  "skein.service": (from) => from.service,
  "skein.network": (from) => from.network,
  "skein.port": (from) => from.declaration.ports,
  "skein.publish": (from) => from.declaration.publish,
  "skein.http.host": (from) => from.declaration.http.map((route) => route.host),
  "skein.http.path": (from) => from.declaration.http.map((route) => route.path),
  "skein.endpoint-mode": (from) => from.declaration.endpointMode,
  "skein.weight": (from) => from.weight,
  "skein.alias": (from) => from.declaration.aliases,
  "skein.health.http": (from) => from.health.kind === "probe" && from.health.probe.path,
  "skein.health.interval": (from) => from.health.kind === "probe" && from.health.probe.intervalMs,
  "skein.health.timeout": (from) => from.health.kind === "probe" && from.health.probe.timeoutMs,
  "skein.health.rise": (from) => from.health.kind === "probe" && from.health.probe.rise,
  "skein.health.fall": (from) => from.health.kind === "probe" && from.health.probe.fall,
  "skein.lb": (from) => from.declaration.traffic.balance,
  "skein.prefer": (from) => from.declaration.traffic.prefer,
  "skein.slow-start": (from) => from.declaration.traffic.slowStartMs,
  "skein.first-byte": (from) => from.declaration.traffic.firstByteMs,
  "skein.proxy-protocol": (from) => from.delivery.proxyProtocol,
  "skein.drain": (from) => from.delivery.drainMs,
  "skein.udp.mode": (from) => from.declaration.traffic.udpMode,
  "skein.udp.idle": (from) => from.declaration.traffic.udpIdleMs,
  "skein.source": (from) => from.declaration.traffic.source,
  "skein.tls.passthrough": (from) => from.declaration.passthrough,
};

/** Parts that rest on another label too: publishing and routing name ports, a route needs a host. */
const RESTS_ON: Readonly<Record<string, readonly string[]>> = {
  "skein.publish": ["skein.port"],
  "skein.http.path": ["skein.http.host"],
  "skein.tls.passthrough": ["skein.port"],
};

const rubbish = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "",
    ",",
    ",,,",
    "-1",
    "0",
    "NaN",
    "__proto__",
    "true",
    "80",
    "/",
    "*",
    "::",
    "1s",
    "\u0000",
  ),
  fc.string({ minLength: 1, maxLength: 3 }).map((text) => text.repeat(3000)),
);

test("labels: whatever the labels of a container hold, reading them never throws and stays within bounds", () => {
  const name = fc.oneof(
    fc.constantFrom(...Object.keys(GOOD), "skein.enable", "skein.vip", "com.docker.compose.project"),
    fc.string().map((text) => `skein.${text}`),
    fc.constantFrom("__proto__", "constructor", "com.docker.compose.service"),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(name, rubbish), { maxLength: 40 }), (entries) => {
      const from = readLabels(new Map(entries), context());
      assert.ok(from.problems.length <= LIMITS.problemsPerSubject);
      const record: ReplicaRecord = {
        kind: "replica",
        id: "a".repeat(12),
        name: "web-1",
        address: "10.0.0.1",
        reach: "stream",
        slot: from.slot,
        network: from.network ?? "default",
        service: from.service,
        stack: from.stack,
        declaration: from.declaration,
        weight: from.weight,
        delivery: from.delivery,
        startedAtMs: 1,
        state: "ready",
        reason: "",
        drainApplied: false,
        drainPending: [],
      };
      const parsed = parseRecord(recordKey(record), renderRecord(record));
      assert.ok(parsed.ok, "peers take what came of them");
    }),
    { numRuns: 500 },
  );
});

test("labels: a bad label never takes another one down", () => {
  const whole = read(GOOD);
  assert.deepEqual(whole.problems, []);
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(GOOD)), rubbish, fc.string(), (broken, value, stranger) => {
      const from = read({ ...GOOD, [broken]: value, [`skein.x-${stranger}`]: value });
      for (const [label, part] of Object.entries(PARTS)) {
        if (label === broken || RESTS_ON[label]?.includes(broken)) continue;
        // A service without the label's ports has none that an HTTP route or probe could lead to in some cases.
        if (broken === "skein.port" && /http/.test(label)) continue;
        if (broken === "skein.http.path" && label === "skein.http.host") {
          assert.deepEqual([...new Set(part(from) as string[])], part(whole));
          continue;
        }
        if (broken === "skein.http.host" && label === "skein.http.path") continue;
        assert.deepEqual(part(from), part(whole), `${label} beside ${broken}=${value}`);
      }
    }),
    { numRuns: 500 },
  );
});

test("labels: a bad element of a list does not take the good ones down", () => {
  const from = read({ "skein.port": "80,nonsense,99999,81/udp", "skein.alias": "a,!!,b" });
  assert.deepEqual(
    from.declaration.ports.map((port) => port.name),
    ["tcp-80", "udp-81"],
  );
  assert.deepEqual(from.declaration.aliases, ["a", "b"]);
  assert.equal(from.problems.length, 3);
});

test("labels: without any the service is called like its container and has every EXPOSEd port, lowest first", () => {
  const exposed = [
    { port: 443, protocol: "tcp" },
    { port: 80, protocol: "udp" },
    { port: 80, protocol: "tcp" },
  ] as const;
  const from = read({}, { exposed });
  assert.equal(from.service, "web-1");
  assert.equal(from.network, null);
  assert.deepEqual(
    from.declaration.ports.map(({ name, port, target }) => `${name} ${port} ${target}`),
    ["tcp-80 80 80", "udp-80 80 80", "tcp-443 443 443"],
  );
  assert.equal(from.weight, 1);
  assert.deepEqual(from.problems, []);
});

test("labels: Compose gives service, stack and slot; skein.service wins over it", () => {
  const compose = {
    "com.docker.compose.project": "My.Shop",
    "com.docker.compose.service": "web",
    "com.docker.compose.container-number": "3",
  };
  const from = read(compose);
  assert.deepEqual([from.service, from.stack, from.slot], ["web", "my-shop", 3]);
  assert.equal(read({ ...compose, "skein.service": "Front" }).service, "front");
  assert.equal(read({ ...compose, "skein.service": "no way" }).service, "web");
  assert.equal(read({ "com.docker.compose.container-number": "-1" }).slot, null);
});

test("labels: an unknown label is reported with the nearest known one", () => {
  const { problems } = read({ "skein.prot": "80", "skein.helth.http": "/" });
  assert.deepEqual(problems, [
    'label "skein.prot" is unknown; did you mean "skein.port"?',
    'label "skein.helth.http" is unknown; did you mean "skein.health.http"?',
  ]);
  assert.match(
    read({ "skein.zzzzzzzzzzzzzzzzzz": "" }).problems[0] ?? "",
    /is unknown; expected one such as/,
  );
});

test("labels: one that this version leaves alone is reported, unless it asks for what happens anyway", () => {
  assert.deepEqual(read({ "skein.vip": "10.96.0.1" }).problems, [
    'label "skein.vip" is not supported by this version; ignored',
  ]);
  assert.deepEqual(read({ "skein.vip": "" }).problems, []);
});

test("labels: hosts whose TLS passes unopened are lowered and counted once, and need a TCP port to lead to", () => {
  const hosts = { "skein.tls.passthrough": "DB.example.com, *.db.example.com,db.example.com" };
  assert.deepEqual(read(hosts).declaration.passthrough, ["db.example.com", "*.db.example.com"]);
  const nowhere = read(hosts, { exposed: [{ port: 53, protocol: "udp" }] });
  assert.deepEqual(nowhere.declaration.passthrough, []);
  assert.deepEqual(nowhere.problems, [
    'label "skein.tls.passthrough" leads nowhere; expected a TCP port of the service',
  ]);
  assert.deepEqual(read({ "skein.tls.passthrough": "a b" }).problems, [
    'label "skein.tls.passthrough" is "a b"; expected a host name such as app.example.com or *.example.com',
  ]);
});

test("labels: publishing a port that the service does not have names those it has", () => {
  const from = read({ "skein.port": "80,53/udp", "skein.publish": "8088:81,9:53,8089:80" });
  assert.deepEqual(
    from.declaration.publish.map((entry) => entry.published),
    [8089],
  );
  assert.equal(from.problems.length, 2);
  assert.match(
    from.problems[0] ?? "",
    /to port 81\/tcp; expected one of the service's: it has ports 80\/tcp, 53\/udp/,
  );
});

test("labels: repeated ports and repeated published ports count once", () => {
  const from = read({ "skein.port": "80,80:8080/http,80/udp", "skein.publish": "8088:80,8088:80" });
  assert.equal(from.declaration.ports.length, 2);
  assert.equal(from.declaration.publish.length, 1);
  assert.equal(from.problems.length, 2);
});

test("labels: every host is routed with every path; a path without a host, or a host without a port, with none", () => {
  const routes = read({ "skein.http.host": "A.example.com,b.example.com", "skein.http.path": "/x,/y" });
  assert.deepEqual(
    routes.declaration.http.map(({ host, path }) => host + path),
    ["a.example.com/x", "a.example.com/y", "b.example.com/x", "b.example.com/y"],
  );
  assert.equal(read({ "skein.http.path": "/x" }).problems.length, 1);
  const unreachable = read(
    { "skein.http.host": "a.example.com" },
    { exposed: [{ port: 53, protocol: "udp" }] },
  );
  assert.deepEqual(unreachable.declaration.http, []);
  assert.equal(unreachable.problems.length, 1);
});

test("labels: routes that would not fit a record are left out, and that is said", () => {
  const hosts = Array.from({ length: 60 }, (_, index) => `h${index}.example.com`).join(",");
  const from = read({ "skein.http.host": hosts, "skein.http.path": "/a,/b,/c" });
  assert.equal(from.declaration.http.length, LIMITS.namesPerService);
  assert.match(from.problems[0] ?? "", /makes 180 routes; only 64 fit/);
});

test("labels: a service in vip mode without a port is reported, one in dnsrr mode is only a name", () => {
  assert.match(read({}, { exposed: [] }).problems[0] ?? "", /no port is known/);
  assert.deepEqual(read({ "skein.endpoint-mode": "dnsrr" }, { exposed: [] }).problems, []);
});

test("labels: a thousand bad labels give a bounded number of problems", () => {
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`skein.bad-${index}`, "x"]));
  assert.equal(read(many).problems.length, LIMITS.problemsPerSubject);
});

test("enablement: only true and false count, in any case", () => {
  assert.equal(readEnablement(labels({ "skein.enable": "TRUE" })).asked, true);
  assert.equal(readEnablement(labels({ "skein.enable": "false" })).asked, false);
  assert.deepEqual(readEnablement(labels({ "skein.enable": "yes" })), {
    asked: null,
    labelled: true,
    oneOff: false,
  });
  assert.equal(readEnablement(labels({ "com.docker.compose.oneoff": "True" })).oneOff, true);
  assert.equal(readEnablement(labels({ "traefik.enable": "true" })).labelled, false);
});

test("network: the label's, or none when it is absent or bad", () => {
  assert.equal(readNetwork(labels({ "skein.network": "App" })), "app");
  assert.equal(readNetwork(labels({ "skein.network": "no way" })), null);
  assert.equal(readNetwork(labels({})), null);
});
