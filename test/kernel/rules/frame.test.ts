// Frame: rules that name a network come and go with it; published ports are told by where they are open.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bridgedNetworks } from "../../../src/kernel/carried.ts";
import { planFrame, publishedAt } from "../../../src/kernel/rules/frame.ts";
import type { Network } from "../../../src/model/network.ts";

import { given, network } from "./fixtures.ts";

function rules(networks: readonly Network[], name: string): readonly string[] {
  const all = given({ networks });
  const frame = planFrame({ given: all, bridged: bridgedNetworks(all) });
  return frame.find((chain) => chain.name === name)?.rules.map(({ text }) => text) ?? [];
}

const PLAIN = network("app");
const SECRET = network("vault", { second: 161, encrypted: true });

test("planFrame: an encrypted network's packets come and go in WireGuard only", () => {
  assert.deepEqual(rules([PLAIN, SECRET], "leaving"), [
    'udp dport 4789 @th,96,24 { 0x10a1 } oifname != "sk-wg" counter drop',
  ]);
  const input = rules([PLAIN, SECRET], "input");
  assert.ok(input.includes('udp dport 4789 @th,96,24 { 0x10a1 } iifname != "sk-wg" counter drop'));
  assert.ok(
    input.includes("meta nfproto ipv4 udp dport 4789 @th,96,24 { 0x10a0 } ip saddr != @hosts counter drop"),
  );
});

test("planFrame: without overlay networks VXLAN packets of others are none of our business", () => {
  for (const name of ["input", "leaving", "tunnels-in", "tunnels-out"])
    assert.ok(!rules([], name).some((text) => text.includes("4789")), name);
});

test("planFrame: containers of a carried network go out under the host's address", () => {
  assert.deepEqual(rules([PLAIN], "postrouting").slice(1), [
    'ip saddr 10.160.1.0/24 oifname != "sk-*" masquerade',
  ]);
});

test("planFrame: questions to a DNS service of the same network are left alone", () => {
  assert.ok(
    rules([PLAIN], "questions").includes(
      'iifname "sk-app" ip daddr 10.160.0.0/16 ip daddr != 10.160.1.1 return',
    ),
  );
});

test("publishedAt: one address, all of IPv4, or all", () => {
  assert.deepEqual(publishedAt("192.0.2.1"), { ip: "ip daddr 192.0.2.1", ip6: null });
  assert.equal(publishedAt("0.0.0.0").ip6, null);
  assert.match(publishedAt("::").ip6 ?? "", /fib daddr type local/);
  assert.deepEqual(publishedAt("2001:DB8::1"), { ip: null, ip6: "ip6 daddr 2001:db8::1" });
});
