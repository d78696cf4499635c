/**
 * Watch: keeps the set of Docker's containers fresh, and hands it on whole each time it changes.
 *
 * Events are hints, never the truth: each names a container that is then inspected, several at once after a few
 * milliseconds, and every 30 s all is listed anew. So a lost, repeated or misread event costs seconds at most. The
 * stream is opened before the list is asked for; a change between the two is then inspected after it. Only `kill` and
 * `die` are acted on before Docker is asked (inventory.ts says why).
 *
 * While the engine does not answer the last set stands, marked stale: containers run on without their daemon. We try
 * again for ever, a little later each time.
 *
 * Touches: Docker through client.ts, the clock, timers.
 */

import { setTimeout as delay } from "node:timers/promises";
import { readFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";

import { AssertionFailed } from "../../base/assert.ts";
import { backoffMs } from "../../base/backoff.ts";
import { Failure, textOf } from "../../base/failure.ts";
import type { Random } from "../../base/random.ts";
import type { Discovery, NamePath } from "../../model/endpoint.ts";
import { LIMITS } from "../../model/limits.ts";
import { nowMs } from "../../runtime/clock.ts";
import { readBounded } from "../../runtime/files.ts";

import { openDocker, type DockerClient, type DockerTarget } from "./client.ts";
import type { DockerPlanOptions } from "./container.ts";
import type { EngineNetworks } from "./engine-networks.ts";
import type { ContainerFacts, DockerEvent } from "./facts.ts";
import { Inventory } from "./inventory.ts";
import { networkHostId } from "./places.ts";
import { namePathOf, ownContainerIn } from "./resolver.ts";

/** What to watch and whom to tell. */
export interface DockerWatchOptions {
  readonly target: DockerTarget;
  readonly plan: DockerPlanOptions;
  readonly random: Random;
  /** Called with the whole set when it is first known, and whenever it differs from the one before. */
  readonly onDiscovery: (discovery: Discovery) => void;
  /** Called with the engine's networks, when they are first known or change. */
  readonly onNetworks: (networks: EngineNetworks) => void;
  /** Time between full lists; 30 s unless told otherwise. */
  readonly resyncMs?: number;
  /** Deadline of each call to Docker; 10 s unless told otherwise. */
  readonly callTimeoutMs?: number;
}

/** A running watch. */
export interface DockerWatch {
  /** Takes other options, from a reload; reports the set anew if that changes it. */
  replan(plan: DockerPlanOptions): void;
  /** Lists all anew, unless that was done a moment ago: there is a container of which no event has told. */
  lookAgain(): void;
  /** How the containers that were inspected (those with labels of ours) ask for names, sorted by name. */
  namePaths(): Promise<readonly NamePath[]>;
  /** Ends it; nothing is reported afterwards. Settles once its sockets are closed. */
  close(): Promise<void>;
}

const RESYNC_MS = 30_000;
const RESOLV_CONF = "/etc/resolv.conf";
/** Files that the engine is asked for at one look: each costs it some milliseconds, and doctor waits. */
const READ_MAX = 64;
/** Docker sends two to four events for one `docker run`; one inspection answers them all. */
const COALESCE_MS = 5;
/** A full list costs an inspection for each container with labels of ours. */
const LOOK_AGAIN_MS = 5000;
const RETRY = { firstMs: 250, longestMs: 5000 };

/** Starts watching; never throws: an engine that cannot be used is reported as a stale set and tried again. */
export function watchDocker(options: DockerWatchOptions): DockerWatch {
  return new Watcher(options);
}

class Watcher implements DockerWatch {
  readonly #options: DockerWatchOptions;
  readonly #inventory: Inventory;
  readonly #finished: Promise<void>;
  /** Containers that something happened to since they were last inspected. */
  readonly #touched = new Set<string>();
  #client: DockerClient | null = null;
  #resyncAtMs = 0;
  #lookedAgainAtMs = -Infinity;
  #attempt = 0;
  #closed = false;
  #staleSinceMs: number | null = null;
  #stale: string | null = null;
  #reported: Discovery | null = null;
  #networks: EngineNetworks | null = null;
  /** Ends the current sleep early. */
  #wake: () => void = () => undefined;

  constructor(options: DockerWatchOptions) {
    this.#options = options;
    this.#inventory = new Inventory(options.plan);
    this.#finished = this.#run();
  }

  replan(plan: DockerPlanOptions): void {
    this.#inventory.replan(plan);
    if (this.#reported !== null) this.#report();
    // Containers without labels are worth an inspection or not, by these options.
    this.#resyncSoon();
  }

  lookAgain(): void {
    if (nowMs() - this.#lookedAgainAtMs < LOOK_AGAIN_MS) return;
    this.#lookedAgainAtMs = nowMs();
    this.#resyncSoon();
  }

  async namePaths(): Promise<readonly NamePath[]> {
    const { containers } = this.#inventory;
    const factsById = new Map(containers.map((facts) => [facts.id, facts]));
    const mounts = await readFile("/proc/self/mountinfo", "utf8").catch(() => "");
    const ownId = ownContainerIn(mounts);
    // The daemon's own asks nobody but the daemon's upstreams.
    const inspected = containers.filter(({ id, resolver }) => resolver !== null && id !== ownId);
    const paths = inspected.map(async (facts, at) => {
      const owner = factsById.get(networkHostId(facts) ?? facts.id) ?? facts;
      const isolated = this.#inventory.isIsolated(owner);
      const held = this.#inventory.heldBy(facts, owner);
      const conf = (await confOf(facts)) ?? (at < READ_MAX ? await this.#confBy(facts) : null);
      return namePathOf(facts, owner, { conf, isolated, held });
    });
    const known = (await Promise.all(paths)).filter((path) => path !== null);
    return known.sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  /** The same text by way of the engine, where its file is on another file system than ours. */
  async #confBy({ id }: ContainerFacts): Promise<string | null> {
    return (await this.#client?.readFile(id, RESOLV_CONF)) ?? null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#client?.close();
    this.#wake();
    await this.#finished;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#session();
      } catch (thrown) {
        // A broken promise of ours (a consumer's included) is not the engine's doing.
        if (thrown instanceof AssertionFailed) throw thrown;
        if (this.#closed) return;
        this.#markStale(thrown);
        await this.#sleep(backoffMs(RETRY, this.#attempt, this.#options.random));
        this.#attempt += 1;
      }
    }
  }

  /** One life of the event stream; throws what ended it. */
  async #session(): Promise<void> {
    const { target, callTimeoutMs } = this.#options;
    const client = await openDocker(target, callTimeoutMs === undefined ? {} : { callTimeoutMs });
    this.#client = client;
    let ended: Failure | null = null;
    try {
      if (this.#closed) return;
      await client.checkVersion();
      await client.openEvents({
        onEvent: (event) => this.#react(event),
        onMissed: () => this.#resyncSoon(),
        onEnd: (failure) => {
          ended = failure;
          this.#wake();
        },
      });
      this.#resyncSoon();
      while (!this.#closed) {
        await this.#work(client);
        if (ended === null) await this.#idle();
        if (ended !== null) throw ended as Failure;
      }
    } finally {
      this.#client = null;
      client.close();
    }
  }

  /** Takes a hint; what it does to the set at once is reported at once. */
  #react(event: DockerEvent): void {
    if (this.#closed) return;
    if (event.kind === "networks-changed") {
      this.#resyncSoon();
      return;
    }
    if (event.kind === "died") this.#inventory.died(event.id);
    if (event.kind === "killed") this.#inventory.killed(event.id, event.signal, nowMs());
    this.#touched.add(event.id);
    if (this.#touched.size > LIMITS.replicasPerNode) this.#resyncSoon();
    // Not before the first list: what is known till then is less than there is.
    if (event.kind !== "changed" && this.#reported !== null) this.#report();
    this.#wake();
  }

  async #work(client: DockerClient): Promise<void> {
    const lapsed = this.#inventory.lapse(nowMs());
    if (nowMs() >= this.#resyncAtMs) {
      await this.#resync(client);
    } else if (this.#touched.size > 0) {
      const ids = [...this.#touched];
      this.#touched.clear();
      await this.#inspectAll(client, ids);
      if (this.#inventory.lacksNetworks) await this.#listNetworks(client);
      await this.#inspectAll(client, this.#inventory.uninspected);
    } else if (!lapsed) {
      return;
    }
    this.#report();
  }

  async #resync(client: DockerClient): Promise<void> {
    // From here on a touched container is one whose listed or inspected state may be too old to be believed.
    this.#touched.clear();
    this.#resyncAtMs = nowMs() + (this.#options.resyncMs ?? RESYNC_MS);
    // Before the containers: on some networks they are endpoints without a label.
    await this.#listNetworks(client);
    const { containers, unread } = await client.listContainers();
    this.#inventory.keepOnly(new Set(containers.map((facts) => facts.id)), unread);
    for (const facts of containers) {
      if (!this.#inventory.needsInspection(facts) && !this.#touched.has(facts.id))
        this.#inventory.inspected(facts, nowMs());
    }
    const candidates = containers.filter((facts) => this.#inventory.needsInspection(facts));
    await this.#inspectAll(
      client,
      candidates.map((facts) => facts.id),
    );
    if (this.#inventory.lacksNetworks) await this.#listNetworks(client);
    await this.#inspectAll(client, this.#inventory.uninspected);
    this.#attempt = 0;
    this.#stale = null;
    this.#staleSinceMs = null;
  }

  async #listNetworks(client: DockerClient): Promise<void> {
    const networks = await client.listNetworks();
    this.#inventory.networksAre(networks);
    if (this.#closed || isDeepStrictEqual(networks, this.#networks)) return;
    this.#networks = networks;
    this.#options.onNetworks(networks);
  }

  /** Inspects containers, a few at once. One that Docker cannot describe keeps what was known of it. */
  async #inspectAll(client: DockerClient, ids: readonly string[]): Promise<void> {
    const waiting = [...ids];
    let timeouts = 0;
    const inspectOne = async (id: string): Promise<void> => {
      try {
        const facts = await client.inspectContainer(id);
        // Touched again while we asked: the answer may be of before, and the next one is on its way.
        if (this.#touched.has(id)) return;
        if (facts === null) this.#inventory.died(id);
        else this.#inventory.inspected(facts, nowMs());
      } catch (thrown) {
        if (!(thrown instanceof Failure) || thrown.code === "unreachable") throw thrown;
        // One stuck container hangs its own inspection only, which real engines do; many mean the engine hangs.
        if (thrown.code === "timeout") timeouts += 1;
        if (timeouts >= LIMITS.dockerInspectsAtOnce) throw thrown;
        this.#inventory.unread(id, textOf(thrown));
      }
    };
    const worker = async (): Promise<void> => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) await inspectOne(id);
    };
    await Promise.all(Array.from({ length: LIMITS.dockerInspectsAtOnce }, worker));
  }

  /** Waits until there is something to do. */
  async #idle(): Promise<void> {
    const dueMs = Math.min(this.#resyncAtMs, this.#inventory.nextLapseMs());
    if (this.#touched.size === 0) await this.#sleep(dueMs - nowMs());
    if (this.#touched.size > 0) await delay(COALESCE_MS);
  }

  #resyncSoon(): void {
    this.#resyncAtMs = 0;
    this.#wake();
  }

  #markStale(thrown: unknown): void {
    this.#staleSinceMs ??= nowMs();
    const since = new Date(this.#staleSinceMs).toISOString();
    const unusable = thrown instanceof Failure && thrown.code === "invalid";
    const what = unusable ? "docker cannot be used" : "docker does not answer";
    this.#stale = `${what}: ${textOf(thrown)}, since ${since}`;
    this.#report();
  }

  #report(): void {
    const discovery = this.#inventory.discovery(this.#stale);
    if (this.#closed || isDeepStrictEqual(discovery, this.#reported)) return;
    this.#reported = discovery;
    this.#options.onDiscovery(discovery);
  }

  /** Sleeps for so many milliseconds, or until woken. */
  async #sleep(ms: number): Promise<void> {
    if (ms <= 0 || this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(ms, RESYNC_MS));
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
    this.#wake = () => undefined;
  }
}

/** Text of a container's resolv.conf; null where it cannot be read: the daemon may run in a container itself. */
async function confOf({ resolver }: ContainerFacts): Promise<string | null> {
  if (resolver === null || resolver.confPath === "") return null;
  return await readBounded(resolver.confPath).catch(() => {
    // Not a failure: what an inspection tells is used instead.
    return null;
  });
}
