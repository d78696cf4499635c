// Flows: which connections are forgotten.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  FORGOTTEN_MAX,
  forgetArguments,
  goneEndpoints,
  listArguments,
  staleEndpoints,
} from "../../../src/kernel/rules/flows.ts";
import { endpointKey, type Endpoint } from "../../../src/kernel/rules/ruleset.ts";

function keyed(...endpoints: readonly Endpoint[]): ReadonlyMap<string, Endpoint> {
  return new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
}

const ONE: Endpoint = { address: "10.160.1.2", transport: "udp", port: 53 };
const OTHER: Endpoint = { address: "10.160.1.3", transport: "udp", port: 53 };

test("goneEndpoints: those that were there and are no more, up to the bound", () => {
  assert.deepEqual(goneEndpoints(keyed(ONE, OTHER), keyed(OTHER)), [ONE]);
  const many = Array.from({ length: FORGOTTEN_MAX + 5 }, (_, at) => ({ ...ONE, port: at + 1 }));
  assert.equal(goneEndpoints(keyed(...many), keyed()).length, FORGOTTEN_MAX);
});

test("forgetArguments: all of UDP, of TCP what waits for its first answer; only what we led", () => {
  const udp = "-D -f ipv4 -p udp --reply-src 10.160.1.2 --reply-port-src 53 -m 1400897536/4286578688";
  assert.equal(forgetArguments(ONE).join(" "), udp);
  const tcp = forgetArguments({ address: "fd12::2", transport: "tcp", port: 80 });
  assert.equal(tcp.slice(0, 7).join(" "), "-D -f ipv6 -p tcp --state SYN_SENT");
});

test("staleEndpoints: listed flows whose upstream may keep none", () => {
  const line = (answer: string): string =>
    `udp      17 29 src=10.160.1.9 dst=10.96.0.1 sport=4000 dport=53 ` +
    `src=${answer} dst=10.160.1.9 sport=53 dport=4000 mark=1400897536 use=1`;
  const listing = `${line("10.160.1.2")}\n${line("10.160.1.3")}\n${line("10.160.1.2")}\n`;
  assert.deepEqual(staleEndpoints(listing, keyed(OTHER)), [ONE]);
  assert.deepEqual(staleEndpoints("conntrack v1.4.7\n", keyed()), []);
  assert.ok(listArguments("ipv6").includes("ipv6"));
});
