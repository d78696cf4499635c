/**
 * Skein: our daemon on hosts of the lab, and what a test asks of it.
 *
 * It runs as a user would run it: from its image, with nothing configured but the host to join and the file with the
 * token, the node's name being the host's. The first host makes the cluster and its tokens; the second joins
 * as a manager and all others as workers, so that tests meet both. What is asked often, while waiting, goes over the
 * admin socket, which the host's /run shares with the outside; what a user types goes through the CLI inside.
 *
 * Each node has two clients (lab-client.ts) whose questions are those of users' programs: one in a container with its
 * bridge's gateway as name server, and one that is a process of the host.
 *
 * Touches: the hosts of the lab it is given.
 */

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import type { EventLine, Explanation, MemberLine, StatusReport } from "../../src/admin/contract.ts";
import type { Role } from "../../src/model/credential.ts";
import { until } from "../support/wait.ts";

import { clockOffBy } from "./clock.ts";
import type { Output } from "./command.ts";
import { ContainerRunner } from "./container.ts";
import { ProcessRunner, type Daemon, type Runner, type StartOptions } from "./daemon.ts";
import { exchange, type Answer } from "./exchange.ts";
import { LAB_IMAGE, type LabHost } from "./host.ts";
import { LabClient } from "./lab-client.ts";
import { openLab, type Lab, type LabOptions } from "./lab.ts";
import type { Exit } from "./program.ts";

const CLIENT = fileURLToPath(new URL("client.ts", import.meta.url));

/** Where clients have their sockets; below /run, so that they are seen from outside. */
const CLIENT_FOLDER = "/run/lab";

const ADMIN_SOCKET = "/run/skein/skein.sock";
const TOKEN_FILE = "/etc/skein/token";
const HOST_DNS = "127.0.0.1:5300";
const READY_MS = 20_000;

/** What was asked of a daemon that has no such thing. */
const NOT_FOUND = 404;

/** Our daemon on one host. */
export class SkeinNode {
  readonly host: LabHost;
  /** In a container on the host's default bridge. */
  readonly client: LabClient;
  /** On the host itself. */
  readonly process: LabClient;
  readonly #runner: Runner;
  #daemon: Daemon | null = null;

  /** Not running yet. */
  constructor(host: LabHost, runner: Runner) {
    this.host = host;
    this.#runner = runner;
    this.client = new LabClient(host.path(`${CLIENT_FOLDER}/client.sock`), null);
    this.process = new LabClient(host.path(`${CLIENT_FOLDER}/process.sock`), HOST_DNS);
  }

  get name(): string {
    return this.host.name;
  }

  get daemon(): Daemon {
    if (this.#daemon === null) throw new Error(`${this.name} has no daemon running`);
    return this.#daemon;
  }

  /** Puts a token where the daemon finds it at its first start. */
  takeToken(token: string): void {
    const path = this.host.path(TOKEN_FILE);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${token}\n`, { mode: 0o600 });
  }

  /** The token with which others join in a role, as a manager's command prints it. */
  async token(role: Role): Promise<string> {
    const { code, stdout, stderr } = await this.cli("token", role, "-q");
    assert.equal(code, 0, stderr);
    return stdout.trim();
  }

  /** Starts the daemon; it is ready once its view is complete. */
  async start(options: StartOptions = {}): Promise<void> {
    const daemon = await this.#runner.start(options);
    this.#daemon = daemon;
    await this.#untilReady(daemon);
  }

  /** Starts a new daemon that takes over, as in an upgrade; the old one ends when nothing is open in it any more. */
  async replace(): Promise<void> {
    const old = this.daemon;
    const daemon = await this.#runner.startBeside();
    this.#daemon = daemon;
    const hasHandedOver = async (): Promise<boolean> =>
      old.log().includes("handed over") || (await daemon.exit()) !== null;
    await until(hasHandedOver, { what: `${this.name} is handed over`, deadlineMs: READY_MS });
    await this.#untilReady(daemon);
  }

  async #untilReady(daemon: Daemon): Promise<void> {
    // Its end is no "not yet": there is nothing to wait for then.
    const settled = async (): Promise<boolean> =>
      (await daemon.exit()) !== null || (await this.#ask("/readyz")).status === 200;
    const what = `the daemon of ${this.name} is ready`;
    await until(settled, { what, deadlineMs: READY_MS, everyMs: 25 });
    if ((await daemon.exit()) !== null) {
      throw new Error(`${this.name}: it ended: ${daemon.log().slice(-2000)}`);
    }
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<Exit> {
    const exit = await this.daemon.stop(signal);
    this.#daemon = null;
    return exit;
  }

  /** Starts both clients. */
  async startClients(): Promise<void> {
    await this.host.mustExec(["mkdir", "-p", CLIENT_FOLDER]);
    const argv = [process.execPath, CLIENT, `${CLIENT_FOLDER}/process.sock`];
    const inContainer = this.#runClient("client", this.#asksGateway);
    await Promise.all([this.host.spawn(argv, { log: "client" }), inContainer]);
    await Promise.all([this.client.untilListening(), this.process.untilListening()]);
  }

  /** Starts a further client in a container of its own, named `name`, with more words for `docker run`. */
  async runClient(name: string, ...words: readonly string[]): Promise<LabClient> {
    return await this.#runFurther(name, [...this.#asksGateway, ...words]);
  }

  /** As `runClient`, but with Docker's defaults: nothing says whom the container asks for names. */
  async runPlainClient(name: string, ...words: readonly string[]): Promise<LabClient> {
    return await this.#runFurther(name, words);
  }

  get #asksGateway(): readonly string[] {
    return [`--dns=${this.host.bridgeGateway}`];
  }

  async #runFurther(name: string, words: readonly string[]): Promise<LabClient> {
    await this.#runClient(name, words);
    const client = new LabClient(this.host.path(`${CLIENT_FOLDER}/${name}.sock`), null);
    await client.untilListening();
    return client;
  }

  async #runClient(name: string, words: readonly string[]): Promise<void> {
    const mounts = [`--volume=${CLIENT_FOLDER}:${CLIENT_FOLDER}`, `--volume=${CLIENT}:/client.mts:ro`];
    const options = ["--detach", `--name=${name}`, ...mounts, ...words];
    const program = ["node", "/client.mts", `${CLIENT_FOLDER}/${name}.sock`];
    await this.host.docker("run", ...options, LAB_IMAGE, ...program);
  }

  /** What a command prints in a container of this host; throws unless it succeeds. */
  async inContainer(name: string, ...argv: readonly string[]): Promise<string> {
    return await this.host.docker("exec", name, ...argv);
  }

  /** Runs the CLI on the host. */
  async cli(...words: readonly string[]): Promise<Output> {
    return await this.#runner.cli(words);
  }

  /** Takes the host out of the cluster for good, as the documentation says, and waits for the daemon's end. */
  async leave(): Promise<Output> {
    const said = await this.#runner.leave();
    await this.daemon.ended();
    return said;
  }

  /** Takes a program away from the daemon. @returns what gives it back */
  async hide(program: string): Promise<() => Promise<void>> {
    return await this.#runner.hide(program);
  }

  async status(): Promise<StatusReport> {
    return await this.#get("/api/v1/status");
  }

  async members(): Promise<readonly MemberLine[]> {
    return await this.#get("/api/v1/members");
  }

  async events(): Promise<readonly EventLine[]> {
    return await this.#get("/api/v1/events");
  }

  /** The sum of a metric's series with all these labels, such as `service="app/web"`. */
  async metric(name: string, ...labels: readonly string[]): Promise<number> {
    const { status, text } = await this.#ask("/metrics");
    assert.equal(status, 200, text);
    const series = text.split("\n").filter((line) => /^[a-z_]+/.exec(line)?.[0] === name);
    const chosen = series.filter((line) => labels.every((label) => line.includes(label)));
    return chosen.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  }

  /** What it says of a service, `web` or `blue/web`; null when it knows none. */
  async explain(service: string): Promise<Explanation | null> {
    const [name = "", network = "default"] = service.split("/").toReversed();
    const { status, text } = await this.#ask(`/api/v1/explain/${name}?network=${network}`);
    if (status === NOT_FOUND) return null;
    assert.equal(status, 200, text);
    return JSON.parse(text) as Explanation;
  }

  /** The names of the replicas of a service that it sends traffic to, sorted. */
  async eligible(service: string): Promise<readonly string[]> {
    const replicas = (await this.explain(service))?.replicas ?? [];
    return replicas
      .filter((replica) => replica.eligible)
      .map(({ name }) => name)
      .sort();
  }

  async #get<T>(path: string): Promise<T> {
    const { status, text } = await this.#ask(path);
    assert.equal(status, 200, `${path} on ${this.name}: ${text}`);
    return JSON.parse(text) as T;
  }

  async #ask(path: string): Promise<Answer> {
    return await exchange({ socketPath: this.host.path(ADMIN_SOCKET), path, method: "GET" });
  }
}

/** A lab whose hosts all run our daemon and know each other. */
export class SkeinCluster {
  readonly lab: Lab;
  readonly nodes: readonly SkeinNode[];

  /** Use `openCluster`. */
  constructor(lab: Lab, nodes: readonly SkeinNode[]) {
    this.lab = lab;
    this.nodes = nodes;
  }

  /** The nth node, from 1: `node(1)` is on h1. */
  node(nth: number): SkeinNode {
    const node = this.nodes[nth - 1];
    if (node === undefined) throw new Error(`there are ${this.nodes.length} nodes; there is no node ${nth}`);
    return node;
  }

  /**
   * Starts a replica of a service on each of the hosts in `onHosts` (from 1), named `<name>-<place in the list>`.
   *
   * @param words  more words for `docker run`
   */
  async runReplicas(
    name: string,
    onHosts: readonly number[],
    labels: Readonly<Record<string, string>>,
    ...words: readonly string[]
  ): Promise<readonly string[]> {
    const named = onHosts.map((nth, index) => ({ nth, replica: `${name}-${index + 1}` }));
    await Promise.all(
      named.map(async ({ nth, replica }) => {
        const all = { "skein.service": name, ...labels };
        return await this.node(nth).host.runReplica(replica, { labels: all, arguments: words });
      }),
    );
    return named.map(({ replica }) => replica);
  }

  /** Waits until each of `nodes` (default: all) sends traffic to exactly these replicas of a service. */
  async untilEligible(
    service: string,
    replicas: readonly string[],
    options: { readonly nodes?: readonly SkeinNode[]; readonly deadlineMs?: number } = {},
  ): Promise<void> {
    const { nodes = this.nodes, deadlineMs = 10_000 } = options;
    const wanted = replicas.toSorted().join(" ");
    const seen = async (): Promise<readonly string[]> =>
      await Promise.all(nodes.map(async (node) => (await node.eligible(service)).join(" ")));
    const agrees = async (): Promise<boolean> => {
      const now = await seen();
      if (now.every((one) => one === wanted)) return true;
      throw new Error(`it is now ${now.map((one) => `[${one}]`).join(" ")}`);
    };
    await until(agrees, { what: `${service} is [${wanted}] everywhere`, deadlineMs, everyMs: 20 });
  }

  /** Waits until every node holds every other for alive. */
  async untilWhole(deadlineMs = 10_000): Promise<void> {
    const isWhole = async (): Promise<boolean> => {
      const all = await Promise.all(this.nodes.map(async (node) => await node.members()));
      return all.every((members) => {
        return members.length === this.nodes.length && members.every(({ state }) => state === "alive");
      });
    };
    await until(isWhole, { what: "every node holds every other for alive", deadlineMs, everyMs: 20 });
  }

  /** Removes containers by name, wherever they are. */
  async remove(names: readonly string[]): Promise<void> {
    await Promise.all(
      this.nodes.map(async ({ host }) => {
        const listed = await host.docker("ps", "--all", "--format={{.Names}}");
        const here = listed.split("\n").filter((name) => names.includes(name));
        if (here.length > 0) await host.docker("rm", "--force", ...here);
      }),
    );
  }

  /** Starts all daemons: the first makes the cluster, and the others join it. */
  async start(): Promise<void> {
    const [first, ...others] = this.nodes;
    if (first === undefined) return;
    await first.start();
    const tokenByRole = { manager: await first.token("manager"), worker: await first.token("worker") };
    const joining = others.map(async (node, index) => {
      node.takeToken(tokenByRole[roleOf(index + 2)]);
      await node.start();
    });
    await Promise.all(joining);
    await this.untilWhole();
  }

  async close(): Promise<void> {
    await this.lab.close();
  }
}

/** The role of the nth node, from 1, among those that `openCluster` brings together. */
export function roleOf(nth: number): Role {
  return nth <= 2 ? "manager" : "worker";
}

export interface ClusterOptions extends Omit<LabOptions, "images"> {
  /** How daemons run: from the image (the default), or from the sources as processes of their hosts. */
  readonly daemons?: "containers" | "processes";
  /**
   * By how many seconds the clocks of the hosts are off. Daemons are processes then: what stands between a program and
   * the kernel's clock is not in the image.
   */
  readonly clocks?: readonly number[];
  /** More words for `docker run` of the daemons, `--device=...`. */
  readonly words?: readonly string[];
}

function inContainer(host: LabHost, join: string | null, words: readonly string[] = []): Runner {
  const joining = { SKEIN_MESH_JOIN: join ?? "", SKEIN_TOKEN_FILE: TOKEN_FILE };
  return new ContainerRunner(host, join === null ? {} : joining, words);
}

function asProcess(host: LabHost, join: string | null, clockOff: number): Runner {
  const env: Record<string, string> =
    join === null ? {} : { SKEIN_MESH_JOIN: join, SKEIN_MESH_TOKEN_FILE: TOKEN_FILE };
  return new ProcessRunner(host, env, clockOff === 0 ? [] : clockOffBy(clockOff));
}

/** Opens a lab of hosts that are to join the first of them, with the clients; no daemon runs yet. */
export async function prepareCluster(options: ClusterOptions = {}): Promise<SkeinCluster> {
  const { clocks, words, daemons = clocks === undefined ? "containers" : "processes", ...ofLab } = options;
  const lab = await openLab({ ...ofLab, images: daemons === "containers" ? "skein" : "base" });
  try {
    const nodes = lab.hosts.map((host, index) => {
      const join = index === 0 ? null : lab.host(1).address;
      if (daemons === "containers") return new SkeinNode(host, inContainer(host, join, words));
      return new SkeinNode(host, asProcess(host, join, clocks?.[index] ?? 0));
    });
    await Promise.all(nodes.map(async (node) => await node.startClients()));
    return new SkeinCluster(lab, nodes);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** Opens a lab, starts the daemon and the clients on all its hosts, and waits until the cluster is whole. */
export async function openCluster(options: ClusterOptions = {}): Promise<SkeinCluster> {
  const cluster = await prepareCluster(options);
  const { lab } = cluster;
  try {
    await cluster.start();
    return cluster;
  } catch (error) {
    const logs = lab.logs();
    await lab.close();
    throw new Error(`no cluster: ${logs}`, { cause: error });
  }
}

/** What a GET from this machine, which sits beside the hosts on their wire, is answered. */
export async function askFromMachine(
  host: LabHost,
  port: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return await exchange({ host: host.address, port, path: "/", method: "GET", headers });
}
