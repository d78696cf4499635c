// Plan: from a view to listeners and pools.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import type { Member } from "../../src/model/member.ts";
import type { Network } from "../../src/model/network.ts";
import { DEFAULT_DELIVERY, type PublishedPort, type ServicePort } from "../../src/model/service.ts";
import { TIERS, type Replica, type Service } from "../../src/model/view.ts";
import { planRoutes, type RouteOptions } from "../../src/proxy/plan.ts";

import { replica, service, view } from "./fixtures.ts";

const OPTIONS: RouteOptions = {
  ingressAddress: "0.0.0.0",
  httpPort: 8080,
  httpsPort: 8443,
  terminatesTls: false,
  listensOnVips: true,
  reservedPorts: [7650],
  listenersMax: 1000,
};

const OVERLAY = { address: "192.0.2.2", mtu: 1500 };

const TCP: ServicePort = { name: "db", port: 5432, target: 5432, protocol: "tcp" };
const UDP: ServicePort = { name: "dns", port: 53, target: 53, protocol: "udp" };

function published(publishedPort: number, port: number, changes: Partial<PublishedPort> = {}): PublishedPort {
  return { published: publishedPort, port, protocol: "tcp", mode: "ingress", ...changes };
}

function addresses(services: readonly Service[], options: Partial<RouteOptions> = {}): readonly string[] {
  const { frontends } = planRoutes(view(services), { ...OPTIONS, ...options });
  return frontends.map(
    (frontend) => `${frontend.kind} ${frontend.address}:${frontend.port} ${frontend.pool.service}`,
  );
}

test("planRoutes: each port of a service is listened on at its VIP", () => {
  const web = service("web", {
    ports: [TCP, { name: "web", port: 80, target: 8080, protocol: "http" }, UDP],
  });
  assert.deepEqual(addresses([web]), [
    "tcp 127.96.0.1:5432 default/web",
    "http 127.96.0.1:80 default/web",
    "udp 127.96.0.1:53 default/web",
  ]);
});

test("planRoutes: a service is served at its VIP while that is tentative, and at the addresses it had before", () => {
  const web = service("web", { vipTentative: true, aliasVips: ["127.96.0.7", "127.96.0.8"] });
  const { frontends } = planRoutes(view([web]), OPTIONS);
  assert.deepEqual(
    frontends.map(({ origin, address, port }) => `${origin} ${address}:${port}`),
    ["vip 127.96.0.1:80", "vip 127.96.0.7:80", "vip 127.96.0.8:80"],
  );
  assert.equal(new Set(frontends.map(({ pool }) => pool)).size, 1, "all lead to one pool");
});

test("planRoutes: no VIP listeners for a service without a VIP, and none where another daemon has them", () => {
  assert.deepEqual(addresses([service("web", { vip: null })]), []);
  assert.deepEqual(addresses([service("web")], { listensOnVips: false }), []);
});

test("planRoutes: a UDP and a TCP port of one number are two listeners with pools of their own", () => {
  const ports: readonly ServicePort[] = [UDP, { ...UDP, name: "dns-tcp", target: 5353, protocol: "tcp" }];
  const dns = service("dns", { ports, replicas: [replica("a", { ports })] });
  const { frontends, problems } = planRoutes(view([dns]), OPTIONS);
  assert.deepEqual(
    frontends.map(({ kind, port, pool }) => [kind, port, pool.tiers[0]?.map(({ id }) => id)]),
    [
      ["udp", 53, ["a:53/udp"]],
      ["tcp", 53, ["a:5353"]],
    ],
  );
  assert.deepEqual(problems, []);
});

test("planRoutes: a published port on which a replica of this host listens itself is left to it", () => {
  const ports: readonly ServicePort[] = [{ name: "web", port: 80, target: 8088, protocol: "http" }];
  const problemsAt = (address: string, changes: Partial<Replica> = {}): readonly string[] => {
    const replicas = [replica("a", { ports, address, ...changes })];
    const web = service("web", { publish: [published(8088, 80)], replicas });
    return planRoutes(view([web]), OPTIONS).problems;
  };
  assert.deepEqual(problemsAt("127.0.0.1"), [
    "service default/web: published port 8088/tcp is left to replica a, which listens on it itself",
  ]);
  // A container's own address is not the host's, nor is another host's loopback.
  assert.deepEqual([...problemsAt("172.17.0.2"), ...problemsAt("127.0.0.1", { local: false })], []);
  // Nor is loopback the one address that is published on.
  const web = service("web", {
    vip: null,
    publish: [published(8088, 80)],
    replicas: [replica("a", { ports })],
  });
  assert.deepEqual(addresses([web], { ingressAddress: "192.0.2.1" }), ["http 192.0.2.1:8088 default/web"]);
});

test("planRoutes: a replica whose address is a VIP of its own service is left out, and a problem says so", () => {
  const replicas = [
    replica("a"),
    replica("b", { address: "127.96.0.1" }),
    replica("c", { address: "127.96.0.9" }),
  ];
  const web = service("web", { aliasVips: ["127.96.0.9"], replicas });
  const { frontends, problems } = planRoutes(view([web]), OPTIONS);
  assert.deepEqual(
    frontends[0]?.pool.tiers.flat().map(({ replica: id }) => id),
    ["a"],
  );
  assert.deepEqual(problems, [
    "service default/web: replica b is left out: its address 127.96.0.1 is a VIP of the service itself",
    "service default/web: replica c is left out: its address 127.96.0.9 is a VIP of the service itself",
  ]);
});

test("planRoutes: what keeps its connections without taking new ones rests, and drains end at a set time", () => {
  const drains = {
    tier: "draining",
    sinceMs: 5000,
    delivery: { ...DEFAULT_DELIVERY, drainMs: 7000 },
  } as const;
  const replicas = [
    replica("a", { tier: "never", keepsConnections: true }),
    replica("b", { tier: "never", keepsConnections: false }),
    replica("c", drains),
  ];
  const [frontend] = planRoutes(view([service("web", { replicas })]), OPTIONS).frontends;
  assert.deepEqual(
    frontend?.pool.resting.map(({ replica: id }) => id),
    ["a"],
  );
  assert.equal(frontend?.pool.tiers[1]?.[0]?.drainUntilMs, 12_000);
});

test("planRoutes: a published port of mode ingress is open everywhere, of mode host beside a replica", () => {
  const ingress = service("web", { vip: null, publish: [published(8088, 80)] });
  assert.deepEqual(addresses([ingress]), ["http 0.0.0.0:8088 default/web"]);
  const host = { vip: null, publish: [published(8088, 80, { mode: "host" })] };
  assert.deepEqual(
    addresses([service("web", { ...host, replicas: [replica("far", { local: false })] })]),
    [],
  );

  const both = [replica("far", { local: false }), replica("near")];
  const { frontends } = planRoutes(view([service("web", { ...host, replicas: both })]), OPTIONS);
  assert.deepEqual(
    frontends.map((frontend) => frontend.pool.tiers[0]?.map((one) => one.replica)),
    [["near"]],
  );
});

test("planRoutes: a published port wanted by two services goes to the lower key, in any order", () => {
  const one = service("api", { vip: null, publish: [published(8088, 80)] });
  const other = service("web", { vip: null, publish: [published(8088, 80)] });
  for (const services of [
    [one, other],
    [other, one],
  ]) {
    const planned = planRoutes(view(services), OPTIONS);
    assert.deepEqual(
      planned.frontends.map((frontend) => frontend.pool.service),
      ["default/api"],
    );
    assert.deepEqual(planned.problems, [
      "service default/web: published port 8088/tcp on 0.0.0.0 is taken by service default/api",
    ]);
  }
});

test("planRoutes: a published port that the daemon itself uses, or the HTTP ingress, is refused", () => {
  const web = service("web", { vip: null, publish: [published(7650, 80), published(8080, 80)] });
  const planned = planRoutes(view([web]), OPTIONS);
  assert.deepEqual(planned.frontends, []);
  assert.deepEqual(planned.problems, [
    "service default/web: published port 7650/tcp on 0.0.0.0 is taken by the daemon itself",
    "service default/web: published port 8080/tcp on 0.0.0.0 is taken by the HTTP ingress",
  ]);
});

test("planRoutes: a published port that leads to no port of the service is reported", () => {
  const { problems } = planRoutes(
    view([service("web", { vip: null, publish: [published(8088, 81)] })]),
    OPTIONS,
  );
  assert.match(problems[0] ?? "", /leads to port 81\/tcp; expected a port of the service/);
});

test("planRoutes: upstreams stand in their tier, sorted by id, with their own target port; `never` is left out", () => {
  const replicas = [
    replica("d", { tier: "never" }),
    replica("c", { tier: "draining", ports: [{ name: "web", port: 80, target: 9090, protocol: "http" }] }),
    replica("b"),
    replica("a"),
    replica("e", { tier: "panic" }),
    replica("f", { ports: [] }),
  ];
  const [frontend] = planRoutes(view([service("web", { replicas })]), OPTIONS).frontends;
  const ids = frontend?.pool.tiers.map((tier) => tier.map((one) => one.id));
  assert.deepEqual(ids, [["a:8080", "b:8080"], ["c:9090"], ["e:8080"]]);
});

test("planRoutes: a replica is reached directly when it is here or has an address of its own, else by stream", () => {
  const replicas = [
    replica("a", { local: true, reach: "stream" }),
    replica("b", { local: false, reach: "direct", address: "192.0.2.7" }),
    replica("c", { local: false, reach: "stream", address: "172.17.0.2" }),
    // Whatever its record says: that address is this host, not the other.
    replica("d", { local: false, reach: "direct", address: "::ffff:7f00:1" }),
  ];
  const [frontend] = planRoutes(view([service("web", { replicas })]), OPTIONS).frontends;
  assert.deepEqual(
    frontend?.pool.tiers[0]?.map((one) => one.via),
    ["direct", "direct", "stream", "stream"],
  );
});

test("planRoutes: HTTP routes lead to the http port; of two services that want one route the lower key has it", () => {
  const http = [{ host: "App.example.com", path: "/api/" }];
  const planned = planRoutes(view([service("web", { http }), service("api", { http })]), OPTIONS);
  assert.deepEqual(
    planned.ingress?.routes.map((route) => [route.host, route.path, route.pool.service, route.pool.port]),
    [["app.example.com", "/api", "default/api", 80]],
  );
  assert.ok(
    planned.problems.some((text) =>
      text.includes("HTTP route App.example.com/api is taken by service default/api"),
    ),
  );
});

test("planRoutes: with the HTTP ingress off there is none, and services with routes are told", () => {
  const http = [{ host: "app.example.com", path: "/" }];
  const planned = planRoutes(view([service("web", { http })]), { ...OPTIONS, httpPort: null });
  assert.equal(planned.ingress, null);
  assert.deepEqual(planned.problems, [
    "service default/web: HTTP routes are not served: the HTTP ingress is off",
  ]);
});

test("planRoutes: the HTTPS port is taken only where there is something to listen for, and only there refused", () => {
  const web = service("web", { vip: null, publish: [published(8443, 80)] });
  const plain = planRoutes(view([web]), OPTIONS);
  assert.deepEqual([plain.ingress?.httpsPort, plain.problems], [null, []]);
  const passing = service("db", { vip: null, passthrough: ["db.example.com"] });
  for (const planned of [
    planRoutes(view([web]), { ...OPTIONS, terminatesTls: true }),
    planRoutes(view([web, passing]), OPTIONS),
  ]) {
    assert.equal(planned.ingress?.httpsPort, 8443);
    assert.deepEqual(planned.problems, [
      "service default/web: published port 8443/tcp on 0.0.0.0 is taken by the HTTPS ingress",
    ]);
  }
});

test("planRoutes: HTTP routes are served over HTTPS alone where there are certificates, and not without", () => {
  const routed = service("web", { http: [{ host: "app.example.com", path: "/" }] });
  const options = { ...OPTIONS, httpPort: null };
  const secure = planRoutes(view([routed]), { ...options, terminatesTls: true });
  assert.deepEqual([secure.ingress?.routes.length, secure.problems], [1, []]);
  const passing = service("db", { vip: null, passthrough: ["db.example.com"] });
  assert.match(planRoutes(view([routed, passing]), options).problems[0] ?? "", /HTTP routes are not served/);
});

test("planRoutes: a host passes unopened to one service, the other one is told; without HTTPS all are", () => {
  const passthrough = ["db.example.com", "*.db.example.com"];
  const services = [service("one", { passthrough }), service("two", { passthrough: ["db.example.com"] })];
  const planned = planRoutes(view(services), OPTIONS);
  assert.deepEqual(
    planned.ingress?.passthrough.map(({ host, pool }) => `${host} ${pool.service}`),
    ["db.example.com default/one", "*.db.example.com default/one"],
  );
  assert.ok(
    planned.problems.includes(
      "service default/two: TLS passthrough of db.example.com is taken by service default/one",
    ),
  );
  const off = planRoutes(view(services), { ...OPTIONS, httpsPort: null });
  assert.deepEqual(off.ingress?.passthrough, []);
  assert.match(
    off.problems.join("\n"),
    /service default\/two: TLS is not passed through: the HTTPS ingress is off/,
  );
});

test("planRoutes: the order of services does not matter, no listener comes twice, a clone is equal", () => {
  const anyReplica = fc.record({
    id: fc.stringMatching(/^[a-z]{1,3}$/),
    tier: fc.constantFrom(...TIERS, "never" as const),
    local: fc.boolean(),
  });
  const anyService = fc.record({
    name: fc.stringMatching(/^[a-c]$/),
    replicas: fc.uniqueArray(anyReplica, { selector: (one) => one.id, maxLength: 5 }),
    publish: fc.array(
      fc.tuple(
        fc.integer({ min: 8086, max: 8090 }),
        fc.constantFrom<PublishedPort["mode"]>("ingress", "host"),
      ),
    ),
  });
  const anyServices = fc.uniqueArray(anyService, { selector: (one) => one.name, maxLength: 3 });
  fc.assert(
    fc.property(anyServices, (drawn) => {
      const services = drawn.map((one) =>
        service(one.name, {
          replicas: one.replicas.map((each) => replica(each.id, each)),
          publish: one.publish.map(([port, mode]) => published(port, 80, { mode })),
        }),
      );
      const plan = planRoutes(view(services), OPTIONS);
      assert.deepEqual(planRoutes(view(services.toReversed()), OPTIONS), plan);
      assert.deepEqual(structuredClone(plan), plan);
      const keys = plan.frontends.map((frontend) => `${frontend.address}:${frontend.port}`);
      assert.equal(new Set(keys).size, keys.length);
      assert.ok(!keys.includes("0.0.0.0:8080"));
    }),
  );
});

test("planRoutes: past the bound on listeners, those that lead to somebody come first, and the rest is told", () => {
  const names = ["a", "b", "c"].map((name, at) => {
    const replicas = name === "a" ? [] : [replica(name)];
    return service(name, { replicas, vip: `10.96.1.${at + 1}` });
  });
  const planned = planRoutes(view(names), { ...OPTIONS, listenersMax: 2 });
  assert.deepEqual(
    planned.frontends.map(({ pool }) => pool.service),
    ["default/b", "default/c"],
  );
  assert.ok(planned.problems.some((text) => text.startsWith("1 listeners are not opened")));
});

test("planRoutes: a service is listened on at its IPv6 VIP beside the other, also before it has that one", () => {
  const web = service("web", { vip6: "fd12::8000:0:0:9", aliasVips: ["127.96.0.7"] });
  assert.deepEqual(addresses([web]), [
    "http 127.96.0.1:80 default/web",
    "http 127.96.0.7:80 default/web",
    "http fd12::8000:0:0:9:80 default/web",
  ]);
  assert.deepEqual(addresses([{ ...web, vip: null }]), ["http fd12::8000:0:0:9:80 default/web"]);
  assert.deepEqual(addresses([web], { listensOnVips: false }), []);
  const looped = service("web", {
    vip6: "fd12::8000:0:0:9",
    replicas: [replica("a", { address: "fd12::8000:0:0:9" })],
  });
  assert.match(planRoutes(view([looped]), OPTIONS).problems.join(), /replica a is left out: its address/);
});

test("planRoutes: a replica on an overlay network is dialled where both hosts carry that, else relayed", () => {
  const there = { id: "b".repeat(20), name: "host-2", incarnation: 7, zone: "" };
  const far = { local: false, node: there.id, nodeName: "host-2", reach: "overlay" } as const;
  const web = service("web", {
    network: "app",
    replicas: [
      replica("a", { ...far, address: "10.160.2.5" }),
      replica("b", { ...far, address: "10.99.0.1" }),
    ],
  });
  const slice = { node: there.id, nodeName: "host-2", index: 2, prefix: "10.160.2.0/24", tentative: false };
  const app: Network = {
    name: "app",
    range: "10.160.0.0/16",
    sliceBits: 24,
    vni: 5000,
    encrypted: false,
    slices: [slice],
    problems: [],
    isSound: true,
  };
  const ways = (
    carried: readonly string[],
    network: Partial<Network> = {},
    overlay: object | null = OVERLAY,
  ) => {
    const member = { ...there, ...(overlay && { overlay }) } as unknown as Member;
    const seen = { ...view([web]), networks: [{ ...app, ...network }], members: [member] };
    const { frontends } = planRoutes(seen, { ...OPTIONS, carried: new Set(carried) });
    return frontends[0]?.pool.tiers[0]?.map(({ replica: id, via, relayLife }) => [id, via, relayLife]);
  };
  const relayed = [
    ["a", "stream", 7],
    ["b", "stream", 7],
  ];
  assert.deepEqual(ways(["app"]), [
    ["a", "direct", undefined],
    ["b", "stream", 7],
  ]);
  assert.deepEqual(ways([]), relayed, "not carried here");
  assert.deepEqual(ways(["other"]), relayed);
  assert.deepEqual(ways(["app"], {}, null), relayed, "not carried there");
  assert.deepEqual(ways(["app"], { encrypted: true }), relayed, "it cannot encrypt");
  assert.deepEqual(ways(["app"], { isSound: false }), relayed);
});

test("planRoutes: what only a daemon that is away could relay gets nothing new, and keeps what it has", () => {
  const there = { id: "b".repeat(20), name: "host-2", incarnation: 7, zone: "", overlay: OVERLAY };
  const where = { local: false, node: there.id, nodeName: "host-2", reach: "overlay" } as const;
  const far = replica("a", { ...where, address: "10.160.2.5" });
  const web = service("web", { network: "app", replicas: [far] });
  const slice = { node: there.id, nodeName: "host-2", index: 2, prefix: "10.160.2.0/24", tentative: false };
  const wire = { range: "10.160.0.0/16", sliceBits: 24, vni: 5000, encrypted: false, isSound: true };
  const app: Network = { name: "app", ...wire, slices: [slice], problems: [] };
  const poolOf = (state: Member["state"], carried: readonly string[]) => {
    const members = [{ ...there, state } as unknown as Member];
    const seen = { ...view([web]), networks: [app], members };
    const pool = planRoutes(seen, { ...OPTIONS, carried: new Set(carried) }).frontends[0]?.pool;
    return [pool?.tiers.flat().length, pool?.resting.length];
  };
  assert.deepEqual(poolOf("alive", []), [1, 0], "its daemon relays");
  assert.deepEqual(poolOf("away", ["app"]), [1, 0], "its kernel goes on");
  assert.deepEqual(poolOf("away", []), [0, 1]);
});
