// Facts: Docker's replies and events, checked field by field.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import {
  apiVersionFrom,
  eventFrom,
  factsFromInspection,
  factsFromList,
} from "../../../src/source/docker/facts.ts";
import { containerEvent, inspection, listEntry, type FakeContainer } from "../../support/engine.ts";
import { idOf } from "./fixture.ts";

const WEB: FakeContainer = {
  id: idOf("a"),
  name: "web-1",
  labels: { "skein.port": "80" },
  address: "172.17.0.2",
  exposed: ["80/tcp", "53/udp", "9/sctp", "rubbish"],
  stopSignal: "SIGQUIT",
  health: "healthy",
};

const event = (value: unknown) => eventFrom(JSON.stringify(value));

test("facts: no JSON value, and no damage to a good reply, makes reading it throw", () => {
  const damage = fc.tuple(
    fc.constantFrom("State", "Config", "HostConfig", "NetworkSettings", "Mounts", "Id", "Name"),
    fc.jsonValue(),
  );
  fc.assert(
    fc.property(fc.jsonValue(), damage, (value, [field, bad]) => {
      factsFromList(value);
      factsFromInspection(value);
      apiVersionFrom(value);
      eventFrom(JSON.stringify(value) ?? "");
      factsFromInspection({ ...(inspection(WEB) as object), [field]: bad });
      factsFromList({ ...(listEntry(WEB) as object), [field]: bad, Names: bad, Labels: bad });
      event({ ...(containerEvent(WEB.id, "kill") as object), Actor: bad });
    }),
  );
});

test("facts: an inspection tells all that an endpoint needs", () => {
  const parsed = factsFromInspection(inspection(WEB));
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value, {
    id: idOf("a"),
    name: "web-1",
    labels: new Map([["skein.port", "80"]]),
    state: "running",
    startedAtMs: Date.parse("2026-01-01T00:00:00.123Z"),
    networkMode: "bridge",
    networks: ["bridge"],
    attachments: [{ network: "bridge", address: "172.17.0.2" }],
    exposed: [
      { port: 80, protocol: "tcp" },
      { port: 53, protocol: "udp" },
    ],
    reported: "healthy",
    stopSignal: 3,
    stopTimeoutMs: 10_000,
    resolver: { servers: [], confPath: "", gateways: [] },
  });
});

test("facts: an inspection tells how a container asks for names, the list does not", () => {
  const dns = { dns: ["172.17.0.1", "rubbish"], resolvConfPath: "/c/resolv.conf", gateway: "172.17.0.1" };
  const reply = inspection({ ...WEB, ...dns }) as object;
  const resolverOf = (value: unknown): unknown => {
    const parsed = factsFromInspection(value);
    return parsed.ok ? parsed.value.resolver : parsed;
  };
  const known = { servers: ["172.17.0.1"], confPath: "/c/resolv.conf", gateways: ["172.17.0.1"] };
  assert.deepEqual(resolverOf(reply), known);
  const Mounts = [
    { Destination: "/data", Source: "/d" },
    { Destination: "/etc/resolv.conf", Source: "/mine" },
  ];
  assert.deepEqual(resolverOf({ ...reply, Mounts }), { ...known, confPath: "/mine" });
  const listed = factsFromList(listEntry(WEB));
  assert.equal(listed.ok && listed.value.resolver, null);
});

test("facts: the list tells enough of a client", () => {
  const parsed = factsFromList(listEntry({ ...WEB, paused: true }));
  assert.ok(parsed.ok);
  assert.equal(parsed.value.name, "web-1");
  assert.equal(parsed.value.state, "paused");
  assert.deepEqual(parsed.value.attachments, [{ network: "bridge", address: "172.17.0.2" }]);
});

test("facts: a reply without an id is refused, and only that", () => {
  assert.ok(!factsFromInspection({}).ok);
  assert.ok(!factsFromList({ Id: "../../etc" }).ok);
  const bare = factsFromInspection({ Id: idOf("b") });
  assert.ok(bare.ok);
  assert.equal(bare.value.state, "gone");
  assert.equal(bare.value.name, "bbbbbbbbbbbb");
});

test("facts: a container that is being restarted, or has ended, is gone", () => {
  const state = (over: object) => {
    const parsed = factsFromInspection({ Id: idOf("a"), State: { Running: true, ...over } });
    return parsed.ok ? parsed.value.state : null;
  };
  assert.equal(state({}), "running");
  assert.equal(state({ Paused: true }), "paused");
  assert.equal(state({ Restarting: true }), "gone");
  assert.equal(state({ Running: false }), "gone");
});

test("facts: a label may be called like a part of JavaScript's objects", () => {
  const parsed = factsFromInspection({
    Id: idOf("a"),
    Config: { Labels: JSON.parse('{"__proto__":"x","constructor":"y","number":7}') as unknown },
  });
  assert.ok(parsed.ok);
  assert.deepEqual(
    [...parsed.value.labels],
    [
      ["__proto__", "x"],
      ["constructor", "y"],
    ],
  );
});

test("facts: every address of every network is told, IPv4 before IPv6, sorted by network", () => {
  const networks = {
    zeta: { IPAddress: "10.0.0.1", GlobalIPv6Address: "fd00::1" },
    beta: { IPAddress: "", GlobalIPv6Address: "fd00::2" },
    alpha: { IPAddress: "010.1.1.1" },
    none: null,
  };
  const parsed = factsFromInspection({ Id: idOf("a"), NetworkSettings: { Networks: networks } });
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value.attachments, [
    { network: "beta", address: "fd00::2" },
    { network: "zeta", address: "10.0.0.1" },
    { network: "zeta", address: "fd00::1" },
  ]);
  assert.deepEqual(parsed.value.networks, ["alpha", "beta", "none", "zeta"], "those without one count, too");
});

test("events: kill tells its signal, die and destroy the end, others that something changed", () => {
  const id = idOf("a");
  assert.deepEqual(event(containerEvent(id, "kill", { signal: "15" })), { kind: "killed", id, signal: 15 });
  assert.deepEqual(event(containerEvent(id, "kill", {})), { kind: "changed", id });
  for (const action of ["die", "destroy"])
    assert.deepEqual(event(containerEvent(id, action)), { kind: "died", id });
  for (const action of [
    "start",
    "stop",
    "pause",
    "unpause",
    "rename",
    "health_status: unhealthy",
    "health_status",
  ]) {
    assert.deepEqual(event(containerEvent(id, action)), { kind: "changed", id }, action);
  }
});

test("events: the runs of health checks and other noise are no events to us", () => {
  for (const action of [
    "exec_create: curl",
    "exec_start: curl",
    "exec_die",
    "attach",
    "top",
    "resize",
    "commit",
  ]) {
    assert.equal(event(containerEvent(idOf("a"), action)), null, action);
  }
  assert.equal(event({ Type: "image", Action: "start", Actor: { ID: idOf("a") } }), null);
  assert.equal(event(containerEvent("../evil", "start")), null);
  assert.equal(eventFrom('{"Type":"contai'), null);
});

test("events: a network tells of the container it gained or lost, and of its own making", () => {
  const network = (action: string, attributes: object) =>
    event({ Type: "network", Action: action, Actor: { ID: "n", Attributes: attributes } });
  assert.deepEqual(network("connect", { container: idOf("a") }), { kind: "changed", id: idOf("a") });
  assert.deepEqual(network("disconnect", { container: idOf("a") }), { kind: "changed", id: idOf("a") });
  assert.deepEqual(network("create", {}), { kind: "networks-changed" });
  assert.equal(network("connect", {}), null);
});

test("version: major and minor, or none", () => {
  assert.deepEqual(apiVersionFrom({ ApiVersion: "1.41" }), [1, 41]);
  for (const bad of [{}, null, { ApiVersion: "1" }, { ApiVersion: 1.41 }])
    assert.equal(apiVersionFrom(bad), null);
});

test("facts: names by which Docker's own server finds a container are told, what is no name left out", () => {
  const networks = { app: { IPAddress: "10.0.0.1", Aliases: ["web", "no name", 7, "aaaaaaaaaaaa"] } };
  const parsed = factsFromInspection({ Id: idOf("a"), NetworkSettings: { Networks: networks } });
  assert.ok(parsed.ok);
  const aliases = ["web", "aaaaaaaaaaaa"];
  assert.deepEqual(parsed.value.attachments, [{ network: "app", address: "10.0.0.1", aliases }]);
});
