// Traffic counts: which metric adds to which number of a service, and what the proxy and the kernel add.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NO_RATES, type Counts } from "../../src/admin/rates.ts";
import { lookAtTraffic, type CountsSeen } from "../../src/daemon/traffic-counts.ts";
import { openMetrics, type Metrics } from "../../src/runtime/metrics.ts";
import { upstream } from "../proxy/fixtures.ts";

const service = "default/web";

/** What is counted, by how much, and what it comes to; all else stays 0. */
const TABLE: readonly (readonly [what: string, (metrics: Metrics) => void, Partial<Counts>])[] = [
  ["an answer", ({ proxyRequests }) => proxyRequests.inc({ service, code: "200" }, 3), { requests: 3 }],
  ["a client's error", ({ proxyRequests }) => proxyRequests.inc({ service, code: "404" }), { requests: 1 }],
  ["503", ({ proxyRequests }) => proxyRequests.inc({ service, code: "503" }, 2), { requests: 2, errors: 2 }],
  [
    "a connection",
    ({ proxyConnections }) => proxyConnections.inc({ service, result: "connected" }),
    { connections: 1 },
  ],
  [
    "a connection without a replica",
    ({ proxyConnections }) => proxyConnections.inc({ service, result: "no-replica" }),
    { connections: 1, errors: 1 },
  ],
  [
    "a connection to none that takes it",
    ({ proxyConnections }) => proxyConnections.inc({ service, result: "failed" }),
    { connections: 1, errors: 1 },
  ],
  ["a flow", ({ proxyUdpFlows }) => proxyUdpFlows.inc({ service }), { connections: 1 }],
  ["a datagram", ({ proxyDatagrams }) => proxyDatagrams.inc({ service, result: "in" }), {}],
  [
    "a datagram for nobody",
    ({ proxyDatagrams }) => proxyDatagrams.inc({ service, result: "no-replica" }),
    { errors: 1 },
  ],
  ["an answer that broke off", ({ proxyCut }) => proxyCut.inc({ service, reason: "late" }), { errors: 1 }],
  [
    "an answer with 502 that broke off as well, once",
    ({ proxyRequests, proxyCut, proxyCutErrors }) => {
      proxyRequests.inc({ service, code: "502" });
      proxyCut.inc({ service, reason: "upstream-died" });
      proxyCutErrors.inc({ service });
    },
    { requests: 1, errors: 1 },
  ],
  ["a retry", ({ proxyRetries }) => proxyRetries.inc({ service, reason: "late" }), { retries: 1 }],
  ["bytes in", ({ proxyReceivedBytes }) => proxyReceivedBytes.inc({ service }, 7), { receivedBytes: 7 }],
  ["bytes out", ({ proxySentBytes }) => proxySentBytes.inc({ service }, 9), { sentBytes: 9 }],
  // Only what was led on while this daemon looked is a rate.
  ["the kernel's metric", ({ kernelConnections }) => kernelConnections.inc({ service }, 500), {}],
];

const seen = (metrics: Metrics, more: Partial<CountsSeen> = {}) =>
  lookAtTraffic({ metrics, carried: [], led: new Map(), atMs: 5, ...more });

for (const [what, count, expected] of TABLE) {
  test(`traffic counts: ${what}`, () => {
    const metrics = openMetrics();
    count(metrics);
    const told = seen(metrics).services.get(service) ?? { ...NO_RATES, buckets: [] };
    assert.deepEqual(told, { ...NO_RATES, ...expected, buckets: [] });
  });
}

test("traffic counts: what the kernel led on is a connection and told by itself", () => {
  const { services } = seen(openMetrics(), { led: new Map([[service, 12]]) });
  assert.deepEqual(services.get(service), {
    ...NO_RATES,
    connections: 12,
    kernelConnections: 12,
    buckets: [],
  });
});

test("traffic counts: a replica's ports are one replica; what is open counts for its service as well", () => {
  const tally = { requests: 1, connections: 0, errors: 0, retries: 0, receivedBytes: 10, sentBytes: 20 };
  const at = (port: number, open: number) => {
    return { ...tally, upstream: { ...upstream("r1", port), id: `r1:${port}`, service }, open };
  };
  const { services, replicas } = seen(openMetrics(), { carried: [at(80, 2), at(81, 3)] });
  assert.deepEqual(services.get(service), { ...NO_RATES, open: 5, buckets: [] });
  const both = { ...NO_RATES, requests: 2, receivedBytes: 20, sentBytes: 40, open: 5 };
  assert.deepEqual([...replicas], [["r1", both]]);
});

test("traffic counts: times of requests, and questions for names by code and by source", () => {
  const metrics = openMetrics();
  metrics.proxyRequests.inc({ service, code: "200" });
  metrics.proxyDuration.observe({ service }, 0.0002);
  metrics.dnsQueries.cell({ qtype: "A", rcode: "NOERROR", source: "zone" }).count += 2;
  metrics.dnsQueries.cell({ qtype: "AAAA", rcode: "NOERROR", source: "cache" }).count += 1;
  const { services, dns } = seen(metrics);
  assert.deepEqual(services.get(service)?.buckets.slice(0, 3), [0, 1, 0]);
  assert.deepEqual(Object.fromEntries(dns.byCode), { NOERROR: 3 });
  assert.deepEqual(Object.fromEntries(dns.bySource), { zone: 2, cache: 1 });
});
