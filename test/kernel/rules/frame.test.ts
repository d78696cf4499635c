// Frame: rules that name a network come and go with it; published ports are told by where they are open.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bridgedNetworks } from "../../../src/kernel/carried.ts";
import type { KernelGiven } from "../../../src/kernel/given.ts";
import { planFrame, publishedAt } from "../../../src/kernel/rules/frame.ts";
import type { Network } from "../../../src/model/network.ts";

import { given, network } from "./fixtures.ts";

function rules(
  networks: readonly Network[],
  name: string,
  changes: Partial<KernelGiven> = {},
): readonly string[] {
  const all = given({ networks }, changes);
  const frame = planFrame({ given: all, bridged: bridgedNetworks(all) });
  return frame.find((chain) => chain.name === name)?.rules.map(({ text }) => text) ?? [];
}

const PLAIN = network("app");
const SECRET = network("vault", { second: 161, encrypted: true });

test("planFrame: what protocols are called is not asked of the host", () => {
  const all = planFrame({ given: given({}), bridged: bridgedNetworks(given({ networks: [PLAIN] })) });
  const texts = all.flatMap((chain) => chain.rules.map(({ text }) => text));
  assert.ok(!texts.some((text) => /l4proto [{ ]*[a-z]/.test(text)));
  assert.ok(texts.some((text) => text.includes("meta l4proto { 6, 17 }")));
});

test("planFrame: without overlay networks VXLAN packets of others are none of our business", () => {
  for (const name of ["input", "tunnels-in", "tunnels-out"])
    assert.ok(!rules([], name).some((text) => text.includes("4789")), name);
});

test("planFrame: containers of an overlay network go out under the host's address", () => {
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

test("planFrame: a network that is not carried keeps its masquerade and its names", () => {
  const broken = { broken: new Set(["app", "vault"]) };
  for (const name of ["postrouting", "questions", "tunnels-in"])
    assert.deepEqual(rules([PLAIN, SECRET], name, broken), rules([PLAIN, SECRET], name), name);
});

test("planFrame: where a family is not forwarded, what comes from elsewhere in it stays with the proxy", () => {
  const pool6 = "fd12:3456:789a::/64";
  const [questions = "", lead = ""] = rules([], "prerouting");
  const of = (v4: boolean, v6: boolean): readonly string[] =>
    rules([], "prerouting", { pool6, forwards: { v4, v6 } });
  assert.deepEqual(of(true, true), [questions, lead]);
  assert.deepEqual(of(false, true), [
    questions,
    "ip daddr 10.96.0.0/12 dnat ip to ip daddr",
    "meta nfproto ipv4 accept",
    lead,
  ]);
  assert.deepEqual(of(true, false), [
    questions,
    `ip6 daddr ${pool6} dnat ip6 to ip6 daddr`,
    "meta nfproto ipv6 accept",
    lead,
  ]);
  assert.deepEqual(rules([], "output", { forwards: { v4: false, v6: false } }), rules([], "output"));
});

test("publishedAt: one address, all of IPv4, or all", () => {
  assert.deepEqual(publishedAt("192.0.2.1"), { ip: "ip daddr 192.0.2.1", ip6: null });
  assert.equal(publishedAt("0.0.0.0").ip6, null);
  assert.match(publishedAt("::").ip6 ?? "", /fib daddr type local/);
  assert.deepEqual(publishedAt("2001:DB8::1"), { ip: null, ip6: "ip6 daddr 2001:db8::1" });
});
