// Three hosts with a bridge and a container each, as namespaces; packets between them go by the links that we make.
// Run by hosts.test.ts in namespaces of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

import { vtepMac } from "../../../src/kernel/names.ts";
import { run } from "../../../src/runtime/exec.ts";
import { until } from "../../support/wait.ts";
import { APP, givenOf, nodeOf, type Picture } from "./cluster.ts";

const DEADLINE = { deadlineMs: 20_000 };
const HOSTS = [1, 2, 3];
const RANGE6 = "fd12:3456:789a:4d::/64";
const PICTURE: Picture = { networks: [{ ...APP, range6: RANGE6 }] };
const CLIENT = "172.31.0.9";
const CLIENT6 = "fd00:31::9";

async function sh(script: string): Promise<string> {
  const { status, stdout, stderr } = await run("sh", ["-euc", script], DEADLINE);
  assert.equal(status, 0, `${script}\n${stderr}`);
  return stdout;
}

/** What is at `address` sees of a connection from a namespace; "" when there is none within so many seconds. */
async function seenFrom(space: string, address: string, { port = 80, seconds = 10 } = {}): Promise<string> {
  const connect = ["timeout", String(seconds), "bash", "-c", `cat < /dev/tcp/${address}/${port}`];
  return (await run("ip", ["netns", "exec", space, ...connect], DEADLINE)).stdout.trim();
}

async function isSeenFrom(space: string, address: string): Promise<boolean> {
  return (await seenFrom(space, address, { seconds: 1 })) !== "";
}

/** A member of the LAN: a namespace with an address on it. */
async function openSpace(name: string, address: string): Promise<void> {
  await sh(`
    ip netns add ${name}
    ip link add l-${name} type veth peer name eth0 netns ${name}
    ip link set l-${name} master lan up
    ip -n ${name} addr add ${address}/24 dev eth0
    ip -n ${name} addr add fd00:31::${address.split(".")[3]}/64 dev eth0 nodad
    ip -n ${name} link set eth0 up
    ip -n ${name} link set lo up`);
}

async function openHost(host: number): Promise<void> {
  const [bridge] = givenOf({ ...PICTURE, self: host }).bridges;
  assert.ok(bridge !== undefined);
  await openSpace(`h${host}`, `172.31.0.${host}`);
  await sh(`
    ip netns exec h${host} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \\
      net.ipv4.conf.all.rp_filter=1
    ip -n h${host} link add sk-app type bridge
    ip -n h${host} addr add ${bridge.gateway}/24 dev sk-app
    ip -n h${host} addr add ${bridge.gateway6}/80 dev sk-app nodad
    ip -n h${host} link set sk-app up
    ip netns add c${host}
    ip link add eth0 netns c${host} type veth peer name v-c netns h${host}
    ip -n h${host} link set v-c master sk-app up
    ip -n c${host} addr add ${containerOf(host)}/24 dev eth0
    ip -n c${host} addr add ${container6Of(host)}/80 dev eth0 nodad
    ip -n c${host} link set eth0 up
    ip -n c${host} link set lo up
    ip -n c${host} route add default via ${bridge.gateway}
    ip -n c${host} route add default via ${bridge.gateway6}`);
  const teller = join(import.meta.dirname, "teller.mjs");
  const child = spawn("ip", ["netns", "exec", `c${host}`, process.execPath, teller, "80"]);
  child.stderr.pipe(process.stderr);
  await once(child.stdout, "data");
  child.unref();
}

function containerOf(host: number): string {
  return `10.160.${host}.10`;
}

function container6Of(host: number): string {
  return RANGE6.replace("::/64", `:${host}::10`);
}

/** Makes the links of a host; null removes them. */
async function link(host: number, picture: Picture | null): Promise<void> {
  const script = join(import.meta.dirname, "one-host.ts");
  const told = JSON.stringify(picture === null ? null : { ...picture, self: host });
  const args = ["netns", "exec", `h${host}`, process.execPath, script, told];
  const { status, stderr } = await run("ip", args, DEADLINE);
  assert.equal(status, 0, stderr);
}

async function listingsOf(host: number): Promise<readonly string[]> {
  const text = await sh(`
    for what in "-4 route show table all" "-6 route show table all" "-4 rule" "-6 rule" \\
      "neigh show nud permanent" "-oneline link"; do ip -n h${host} $what; done`);
  // Addresses that IPv6 gives itself come when they like, and so does a device's state.
  const lines = text.split("\n").filter((line) => !/fe80:|ff00:|^anycast/.test(line));
  return lines.map((line) => line.replace(/state \w+.*/, ""));
}

await sh("ip link add lan type bridge && ip link set lan up");
await openSpace("client", CLIENT);
await Promise.all(HOSTS.map(openHost));
const before = await Promise.all(HOSTS.map(listingsOf));
assert.equal(await isSeenFrom("c1", containerOf(2)), false, "nothing yet");
await Promise.all(HOSTS.map((host) => link(host, PICTURE)));

console.log("containers of all hosts reach each other, and are seen by their own addresses");
for (const from of HOSTS) {
  for (const to of HOSTS.filter((host) => host !== from)) {
    assert.equal(await seenFrom(`c${from}`, containerOf(to)), containerOf(from));
    assert.equal(await seenFrom(`c${from}`, container6Of(to)), container6Of(from));
  }
}

console.log("programs of a host reach containers of others, and are answered");
assert.equal(await seenFrom("h1", containerOf(2)), "10.160.1.1");
assert.equal(await seenFrom("h1", container6Of(2)), RANGE6.replace("::/64", ":1::1"));

console.log("what no host has is refused at once, not sent to the default route");
await sh("ip -n h1 route add default via 172.31.0.9");
const refused = await run("ip", ["-n", "h1", "route", "get", "10.160.99.1"], DEADLINE);
assert.match(refused.stderr, /No route to host/);
await sh("ip -n h1 route del default");

console.log("the client's address is kept through the ingress of another host, whichever it is");
const marks = [1, 3].map((host) => {
  const mark = `0x${(0x5300_0001 + host).toString(16)}`;
  return `iifname "sk-vx4711" ct state new ether saddr ${vtepMac(nodeOf(host))} ct mark set ${mark}`;
});
await sh(`ip netns exec h2 nft -f - <<'END'
table inet marks {
  chain pre {
    type filter hook prerouting priority mangle
    ${marks.join("\n    ")}
    iifname "sk-app" ct mark and 0xff000000 == 0x53000000 meta mark set ct mark
  }
}
END`);
for (const host of [1, 3]) {
  await sh(`ip netns exec h${host} nft -f - <<'END'
table ip ingress {
  chain pre {
    type nat hook prerouting priority dstnat
    tcp dport 8080 dnat to ${containerOf(2)}:80
  }
}
table ip6 ingress {
  chain pre {
    type nat hook prerouting priority dstnat
    tcp dport 8080 dnat to [${container6Of(2)}]:80
  }
}
END`);
  assert.equal(await seenFrom("client", `172.31.0.${host}`, { port: 8080 }), CLIENT);
  assert.equal(await seenFrom("client", `fd00:31::${host}`, { port: 8080 }), CLIENT6);
}

console.log(
  "routing rules of the host's owner go on ruling what is not such an answer, and the tunnel's own packets",
);
await sh(`
  ip -n client addr add 198.51.100.1/32 dev lo
  ip -n client route add 10.160.2.0/24 via 172.31.0.2
  ip -n h2 rule add pref 10000 from ${containerOf(2)} lookup 100
  ip -n h2 route add default via ${CLIENT} table 100`);
await sh(`ip netns exec c2 ping -n -c1 -W2 198.51.100.1`);
assert.equal(await seenFrom("client", "172.31.0.1", { port: 8080 }), CLIENT, "answers go their own way");
await sh(`
  ip -n h2 rule add pref 10001 from 172.31.0.2 lookup 101
  ip -n h2 route add 172.31.0.0/24 dev eth0 table 101`);
const marked = `from 172.31.0.2 mark 0x${(0x5300_0002).toString(16)}`;
for (const packet of ["from 172.31.0.2", marked])
  assert.match(await sh(`ip -n h2 route get 172.31.0.1 ${packet}`), /table 101/, packet);
await sh(`
  ip -n h2 rule del pref 10000
  ip -n h2 rule del pref 10001
  ip -n h2 route flush table 100
  ip -n h2 route flush table 101`);

console.log("a host that is gone is not reached any more; the others are");
await link(1, { ...PICTURE, hosts: [1, 2] });
assert.equal(await isSeenFrom("c1", containerOf(3)), false);
assert.equal(await seenFrom("c1", containerOf(2)), containerOf(1));

console.log("within a tunnel of ours nothing leaves by another way, nor once the tunnel is gone");
const secret: Picture = { networks: [{ ...APP, encrypted: true }], encrypts: true, hosts: [1, 2] };
await sh(`
  ip link add sk-wg netns h1 type veth peer name sk-wg netns h2
  ip -n h1 addr add 10.160.1.0/32 dev sk-wg
  ip -n h2 addr add 10.160.2.0/32 dev sk-wg
  ip -n h1 link set sk-wg up
  ip -n h2 link set sk-wg up
  ip netns exec h1 nft -f - <<'END'
table inet watch {
  counter clear { }
  chain out {
    type filter hook postrouting priority 300
    oifname "eth0" ip daddr 172.31.0.0/24 udp dport 4789 counter name clear
    oifname "eth0" ip daddr 10.160.0.0/16 counter name clear
  }
}
END
  ip -n h1 route add default via 172.31.0.9`);
await Promise.all([1, 2].map((host) => link(host, secret)));
await until(() => isSeenFrom("c1", containerOf(2)), {
  what: "the tunnel is up",
});
await sh("ip -n h1 link del sk-wg");
const both = ["c1", "h1"].map((space) => isSeenFrom(space, containerOf(2)));
assert.deepEqual(await Promise.all(both), [false, false]);
const counted = await sh("ip netns exec h1 nft list counter inet watch clear");
assert.match(counted, /packets 0 bytes 0/);
await sh("ip -n h1 route del default");

console.log("removal leaves each host as it was");
await Promise.all(HOSTS.map((host) => link(host, null)));
assert.deepEqual(await Promise.all(HOSTS.map(listingsOf)), before);
// Servers end with this namespace of processes.
process.exit(0);
