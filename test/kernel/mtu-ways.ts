// Two hosts and a router between them with a narrow link behind it. Run by mtu.test.ts in namespaces of its own.

import assert from "node:assert/strict";

import { probeMtus } from "../../src/kernel/mtu.ts";
import { run } from "../../src/runtime/exec.ts";

const DEADLINE = { deadlineMs: 20_000 };
const NEAR = "192.0.2.1";
const FAR = "198.51.100.2";

async function ip(words: string): Promise<void> {
  const { status, stderr } = await run("ip", words.split(" "), DEADLINE);
  assert.equal(status, 0, `ip ${words}: ${stderr}`);
}

const at = (place: string, words: string): Promise<void> => ip(`-n ${place} ${words}`);

for (const place of ["router", "far"]) await ip(`netns add ${place}`);
await ip("link add eth0 type veth peer eth0 netns router");
await ip("link add eth1 netns router type veth peer eth0 netns far");
await ip(`address add ${NEAR}/24 dev eth0`);
await ip("link set eth0 up");
await at("router", "address add 192.0.2.254/24 dev eth0");
await at("router", "address add 198.51.100.254/24 dev eth1");
await at("router", "link set eth0 up");
await at("router", "link set eth1 up mtu 1380");
await at("far", `address add ${FAR}/24 dev eth0`);
await at("far", "link set eth0 up");
await at("far", "route add default via 198.51.100.254");
await ip("route add default via 192.0.2.254");
await run("ip", ["netns", "exec", "router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], DEADLINE);

const look = async (address: string, expected: number): Promise<unknown> =>
  (await probeMtus([{ address, expected }], { ...DEADLINE, from: NEAR }))[0];

assert.deepEqual(await look("192.0.2.254", 1500), { kind: "whole" });
assert.deepEqual(await look(FAR, 1380), { kind: "whole" });
assert.deepEqual(await look(FAR, 1500), { kind: "smaller", mtu: 1380 }, "the router says it");

// The same where the word of the router does not arrive, and this host has forgotten it.
await run(
  "ip",
  ["netns", "exec", "router", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit"],
  DEADLINE,
);
await at("router", "rule add from 192.0.2.254 lookup 77 preference 1");
await at("router", "route add blackhole default table 77");
await ip("route flush cache");
assert.deepEqual(await look(FAR, 1500), { kind: "smaller", mtu: 1380 }, "nobody says it");

assert.deepEqual(await look("192.0.2.77", 1500), { kind: "silent" });
assert.match(JSON.stringify(await look("203.0.113.1", 1500)), /"silent"|"unknown"/);
