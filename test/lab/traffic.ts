/**
 * Traffic: a cluster of three real Docker hosts under load, and the web servers that are harmed meanwhile.
 *
 * The servers are plain (plain-app.mjs): they know nothing of us and wait for nobody. Requests enter at each host, by
 * name from a container that keeps its connections, and through the published port from a program that has a new one
 * for each: so each way in and each kind of client meets each fault.
 *
 * Touches: a lab of three hosts.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

import { until } from "../support/wait.ts";

import type { Tally } from "./client.ts";
import { LAB_IMAGE } from "./host.ts";
import { duringAll, type Sending } from "./lab-client.ts";
import type { LabProgram } from "./program.ts";
import type { SkeinCluster, SkeinNode } from "./skein.ts";

const APP = fileURLToPath(new URL("plain-app.mjs", import.meta.url));
const LINE_HOLDER = fileURLToPath(new URL("line-holder.mjs", import.meta.url));
const UDP_ASKER = fileURLToPath(new URL("udp-asker.mjs", import.meta.url));

/** What an app does to each request in place of an answer; see plain-app.mjs. */
export type Harm = "none" | "silent" | "reset" | "half";

/** A service of these tests. */
export interface AppService {
  readonly name: string;
  readonly publishedPort: number;
}

/** What became of a load, by who sent it. */
export type Tallies = ReadonlyMap<string, Tally>;

/** One that sends, and where it is. */
interface Sender extends Sending {
  readonly name: string;
}

/** Starts a plain app as `name` on a host, as a replica of a service. */
export async function runApp(
  { host }: SkeinNode,
  name: string,
  service: AppService,
  harm: Harm = "none",
): Promise<void> {
  const labels = {
    "skein.service": service.name,
    "skein.port": "80:8080/http",
    "skein.publish": `${service.publishedPort}:80`,
  };
  const words = [
    "--detach",
    `--name=${name}`,
    `--hostname=${name}`,
    `--env=APP_HARM=${harm}`,
    `--volume=${APP}:/app.mjs:ro`,
    ...Object.entries(labels).map(([key, value]) => `--label=${key}=${value}`),
  ];
  await host.docker("run", ...words, LAB_IMAGE, "node", "/app.mjs");
}

/** Two senders on each of `nodes` that share `perSecond` requests a second. */
export function sendersOn(
  nodes: readonly SkeinNode[],
  service: AppService,
  load: { readonly perSecond: number; readonly posts: boolean },
): readonly Sender[] {
  const perSecond = load.perSecond / (2 * nodes.length);
  const { posts } = load;
  return nodes.flatMap(({ name, client, process, host }) => {
    const url = `http://${host.address}:${service.publishedPort}/`;
    const kept = { url: `http://${service.name}/`, perSecond, posts, keepsConnections: true };
    return [
      { name: `a container of ${name}, connections kept`, client, load: kept },
      { name: `a process of ${name}, new connections`, client: process, load: { url, perSecond, posts } },
    ];
  });
}

/** Runs `action` while all senders send; the tallies are whole once the last answer has come. */
export async function underLoad(senders: readonly Sender[], action: () => Promise<void>): Promise<Tallies> {
  const tallies = await duringAll(senders, action);
  return new Map(tallies.map((tally, index) => [senders[index]?.name ?? "", tally]));
}

/** Waits until the senders have sent so many requests together, as far as they came by now. */
export async function untilSent(
  senders: readonly Sender[],
  count: number,
  deadlineMs: number,
): Promise<void> {
  const each = Math.ceil(count / senders.length);
  await Promise.all(senders.map(async ({ client }) => await client.untilSentInAll(each, deadlineMs)));
}

/** All failures, each with who had it. */
export function failuresOf(tallies: Tallies): readonly string[] {
  return [...tallies].flatMap(([name, { failures }]) => failures.map((text) => `${name}: ${text}`));
}

/** No request failed, and each of these replicas answered some. */
export function assertUnharmed(tallies: Tallies, answering: readonly string[]): void {
  assert.deepEqual(failuresOf(tallies), []);
  const names = new Set([...tallies.values()].flatMap(({ countByName }) => Object.keys(countByName)));
  assert.deepEqual([...names].toSorted(), answering.toSorted(), "who answered");
}

export function sentIn(tallies: Tallies): number {
  return [...tallies.values()].reduce((sum, { sent }) => sum + sent, 0);
}

/** The longest that anybody waited for an answer. */
export function slowestMsIn(tallies: Tallies): number {
  return Math.max(...[...tallies.values()].map(({ slowestMs }) => slowestMs));
}

/**
 * Restarts the nth replica on the nth host, one after the other and again, until told that it is enough: each is
 * stopped as by `docker stop`, started again, and has traffic everywhere before it is the next one's turn.
 */
export async function restartAll(
  cluster: SkeinCluster,
  names: readonly string[],
  enough: AbortSignal,
): Promise<void> {
  do {
    for (const [index, name] of names.entries()) {
      const { host } = cluster.node(index + 1);
      await host.docker("stop", name);
      await host.docker("start", name);
      await untilTakesTraffic(cluster, name);
    }
  } while (!enough.aborted);
}

/** Waits until every node sends traffic to a replica. */
export async function untilTakesTraffic(cluster: SkeinCluster, replica: string): Promise<void> {
  const service = replica.replace(/-\d+$/, "");
  const isEligible = async (): Promise<boolean> => {
    const seen = await Promise.all(cluster.nodes.map(async (node) => await node.eligible(service)));
    return seen.every((replicas) => replicas.includes(replica));
  };
  await until(isEligible, { what: `${replica} takes traffic everywhere`, everyMs: 20 });
}

/** Sends a signal to the first process of a container, past the engine, which knows nothing of it. */
export async function signalInside({ host }: SkeinNode, name: string, signal: string): Promise<void> {
  const pid = await host.docker("inspect", "--format={{.State.Pid}}", name);
  await host.mustExec(["kill", `-${signal}`, pid]);
}

/** Starts replicas of TCP services on two hosts, and on the first host a connection to each that is then left alone. */
export async function holdLines(cluster: SkeinCluster): Promise<readonly LabProgram[]> {
  const near = cluster.node(1);
  const ports = { "line-near": 9001, "line-far": 9002 };
  const started = Object.entries(ports).map(async ([name, port], index) => {
    const labels = { "skein.port": "9000:8080/tcp", "skein.publish": `${port}:9000` };
    await cluster.untilEligible(name, await cluster.runReplicas(name, [index + 1], labels));
    const argv = [process.execPath, LINE_HOLDER, near.host.address, String(port)];
    const line = await near.host.spawn(argv, { log: name });
    await until(() => line.log().includes("held"), { what: `the line to ${name} is held` });
    return line;
  });
  return await Promise.all(started);
}

/** Starts a UDP client (udp-asker.mjs) on a host that asks at the host's own port. */
export async function startAsker({ host }: SkeinNode, port: number): Promise<LabProgram> {
  const argv = [process.execPath, UDP_ASKER, "40000", host.address, String(port)];
  const asker = await host.spawn(argv, { log: `asker-${port}` });
  await until(() => asker.log().includes("asking"), { what: "the UDP client asks" });
  return asker;
}

/** Waits until a UDP client has had so many answers, of those that count, without one missing; and returns these. */
export async function untilAnswered(
  asker: LabProgram,
  count: number,
  counts: (name: string) => boolean = () => true,
): Promise<readonly string[]> {
  const answered = (): readonly string[] | null => {
    asker.signal("SIGUSR2");
    const told = asker.log().trim().split("\n").at(-1) ?? "";
    const answers = told.startsWith("[") ? (JSON.parse(told) as readonly (string | null)[]) : [];
    // The last is under way.
    const last = answers
      .slice(-1 - count, -1)
      .flatMap((name) => (name !== null && counts(name) ? [name] : []));
    return last.length === count ? last : null;
  };
  return await until(answered, { what: `${count} datagrams in a row are answered`, everyMs: 100 });
}
