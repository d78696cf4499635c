/**
 * Skein: our daemon on hosts of the lab, and what a test asks of it.
 *
 * It runs as a user would run it: `skein run` on each host with nothing configured but the host to join and the file
 * with the token, the node's name being the host's. The first host makes the cluster and its tokens; the second joins
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
import { exchange, type Answer } from "./exchange.ts";
import { LAB_IMAGE, type LabHost } from "./host.ts";
import { LabClient } from "./lab-client.ts";
import { openLab, type Lab, type LabOptions } from "./lab.ts";
import type { Exit, LabProgram } from "./program.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const CLIENT = fileURLToPath(new URL("client.ts", import.meta.url));

/** Where clients have their sockets; below /run, so that they are seen from outside. */
const CLIENT_FOLDER = "/run/lab";

const ADMIN_SOCKET = "/run/skein/skein.sock";
const TOKEN_FILE = "/etc/skein/token";
const HOST_DNS = "127.0.0.1:5300";
const READY_MS = 20_000;

/** What was asked of a daemon that has no such thing. */
const NOT_FOUND = 404;

/** How a daemon is started, other than plainly. */
export interface StartOptions {
  /** Words before the command, as of `setpriv`. */
  readonly before?: readonly string[];
  /** Words after `run`. */
  readonly words?: readonly string[];
  /** Environment variables. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Our daemon on one host. */
export class SkeinNode {
  readonly host: LabHost;
  /** In a container on the host's default bridge. */
  readonly client: LabClient;
  /** On the host itself. */
  readonly process: LabClient;
  readonly #join: string | null;
  #daemon: LabProgram | null = null;
  #clock: readonly string[] = [];

  /** Not running yet. @param join  the host it joins; null for the first one */
  constructor(host: LabHost, join: string | null) {
    this.host = host;
    this.client = new LabClient(host.path(`${CLIENT_FOLDER}/client.sock`), null);
    this.process = new LabClient(host.path(`${CLIENT_FOLDER}/process.sock`), HOST_DNS);
    this.#join = join;
  }

  get name(): string {
    return this.host.name;
  }

  get daemon(): LabProgram {
    if (this.#daemon === null) throw new Error(`${this.name} has no daemon running`);
    return this.#daemon;
  }

  /** Has the daemon's clock off by so many seconds, from its next start on. */
  setClock(seconds: number): void {
    this.#clock = clockOffBy(seconds);
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
  async start({ before = [], words = [], settings = {} }: StartOptions = {}): Promise<void> {
    const joining: Record<string, string> =
      this.#join === null ? {} : { SKEIN_MESH_JOIN: this.#join, SKEIN_MESH_TOKEN_FILE: TOKEN_FILE };
    const env = { ...joining, ...settings };
    const argv = [...this.#clock, ...before, process.execPath, "src/main.ts", "run", ...words];
    const daemon = await this.host.spawn(argv, { cwd: REPOSITORY, log: "skein", env });
    this.#daemon = daemon;
    await this.#untilReady(daemon);
  }

  /** Starts a new daemon that takes over, as in an upgrade; the old one ends when nothing is open in it any more. */
  async replace(): Promise<void> {
    const old = this.daemon;
    const argv = [...this.#clock, process.execPath, "src/main.ts", "run", "--replace"];
    const daemon = await this.host.spawn(argv, { cwd: REPOSITORY, log: "skein-new" });
    this.#daemon = daemon;
    const hasHandedOver = (): boolean => old.log().includes("handed over") || daemon.exit !== null;
    await until(hasHandedOver, { what: `${this.name} is handed over`, deadlineMs: READY_MS });
    await this.#untilReady(daemon);
  }

  async #untilReady(daemon: LabProgram): Promise<void> {
    // Its end is no "not yet": there is nothing to wait for then.
    const settled = async (): Promise<boolean> =>
      daemon.exit !== null || (await this.#ask("/readyz")).status === 200;
    const what = `the daemon of ${this.name} is ready`;
    await until(settled, { what, deadlineMs: READY_MS, everyMs: 25 });
    if (daemon.exit !== null) throw new Error(`${this.name}: it ended: ${daemon.log().slice(-2000)}`);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Exit> {
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
    const argv = [process.execPath, "src/main.ts", ...words];
    return await this.host.exec(argv, { cwd: REPOSITORY, env: { NO_COLOR: "1" } });
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

/** Opens a lab of hosts that are to join the first of them, with the clients; no daemon runs yet. */
export async function prepareCluster(options: LabOptions = {}): Promise<SkeinCluster> {
  const lab = await openLab(options);
  try {
    const nodes = lab.hosts.map(
      (host, index) => new SkeinNode(host, index === 0 ? null : lab.host(1).address),
    );
    await Promise.all(nodes.map(async (node) => await node.startClients()));
    return new SkeinCluster(lab, nodes);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** Opens a lab, starts the daemon and the clients on all its hosts, and waits until the cluster is whole. */
export async function openCluster(options: LabOptions = {}): Promise<SkeinCluster> {
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
