/**
 * Overlay: what tests of overlay networks do on hosts of the lab, and what they see of a host's kernel.
 *
 * A network is made as a user makes it, by one command on a manager. Its replicas answer over TCP and UDP and tell who
 * asked them. Of a host's kernel the whole picture is taken: what is left after a removal must be what was there
 * before.
 *
 * Touches: the hosts of the lab it is given.
 */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";

import { MARK_LED, MARK_LED_MASK } from "../../src/kernel/rules/ruleset.ts";
import { until } from "../support/wait.ts";

import type { Tally } from "./client.ts";
import { exchange } from "./exchange.ts";
import type { LabHost } from "./host.ts";
import type { LabClient } from "./lab-client.ts";
import type { SkeinCluster, SkeinNode } from "./skein.ts";

/** Of a service whose replicas answer over both. */
export const BOTH_PORTS = { "skein.port": "80:8080,80:8080/udp" };

/** Makes a network on the first host, and waits until containers can be put on it everywhere. */
export async function createNetwork(
  cluster: SkeinCluster,
  name: string,
  ...words: readonly string[]
): Promise<void> {
  const { code, stdout, stderr } = await cluster.node(1).cli("network", "create", name, ...words);
  assert.equal(code, 0, `${stdout}${stderr}`);
  await Promise.all(cluster.nodes.map(async (node) => await untilOnHost(node, name)));
}

/** Waits until containers of a host can be put on a network. */
export async function untilOnHost({ host, name: where }: SkeinNode, name: string): Promise<void> {
  const isThere = async (): Promise<boolean> => (await networksOf(host)).includes(name);
  await until(isThere, { what: `network ${name} is on ${where}`, everyMs: 50 });
}

/** Removes networks on the first host, and waits until no host has them. */
export async function removeNetworks(cluster: SkeinCluster, ...names: readonly string[]): Promise<void> {
  for (const name of names) {
    const { code, stdout, stderr } = await cluster.node(1).cli("network", "rm", name);
    assert.equal(code, 0, `${stdout}${stderr}`);
  }
  const areGone = async (): Promise<boolean> => {
    const left = await Promise.all(cluster.nodes.map(async ({ host }) => await networksOf(host)));
    return !left.flat().some((name) => names.includes(name));
  };
  await until(areGone, { what: `${names.join(", ")} are gone`, everyMs: 50 });
}

/** The names of a host's Docker networks. */
async function networksOf(host: LabHost): Promise<readonly string[]> {
  return (await host.docker("network", "ls", "--format={{.Name}}")).split("\n");
}

/** The VIP of a service, `app/web`, that all nodes agree on. */
export async function agreedVip(cluster: SkeinCluster, service: string): Promise<string> {
  const vips = await Promise.all(cluster.nodes.map(async (node) => (await node.explain(service))?.vip));
  const [vip = null] = vips;
  assert.ok(vip !== null && vips.every((one) => one === vip), `one VIP of ${service}: ${vips.join(", ")}`);
  return vip;
}

/** The addresses of a service's replicas by their names, as the first node knows them. */
export async function addressesOf(
  cluster: SkeinCluster,
  service: string,
): Promise<Readonly<Record<string, string>>> {
  const replicas = (await cluster.node(1).explain(service))?.replicas ?? [];
  return Object.fromEntries(replicas.map(({ name, address }) => [name, address.replace(/:\d+$/, "")]));
}

/** Waits until a client finds a service by name, at this address. */
export async function untilFinds(client: LabClient, name: string, address: string): Promise<void> {
  const finds = async (): Promise<boolean> => {
    const { error, addresses } = await client.lookup(name);
    if (addresses.join(" ") === address) return true;
    throw new Error(`it is ${error}${addresses.join(" ")}`);
  };
  await until(finds, { what: `${name} is ${address}`, everyMs: 50 });
}

/** One who answered, and whom it saw asking. */
export interface Meeting {
  readonly name: string;
  readonly client: { readonly address: string };
}

/** Of answers to `/whoami` or "whoami"; throws when a request failed. */
export function meetingsIn({ failures, countByName }: Tally): readonly Meeting[] {
  assert.deepEqual(failures, []);
  return Object.keys(countByName).map((text) => JSON.parse(text) as Meeting);
}

/** Every address that replicas saw asking, once. */
export function askersSeen(meetings: readonly Meeting[]): readonly string[] {
  return [...new Set(meetings.map(({ client }) => client.address))].toSorted();
}

/** The addresses of a container on a network, IPv4 and IPv6. */
export async function addressesOn(
  host: LabHost,
  container: string,
  network: string,
): Promise<{ readonly address: string; readonly address6: string }> {
  const of = `(index .NetworkSettings.Networks "${network}")`;
  const format = `--format={{${of}.IPAddress}} {{${of}.GlobalIPv6Address}}`;
  const [address = "", address6 = ""] = (await host.docker("inspect", format, container)).split(" ");
  return { address, address6 };
}

/** Whether a container gets any answer from an address, at a VIP's port or a replica's. */
export async function reachable(node: SkeinNode, container: string, address: string): Promise<boolean> {
  const tried = [`http://${address}/`, `http://${address}:8080/`].map(async (url) => {
    const argv = ["docker", "exec", container, "curl", "-sS", "-m1", url];
    return (await node.host.exec(argv)).code === 0;
  });
  return (await Promise.all(tried)).includes(true);
}

/** What replicas say to this machine, asked at the published port of a host, over TCP and UDP. */
export async function meetAt(host: string, port: number): Promise<readonly Meeting[]> {
  const meetings: Meeting[] = [];
  for (let sent = 0; sent < 6; sent += 1) {
    const { text } = await exchange({ host, port, path: "/whoami", method: "GET" });
    meetings.push(
      JSON.parse(text) as Meeting,
      JSON.parse(await askDatagram(host, port, "whoami")) as Meeting,
    );
  }
  return meetings;
}

/** What this machine is answered to a datagram. */
async function askDatagram(host: string, port: number, text: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    let answer: string | null = null;
    socket.on("message", (message) => (answer ??= message.toString()));
    socket.send(text, port, host);
    return await until(() => answer, { what: `a datagram to ${host} is answered`, deadlineMs: 5000 });
  } finally {
    socket.close();
  }
}

/** How often TCP sent something again in a container: what a lost packet leaves behind. */
export async function retransmitsIn(node: SkeinNode, container: string): Promise<number> {
  const snmp = await node.inContainer(container, "cat", "/proc/net/snmp");
  const [names = "", values = ""] = snmp.split("\n").filter((line) => line.startsWith("Tcp:"));
  const at = names.split(" ").indexOf("RetransSegs");
  return Number(values.split(" ")[at]);
}

/**
 * The rules of ours on a host with their handles, by which one that was made anew is told; without counters and what
 * passing packets add.
 */
export async function rulesOf(host: LabHost): Promise<string> {
  const listed = await host.mustExec(["nft", "--handle", "--stateless", "list", "table", "inet", "skein"]);
  return withoutCounters(listed).replaceAll(LEARNT, "$1");
}

/** What passing packets add to a set: all that stands in a set which rules may write to. */
const LEARNT =
  /(\n\s*flags [^\n]*dynamic[^\n]*\n(?:\s*(?:size|timeout|gc-interval) [^\n]*\n)*)\s*elements = \{[^}]*\}/g;

/** Waits until the kernel of every host leads to all replicas of a service, and its rules are quiet. */
export async function untilLed(cluster: SkeinCluster, service: string): Promise<void> {
  const addresses = Object.values(await addressesOf(cluster, service));
  const isLed = async (node: SkeinNode): Promise<boolean> => {
    const rules = await rulesOf(node.host);
    const missing = addresses.filter((address) => !rules.includes(` ${address} . `));
    if (missing.length === 0) return true;
    throw new Error(`${node.name} does not lead to ${missing.join(", ")}`);
  };
  await Promise.all(
    cluster.nodes.map(async (node) => {
      await until(async () => await isLed(node), { what: `${node.name} leads to ${service}`, everyMs: 100 });
      await untilQuiet(node);
    }),
  );
}

/**
 * Waits until nothing of these hosts leads to an address any more, connections that wait for its answer included: who
 * comes back in the very moment in which those are forgotten answers one that is not there a moment later.
 */
export async function untilNotLed(nodes: readonly SkeinNode[], address: string): Promise<void> {
  // Only what was led there: the daemon beside the replica goes on probing it.
  const led = ["-m", `${MARK_LED}/${MARK_LED_MASK}`];
  const waiting = ["conntrack", "-L", "-p", "tcp", "--state", "SYN_SENT", "--reply-src", address, ...led];
  const isNotLed = async ({ host }: SkeinNode): Promise<boolean> =>
    !(await rulesOf(host)).includes(` ${address} . `) && (await host.mustExec(waiting)) === "";
  await Promise.all(
    nodes.map(async (node) => {
      await until(async () => await isNotLed(node), { what: `${node.name} leads away from ${address}` });
    }),
  );
}

/** Waits until a host's rules have been the same for some looks: replicas take turns anew where rules are made anew. */
export async function untilQuiet({ host, name }: SkeinNode, everyMs = 200): Promise<void> {
  let last = "";
  let looks = 0;
  const isQuiet = async (): Promise<boolean> => {
    const now = await rulesOf(host);
    looks = now === last ? looks + 1 : 0;
    last = now;
    return looks >= 5;
  };
  await until(isQuiet, { what: `the rules of ${name} are quiet`, everyMs });
}

/**
 * Waits until what became eligible last is in the rules of all hosts, or out of them: where the kernel led to those
 * that were there first and the daemon goes on with all of them, neither knows whose turn it was.
 */
export async function untilSettled({ nodes }: SkeinCluster): Promise<void> {
  await Promise.all(nodes.map(async (node) => await untilQuiet(node, 40)));
}

/** Of containers, which come and go; and what is said of a link only because nobody is on it. */
const PASSING = / linkdown|.* dev (veth\S+|docker0).*proto kernel.*/g;

/** What a host's kernel has, by what it is: sorted lines, without what counts or passes. */
export async function kernelOf(host: LabHost): Promise<Readonly<Record<string, readonly string[]>>> {
  const said = async (...argv: readonly string[]): Promise<readonly string[]> => {
    const text = await host.mustExec(argv);
    return withoutCounters(text)
      .replaceAll(PASSING, "")
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("#"))
      .toSorted();
  };
  const links = JSON.parse(await host.mustExec(["ip", "-json", "link", "show"])) as { ifname: string }[];
  const route = ["table", "all", "type"];
  return {
    links: links
      .map(({ ifname }) => ifname)
      .filter((name) => !name.startsWith("veth"))
      .toSorted(),
    rules: await said("nft", "list", "ruleset"),
    routes: [
      ...(await said("ip", "-4", "route", "show", ...route, "unicast")),
      ...(await said("ip", "-4", "route", "show", ...route, "local")),
      ...(await said("ip", "-4", "route", "show", ...route, "unreachable")),
    ],
    routes6: await said("ip", "-6", "route", "show", ...route, "unicast"),
    addresses: await said("ip", "-br", "addr", "show", "dev", "lo"),
    routingRules: [...(await said("ip", "-4", "rule", "show")), ...(await said("ip", "-6", "rule", "show"))],
    neighbours: (await said("ip", "neigh", "show", "nud", "permanent")).filter((line) =>
      line.includes("sk-"),
    ),
    iptables: await said("iptables-save"),
    networks: (await networksOf(host)).toSorted(),
  };
}

function withoutCounters(text: string): string {
  return text
    .replaceAll(/counter packets \d+ bytes \d+/g, "counter")
    .replaceAll(/\[\d+:\d+\]/g, "")
    .replaceAll(/ expires \S+/g, "");
}
