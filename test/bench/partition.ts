/**
 * Partition: how long until the DNS of others leaves out a host that fails, and has it again.
 *
 * Three real engines in the lab, our daemon and a replica of one service on each. What happens is done by us, so its
 * moment is known to the clock that all hosts share; what follows is the first answer about `tasks.web` that differs,
 * of a query each millisecond to every daemon. Each figure is that of the slowest daemon: for a failure of the two that
 * are left, for the healed link of all three, the one that was cut off included.
 *
 * Each round has a cluster of its own, and a different host for each failure: a member that returns for the third time
 * within minutes settles before it gets traffic, which would be measured too (src/gossip/damping.ts).
 *
 * Touches: labs of three hosts, one after the other.
 */

import { fileURLToPath } from "node:url";

import type { LabProgram } from "../lab/program.ts";
import { skipReason } from "../lab/requirements.ts";
import { openCluster, type SkeinCluster, type SkeinNode } from "../lab/skein.ts";
import type { SeenAnswer } from "../lab/watch-name.ts";
import { roundOf, untold, type OnStep } from "../support/steps.ts";
import { until } from "../support/wait.ts";

import { quantile } from "./statistics.ts";

/** Milliseconds from the event, over all rounds. */
export interface Spread {
  readonly medianMs: number;
  readonly worstMs: number;
  /** Of each round. */
  readonly tookMs: readonly number[];
}

/** What happens in a round, in this order. */
export const EVENTS = ["cut", "healed", "killed", "frozen"] as const;

export type PartitionEvent = (typeof EVENTS)[number];

export interface PartitionFigures {
  readonly rounds: number;
  readonly spreadByEvent: Readonly<Record<PartitionEvent, Spread>>;
  /** What others took on the same kind of machine, in milliseconds, as we measured them; see OTHERS. */
  readonly others: typeof OTHERS;
}

/**
 * Measured by us: Docker Swarm 20.10, three hosts of the lab, a `dnsrr` service polled from a container; Serf 0.9.4,
 * 20 agents on loopback with the profile for LANs, until all have it as failed.
 */
const OTHERS = { swarm: { cut: 5200, healed: 36_000 }, serf: { killed: 8200, frozen: 8300 } } as const;

const WATCHER = fileURLToPath(new URL("../lab/watch-name.ts", import.meta.url));
const NAME = "tasks.web.default.skein.internal";
const HOSTS = [1, 2, 3];
const ROUNDS = 5;

/** Longer than whatever is measured takes: what is slower than this is a failure, not a figure. */
const SEEN_MS = 60_000;

/** Measures; a round takes some 20 seconds. There are no thresholds here: figures are for people to compare. */
export async function measurePartition(
  rounds: number = ROUNDS,
  onStep: OnStep = untold,
): Promise<PartitionFigures> {
  const reason = skipReason();
  if (reason !== false) throw new Error(reason);
  const measured: Record<PartitionEvent, number>[] = [];
  for (let round = 0; round < rounds; round += 1) {
    onStep(roundOf(round, rounds));
    const cluster = await openCluster({ hosts: HOSTS.length });
    try {
      measured.push(await measureRound(cluster));
    } finally {
      await cluster.close();
    }
  }
  const spreadOf = (event: PartitionEvent): Spread => {
    const tookMs = measured.map((round) => Math.round(round[event]));
    return { medianMs: quantile(tookMs, 0.5), worstMs: Math.max(...tookMs), tookMs };
  };
  const [cut, healed, killed, frozen] = [
    spreadOf("cut"),
    spreadOf("healed"),
    spreadOf("killed"),
    spreadOf("frozen"),
  ];
  return { rounds, spreadByEvent: { cut, healed, killed, frozen }, others: OTHERS };
}

async function measureRound(cluster: SkeinCluster): Promise<Record<PartitionEvent, number>> {
  const replicas = await cluster.runReplicas("web", HOSTS, { "skein.port": "80:8080" });
  await cluster.untilEligible("web", replicas);
  const [frozen, killed, cut] = [cluster.node(1), cluster.node(2), cluster.node(3)];
  const watchers = new Map<SkeinNode, LabProgram>();
  for (const node of cluster.nodes) watchers.set(node, await watch(node));
  const addressOf = await addresses(cluster);
  const slowest = async (
    seenBy: readonly SkeinNode[],
    isIt: (seen: readonly string[]) => boolean,
    act: () => unknown,
  ): Promise<number> => {
    const startMs = performance.timeOrigin + performance.now();
    await act();
    const seen = seenBy.map(async (node) => await firstSeen(watchers.get(node), startMs, isIt));
    return Math.max(...(await Promise.all(seen))) - startMs;
  };
  const out = async (node: SkeinNode, act: () => unknown): Promise<number> => {
    const others = cluster.nodes.filter((other) => other !== node);
    return await slowest(others, (seen) => !seen.includes(addressOf(node)), act);
  };

  const cutMs = await out(cut, async () => await cut.host.cutLink());
  await untilDead(cut, [frozen, killed]);
  await untilDead(frozen, [cut]);
  const isWhole = (seen: readonly string[]): boolean => seen.length === HOSTS.length;
  const healedMs = await slowest(cluster.nodes, isWhole, async () => await cut.host.healLink());
  await untilLinked(cluster);
  const killedMs = await out(killed, async () => void (await killed.stop("SIGKILL")));
  await killed.start();
  await untilLinked(cluster);
  await cluster.untilEligible("web", replicas);
  const frozenMs = await out(frozen, async () => await frozen.daemon.freeze());
  await frozen.daemon.thaw();
  return { cut: cutMs, healed: healedMs, killed: killedMs, frozen: frozenMs };
}

/** Watches the name at the daemon of a node, from its host. */
async function watch({ host }: SkeinNode): Promise<LabProgram> {
  const argv = [process.execPath, WATCHER, "127.0.0.1", "5300", NAME];
  const watcher = await host.spawn(argv, { log: "answers" });
  await until(() => answersOf(watcher).at(-1)?.addresses.length === HOSTS.length, {
    what: `${NAME} is watched on ${host.name}`,
  });
  return watcher;
}

/** The address of the replica on each node. */
async function addresses(cluster: SkeinCluster): Promise<(node: SkeinNode) => string> {
  const replicas = (await cluster.node(1).explain("web"))?.replicas ?? [];
  const addressByNode = new Map(replicas.map(({ node, address }) => [node, address.replace(/:.*/, "")]));
  return ({ name }) => addressByNode.get(name) ?? "";
}

/** When a watcher first had an answer of a kind, of those from `startMs` on. */
async function firstSeen(
  watcher: LabProgram | undefined,
  startMs: number,
  isIt: (seen: readonly string[]) => boolean,
): Promise<number> {
  if (watcher === undefined) throw new Error("nobody watches there");
  const found = (): SeenAnswer | undefined =>
    answersOf(watcher).find((answer) => answer.atMs >= startMs && isIt(answer.addresses));
  const answer = await until(found, { what: "the event is seen", deadlineMs: SEEN_MS });
  return answer.atMs;
}

/** What a watcher has printed so far; a last line half written is left for later. */
function answersOf(watcher: LabProgram): readonly SeenAnswer[] {
  const whole = watcher.log().split("\n").slice(0, -1);
  return whole.map((line) => JSON.parse(line) as SeenAnswer);
}

/** Waits until each node has links of its own to all others: what happens next is then not made worse by what was. */
async function untilLinked(cluster: SkeinCluster): Promise<void> {
  await cluster.untilWhole();
  const isLinked = async (): Promise<boolean> => {
    const all = await Promise.all(cluster.nodes.map(async (node) => await node.members()));
    return all.flat().every(({ self, via, rttMs }) => self || (via === null && rttMs !== null));
  };
  await until(isLinked, { what: "every node is linked to every other" });
}

/** Waits until each of `others` has given up a node. */
async function untilDead({ name }: SkeinNode, others: readonly SkeinNode[]): Promise<void> {
  for (const other of others) {
    const isDead = async (): Promise<boolean> =>
      (await other.members()).some((member) => member.name === name && member.state === "dead");
    await until(isDead, { what: `${name} is dead to ${other.name}` });
  }
}

if (import.meta.main) console.log(JSON.stringify(await measurePartition()));
