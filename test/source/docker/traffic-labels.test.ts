// Traffic labels: how a container asks for its traffic, and what is said when it cannot have that.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_DELIVERY, DEFAULT_TRAFFIC, type ServicePort } from "../../../src/model/service.ts";
import { openReader } from "../../../src/source/docker/label-reader.ts";
import { readDelivery, readTraffic } from "../../../src/source/docker/traffic-labels.ts";

import { labels } from "./fixture.ts";

const WEB: ServicePort = { name: "web", port: 80, target: 8080, protocol: "http" };
const DNS: ServicePort = { name: "dns", port: 53, target: 53, protocol: "udp" };

function read(entries: Readonly<Record<string, string>>, ports: readonly ServicePort[] = [WEB, DNS]) {
  const reader = openReader(labels(entries));
  const traffic = readTraffic(reader, ports);
  const delivery = readDelivery(reader, ports);
  return { traffic, delivery, problems: reader.problems() };
}

test("traffic labels: who says nothing, or says the default, shares one object with all others", () => {
  const said = {
    "skein.lb": "Round-Robin",
    "skein.prefer": "any",
    "skein.slow-start": "off",
    "skein.drain": "10s",
  };
  for (const entries of [{}, said, { "skein.udp.mode": "flow", "skein.proxy-protocol": "off" }]) {
    const { traffic, delivery, problems } = read(entries);
    assert.deepEqual(problems, []);
    assert.equal(traffic, DEFAULT_TRAFFIC);
    assert.equal(delivery, DEFAULT_DELIVERY);
  }
});

test("traffic labels: what is said holds, case and spaces aside", () => {
  const { traffic, delivery, problems } = read({
    "skein.lb": " Least-Connections ",
    "skein.prefer": "LOCAL",
    "skein.slow-start": "1m30s",
    "skein.first-byte": "OFF",
    "skein.udp.idle": "1h",
    "skein.source": "Masquerade",
    "skein.proxy-protocol": "V1",
    "skein.drain": "0s",
  });
  assert.deepEqual(problems, []);
  const waits = { slowStartMs: 90_000, firstByteMs: 0, udpIdleMs: 3_600_000 };
  const words = { balance: "least-connections", prefer: "local", udpMode: "flow", source: "masquerade" };
  assert.deepEqual(traffic, { ...words, ...waits });
  assert.deepEqual(delivery, { proxyProtocol: "v1", drainMs: 0 });
});

test("traffic labels: a value that is none is reported with what was expected, and the default holds", () => {
  const { traffic, delivery, problems } = read({
    "skein.lb": "random",
    "skein.prefer": "zone",
    "skein.slow-start": "10",
    "skein.first-byte": "1ms",
    "skein.proxy-protocol": "v3",
    "skein.drain": "forever",
    "skein.udp.mode": "packet",
    "skein.udp.idle": "off",
    "skein.source": "client",
  });
  assert.equal(traffic, DEFAULT_TRAFFIC);
  assert.equal(delivery, DEFAULT_DELIVERY);
  assert.deepEqual(problems.toSorted(), [
    'label "skein.drain" is "forever"; expected a duration such as 500ms, 1s or 1m30s',
    'label "skein.first-byte" is "1ms"; expected 10ms..24h',
    'label "skein.lb" is "random"; expected round-robin, least-connections, p2c or source-hash',
    'label "skein.prefer" is "zone"; expected any or local',
    'label "skein.proxy-protocol" is "v3"; expected off, v1 or v2',
    'label "skein.slow-start" is "10"; expected a duration such as 500ms or 1m30s, or off',
    'label "skein.source" is "client"; expected keep or masquerade',
    'label "skein.udp.idle" is "off"; expected a duration such as 500ms, 1s or 1m30s',
    'label "skein.udp.mode" is "packet"; expected flow or datagram',
  ]);
});

test("traffic labels: one that cannot have an effect is told", () => {
  assert.deepEqual(read({ "skein.udp.mode": "datagram", "skein.udp.idle": "5s" }, [WEB]).problems, [
    'label "skein.udp.mode" has no effect; expected a UDP port of the service',
    'label "skein.udp.idle" has no effect; expected a UDP port of the service',
  ]);
  assert.deepEqual(read({ "skein.udp.mode": "datagram", "skein.udp.idle": "5s" }).problems, [
    'label "skein.udp.idle" has no effect beside "skein.udp.mode" datagram, which keeps no flows',
  ]);
  assert.deepEqual(read({ "skein.proxy-protocol": "v1" }, [DNS]).problems, [
    'label "skein.proxy-protocol" is "v1", which is for TCP only; expected v2 or a TCP port',
  ]);
  assert.deepEqual(read({ "skein.proxy-protocol": "v2" }, [DNS]).problems, []);
});
