/**
 * Inventory: what we hold of Docker's containers between one reply and the next.
 *
 * Two hints are acted on before Docker is asked again. `die` takes the container out. `kill` with the container's stop
 * signal (or SIGKILL) marks it as stopping: it comes before the signal is sent, the earliest there is, and each
 * millisecond of it keeps requests off a copy that is about to close. Any other signal (`docker kill -s HUP`) is a
 * message to the program and changes nothing. A container that outlives its stop signal did not mean to stop, as with
 * `docker kill -s TERM` to a program that ignores it: after a minute, or its own stop timeout and a bit more when that
 * is longer, it counts as running again. A new start ends the mark at once.
 *
 * It also keeps since when each run of a container was seen at each of its addresses: Docker gives an address out again
 * at once, and what its last holder did there says nothing of the next one. That is told by our own clock; when the
 * engine says that a run started only tells it from other runs, for the host's time of day may step.
 *
 * Pure: the time is told. watch.ts feeds it and asks for the set.
 */

import type { Discovery, HeldAddress, Problem } from "../../model/endpoint.ts";
import { LIMITS } from "../../model/limits.ts";
import { boundProblems, problem } from "../problem.ts";

import {
  isCandidate,
  isIsolated,
  planContainers,
  type DockerPlanOptions,
  type KnownNetworks,
} from "./container.ts";
import type { Attachment, ContainerFacts } from "./facts.ts";
import { SIGKILL } from "./signals.ts";

/** How long a container may outlive its stop signal before it counts as running again. */
const STOPPING_MS = 60_000;
/** Docker kills after the stop timeout; this much later there would have been a `die`. */
const STOPPING_SLACK_MS = 10_000;

/** A container that was sent its stop signal: which run of it, and when the mark lapses. */
interface Stopping {
  readonly startedAtMs: number;
  readonly untilMs: number;
}

/** One run of a container: when it was first seen, and when first at each of the addresses that it has. */
interface Run {
  readonly startedAtMs: number;
  readonly sinceMs: number;
  readonly sinceMsByAddress: ReadonlyMap<string, number>;
}

/** The containers of one engine, by id. */
export class Inventory {
  #options: DockerPlanOptions;
  readonly #factsById = new Map<string, ContainerFacts>();
  readonly #runById = new Map<string, Run>();
  readonly #stoppingById = new Map<string, Stopping>();
  /** Containers whose last inspection failed, and how; their facts before it still count. */
  readonly #unreadById = new Map<string, Problem>();
  #unreadListed = 0;
  #networks: KnownNetworks = { internalByName: new Map(), overlays: new Set() };

  constructor(options: DockerPlanOptions) {
    this.#options = options;
  }

  /** Takes other options, from a reload; what is known of the containers stays. */
  replan(options: DockerPlanOptions): void {
    this.#options = options;
  }

  /** True when the container must be inspected for its plan: the list does not tell enough of an endpoint. */
  needsInspection(facts: ContainerFacts): boolean {
    return isCandidate(facts, this.#options.exposeByDefault, this.#networks.overlays);
  }

  /** Those that were only listed and are to be inspected after all, as a network of theirs turned out to be ours. */
  get uninspected(): readonly string[] {
    const listed = this.containers.filter(({ resolver }) => resolver === null);
    return listed.filter((facts) => this.needsInspection(facts)).map(({ id }) => id);
  }

  /** A signal is about to be sent to a container; true when that says it will stop. */
  killed(id: string, signal: number, nowMs: number): boolean {
    const facts = this.#factsById.get(id);
    if (facts === undefined || (signal !== facts.stopSignal && signal !== SIGKILL)) return false;
    const waitMs = Math.max(STOPPING_MS, facts.stopTimeoutMs + STOPPING_SLACK_MS);
    this.#stoppingById.set(id, { startedAtMs: facts.startedAtMs, untilMs: nowMs + waitMs });
    return true;
  }

  /** A container ended or was removed. */
  died(id: string): void {
    this.#factsById.delete(id);
    this.#runById.delete(id);
    this.#stoppingById.delete(id);
    this.#unreadById.delete(id);
  }

  /** What Docker says of one container now. */
  inspected(facts: ContainerFacts, nowMs: number): void {
    this.#unreadById.delete(facts.id);
    if (facts.state === "gone") {
      this.died(facts.id);
      return;
    }
    this.#factsById.set(facts.id, facts);
    this.#runById.set(facts.id, runOf(facts, this.#runById.get(facts.id), nowMs));
    const stopping = this.#stoppingById.get(facts.id);
    if (stopping !== undefined && stopping.startedAtMs !== facts.startedAtMs) {
      this.#stoppingById.delete(facts.id);
    }
  }

  /** Docker could not describe a container; what was known of it stays. */
  unread(id: string, why: string): void {
    const name = this.#factsById.get(id)?.name ?? id.slice(0, 12);
    this.#unreadById.set(id, problem(`container ${name}`, `docker cannot describe it: ${why}`));
  }

  /**
   * Docker has listed everything that runs: whatever is not among these ids is gone.
   *
   * @param unread  entries of that list that could not be read
   */
  keepOnly(ids: ReadonlySet<string>, unread: number): void {
    this.#unreadListed = unread;
    for (const id of [...this.#factsById.keys(), ...this.#unreadById.keys()]) {
      if (!ids.has(id)) this.died(id);
    }
  }

  /** Docker has listed its networks. */
  networksAre({ internalByName, overlays }: KnownNetworks): void {
    this.#networks = { internalByName, overlays };
  }

  /** True while some container is on a network that was not listed: one made since, so they are to be listed again. */
  get lacksNetworks(): boolean {
    return this.containers.some(({ networks }) =>
      networks.some((name) => !this.#networks.internalByName.has(name)),
    );
  }

  /** True for a container on internal networks only. */
  isIsolated(facts: ContainerFacts): boolean {
    return isIsolated(facts, this.#networks.internalByName);
  }

  /**
   * The addresses that a container asks from, and since when it can have: those of the owner of its network stack.
   *
   * @returns none for one that is gone
   */
  heldBy(facts: ContainerFacts, owner: ContainerFacts): readonly HeldAddress[] {
    const own = this.#runById.get(facts.id);
    const owners = this.#runById.get(owner.id);
    if (own === undefined || owners === undefined) return [];
    return Array.from(owners.sinceMsByAddress, ([address, sinceMs]) => ({
      address,
      sinceMs: Math.max(sinceMs, own.sinceMs),
    }));
  }

  /** Lets marks of stopping lapse whose time is over; true when any did. */
  lapse(nowMs: number): boolean {
    const before = this.#stoppingById.size;
    for (const [id, { untilMs }] of this.#stoppingById) {
      if (untilMs <= nowMs) this.#stoppingById.delete(id);
    }
    return this.#stoppingById.size < before;
  }

  /** When the next mark of stopping lapses; Infinity when there is none. */
  nextLapseMs(): number {
    return Math.min(Infinity, ...[...this.#stoppingById.values()].map(({ untilMs }) => untilMs));
  }

  /** The containers that are known now, listed or inspected. */
  get containers(): readonly ContainerFacts[] {
    return [...this.#factsById.values()];
  }

  /** The whole set as it is known now. */
  discovery(stale: string | null): Discovery {
    const planned = planContainers(
      [...this.#factsById.values()],
      { stopping: new Set(this.#stoppingById.keys()), ...this.#networks },
      this.#options,
    );
    const problems = [...planned.problems, ...this.#unreadById.values()];
    if (this.#unreadListed > 0) {
      problems.push(problem("docker", `${this.#unreadListed} containers in its list cannot be read`));
    }
    return { ...planned, problems: boundProblems(problems, LIMITS.problemsPerSource), stale };
  }
}

/** The run that a container is in, which may be the one it was in before. */
function runOf({ startedAtMs, attachments }: ContainerFacts, before: Run | undefined, nowMs: number): Run {
  const same = before?.startedAtMs === startedAtMs ? before : null;
  const since = ({ address }: Attachment) => [address, same?.sinceMsByAddress.get(address) ?? nowMs] as const;
  return { startedAtMs, sinceMs: same?.sinceMs ?? nowMs, sinceMsByAddress: new Map(attachments.map(since)) };
}
