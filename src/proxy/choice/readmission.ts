/**
 * Readmission: finds out by itself whether an ejected upstream is back.
 *
 * When an ejection has expired the upstream is probed, not offered to a client: one that swallows packets would cost
 * somebody the connect deadline each time. A connection is enough where connections failed. Where an upstream takes
 * connections and keeps silent, or answers badly, it gets a `HEAD /`: any answer to that is good enough, since what is
 * being asked is whether it answers, not whether it has such a page, nor how fast. Health checks know more, but they
 * run on the replica's own host; this asks whether it can be reached from here.
 *
 * Few at once: after a network outage there may be thousands, and what they need most is not another flood.
 *
 * Touches: sockets, through `connect`.
 */

import type { Duplex } from "node:stream";

import { Failure, textOf } from "../../base/failure.ts";
import { renderHostPort } from "../../base/ip.ts";
import { LIMITS } from "../../model/limits.ts";

import type { Pool, Upstream } from "../routes.ts";
import type { Traffic } from "./attempts.ts";
import type { Recheck } from "./outlier.ts";

/** How many times as long as a client's request a probe may wait: nobody waits for it. */
const PATIENCE = 3;

/** An upstream as it is now. */
interface Known {
  readonly upstream: Upstream;
  readonly isEligible: boolean;
  /** How long its service may keep silent, milliseconds; 0 for ever. */
  readonly firstByteMs: number;
}

/** The probes of one proxy's ejected upstreams. */
export class Readmission {
  readonly #traffic: Traffic;
  #pools: readonly Pool[] = [];
  /** Made when it is needed first: most tables come while nobody is ejected. */
  #knownById: ReadonlyMap<string, Known> | null = null;
  readonly #closing = new AbortController();
  #underWay = 0;

  constructor(traffic: Traffic) {
    this.#traffic = traffic;
  }

  /** Sets the pools that count from now on: the ejections of upstreams that are in none of them are forgotten. */
  set(pools: readonly Pool[]): void {
    this.#pools = pools;
    this.#knownById = null;
    this.#traffic.ejections.keepOnly((id) => this.#find(id));
  }

  /** Probes whoever is due. */
  tick(nowMs: number): void {
    const { ejections, log } = this.#traffic;
    const free = LIMITS.readmissionsMax - this.#underWay;
    if (this.#closing.signal.aborted || free <= 0) return;
    for (const { id, recheck } of ejections.due(nowMs, free)) {
      const known = this.#find(id);
      if (known === null) {
        ejections.checked(id, "unknown", nowMs);
        continue;
      }
      this.#underWay += 1;
      this.#check(known, recheck)
        .catch((thrown: unknown) => log.error(`probe of ${id}: ${textOf(thrown)}`))
        .finally(() => (this.#underWay -= 1));
    }
  }

  /** Ends all probes, those that still connect as well: by now nobody looks at their deadline. */
  close(): void {
    this.#closing.abort();
  }

  async #check({ upstream, firstByteMs }: Known, recheck: Recheck): Promise<void> {
    const { ejections, log, nowMs } = this.#traffic;
    try {
      await this.#probe(upstream, recheck === "request" ? firstByteMs * PATIENCE : 0);
      ejections.checked(upstream.id, "passed", nowMs());
      log.debug(`upstream ${upstream.id} of ${upstream.service} is back`);
    } catch (thrown) {
      const isOurs = thrown instanceof Failure && thrown.code === "busy";
      ejections.checked(upstream.id, isOurs ? "unknown" : "failed", nowMs());
      log.debug(`upstream ${upstream.id} of ${upstream.service} is still out: ${textOf(thrown)}`);
    }
  }

  /**
   * @param waitMs  how long to wait for an answer; 0 when a connection is enough
   * @throws Failure, when the upstream is not back
   */
  async #probe(upstream: Upstream, waitMs: number): Promise<void> {
    const { signal } = this.#closing;
    const stream = await this.#traffic.connect(upstream, null, { signal });
    // Whatever it says of itself is told by the events that are waited for.
    stream.on("error", () => undefined);
    const end = (): void => void stream.destroy();
    signal.addEventListener("abort", end);
    try {
      if (waitMs > 0 && !signal.aborted) await this.#answer(stream, upstream, waitMs);
    } finally {
      signal.removeEventListener("abort", end);
      end();
    }
  }

  async #answer(stream: Duplex, { address, port }: Upstream, waitMs: number): Promise<void> {
    const { deadlines, nowMs } = this.#traffic;
    const deadline = deadlines.add(nowMs() + waitMs, () => stream.destroy());
    const host = renderHostPort({ host: address, port });
    stream.write(`HEAD / HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: skein\r\nConnection: close\r\n\r\n`);
    const answered = new Promise<boolean>((resolve) => {
      stream.once("data", () => resolve(true));
      for (const name of ["end", "close"]) stream.once(name, () => resolve(false));
    });
    try {
      if (!(await answered)) throw new Failure("timeout", "it gave no answer");
    } finally {
      deadlines.remove(deadline);
    }
  }

  #find(id: string): Known | null {
    this.#knownById ??= indexed(this.#pools, this.#traffic.times.firstByteMs);
    return this.#knownById.get(id) ?? null;
  }
}

function indexed(pools: readonly Pool[], firstByteMs: number): ReadonlyMap<string, Known> {
  const knownById = new Map<string, Known>();
  for (const { tiers, traffic } of pools) {
    for (const [tier, upstreams] of tiers.entries()) {
      for (const upstream of upstreams) {
        const known = {
          upstream,
          isEligible: tier === 0,
          firstByteMs: traffic.firstByteMs ?? firstByteMs,
        };
        knownById.set(upstream.id, known);
      }
    }
  }
  return knownById;
}
