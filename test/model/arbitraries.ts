// Well-formed records of every kind, for properties of whatever carries or reads them.

import * as fc from "fast-check";

import { isIpv6, numberToIpv4 } from "../../src/base/ip.ts";
import { LIMITS } from "../../src/model/limits.ts";
import type {
  NodeOverlay,
  NodeRecord,
  ReplicaRecord,
  SubnetRecord,
  VipRecord,
} from "../../src/model/record.ts";
import { ORDER_MAX } from "../../src/model/record.ts";
import type {
  Delivery,
  HttpRoute,
  PublishedPort,
  ServiceDeclaration,
  ServicePort,
  TrafficPolicy,
} from "../../src/model/service.ts";

const letters = "abcdefghijklmnopqrstuvwxyz0123456789_".split("");

/** A DNS label of a service, network or replica. */
export const label = fc
  .tuple(
    fc.constantFrom(...letters),
    fc.option(
      fc.tuple(
        fc.string({ unit: fc.constantFrom(...letters, "-"), maxLength: 61 }),
        fc.constantFrom(...letters),
      ),
    ),
  )
  .map(([first, rest]) => first + (rest === null ? "" : rest.join("")));

/** A port of TCP or UDP. */
export const port = fc.integer({ min: 1, max: 65_535 });

const short = fc.string({ unit: "binary", maxLength: 40 });

const servicePort: fc.Arbitrary<ServicePort> = fc.record({
  name: label,
  port,
  target: port,
  protocol: fc.constantFrom("tcp", "udp", "http"),
});

const publishedPort: fc.Arbitrary<PublishedPort> = fc.record({
  published: port,
  port,
  protocol: fc.constantFrom("tcp", "udp"),
  mode: fc.constantFrom("ingress", "host"),
});

const route: fc.Arbitrary<HttpRoute> = fc.record({
  host: fc.constantFrom("app.example.com", "*.example.com", "a"),
  path: fc.webPath().map((path) => (path.startsWith("/") ? path : `/${path}`)),
});

const waitMs = fc.integer({ min: 0, max: LIMITS.policyMs });

const traffic: fc.Arbitrary<TrafficPolicy> = fc.record({
  balance: fc.constantFrom("round-robin", "least-connections", "p2c", "source-hash"),
  prefer: fc.constantFrom("any", "local"),
  slowStartMs: waitMs,
  firstByteMs: fc.option(waitMs),
  udpMode: fc.constantFrom("flow", "datagram"),
  udpIdleMs: fc.option(waitMs),
  source: fc.constantFrom("keep", "masquerade"),
});

const delivery: fc.Arbitrary<Delivery> = fc.record({
  proxyProtocol: fc.constantFrom("off", "v1", "v2"),
  drainMs: waitMs,
});

/** A declaration of a service. */
export const declaration: fc.Arbitrary<ServiceDeclaration> = fc.record({
  ports: fc.array(servicePort, { maxLength: 4 }),
  publish: fc.array(publishedPort, { maxLength: 4 }),
  http: fc.array(route, { maxLength: 3 }),
  endpointMode: fc.constantFrom("vip", "dnsrr"),
  aliases: fc.array(label, { maxLength: 3 }),
  passthrough: fc.array(fc.constantFrom("db.example.com", "*.example.com"), { maxLength: 2 }),
  traffic,
});

/** An IPv4 prefix, its host bits zero. */
const prefix = fc
  .tuple(fc.nat({ max: 2 ** 32 - 1 }), fc.integer({ min: 0, max: 32 }))
  .map(([number, bits]) => {
    return `${numberToIpv4(number - (number % 2 ** (32 - bits)))}/${bits}`;
  });

/** A record of which one field may be left out. */
function withOptional<T extends object, K extends keyof T>(
  name: K,
  fields: { [P in keyof T]: fc.Arbitrary<T[P]> },
): fc.Arbitrary<Omit<T, K> & Partial<Pick<T, K>>> {
  const required = (Object.keys(fields) as (keyof T)[]).filter((field) => field !== name);
  const record = fc.record(fields, { requiredKeys: required, noNullPrototype: true });
  return record;
}

const key = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString("base64"));

const overlay: fc.Arbitrary<NodeOverlay> = fc.record(
  {
    address: fc
      .tuple(fc.integer({ min: 1, max: 126 }), fc.nat({ max: 255 }))
      .map(([a, b]) => `${a}.0.0.${b}`),
    mtu: fc.integer({ min: 1280, max: 65_535 }),
    wireguard: fc.record({ key, port }, { noNullPrototype: true }),
  },
  { requiredKeys: ["address", "mtu"], noNullPrototype: true },
);

/** A node's record of itself. */
export const nodeRecord: fc.Arbitrary<NodeRecord> = withOptional("overlay", {
  kind: fc.constant("node"),
  name: label,
  host: fc.domain(),
  port,
  zone: short,
  labels: fc.dictionary(fc.string({ maxLength: 10 }), short, { maxKeys: 4, noNullPrototype: true }),
  software: short,
  prefixes: fc.uniqueArray(prefix, { maxLength: 4 }),
  overlay,
});

/** A replica's record. */
export const replicaRecord: fc.Arbitrary<ReplicaRecord> = withOptional("address6", {
  kind: fc.constant("replica"),
  id: fc.string({ unit: fc.constantFrom(...letters, "-", "."), minLength: 1, maxLength: 80 }),
  name: label,
  slot: fc.option(fc.nat({ max: 1_000_000 })),
  network: label,
  service: label,
  stack: fc.option(label),
  address: fc.oneof(fc.ipV4(), fc.ipV6().filter(isIpv6)),
  address6: fc.constantFrom("fd12:3456:789a:4d::2", "2001:db8::1"),
  reach: fc.constantFrom("direct", "stream", "overlay"),
  declaration,
  weight: fc.nat({ max: 100 }),
  delivery,
  startedAtMs: fc.maxSafeNat(),
  state: fc.constantFrom("starting", "ready", "unready", "draining"),
  reason: short,
  drainApplied: fc.boolean(),
  drainPending: fc.array(label, { maxLength: 16 }),
});

/** A claim of a VIP. */
export const vipRecord: fc.Arbitrary<VipRecord> = fc.record({
  kind: fc.constant("vip"),
  network: label,
  service: label,
  address: fc.ipV4(),
  order: fc.integer({ min: 0, max: ORDER_MAX }),
  settled: fc.boolean(),
});

/** A claim of a slice. */
export const subnetRecord: fc.Arbitrary<SubnetRecord> = fc.record({
  kind: fc.constant("subnet"),
  network: label,
  index: fc.nat({ max: LIMITS.slicesPerNetwork - 1 }),
  order: fc.integer({ min: 0, max: ORDER_MAX }),
  settled: fc.boolean(),
});
