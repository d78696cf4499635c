/**
 * Networks: keeps an engine's Docker networks as the cluster wants them, whatever anybody or a restart does to them.
 *
 * It is told what is wanted, and by the watch each time the engine's networks change; then it plans, acts and looks
 * again, one round at a time. What could not be done, or waits for a container to go, is tried again after a while. An
 * engine that does not answer changes nothing: bridges are the kernel's, and stay without their daemon.
 *
 * They outlive this daemon, as containers are on them: only `remove` takes them away, and none that is in use.
 *
 * Touches: Docker through client.ts, timers.
 */

import { isDeepStrictEqual } from "node:util";

import { AssertionFailed } from "../../base/assert.ts";
import { backoffMs } from "../../base/backoff.ts";
import { Failure, textOf } from "../../base/failure.ts";
import { latest, type Latest } from "../../base/latest.ts";
import type { Random } from "../../base/random.ts";
import type { Problem } from "../../model/endpoint.ts";
import type { Bridge } from "../../model/network.ts";
import { problem } from "../problem.ts";

import { openDocker, renderTarget, type DockerClient, type DockerTarget } from "./client.ts";
import { isOurs, type EngineNetwork } from "./engine-networks.ts";
import {
  describeNetwork,
  NO_WISHES,
  planDockerNetworks,
  type NetworkPlan,
  type NetworkWishes,
  type WantedNetwork,
} from "./network-plan.ts";

/** What keeps the networks of one engine. */
export interface DockerNetworks {
  /** The bridges that are there for overlay networks, sorted by network; null until the engine has told. */
  readonly bridges: readonly Bridge[] | null;
  readonly problems: readonly Problem[];
  /** Takes what is wanted from now on. */
  set(wishes: NetworkWishes): void;
  /** Takes what the engine has, as the watch read it. */
  told(networks: readonly EngineNetwork[]): void;
  /** Settles when all that was wanted and told is done, as far as it can be. Never rejects. */
  idle(): Promise<void>;
  /** Takes away all that no container uses, and keeps nothing from then on. Says what is left, in words. */
  remove(): Promise<readonly string[]>;
  /** Ends it; the networks stay. */
  close(): Promise<void>;
}

/** How to keep them. */
export interface DockerNetworksOptions {
  readonly target: DockerTarget;
  readonly random: Random;
  /** Called when `bridges` or `problems` are others than before. */
  readonly onChanged: () => void;
  /** Deadline of each call to Docker; 10 s unless told otherwise. */
  readonly callTimeoutMs?: number;
  /** How long to wait before what failed, or waits for containers, is tried again. */
  readonly retry?: { readonly firstMs: number; readonly longestMs: number };
}

const RETRY = { firstMs: 500, longestMs: 10_000 };

/** Asking, removing, creating, looking: more rounds than that mean that the engine does not do what it says. */
const ROUNDS_MAX = 4;

/** Keeps an engine's networks; does nothing before it is told of them. */
export function openDockerNetworks(options: DockerNetworksOptions): DockerNetworks {
  return new Keeper(options);
}

/**
 * Takes away all Docker networks of ours that no container uses, without a daemon that runs.
 *
 * @returns what is left, in words
 * @throws Failure when the engine cannot be asked
 */
export async function removeDockerNetworks(target: DockerTarget): Promise<readonly string[]> {
  const client = await openDocker(target);
  try {
    return await removeAll(client);
  } finally {
    client.close();
  }
}

class Keeper implements DockerNetworks {
  readonly #options: DockerNetworksOptions;
  readonly #passes: Latest<null>;
  readonly #refusedIpv6 = new Map<string, string>();
  #client: DockerClient | null = null;
  #wishes: NetworkWishes = NO_WISHES;
  #engine: readonly EngineNetwork[] | null = null;
  #timer: NodeJS.Timeout | null = null;
  #attempt = 0;
  #closed = false;
  #bridges: readonly Bridge[] | null = null;
  #problems: readonly Problem[] = [];
  #told = "";

  constructor(options: DockerNetworksOptions) {
    this.#options = options;
    this.#passes = latest(
      () => this.#pass(),
      (thrown) => {
        // A broken promise of ours is not the engine's doing.
        if (thrown instanceof AssertionFailed) throw thrown;
        this.#failed(thrown);
      },
    );
  }

  get bridges(): readonly Bridge[] | null {
    return this.#bridges;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  set(wishes: NetworkWishes): void {
    // Views come many times a second and mostly wish the same.
    if (isDeepStrictEqual(wishes, this.#wishes)) return;
    this.#wishes = wishes;
    const names = new Set(wishes.networks.map(({ network }) => network));
    for (const name of this.#refusedIpv6.keys()) if (!names.has(name)) this.#refusedIpv6.delete(name);
    this.#soon();
  }

  told(networks: readonly EngineNetwork[]): void {
    this.#engine = networks;
    this.#soon();
  }

  idle(): Promise<void> {
    return this.#passes.idle();
  }

  async remove(): Promise<readonly string[]> {
    await this.#stop();
    return await removeDockerNetworks(this.#options.target);
  }

  async close(): Promise<void> {
    const stopped = this.#stop();
    this.#client?.close();
    await stopped;
  }

  /** Nothing is begun any more; settles when what was begun has ended. */
  async #stop(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#passes.idle();
    this.#client?.close();
    this.#client = null;
  }

  #soon(): void {
    if (this.#closed || this.#engine === null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#passes.set(null);
  }

  /** Plans and acts until there is nothing left that can be done. */
  async #pass(): Promise<void> {
    this.#forgetGone();
    // Asked anew each time: containers come and go without a word about networks.
    const usersById = new Map<string, readonly string[]>();
    const refusalByName = new Map<string, string>();
    for (let round = 0; round < ROUNDS_MAX && !this.#closed; round += 1) {
      const learnt = { usersById, refusedIpv6: this.#refusedIpv6 };
      const plan = planDockerNetworks(this.#wishes, this.#engine ?? [], learnt);
      const remove = plan.remove.filter(({ name }) => !refusalByName.has(name));
      const create = plan.create.filter(({ network }) => !refusalByName.has(network));
      if (remove.length === 0 && create.length === 0) {
        this.#settle(plan, refusalByName);
        return;
      }
      const client = await this.#opened();
      for (const network of remove)
        await attempt(network.name, refusalByName, () => drop(client, network, usersById));
      for (const wanted of create)
        await attempt(wanted.network, refusalByName, () => this.#create(client, wanted));
      const { networks } = await client.listNetworks();
      this.#engine = networks;
    }
    if (!this.#closed) throw new Failure("refused", `docker's networks do not become what they were made`);
  }

  /** What somebody else removed is no bridge any more, even if made anew at once: what leads there must be, too. */
  #forgetGone(): void {
    const there = new Set((this.#engine ?? []).filter(isOurs).map(({ name }) => name));
    const left = this.#bridges?.filter(({ network }) => there.has(network));
    if (left !== undefined && left.length !== this.#bridges?.length) this.#tell(left, this.#problems);
  }

  /** Makes a network, with IPv6 where it is wanted and the engine is able to. */
  async #create(client: DockerClient, wanted: WantedNetwork): Promise<void> {
    const { network, prefix6 } = wanted;
    const withIpv6 = prefix6 !== null && !this.#refusedIpv6.has(network);
    try {
      await client.createNetwork(describeNetwork(wanted, withIpv6));
    } catch (thrown) {
      if (!withIpv6 || !(thrown instanceof Failure) || thrown.code !== "refused") throw thrown;
      // Not a reason to go without the network; whatever else is wrong with it is told by the second try.
      await client.createNetwork(describeNetwork(wanted, false));
      this.#refusedIpv6.set(network, `it has no IPv6 here: ${thrown.message}`);
    }
  }

  async #opened(): Promise<DockerClient> {
    const { target, callTimeoutMs } = this.#options;
    this.#client ??= await openDocker(target, callTimeoutMs === undefined ? {} : { callTimeoutMs });
    return this.#client;
  }

  /** What was refused and has come to be as wanted after all, by another's hand, is no problem. */
  #settle(
    { remove, create, bridges, problems }: NetworkPlan,
    refusalByName: ReadonlyMap<string, string>,
  ): void {
    const open = new Set([...remove.map(({ name }) => name), ...create.map(({ network }) => network)]);
    const refused = [...refusalByName].filter(([name]) => open.has(name));
    this.#tell(bridges, [...problems, ...refused.map(([name, text]) => problem(subjectOf(name), text))]);
    if (this.#problems.length > 0) this.#again();
    else this.#attempt = 0;
  }

  /** The engine could not be asked: what is known of it stands. */
  #failed(thrown: unknown): void {
    if (this.#closed) return;
    const text = `docker networks cannot be kept: ${textOf(thrown)}`;
    this.#tell(this.#bridges, [problem(`docker ${renderTarget(this.#options.target)}`, text)]);
    this.#again();
  }

  #again(): void {
    if (this.#closed) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const { retry = RETRY, random } = this.#options;
    this.#timer = setTimeout(() => this.#soon(), backoffMs(retry, this.#attempt, random));
    this.#attempt += 1;
  }

  #tell(bridges: readonly Bridge[] | null, problems: readonly Problem[]): void {
    const told = JSON.stringify([bridges, problems]);
    if (this.#closed || told === this.#told) return;
    this.#told = told;
    this.#bridges = bridges;
    this.#problems = problems;
    this.#options.onChanged();
  }
}

function subjectOf(network: string): string {
  return `docker network ${network}`;
}

/** Does one thing; when the engine refuses it, that is noted and the rest is done. */
async function attempt(
  network: string,
  refusalByName: Map<string, string>,
  act: () => Promise<void>,
): Promise<void> {
  try {
    await act();
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.code !== "refused") throw thrown;
    refusalByName.set(network, thrown.message);
  }
}

/** Removes a network, unless a container uses it: that is noted instead. */
async function drop(
  client: DockerClient,
  { id, name }: EngineNetwork,
  usersById: Map<string, readonly string[]>,
): Promise<void> {
  const users = await client.listUsers(name);
  usersById.set(id, users);
  if (users.length === 0) await client.removeNetwork(id);
}

async function removeAll(client: DockerClient): Promise<readonly string[]> {
  const { networks } = await client.listNetworks();
  const usersById = new Map<string, readonly string[]>();
  const refusalByName = new Map<string, string>();
  for (const network of networks.filter(isOurs)) {
    await attempt(network.name, refusalByName, () => drop(client, network, usersById));
    const users = usersById.get(network.id) ?? [];
    if (users.length > 0) refusalByName.set(network.name, `containers use it: ${users.join(", ")}`);
  }
  return Array.from(refusalByName, ([name, text]) => `${subjectOf(name)}: ${text}`);
}
