/**
 * Host: one Docker host of the lab, as near to a machine of its own as namespaces allow.
 *
 * It has its own network, process table, host name, /run, /etc and /var/lib, and an engine at the usual place.
 * So our daemon runs on it as users run it, with every path at its default, and a path that is wrongly shared
 * between hosts shows. The rest of the file system is the machine's: the repository is at the same path inside.
 * What a program inside writes below /run, /etc and /var/lib can be read from outside through `path()`.
 *
 * Powering off is what pulling the plug is to a machine: everything stops between two instructions, and the disk
 * stays. `boot` brings the host back on it.
 *
 * Touches: the host's folder, its processes.
 */

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { LAB_PATH, mustRun, runCommand } from "./command.ts";
import type { CommandOptions, Output } from "./command.ts";
import { startEngine } from "./engine.ts";
import type { BridgeSubnet } from "./engine.ts";
import { openNamespaces } from "./namespaces.ts";
import type { Namespaces } from "./namespaces.ts";
import { startCapture, type Capture } from "./capture.ts";
import { startProgram } from "./program.ts";
import type { LabProgram } from "./program.ts";
import { cgroupName } from "./removal.ts";
import { RUN_MARK } from "./run.ts";
import type { Run } from "./run.ts";
import { takeStock } from "./stock.ts";
import type { LabSwitch } from "./switch.ts";
import { findProgram } from "./requirements.ts";
import { until } from "../support/wait.ts";

export const LAB_IMAGE = "skein-lab:base";

/** What hosts' engines have from the beginning. */
export type LabTarball = {
  readonly path: string;
  /** One of the images in it. */
  readonly name: string;
  /** Whether it is of `docker save`, with the names in it, or a root file system. */
  readonly isSaved: boolean;
};

export type HostPlan = {
  readonly name: string;
  readonly address: string;
  readonly subnet: BridgeSubnet;
  readonly engineArguments: readonly string[];
  /** What its engine begins with; null for nothing. */
  readonly stock: string | null;
};

export type SpawnOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The log's file name without ".log"; the same name again appends. Default: the program's name. */
  readonly log?: string;
};

export type ReplicaOptions = {
  readonly labels?: Readonly<Record<string, string>>;
  /** Further words for `docker run`, before the image. */
  readonly arguments?: readonly string[];
};

const DOCKER_MS = 60_000;
const ENGINE_STOP_MS = 30_000;

const PRIVATE_FOLDERS = { "/run": "run", "/var/run": "run", "/etc": "etc", "/var/lib": "var-lib" };

// /run comes first: mount itself writes there. /sys is mounted anew to show this host's interfaces; that hides the
// cgroups, without which no container starts, so they are carried over. What programs leave in shared memory, by the
// number of their process, must not meet what those of other hosts left there. Forwarding is off, whatever the machine
// has: an engine that has to turn it on also drops by default what is forwarded, as on most machines.
const INIT = `
mount --bind "$1/run" /run
mount --rbind /sys/fs/cgroup "$1/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$1/cgroup" /sys/fs/cgroup
umount --recursive --lazy "$1/cgroup"
mount --bind "$1/etc" /etc
mount --bind "$1/var-lib" /var/lib
mount -t tmpfs tmpfs /dev/shm
hostname "$2"
ip link set lo up
echo 0 > /proc/sys/net/ipv4/ip_forward`;

export class LabHost {
  readonly name: string;
  /** On the wire between the hosts. */
  readonly address: string;
  /** docker0's address: where containers reach this host. */
  readonly bridgeGateway: string;
  readonly folder: string;
  readonly #run: Run;
  readonly #wire: LabSwitch;
  readonly #plan: HostPlan;
  #namespaces: Namespaces | null = null;
  #engine: LabProgram | null = null;

  /** Powered off; `boot` it. */
  constructor(run: Run, wire: LabSwitch, plan: HostPlan) {
    this.name = plan.name;
    this.address = plan.address;
    this.bridgeGateway = plan.subnet.gateway;
    this.folder = join(run.folder, plan.name);
    this.#run = run;
    this.#wire = wire;
    this.#plan = plan;
  }

  /** The first process of the host, numbered as the machine sees it: `nsenter --target <pid> --all` looks around. */
  get pid(): number {
    return this.#inside.pid;
  }

  /** The engine's socket, for use from outside; inside it is /var/run/docker.sock. */
  get dockerSocket(): string {
    return this.path("/run/docker.sock");
  }

  /** What the engine keeps on disk, as seen from outside. */
  get engineFolder(): string {
    return this.path("/var/lib/docker");
  }

  /** The engine's process, to be frozen or killed. */
  get engine(): LabProgram {
    if (this.#engine === null) throw new Error(`${this.name} has no engine running`);
    return this.#engine;
  }

  /** Where a path inside, below /run, /etc or /var/lib, is found from outside. */
  path(inside: string): string {
    for (const [root, folder] of Object.entries(PRIVATE_FOLDERS)) {
      if (inside.startsWith(`${root}/`)) return join(this.folder, folder, inside.slice(root.length));
    }
    throw new Error(`${inside} is not private to ${this.name}; expected a path below /run, /etc or /var/lib`);
  }

  /** Powers the host on, plugs it in and starts its engine. */
  async boot(): Promise<void> {
    await this.#prepareFolder();
    const init = { name: this.name, script: INIT, args: [this.folder, this.name] };
    this.#namespaces = await openNamespaces(this.#run, init);
    await this.#wire.plug(this.name, this.#namespaces, this.address);
    await this.startEngine();
  }

  /** Ends every process of the host at once, containers and daemon too, with no chance to say goodbye. */
  async powerOff(): Promise<void> {
    await this.#inside.end();
    await this.#wire.unplug(this.name);
    this.#namespaces = null;
    this.#engine = null;
  }

  async startEngine(): Promise<void> {
    this.#engine = await startEngine(this.#inside, {
      subnet: this.#plan.subnet,
      cgroup: `/${cgroupName(this.#run)}/${this.name}`,
      arguments: this.#plan.engineArguments,
      socket: this.dockerSocket,
      logPath: this.#logPath("dockerd"),
      mark: this.#mark,
    });
  }

  /** Stops the engine, and with it (by default) the containers. */
  async stopEngine(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.engine.stop(signal, ENGINE_STOP_MS);
    this.#engine = null;
  }

  /** Runs a program inside to its end; `timeoutMs` is 30 s by default. */
  async exec(argv: readonly string[], options: CommandOptions = {}): Promise<Output> {
    const { cwd = "/", env = {}, ...rest } = options;
    return await runCommand([...this.#inside.enter(cwd), ...argv], {
      ...rest,
      env: { ...env, ...this.#mark },
    });
  }

  /** As `exec`, for programs that must succeed: what they said on stdout, trimmed. */
  async mustExec(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    const { cwd = "/", env = {}, ...rest } = options;
    return await mustRun([...this.#inside.enter(cwd), ...argv], { ...rest, env: { ...env, ...this.#mark } });
  }

  /** Starts a program inside that goes on running; it ends with the lab at the latest. */
  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<LabProgram> {
    const { log = (argv[0] ?? "").replace(/^.*\//, ""), ...rest } = options;
    return await startProgram(this.#inside, argv, { ...rest, logPath: this.#logPath(log), mark: this.#mark });
  }

  /** Runs the docker client against this host's engine; throws unless it succeeds. Returns its stdout, trimmed. */
  async docker(...words: readonly string[]): Promise<string> {
    return await mustRun(...this.#dockerCommand(words));
  }

  /** As `docker`, for what may fail. */
  async tryDocker(...words: readonly string[]): Promise<Output> {
    return await runCommand(...this.#dockerCommand(words));
  }

  /**
   * Has the engine pause a container. The kernel freezes a group of processes in steps, of which the engine counts so
   * many; on a busy machine it gives up ("unable to freeze") and leaves the container as it was.
   */
  async pause(container: string): Promise<void> {
    const isFrozen = async (): Promise<boolean> => (await this.tryDocker("pause", container)).code === 0;
    await until(isFrozen, { what: `${container} on ${this.name} is paused` });
  }

  #dockerCommand(words: readonly string[]): [readonly string[], CommandOptions] {
    const client = findProgram("docker", ["/usr/bin", ...LAB_PATH]) ?? "docker";
    const env = { ...this.#mark, DOCKER_CONFIG: join(this.folder, "docker-config") };
    return [[client, `--host=unix://${this.dockerSocket}`, ...words], { timeoutMs: DOCKER_MS, env }];
  }

  /** Gives the engine the images of a tarball, unless it has them. */
  async ensureImages({ path, name, isSaved }: LabTarball): Promise<void> {
    if ((await this.docker("images", "--quiet", name)) !== "") return;
    await this.docker(...(isSaved ? ["load", "--quiet", "--input", path] : ["import", path, name]));
  }

  /** Starts a container of the lab's replica program (replica.mjs), named and answering as `name`; returns its id. */
  async runReplica(name: string, options: ReplicaOptions = {}): Promise<string> {
    const labels = Object.entries(options.labels ?? {}).map(([key, value]) => `--label=${key}=${value}`);
    const words = [
      "--detach",
      `--name=${name}`,
      `--hostname=${name}`,
      ...labels,
      ...(options.arguments ?? []),
    ];
    return await this.docker("run", ...words, LAB_IMAGE, "node", "/replica.mjs");
  }

  /** Pulls the host's network cable out: its interface stays, without carrier. */
  async cutLink(): Promise<void> {
    await this.#wire.setCarrier(this.name, "down");
  }

  async healLink(): Promise<void> {
    await this.#wire.setCarrier(this.name, "up");
  }

  /** Loses `percent` (a whole number, 0..100) of what the host sends and of what it is sent; 0 ends it. */
  async loss(percent: number): Promise<void> {
    await this.#wire.setLoss(this.name, percent);
  }

  /** Captures what passes over an interface of the host, docker0 for its containers, until it is stopped. */
  async capture(on: string): Promise<Capture> {
    const path = join(this.folder, "logs", `${on}.pcap`);
    return await startCapture(async (argv) => await this.spawn(argv, { log: `capture-${on}` }), { on, path });
  }

  get #inside(): Namespaces {
    if (this.#namespaces === null) throw new Error(`${this.name} is powered off`);
    return this.#namespaces;
  }

  get #mark(): Record<string, string> {
    return { [RUN_MARK]: this.#run.id };
  }

  #logPath(name: string): string {
    return join(this.folder, "logs", `${name}.log`);
  }

  async #prepareFolder(): Promise<void> {
    // As on any machine /run does not survive a boot, and all else does.
    rmSync(join(this.folder, "run"), { recursive: true, force: true });
    for (const name of ["run", "var-lib", "cgroup", "logs", "docker-config"]) {
      mkdirSync(join(this.folder, name), { recursive: true });
    }
    const etc = join(this.folder, "etc");
    if (existsSync(etc)) return;
    if (this.#plan.stock !== null) await takeStock(this.#plan.stock, this.engineFolder);
    await mustRun(["cp", "--archive", "/etc", etc]);
    // The machine's own settings for an engine or for us are not this host's, and its resolv.conf may be a symlink.
    for (const name of ["docker", "skein", "machine-id", "resolv.conf"]) {
      rmSync(join(etc, name), { recursive: true, force: true });
    }
    writeFileSync(join(etc, "machine-id"), `${randomBytes(16).toString("hex")}\n`);
    writeFileSync(join(etc, "hostname"), `${this.name}\n`);
    writeFileSync(join(etc, "hosts"), `127.0.0.1 localhost\n127.0.1.1 ${this.name}\n`);
    // The gateway refuses port 53 at once; a server out of reach would make every forwarded query wait.
    writeFileSync(join(etc, "resolv.conf"), `nameserver ${this.#wire.gateway}\n`);
  }
}
