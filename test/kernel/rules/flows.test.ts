// Flows: which connections are forgotten.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  forgetArguments,
  goneEndpoints,
  listArguments,
  Pending,
  PENDING_MAX,
  upstreamsIn,
} from "../../../src/kernel/rules/flows.ts";
import { endpointKey, type Endpoint } from "../../../src/kernel/rules/ruleset.ts";

function keyed(...endpoints: readonly Endpoint[]): ReadonlyMap<string, Endpoint> {
  return new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
}

const ONE: Endpoint = { address: "10.160.1.2", transport: "udp", port: 53 };
const OTHER: Endpoint = { address: "10.160.1.3", transport: "udp", port: 53 };
const TCP: Endpoint = { address: "10.160.1.2", transport: "tcp", port: 80 };

test("goneEndpoints: those that were there and are no more, however many", () => {
  assert.deepEqual(goneEndpoints(keyed(ONE, OTHER), keyed(OTHER)), [ONE]);
  const many = Array.from({ length: 500 }, (_, at) => ({ ...ONE, port: at + 1 }));
  assert.equal(goneEndpoints(keyed(...many), keyed()).length, 500);
});

test("Pending: UDP before TCP, each once, in their order", () => {
  const pending = new Pending();
  for (const each of [TCP, ONE, ONE, OTHER]) pending.add(each);
  assert.deepEqual([pending.take(), pending.take(), pending.take(), pending.take()], [ONE, OTHER, TCP, null]);
});

test("Pending: when it is full TCP makes room for UDP, and what is lost is counted", () => {
  const pending = new Pending();
  for (let at = 0; at < PENDING_MAX; at += 1) pending.add({ ...TCP, address: `10.0.${at >> 8}.${at & 255}` });
  pending.add(ONE);
  pending.add({ ...TCP, port: 81 });
  assert.deepEqual([pending.size, pending.takeLost(), pending.takeLost()], [PENDING_MAX, 2, 0]);
  assert.deepEqual(pending.take(), ONE);
  pending.keepOnly(({ address }) => address === "10.0.0.9");
  assert.deepEqual([pending.take()?.address, pending.take()], ["10.0.0.9", null]);
});

test("forgetArguments: all of UDP, of TCP what waits for its first answer; only what we led", () => {
  const udp = "-D -f ipv4 -p udp -m 1400897536/4286578688 --reply-src 10.160.1.2 --reply-port-src 53";
  assert.equal(forgetArguments(ONE).join(" "), udp);
  const tcp = forgetArguments({ address: "fd12::2", transport: "tcp", port: 80 });
  assert.equal(tcp.slice(0, 7).join(" "), "-D -f ipv6 -p tcp --state SYN_SENT");
  assert.equal(listArguments("ipv6", "tcp").slice(0, 7).join(" "), "-L -f ipv6 -p tcp --state SYN_SENT");
});

test("upstreamsIn: who answers listed flows; not those that went back to the proxy", () => {
  const line = (answer: string, port: number): string =>
    `udp      17 29 src=10.160.1.9 dst=10.96.0.1 sport=4000 dport=53 ` +
    `src=${answer} dst=10.160.1.9 sport=${port} dport=4000 mark=1400897536 use=1`;
  const listing = [
    line("10.160.1.2", 53),
    line("10.96.0.1", 53),
    line("10.160.1.3", 53),
    line("10.160.1.2", 53),
    "conntrack v1.4.7 (conntrack-tools): 4 flow entries have been shown.",
    "",
  ].join("\n");
  assert.deepEqual([...upstreamsIn(listing, "udp").values()], [ONE, OTHER]);
});
