// Clusters: daemons on one block of addresses that know each other, and the questions that users ask of them.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import type { TokenReport } from "../../src/admin/contract-trust.ts";
import type { Explanation, MemberLine, StatusReport } from "../../src/admin/contract.ts";
import type { TrustPace } from "../../src/daemon/options.ts";
import type { Role } from "../../src/model/credential.ts";
import {
  daemonFor,
  httpGet,
  openBlock,
  webReplica,
  type Block,
  type ConfigTree,
  type DaemonUnderTest,
  type Ending,
  type WebReplica,
} from "../support/daemons.ts";
import { DEADLINE_MS, until } from "../support/wait.ts";

/** The port of the HTTP ingress, as in the contract. */
export const INGRESS_PORT = 8080;

/** Three hosts that know each other; `host-1` alone listens on VIPs, for they share one network stack. */
export interface Cluster {
  readonly block: Block;
  readonly hosts: readonly [DaemonUnderTest, DaemonUnderTest, DaemonUnderTest];
}

/**
 * Prepares three hosts, none of them started; a test may leave the last ones out. The first makes the cluster, and the
 * others join it when they are started for the first time, with a token that they are handed then.
 *
 * @param role  as what they join
 * @param pace  of their certificates; as in the product unless told
 */
export async function prepareCluster(
  t: Ending,
  { role = "worker", pace }: { readonly role?: Role; readonly pace?: TrustPace } = {},
): Promise<Cluster> {
  const block = await openBlock(t);
  const hostOf = (number: number): DaemonUnderTest => {
    const others = [1, 2, 3]
      .filter((other) => other !== number)
      .map((other) => `${block.address(other)}:7650`);
    const address = block.address(number);
    const config = (dir: string): ConfigTree => ({
      mesh: { listen: `${address}:7650`, join: others, ...(number > 1 && { tokenFile: tokenFileIn(dir) }) },
      vip: { pool: block.vipPool, listen: number === 1 },
    });
    const given = { name: `host-${number}`, address, vipPool: block.vipPool, config };
    const daemon = daemonFor(t, { ...given, ...(pace !== undefined && { pace }) });
    if (number === 1) return daemon;
    const start = async (): Promise<void> => {
      await invite(daemon, hosts, role);
      await daemon.start();
    };
    return { ...daemon, start };
  };
  const hosts: Cluster["hosts"] = [hostOf(1), hostOf(2), hostOf(3)];
  return { block, hosts };
}

function tokenFileIn(dir: string): string {
  return join(dir, "token");
}

/** Hands a host that is in no cluster a token of one that is. */
async function invite(host: DaemonUnderTest, hosts: Cluster["hosts"], role: Role): Promise<void> {
  if (existsSync(join(host.dataDir, "node.crt"))) return;
  for (const other of hosts.filter((one) => one !== host && one.isRunning())) {
    const report = (await other.get(`/api/v1/tokens/${role}`)) as TokenReport | null;
    if (report === null) continue;
    writeFileSync(tokenFileIn(host.dir), `${report.token}\n`);
    return;
  }
  throw new Error(`${host.name} has nobody to join: start the first host before`);
}

/** Starts hosts, the first before the others, and waits until each sees all of them alive. */
export async function startAll(hosts: readonly DaemonUnderTest[]): Promise<void> {
  const [first, ...others] = hosts;
  await first?.start();
  await Promise.all(others.map((host) => host.start()));
  for (const host of hosts) await untilAlive(host, hosts);
}

/** Waits until a host sees these members alive, and no others. */
export async function untilAlive(
  host: DaemonUnderTest,
  members: readonly { readonly name: string }[],
): Promise<void> {
  const wanted = members.map(({ name }) => name).sort();
  await untilEqual(`alive members on ${host.name}`, wanted, async () => {
    return (await membersOf(host)).filter(({ state }) => state === "alive").map(({ name }) => name);
  });
}

/** Opens web replicas called after the host and their place: on host 2 `web-2.1`, `web-2.2`. */
export async function webReplicas(
  t: Ending,
  block: Block,
  counts: readonly number[],
): Promise<WebReplica[][]> {
  const opened: WebReplica[][] = [];
  for (const [index, count] of counts.entries()) {
    const host = index + 1;
    const own: WebReplica[] = [];
    // DNS lists addresses, not ports: each replica has an address of its own.
    for (let at = 1; at <= count; at += 1)
      own.push(await webReplica(t, `web-${host}.${at}`, block.address(host, 10 + at)));
    opened.push(own);
  }
  return opened;
}

/** A static service over HTTP, checked ten times a second. */
export function webService(replicas: readonly WebReplica[], over: ConfigTree = {}): ConfigTree {
  return {
    name: "web",
    ports: [{ name: "web", port: 8000, protocol: "http" }],
    replicas: replicas.map(({ endpoint }) => endpoint),
    health: { http: "/healthz", interval: "100ms", timeout: "500ms" },
    ...over,
  };
}

/** Members as a host sees them. */
export async function membersOf(host: DaemonUnderTest): Promise<readonly MemberLine[]> {
  return (await host.get("/api/v1/members")) as readonly MemberLine[];
}

/** A member's state as a host sees it; undefined when it knows no such member. */
export async function stateOf(host: DaemonUnderTest, member: string): Promise<string | undefined> {
  return (await membersOf(host)).find(({ name }) => name === member)?.state;
}

/** What a host says of a service. */
export async function explain(host: DaemonUnderTest, service = "web"): Promise<Explanation> {
  const told = await host.get(`/api/v1/explain/${encodeURIComponent(service)}`);
  assert.ok(told !== null, `${host.name} knows ${service}`);
  return told as Explanation;
}

/** What a host says of one replica of a service, by the replica's address. */
export async function explainReplica(
  host: DaemonUnderTest,
  address: string,
  service = "web",
): Promise<Explanation["replicas"][number]> {
  const replica = (await explain(host, service)).replicas.find((one) => one.address === address);
  assert.ok(replica !== undefined, `${host.name} knows the replica of ${service} at ${address}`);
  return replica;
}

/** What a host says of itself. */
export async function statusOf(host: DaemonUnderTest): Promise<StatusReport> {
  return (await host.get("/api/v1/status")) as StatusReport;
}

/** All problems that `skein status` tells, as text. */
export async function problemsOf(host: DaemonUnderTest): Promise<string[]> {
  return (await statusOf(host)).problems.map(({ area, subject, text }) => `${area}: ${subject}: ${text}`);
}

/** Waits until exactly these replicas of a service take traffic, in the words of DNS and of the admin API. */
export async function untilServing(
  hosts: readonly DaemonUnderTest[],
  replicas: readonly WebReplica[],
  options: { readonly service?: string; readonly deadlineMs?: number } = {},
): Promise<void> {
  const { service = "web", deadlineMs = DEADLINE_MS } = options;
  const wanted = replicas.map(({ address }) => address).sort();
  for (const host of hosts) {
    const what = `replicas of ${service} on ${host.name}`;
    await untilEqual(what, wanted, async () => tasksOf(host, service), deadlineMs);
    const told = async (): Promise<string[]> => {
      const { replicas: all } = await explain(host, service);
      return all.filter(({ eligible }) => eligible).map(({ address }) => address);
    };
    await untilEqual(`${what} (explain)`, wanted, told, deadlineMs);
  }
}

/** Ready replicas of a service as a host's DNS tells them, sorted; empty for NODATA. */
export async function tasksOf(host: DaemonUnderTest, service = "web"): Promise<string[]> {
  const answer = await host.lookup(`tasks.${service}`);
  if (answer === "ENODATA") return [];
  if (typeof answer === "string") throw new Error(`tasks.${service} on ${host.name}: ${answer}`);
  return answer;
}

/** Waits until `look` gives these texts, in any order; the error tells what it gave last. */
export async function untilEqual(
  what: string,
  wanted: readonly string[],
  look: () => Promise<readonly string[]>,
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const expected = wanted.toSorted().join(" ");
  await until(
    async () => {
      const seen = (await look()).toSorted().join(" ");
      if (seen !== expected) throw new Error(`saw ${seen || "none"}; expected ${expected || "none"}`);
      return true;
    },
    { what, deadlineMs },
  );
}

/** Where requests enter. */
export interface Door {
  /** Whose proxy it is. */
  readonly daemon: DaemonUnderTest;
  readonly host: string;
  readonly port: number;
  /** Host header, for the ingress. */
  readonly hostHeader?: string;
}

/** One GET over a fresh connection; the name of the replica that answered. */
export async function ask({ host, port, hostHeader }: Door): Promise<string> {
  const { status, body } = await httpGet(host, port, hostHeader === undefined ? {} : { host: hostHeader });
  assert.equal(status, 200, body);
  return body;
}

/** Sends GETs one after the other. @returns how many each replica answered, by its name */
export async function tally(door: Door, count: number): Promise<Record<string, number>> {
  const countByName: Record<string, number> = {};
  for (let sent = 0; sent < count; sent += 1) {
    const name = await ask(door);
    countByName[name] = (countByName[name] ?? 0) + 1;
  }
  return countByName;
}

/** Waits until a door is open: its listener follows the picture in which the service is ready. */
export async function untilOpen(door: Door): Promise<void> {
  await until(() => ask(door), { what: `${door.host}:${door.port} answers` });
}

/** A port of a host itself; `over` for another address, or a Host header. */
export function doorAt(daemon: DaemonUnderTest, port: number, over: Partial<Door> = {}): Door {
  return { daemon, host: daemon.address, port, ...over };
}

/**
 * Checks that replicas share what comes through a door: each answers `each` requests of as many as that makes.
 *
 * A proxy leaves out for a while whom it has met failing, be it only for a stall of this machine. So shares may be
 * uneven for as long, but only if the proxy has counted an ejection; without one the first uneven share is a failure.
 */
export async function expectEven(door: Door, replicas: readonly WebReplica[], each = 2): Promise<void> {
  const expected = Object.fromEntries(replicas.map(({ name }) => [name, each]));
  const at = `through ${door.host}:${door.port} of ${door.daemon.name}`;
  const isEven = async (): Promise<boolean> => {
    const seen = await tally(door, replicas.length * each);
    if (isDeepStrictEqual(seen, expected)) return true;
    const ejections = await door.daemon.metric("skein_upstream_ejections_total");
    if (ejections === 0) assert.deepEqual(seen, expected, at);
    return false;
  };
  const started = performance.now();
  while (!(await isEven())) assert.ok(performance.now() - started < DEADLINE_MS, `still uneven ${at}`);
}

/** Waits until connections to a door are refused: nothing listens there any more. */
export async function untilRefused({ host, port }: Door): Promise<void> {
  const isRefused = async (): Promise<boolean> => {
    const socket = connect({ host, port });
    try {
      await once(socket, "connect");
      return false;
    } catch (thrown) {
      return (thrown as NodeJS.ErrnoException).code === "ECONNREFUSED";
    } finally {
      socket.destroy();
    }
  };
  await until(isRefused, { what: `${host}:${port} refuses connections` });
}
