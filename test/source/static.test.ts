// Static services: endpoints that the config file declares.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { drainReason, drainReplica, NO_DRAINS } from "../../src/catalog/drain.ts";
import { ProbeSchedule } from "../../src/health/schedule.ts";
import { isLabel } from "../../src/model/ids.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC } from "../../src/model/service.ts";
import {
  discoverStatic,
  type StaticHealth,
  type StaticOptions,
  type StaticService,
} from "../../src/source/static.ts";

const OPTIONS: StaticOptions = { nodeId: "a".repeat(20), loadedAtMs: 1000.5, previous: null };

function service(over: Partial<StaticService> = {}): StaticService {
  return {
    name: "web",
    network: "default",
    ports: [{ name: "web", port: 80, target: 8080, protocol: "http" }],
    replicas: ["127.0.0.1:9001", "127.0.0.1:9002"],
    publish: [],
    http: [],
    health: { kind: "tcp", path: "", intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 },
    weight: 1,
    passthrough: [],
    traffic: DEFAULT_TRAFFIC,
    delivery: DEFAULT_DELIVERY,
    ...over,
  };
}

const endpointsOf = (services: readonly StaticService[], options: Partial<StaticOptions> = {}) =>
  discoverStatic(services, { ...OPTIONS, ...options }).endpoints.toSorted((one, other) =>
    one.name < other.name ? -1 : 1,
  );

test("static: each address is a replica, reached at its own port and numbered in the order of the file", () => {
  const [one, two] = endpointsOf([service()]);
  assert.equal(one?.name, "web-1");
  assert.equal(two?.name, "web-2");
  assert.equal(one?.address, "127.0.0.1");
  assert.deepEqual(one?.declaration.ports, [{ name: "web", port: 80, target: 9001, protocol: "http" }]);
  assert.equal(two?.declaration.ports[0]?.target, 9002);
  assert.match(one?.id ?? "", /^web-[a-z2-7]{8}$/);
});

test("static: only the first port is where the replica says; the others keep their target", () => {
  const ports = [
    { name: "web", port: 80, target: 8080, protocol: "http" },
    { name: "admin", port: 81, target: 8081, protocol: "tcp" },
  ] as const;
  const [endpoint] = endpointsOf([service({ ports, replicas: ["10.0.0.1:9001"] })]);
  assert.deepEqual(
    endpoint?.declaration.ports.map((port) => port.target),
    [9001, 8081],
  );
});

test("static: a service without ports has the replica's own, called web", () => {
  const [endpoint] = endpointsOf([service({ ports: [] })]);
  assert.deepEqual(endpoint?.declaration.ports, [{ name: "web", port: 9001, target: 9001, protocol: "tcp" }]);
});

test("static: loopback is relayed by its host, any other address is reached directly", () => {
  const replicas = ["127.0.0.1:1", "[::1]:1", "10.0.0.1:1", "[fd00::1]:1"];
  assert.deepEqual(
    endpointsOf([service({ replicas })]).map((endpoint) => endpoint.reach),
    ["stream", "stream", "direct", "direct"],
  );
});

test("static: a probe goes to the replica's own port; a service with UDP only has none", () => {
  const http = { kind: "http", path: "/healthz", intervalMs: 1, timeoutMs: 2, rise: 3, fall: 4 } as const;
  const [asked] = endpointsOf([service({ health: http })]);
  assert.deepEqual(asked?.health, { kind: "probe", probe: { ...http, port: 9001 } });
  const udp = [{ name: "dns", port: 53, target: 53, protocol: "udp" }] as const;
  const [unasked] = endpointsOf([service({ ports: udp, health: http })]);
  assert.deepEqual(unasked?.health, { kind: "none" });
});

test("static: an address that cannot be used is a problem, and its neighbours still count", () => {
  const replicas = ["localhost:80", "10.0.0.1:99999", "nonsense", "10.0.0.1", "10.0.0.2:80", "10.0.0.2:80"];
  const discovery = discoverStatic([service({ replicas })], OPTIONS);
  assert.deepEqual(
    discovery.endpoints
      .map((endpoint) => `${endpoint.address} ${endpoint.declaration.ports[0]?.target}`)
      .sort(),
    ["10.0.0.1 8080", "10.0.0.2 80"],
  );
  assert.equal(discovery.problems.length, 4);
});

test("static: ids depend on node, network, service and address alone, so they outlive reordering", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(["127.0.0.1:1", "127.0.0.1:2", "10.0.0.1:1"]), (replicas) => {
      const byAddress = new Map(
        endpointsOf([service()])
          .concat(endpointsOf([service({ replicas: ["127.0.0.1:1", "127.0.0.1:2", "10.0.0.1:1"] })]))
          .map((endpoint) => [`${endpoint.address}:${endpoint.declaration.ports[0]?.target}`, endpoint.id]),
      );
      for (const endpoint of endpointsOf([service({ replicas })])) {
        const address = `${endpoint.address}:${endpoint.declaration.ports[0]?.target}`;
        assert.equal(endpoint.id, byAddress.get(address));
      }
    }),
  );
  const ids = [
    endpointsOf([service()])[0]?.id,
    endpointsOf([service()], { nodeId: "b".repeat(20) })[0]?.id,
    endpointsOf([service({ network: "app" })])[0]?.id,
  ];
  assert.equal(new Set(ids).size, 3);
});

test("static: a replica's name is a DNS label, however long the service's name", () => {
  const [endpoint] = endpointsOf([service({ name: "x".repeat(63) })]);
  assert.ok(isLabel(endpoint?.name ?? ""));
});

const PUBLISHED = service({ publish: [{ published: 8088, port: 80, protocol: "tcp", mode: "ingress" }] });

test("static: a reload dates what is declared otherwise than before, and only that", () => {
  const previous = discoverStatic([service()], OPTIONS);
  const reloaded = (changed: StaticService) =>
    endpointsOf([changed], { previous, loadedAtMs: 2000 }).map(({ declaredAtMs }) => declaredAtMs);
  assert.deepEqual(reloaded(service({ replicas: ["127.0.0.1:9001", "127.0.0.1:9003"] })), [1000, 2000]);
  assert.deepEqual(reloaded(PUBLISHED), [2000, 2000]);
  const often = { ...service().health, intervalMs: 100 };
  assert.deepEqual(reloaded(service({ health: often })), [1000, 1000], "how it is checked declares nothing");
});

test("static: a weight and how replicas take their traffic are of each entry, and declare nothing new", () => {
  const delivery = { proxyProtocol: "v2", drainMs: 0 } as const;
  const previous = discoverStatic([service()], OPTIONS);
  const changed = service({ weight: 0, delivery });
  const [one] = discoverStatic([changed], { ...OPTIONS, loadedAtMs: 2000, previous }).endpoints;
  assert.deepEqual([one?.weight, one?.delivery, one?.declaredAtMs], [0, delivery, 1000]);
});

test("static: how traffic is spread, and whose TLS passes, is declared, and dated when it changes", () => {
  const previous = discoverStatic([service()], OPTIONS);
  const traffic = { ...DEFAULT_TRAFFIC, balance: "p2c" } as const;
  const changed = service({ traffic, passthrough: ["db.example.com"] });
  const [one] = discoverStatic([changed], { ...OPTIONS, loadedAtMs: 2000, previous }).endpoints;
  assert.deepEqual([one?.declaration.traffic, one?.declaration.passthrough], [traffic, ["db.example.com"]]);
  assert.equal(one?.declaredAtMs, 2000);
});

test("static: whatever a reload changes in what a replica declares, its checks go on as they were", () => {
  const health: StaticHealth = { ...service().health, kind: "http", path: "/healthz" };
  const first = service({ health });
  const changed: readonly StaticService[] = [
    { ...PUBLISHED, health },
    service({ health, http: [{ host: "a.example.com", path: "/" }] }),
    service({ health, ports: [{ name: "other", port: 81, target: 8081, protocol: "tcp" }] }),
    service({ health: { ...health, intervalMs: 100, fall: 9 } }),
  ];
  for (const one of changed) {
    const schedule = new ProbeSchedule(10);
    const previous = discoverStatic([first], OPTIONS);
    schedule.set(previous.endpoints, 0);
    for (const request of schedule.due(0, () => 0.5))
      schedule.result(request, { kind: "passed" }, 0, () => 0.5);
    schedule.set(discoverStatic([one], { ...OPTIONS, previous, loadedAtMs: 2000 }).endpoints, 10);
    const states = [...schedule.verdicts().values()].map(({ state }) => state);
    assert.deepEqual(states, ["ready", "ready"]);
  }
});

test("static: a replica that was drained stays so, whatever a reload or the next start finds in the file", () => {
  const [drained] = endpointsOf([service()]);
  const drains = drainReplica(NO_DRAINS, drained ?? assert.fail());
  const previous = discoverStatic([service()], OPTIONS);
  for (const options of [{ previous }, { previous: null }]) {
    const found = endpointsOf([PUBLISHED], { ...options, loadedAtMs: 2000 });
    assert.deepEqual(
      found.map((endpoint) => drainReason(drains, endpoint)),
      ["drained by command", null],
    );
  }
});

test("static: a replica that moves up in the list, as the one before it is taken off, is as old as before", () => {
  const both = service({ replicas: ["127.0.0.1:9001", "127.0.0.1:9002"] });
  const previous = discoverStatic([both], OPTIONS);
  const rest = service({ replicas: ["127.0.0.1:9002"] });
  const [second] = endpointsOf([rest], { previous, loadedAtMs: 2000 });
  assert.deepEqual([second?.name, second?.declaredAtMs], ["web-1", 1000]);
  const after = discoverStatic([rest], { ...OPTIONS, previous, loadedAtMs: 2000 });
  const again = endpointsOf([both], { previous: after, loadedAtMs: 3000 });
  const timeByName = again.map(({ name, declaredAtMs }) => `${name} ${declaredAtMs}`);
  assert.deepEqual(timeByName.toSorted(), ["web-1 3000", "web-2 1000"]);
});
