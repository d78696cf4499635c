// Records come back from their bodies, and a body that does not fit is refused by itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as fc from "fast-check";

import { LIMITS } from "../../src/model/limits.ts";
import {
  parseRecord,
  recordKey,
  recordWith,
  renderRecord,
  type NodeLogRecord,
  type ReplicaRecord,
} from "../../src/model/record.ts";
import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC, parseRoutePath } from "../../src/model/service.ts";

import { nodeRecord, replicaRecord, subnetRecord, vipRecord } from "./arbitraries.ts";

const anyRecord: fc.Arbitrary<NodeLogRecord> = fc.oneof(nodeRecord, replicaRecord, vipRecord, subnetRecord);

test("record: every record comes back from its key and body, and renders to the same body again", () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      const body = renderRecord(record);
      const parsed = parseRecord(recordKey(record), body);
      assert.ok(parsed.ok && parsed.value !== null);
      assert.deepEqual(parsed.value, JSON.parse(JSON.stringify(record)));
      assert.equal(renderRecord(parsed.value), body);
    }),
  );
});

test("record: what nearly no replica says is left out of its body, and read as the default", () => {
  fc.assert(
    fc.property(replicaRecord, (replica) => {
      const traffic = DEFAULT_TRAFFIC;
      const declaration = { ...replica.declaration, passthrough: [], traffic };
      const record: ReplicaRecord = { ...replica, declaration, delivery: { ...DEFAULT_DELIVERY } };
      const body = renderRecord(record);
      assert.doesNotMatch(body, /delivery|traffic|passthrough/);
      const parsed = parseRecord(recordKey(record), body);
      assert.ok(parsed.ok && parsed.value?.kind === "replica");
      assert.equal(parsed.value.delivery, DEFAULT_DELIVERY);
      assert.equal(parsed.value.declaration.traffic, DEFAULT_TRAFFIC);
    }),
  );
});

test("record: a way of a later version to spread or hand over traffic is as if it were not said", () => {
  const [record] = fc.sample(replicaRecord, 1);
  assert.ok(record !== undefined);
  const traffic = { ...DEFAULT_TRAFFIC, balance: "maglev", slowStartMs: -1, prefer: 7, firstByteMs: "1s" };
  const body = {
    ...(JSON.parse(renderRecord(record)) as object),
    declaration: { ...record.declaration, traffic },
    delivery: { proxyProtocol: "v3" },
  };
  const parsed = parseRecord(recordKey(record), JSON.stringify(body));
  assert.ok(parsed.ok && parsed.value?.kind === "replica");
  assert.equal(parsed.value.delivery, DEFAULT_DELIVERY);
  assert.equal(parsed.value.declaration.traffic, DEFAULT_TRAFFIC);
});

test("record: unknown fields of a newer peer are ignored, and not passed on", () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      const said = JSON.parse(renderRecord(record)) as object;
      const body = JSON.stringify({ ...said, tomorrow: { x: [1] } });
      const parsed = parseRecord(recordKey(record), body);
      assert.ok(parsed.ok && parsed.value !== null);
      assert.equal("tomorrow" in parsed.value, false);
    }),
    { numRuns: 50 },
  );
});

test("record: a key of a kind this version does not know is no mistake", () => {
  for (const key of ["subnets/web", "network/web", "cluster/ca", "", "nodes", "replicas/x"])
    assert.deepEqual(parseRecord(key, "not even JSON"), { ok: true, value: null }, key);
});

test("record: a body under another record's key is refused", () => {
  fc.assert(
    fc.property(anyRecord, anyRecord, (one, other) => {
      fc.pre(recordKey(one) !== recordKey(other));
      assert.equal(parseRecord(recordKey(one), renderRecord(other)).ok, false);
    }),
    { numRuns: 50 },
  );
});

test("record: bodies that are no JSON object, or too long, are refused", () => {
  for (const body of [
    "",
    "{",
    "null",
    "[]",
    "5",
    '"text"',
    "true",
    `{"a":"${"x".repeat(LIMITS.recordBytes)}"}`,
  ]) {
    for (const key of ["node", "replica/a", "vip/default/web"]) {
      const parsed = parseRecord(key, body);
      assert.ok(!parsed.ok && parsed.failure.code === "invalid", `${key} ${body.slice(0, 20)}`);
      assert.ok(parsed.failure.message.length < 500);
    }
  }
});

/** Values that a field may not have; `GOOD` of a kind are what the fields of the samples have. */
const notText = [undefined, null, 5, true, {}, []];
const notLabel = [...notText, "", "UPPER", "a.b", "-a", "a".repeat(64)];
const notShort = [...notText, "x".repeat(513)];
const notPort = [undefined, null, "80", 0, -1, 65_536, 1.5, true, {}];
const notWhole = [undefined, "1", -1, 1.5, 2 ** 53, true, {}];
const notList = [undefined, null, {}, "x", 5];

const samples: readonly {
  readonly record: NodeLogRecord;
  readonly bad: Readonly<Record<string, readonly unknown[]>>;
}[] = [
  {
    record: {
      kind: "node",
      name: "host-1",
      host: "10.0.0.1",
      port: 7650,
      zone: "a",
      labels: { rack: "7" },
      software: "0.1.0",
      prefixes: ["172.17.0.0/16"],
    },
    bad: {
      name: notLabel,
      host: notShort,
      port: notPort,
      zone: notShort,
      labels: [
        ...notList.filter((value) => !isPlainObject(value)),
        [],
        { a: 5 },
        { a: null },
        { a: "x".repeat(513) },
        manyLabels(),
      ],
      software: notShort,
    },
  },
  {
    record: {
      kind: "replica",
      id: "web-1.a_b",
      name: "web-1",
      slot: 3,
      network: "default",
      service: "web",
      stack: "shop",
      address: "10.0.0.7",
      reach: "direct",
      declaration: {
        ports: [{ name: "web", port: 80, target: 8080, protocol: "http" }],
        publish: [{ published: 8088, port: 80, protocol: "tcp", mode: "ingress" }],
        http: [{ host: "app.example.com", path: "/" }],
        endpointMode: "vip",
        aliases: ["www"],
        passthrough: [],
        traffic: DEFAULT_TRAFFIC,
      },
      weight: 1,
      delivery: DEFAULT_DELIVERY,
      startedAtMs: 1_700_000_000_000,
      state: "ready",
      reason: "probe: passed",
      drainApplied: false,
      drainPending: [],
    },
    bad: {
      id: [...notText, "", "A", "a b", "a/b", "a".repeat(81)],
      name: notLabel,
      slot: [undefined, "1", -1, 1.5, 1_000_001, true],
      network: notLabel,
      service: notLabel,
      stack: [undefined, 5, "", "A B", []],
      address: [...notText, "", "host", "10.0.0.256", "010.0.0.1", "10.0.0.1:80"],
      reach: [...notText, "tunnel"],
      declaration: notList,
      "declaration.ports": [...notList, Array.from({ length: LIMITS.portsPerService + 1 }, () => goodPort())],
      "declaration.ports.0": [undefined, null, [], "80", 80],
      "declaration.ports.0.name": notLabel,
      "declaration.ports.0.port": notPort,
      "declaration.ports.0.target": notPort,
      "declaration.ports.0.protocol": [...notText, "sctp"],
      "declaration.publish": notList,
      "declaration.publish.0": [null, [], "80:80"],
      "declaration.publish.0.published": notPort,
      "declaration.publish.0.port": notPort,
      "declaration.publish.0.protocol": [...notText, "http"],
      "declaration.publish.0.mode": [...notText, "nat"],
      "declaration.http": notList,
      "declaration.http.0": [null, [], "a/b"],
      "declaration.http.0.host": [...notText, "", "App.example.com", "a b", "a/b", "*", "a".repeat(254)],
      "declaration.http.0.path": [...notText, "", "api", " /api", "/a b", "/a?b", `/${"x".repeat(1024)}`],
      "declaration.endpointMode": [...notText, "nat"],
      "declaration.aliases": [...notList, ["a", "A"], [null], Array.from({ length: 65 }, () => "a")],
      weight: [...notWhole, 101],
      startedAtMs: notWhole,
      state: [...notText, "gone"],
      reason: notShort,
    },
  },
  {
    record: {
      kind: "vip",
      network: "default",
      service: "web",
      address: "10.96.3.4",
      order: 7,
      settled: false,
    },
    bad: {
      network: notLabel,
      service: notLabel,
      address: [...notText, "", "host", "fd00::1", "10.96.3.256"],
      order: notWhole,
      settled: [null, 0, 1, "true", []],
    },
  },
  {
    record: { kind: "subnet", network: "front", index: 3, order: 7, settled: true },
    bad: {
      network: notLabel,
      index: [...notWhole, LIMITS.slicesPerNetwork],
      order: notWhole,
      settled: [null, 0, 1, "true", []],
    },
  },
];

for (const { record, bad } of samples) {
  for (const [path, values] of Object.entries(bad)) {
    test(`record: a ${record.kind} record with a bad ${path} is refused`, () => {
      const key = recordKey(record);
      assert.ok(parseRecord(key, renderRecord(record)).ok);
      for (const value of values) {
        const body = JSON.stringify(withField(record, path.split("."), value));
        const parsed = parseRecord(key, body);
        assert.ok(
          !parsed.ok && parsed.failure.code === "invalid",
          `${path} = ${JSON.stringify(value)?.slice(0, 60)}`,
        );
      }
    });
  }
}

test("record: whatever a peer does to a body, it is refused or becomes a record that renders and parses alike", () => {
  const junk = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 1e308, "", "\u0000", "__proto__"));
  fc.assert(
    fc.property(anyRecord, fc.nat(), junk, (record, choice, value) => {
      const paths = pathsOf(record);
      const path = paths[choice % paths.length] ?? [];
      const parsed = parseRecord(recordKey(record), JSON.stringify(withField(record, path, value)));
      if (!parsed.ok || parsed.value === null) return;
      const again = parseRecord(recordKey(parsed.value), renderRecord(parsed.value));
      assert.deepEqual(again, parsed);
    }),
    { numRuns: 500 },
  );
});

test("record: a claim that says nothing of being settled is: an older peer would never end its being tentative", () => {
  const bodies = {
    "vip/default/web": { network: "default", service: "web", address: "10.96.3.4", order: 7 },
    "subnet/front": { network: "front", index: 3, order: 7 },
  };
  for (const [key, body] of Object.entries(bodies)) {
    const parsed = parseRecord(key, JSON.stringify(body));
    assert.ok(parsed.ok && (parsed.value?.kind === "vip" || parsed.value?.kind === "subnet"), key);
    assert.equal(parsed.value.settled, true);
  }
});

test("record: no prefix makes a member refused: what is none of IPv4, or past the bound, is left out", () => {
  const base = samples[0]?.record;
  const read = (prefixes: unknown): readonly string[] => {
    const parsed = parseRecord("node", JSON.stringify({ ...base, prefixes }));
    assert.ok(parsed.ok && parsed.value?.kind === "node");
    return parsed.value.prefixes;
  };
  for (const value of [undefined, null, 5, "10.0.0.0/8", {}]) assert.deepEqual(read(value), []);
  const mixed = ["10.0.0.0/8", "fd00::/8", "10.0.0.1/8", 7, null, "", "192.168.1.0/24"];
  assert.deepEqual(read(mixed), ["10.0.0.0/8", "192.168.1.0/24"]);
  const many = Array.from({ length: LIMITS.prefixesPerNode + 1 }, (_, index) => `10.${index}.0.0/16`);
  assert.deepEqual(read(many), many.slice(0, -1));
});

test("record: members named in a drain that are no names are left out, and past the bound the rest", () => {
  const replica = samples[1]?.record;
  assert.ok(replica?.kind === "replica");
  const read = (drainPending: unknown): readonly string[] => {
    const parsed = parseRecord(recordKey(replica), JSON.stringify({ ...replica, drainPending }));
    assert.ok(parsed.ok && parsed.value?.kind === "replica");
    return parsed.value.drainPending;
  };
  for (const value of [undefined, null, "host-2", {}]) assert.deepEqual(read(value), []);
  assert.deepEqual(read(["host-2", 5, "no name", null, "host-3"]), ["host-2", "host-3"]);
  const many = Array.from({ length: LIMITS.drainPendingMax + 1 }, (_, index) => `host-${index}`);
  assert.deepEqual(read(many), many.slice(0, -1));
});

test("record: random bytes as body and key never throw", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("node", "replica/x", "vip/a/b", "vip", "replica", "subnet/x"),
      fc.string(),
      (key, body) => {
        parseRecord(key, body);
        parseRecord(body, body);
      },
    ),
  );
});

test("record: a route path that labels and config accept is accepted in a record too", () => {
  const path = `/${"x".repeat(1023)}`;
  assert.ok(parseRoutePath("path", path).ok);
  const replica = samples[1]?.record;
  assert.ok(replica?.kind === "replica");
  const declaration = { ...replica.declaration, http: [{ host: "app.example.com", path }] };
  const parsed = parseRecord(recordKey(replica), renderRecord({ ...replica, declaration }));
  assert.ok(parsed.ok);
});

test("record: labels named like parts of Object are labels", () => {
  const labels = JSON.parse('{"__proto__":"x","constructor":"y"}') as Record<string, string>;
  const record = { ...samples[0]?.record, labels } as NodeLogRecord;
  const parsed = parseRecord("node", JSON.stringify(record));
  assert.ok(parsed.ok && parsed.value?.kind === "node");
  assert.deepEqual(Object.keys(parsed.value.labels).toSorted(), ["__proto__", "constructor"]);
  assert.equal(Object.getPrototypeOf(parsed.value.labels), Object.prototype);
});

function goodPort(): unknown {
  return { name: "web", port: 80, target: 80, protocol: "tcp" };
}

function manyLabels(): unknown {
  return Object.fromEntries(
    Array.from({ length: LIMITS.namesPerService + 1 }, (_, index) => [`l${index}`, "x"]),
  );
}

function isPlainObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A deep copy with one field replaced; undefined removes it. */
function withField(from: unknown, path: readonly string[], value: unknown): unknown {
  const copy = structuredClone(from) as Record<string, unknown>;
  let at = copy;
  for (const part of path.slice(0, -1)) at = at[part] as Record<string, unknown>;
  const last = path.at(-1);
  if (last !== undefined) at[last] = value;
  return copy;
}

/** The paths of every field, lists and their elements included. */
function pathsOf(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [[...path]];
  const inner = Object.entries(value).flatMap(([key, child]) => pathsOf(child, [...path, key]));
  return path.length === 0 ? inner : [[...path], ...inner];
}

const NODE = {
  name: "host-1",
  host: "10.0.0.1",
  port: 7650,
  zone: "",
  labels: {},
  software: "0.1.0",
  prefixes: [],
};
const KEY = `${"A".repeat(42)}E=`;
const OVERLAY = { address: "192.0.2.1", mtu: 1500, wireguard: { key: KEY, port: 51_820 } };

/** What a peer makes of a node's word on its overlay. */
function overlayAs(overlay: unknown): unknown {
  const parsed = parseRecord("node", JSON.stringify({ ...NODE, overlay }));
  assert.ok(parsed.ok && parsed.value?.kind === "node", "the member itself is taken");
  return parsed.value.overlay;
}

test("record: that a node is drained is read where it says so, and anything else is as if it were not said", () => {
  const drainingAs = (draining: unknown): unknown => {
    const parsed = parseRecord("node", JSON.stringify({ ...NODE, draining }));
    assert.ok(parsed.ok && parsed.value?.kind === "node");
    return parsed.value.draining;
  };
  assert.equal(drainingAs(true), true);
  for (const odd of [false, 1, "yes", null]) assert.equal(drainingAs(odd), undefined);
});

test("record: how a node carries overlays is read, and what makes no sense of it is as if it were not said", () => {
  assert.deepEqual(overlayAs(OVERLAY), OVERLAY);
  const { wireguard: _none, ...plain } = OVERLAY;
  assert.deepEqual(overlayAs(plain), plain);
  const addresses = [
    "",
    "host",
    "::1",
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "1.2.3.4; ls",
    7,
  ];
  for (const address of addresses)
    assert.equal(overlayAs({ ...OVERLAY, address }), undefined, String(address));
  for (const mtu of [0, 1279, 65_536, 1500.5, "1500", null])
    assert.equal(overlayAs({ ...OVERLAY, mtu }), undefined, String(mtu));
  for (const overlay of [null, [], "x", 1]) assert.equal(overlayAs(overlay), undefined);
  const keys = ["", "A".repeat(44), `${"A".repeat(42)}B=`, `${KEY}\n`, `${"-".repeat(42)}E=`, 7];
  for (const key of keys)
    assert.deepEqual(overlayAs({ ...OVERLAY, wireguard: { key, port: 51_820 } }), plain, String(key));
  for (const port of [0, 65_536, "51820"])
    assert.deepEqual(overlayAs({ ...OVERLAY, wireguard: { key: KEY, port } }), plain, String(port));
});

test("record: what a node says of itself changes by what it leads to, and by how it carries overlays", () => {
  const first = recordWith(NODE, { overlay: OVERLAY });
  assert.deepEqual(first, { ...NODE, overlay: OVERLAY });
  assert.deepEqual(recordWith(first, { prefixes: ["10.0.0.0/8"] }), {
    ...NODE,
    overlay: OVERLAY,
    prefixes: ["10.0.0.0/8"],
  });
  assert.deepEqual(recordWith(first, { overlay: null }), NODE);
});

test("record: a replica on an overlay network is one to stream to for whoever knows of no overlays", () => {
  const [sample] = fc.sample(replicaRecord, 1);
  assert.ok(sample !== undefined);
  const record: ReplicaRecord = { ...sample, reach: "overlay" };
  const body = JSON.parse(renderRecord(record)) as Record<string, unknown>;
  assert.deepEqual([body["reach"], body["overlay"]], ["stream", true]);
  const again = (changed: object) => {
    const parsed = parseRecord(recordKey(record), JSON.stringify({ ...body, ...changed }));
    return parsed.ok && parsed.value?.kind === "replica" ? parsed.value.reach : null;
  };
  assert.deepEqual(
    [again({}), again({ overlay: 1 }), again({ reach: "direct" })],
    ["overlay", "stream", "direct"],
  );
  assert.equal(again({ reach: "overlay" }), null);
});

test("record: an IPv6 address beside a replica's own is taken in its canonical form, and left out in any other", () => {
  const [sample] = fc.sample(replicaRecord, 1);
  assert.ok(sample !== undefined);
  const address6Of = (address6: unknown): unknown => {
    const body = JSON.stringify({ ...(JSON.parse(renderRecord(sample)) as object), address6 });
    const parsed = parseRecord(recordKey(sample), body);
    assert.ok(parsed.ok && parsed.value?.kind === "replica");
    return parsed.value.address6;
  };
  assert.equal(address6Of("fd12::3:0:0:2"), "fd12::3:0:0:2");
  for (const bad of ["FD12::2", "fd12:0::2", "::1", "::", "10.0.0.1", "fe80::1%eth0", "x", "", 7, null])
    assert.equal(address6Of(bad), undefined, String(bad));
});
