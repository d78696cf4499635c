// A host with VXLAN devices, and two others that send to them in clear: run by guard.test.ts in a network of its own.
//
// The tunnel of WireGuard is a wire by its name here: what counts is by which device a packet came, and would leave.

import assert from "node:assert/strict";

import { openGuard } from "../../../src/kernel/guard/guard.ts";
import type { GuardPlan } from "../../../src/kernel/guard/plan.ts";
import { openRules } from "../../../src/kernel/rules/rules.ts";
import { run } from "../../../src/runtime/exec.ts";

const DEADLINE = { deadlineMs: 20_000 };
const MAY = { mayRemove: true };
const SEALED = 4711;
const PLAIN = 4712;
const MAC = "02:00:00:00:00:01";

async function sh(script: string): Promise<string> {
  const { status, stdout, stderr } = await run("sh", ["-euc", script], DEADLINE);
  assert.equal(status, 0, `${script}\n${stderr}`);
  return stdout;
}

/** Packets that a VXLAN device of this host has taken while a neighbour sent to it. */
async function taken(vni: number, from: string): Promise<number> {
  const count = async (): Promise<number> =>
    Number(await sh(`cat /sys/class/net/sk-vx${vni}/statistics/rx_packets`));
  const before = await count();
  await run("ip", ["netns", "exec", from, "ping", "-c1", "-W0.1", `10.9.${vni - 4710}.1`], DEADLINE);
  return (await count()) - before;
}

/** A host of the LAN; one that speaks VXLAN in clear, and to the encrypted network's own far end at that. */
async function openOther(name: string, host: number): Promise<void> {
  await sh(`
    ip netns add ${name}
    ip netns exec ${name} sysctl -qw net.ipv6.conf.default.disable_ipv6=1
    ip link add l-${name} type veth peer name eth0 netns ${name}
    ip link set l-${name} master lan up
    ip -n ${name} addr add 192.0.2.${host}/24 dev eth0
    ip -n ${name} link set eth0 up
    ip -n ${name} route add 10.160.1.0/32 via 192.0.2.1`);
  for (const [vni, remote] of [
    [SEALED, "10.160.1.0"],
    [PLAIN, "192.0.2.1"],
  ] as const) {
    const net = `10.9.${vni - 4710}`;
    await sh(`
      ip -n ${name} link add vx${vni} type vxlan id ${vni} dstport 4789 remote ${remote}
      ip -n ${name} addr add ${net}.${host}/24 dev vx${vni}
      ip -n ${name} link set vx${vni} up
      ip -n ${name} neigh add ${net}.1 lladdr ${MAC} dev vx${vni}`);
  }
}

await sh(`
  mount -t sysfs sysfs /sys
  ip link add lan type bridge
  ip addr add 192.0.2.1/24 dev lan
  ip link set lan up
  ip link add sk-wg type veth peer name far
  ip addr add 10.160.1.0/32 dev sk-wg
  ip link set sk-wg up
  ip link set far up
  ip link add sk-vx${SEALED} address ${MAC} type vxlan id ${SEALED} dstport 4789 nolearning \\
    local 10.160.1.0 dev sk-wg
  ip link add sk-vx${PLAIN} address ${MAC} type vxlan id ${PLAIN} dstport 4789 nolearning local 192.0.2.1
  ip link set sk-vx${SEALED} up
  ip link set sk-vx${PLAIN} up`);
await openOther("member", 2);
await openOther("stranger", 3);

console.log("without the guard all of it is taken: what follows is the guard's doing");
for (const from of ["member", "stranger"]) {
  for (const vni of [SEALED, PLAIN]) assert.ok((await taken(vni, from)) > 0, `${vni} from ${from}`);
}

const plan: GuardPlan = { sealed: [SEALED], plain: [PLAIN], hosts: ["192.0.2.2"], device: "lan" };
const guard = openGuard();

/** What is let in: of the other networks what members send, of encrypted ones nothing that is clear. */
async function keepsOut(): Promise<void> {
  assert.equal(await taken(SEALED, "member"), 0);
  assert.equal(await taken(SEALED, "stranger"), 0);
  assert.equal(await taken(PLAIN, "stranger"), 0);
  assert.ok((await taken(PLAIN, "member")) > 0);
}

console.log("with it nothing clear comes into the encrypted network, and nothing of a stranger's anywhere");
assert.deepEqual(await guard.apply(plan, MAY), { changes: 1, problems: [] });
await keepsOut();

console.log("the rules of services may be removed, the guard stays; and it is found again as it was left");
await openRules().remove();
await keepsOut();
assert.deepEqual(await openGuard().apply(plan, MAY), { changes: 0, problems: [] });
assert.deepEqual(await guard.repair(), { changes: 0, problems: [] });

console.log("somebody who takes away all rules takes it away until it is looked at");
await sh("nft flush ruleset");
assert.deepEqual(await guard.repair(), { changes: 1, problems: [] });
await keepsOut();
await sh("nft flush chain inet skein-guard sealed");
assert.deepEqual(await guard.repair(), { changes: 1, problems: [] });
await keepsOut();

console.log("a young daemon lets no stranger in that an earlier life kept out, and cuts no member off");
await openGuard().apply({ ...plan, sealed: [], hosts: [] }, { mayRemove: false });
await keepsOut();

console.log(
  "a container on this host forges no packets, neither for it nor for others, by whatever address it has",
);
await sh(`
  sysctl -qw net.ipv4.ip_forward=1
  ip link add docker0 type bridge
  ip addr add 172.17.0.1/24 dev docker0
  ip link set docker0 up
  ip netns add box
  ip link add v-box type veth peer name eth0 netns box
  ip link set v-box master docker0 up
  ip -n box addr add 172.17.0.2/24 dev eth0
  ip -n box link set eth0 up
  ip -n box route add default via 172.17.0.1
  ip netns exec box sysctl -qw net.ipv6.conf.default.disable_ipv6=1
  nft 'add table ip world'
  nft 'add chain ip world out { type nat hook postrouting priority 100; }'
  nft 'add rule ip world out ip saddr 172.17.0.0/24 oifname "lan" masquerade'
  nft 'add table ip watch'
  nft 'add chain ip watch out { type filter hook postrouting priority 300; }'
  nft 'add rule ip watch out oifname "lan" udp dport 4789 counter'
  ip -n box addr add 192.0.2.2/32 dev lo`);
const passed = async (): Promise<string> => await sh("nft list chain ip watch out");
for (const source of ["172.17.0.2", "192.0.2.2"]) {
  for (const [target, gateway] of [
    ["192.0.2.1", "10.9.2.1"],
    ["192.0.2.3", "10.9.2.3"],
  ] as const) {
    const vxlan = `type vxlan id ${PLAIN} dstport 4789 remote ${target} local ${source}`;
    await sh(`
      ip -n box link add forged ${vxlan}
      ip -n box addr add 10.9.2.66/24 dev forged
      ip -n box link set forged up
      ip -n box neigh add ${gateway} lladdr ${MAC} dev forged`);
    const before = await sh(`cat /sys/class/net/sk-vx${PLAIN}/statistics/rx_packets`);
    await run("ip", ["netns", "exec", "box", "ping", "-c1", "-W0.1", gateway], DEADLINE);
    assert.equal(await sh(`cat /sys/class/net/sk-vx${PLAIN}/statistics/rx_packets`), before, source);
    assert.match(await passed(), /packets 0 bytes 0/, `${source} to ${target}`);
    const { stdout } = await run("ip", ["-n", "box", "-s", "-j", "link", "show", "forged"], DEADLINE);
    assert.match(stdout, /"tx":\{"bytes":[1-9]/, "it was sent");
    await sh("ip -n box link del forged");
  }
}
await sh("nft delete table ip world; nft delete table ip watch");

console.log("nothing of an encrypted network leaves by another device than WireGuard's");
const counted = async (): Promise<string> => await sh("nft list chain inet skein-guard leaving-sealed");
assert.match(await counted(), /packets 0 bytes 0/);
await sh(`
  ip link del sk-vx${SEALED}
  ip link add vx-odd type vxlan id ${SEALED} dstport 4789 remote 192.0.2.2 local 192.0.2.1
  ip addr add 10.9.99.1/24 dev vx-odd
  ip link set vx-odd up
  ip neigh add 10.9.99.2 lladdr 02:00:00:00:00:02 dev vx-odd`);
await run("ping", ["-c1", "-W0.1", "10.9.99.2"], DEADLINE);
assert.doesNotMatch(await counted(), /packets 0 bytes 0/);

console.log("removed, nothing of it is left, and others' tables stay");
await sh("nft add table inet others");
assert.deepEqual(await guard.remove(), { changes: 1, problems: [] });
assert.equal((await sh("nft list tables")).trim(), "table inet others");
assert.deepEqual(await guard.remove(), { changes: 0, problems: [] });
