/**
 * Dns-embedded: our daemon beside Docker's own name server, as one container asks both.
 *
 * A real engine in the lab, with a container of 200 names on a network of its own; our daemon has as many services. A
 * second container on that network is the client: dnsperf runs in its network namespace and asks Docker's server at
 * 127.0.0.11, and us at the network's gateway, in turn. Both servers are kept on one CPU, dnsperf on another.
 *
 * Touches: a lab of one host.
 */

import { mkdirSync, writeFileSync } from "node:fs";

import type { HostPort } from "../../src/base/ip.ts";
import { LAB_IMAGE } from "../lab/host.ts";
import { skipReason } from "../lab/requirements.ts";
import { prepareCluster, type SkeinNode } from "../lab/skein.ts";
import { roundOf, untold, type OnStep } from "../support/steps.ts";
import { until } from "../support/wait.ts";

import {
  dnsLoadObstacle,
  dnsperf,
  DOMAIN,
  loadIn,
  NAMES,
  pinWords,
  questionsIn,
  type Load,
} from "./dns-load.ts";
import { quantile } from "./statistics.ts";

const ROUNDS = 5;
const SECONDS = 3;
const NETWORK = "crowd";
const CONFIG_FOLDER = "/etc/skein";

/** Why it cannot run here, in words; false when it can. */
export function embeddedObstacle(): string | false {
  return dnsLoadObstacle() || skipReason();
}

/** Medians over the rounds; the ratio within each. */
export interface EmbeddedFigures {
  readonly oursPerSecond: number;
  readonly dockersPerSecond: number;
  readonly ofDocker: number;
  readonly lost: number;
}

/** Measures; takes about a minute and a half. */
export async function measureEmbedded(
  rounds: number = ROUNDS,
  onStep: OnStep = untold,
): Promise<EmbeddedFigures> {
  const cluster = await prepareCluster({ hosts: 1 });
  try {
    const node = cluster.node(1);
    const { host } = node;
    serveNames(node);
    await cluster.start();
    await pinServers(node);
    await host.docker("network", "create", NETWORK);
    const form = "{{(index .IPAM.Config 0).Gateway}}";
    const gateway = (await host.docker("network", "inspect", "--format", form, NETWORK)).trim();
    const aliases = NAMES.map((name) => `--network-alias=${name}`);
    for (const [name, words] of [
      ["named", aliases],
      ["asker", []],
    ] as const) {
      const options = ["--detach", `--name=${name}`, `--network=${NETWORK}`, ...words];
      await host.docker("run", ...options, LAB_IMAGE, "sleep", "infinity");
    }
    const ours = { host: gateway, port: 53, questions: questionsOf(node, "ours", `.${DOMAIN}`) };
    const dockers = { host: "127.0.0.11", port: 53, questions: questionsOf(node, "dockers", "") };
    const seen: { readonly ours: Load; readonly dockers: Load }[] = [];
    await until(async () => (await loaded(node, ours, 1)).perSecond > 0, { what: "the gateway answers" });
    for (let round = 0; round < rounds; round += 1) {
      onStep(roundOf(round, rounds));
      seen.push({
        ours: await loaded(node, ours, SECONDS),
        dockers: await loaded(node, dockers, SECONDS),
      });
    }
    const median = (pick: (round: (typeof seen)[number]) => number): number => quantile(seen.map(pick), 0.5);
    return {
      oursPerSecond: median((round) => round.ours.perSecond),
      dockersPerSecond: median((round) => round.dockers.perSecond),
      ofDocker: median((round) => round.ours.perSecond / round.dockers.perSecond),
      lost: seen.reduce((sum, round) => sum + round.ours.lost, 0),
    };
  } finally {
    await cluster.close();
  }
}

/** Keeps the engine and our daemon, as all of the host's Node programs, on the servers' CPU. */
async function pinServers({ host }: SkeinNode): Promise<void> {
  if (pinWords === null) return;
  const pids = (await host.mustExec(["pidof", "dockerd", "node"])).trim().split(/\s+/);
  for (const pid of pids) await host.mustExec([...pinWords.server, pid]);
}

/** Configures as many services as the container has names; nobody is to be found behind them. */
function serveNames({ host }: SkeinNode): void {
  const services = NAMES.map((name) => {
    return { name, ports: [{ port: 80 }], replicas: [`${host.address}:9`], health: { interval: "30s" } };
  });
  mkdirSync(host.path(CONFIG_FOLDER), { recursive: true });
  writeFileSync(host.path(`${CONFIG_FOLDER}/skein.yaml`), JSON.stringify({ services }));
}

/** Writes the questions; the file as the host sees it. */
function questionsOf({ host }: SkeinNode, label: string, suffix: string): string {
  const folder = `${CONFIG_FOLDER}/${label}`;
  mkdirSync(host.path(folder), { recursive: true });
  questionsIn(
    host.path(folder),
    NAMES.map((name) => `${name}${suffix}`),
  );
  return `${folder}/questions-A`;
}

/** Asks a server from the client's network namespace. */
async function loaded(
  { host }: SkeinNode,
  { questions, ...server }: HostPort & { readonly questions: string },
  seconds: number,
): Promise<Load> {
  const pid = (await host.docker("inspect", "--format", "{{.State.Pid}}", "asker")).trim();
  const argv = dnsperf(server, { questions, seconds });
  return loadIn(await host.mustExec(["nsenter", "-t", pid, "-n", ...(pinWords?.client ?? []), ...argv]));
}
