/**
 * Kernel counts: how many connections the kernel has led on by itself, of each service.
 *
 * Nobody of ours sees such a connection, so nftables counts them. What it has counted is read by one call of nft, and
 * only while somebody looks at traffic or scrapes metrics. It outlives this daemon, so the metric goes on after a
 * restart with what passed meanwhile; where rules were made anew the counter is lower than before, and all of it is
 * new. What a counter held when it was first read passed at a time that nobody knows: rates are of what came since.
 *
 * Touches: metrics, the kernel through what it is handed.
 */

import { Failure } from "../base/failure.ts";
import { counterWord } from "../kernel/rules/words.ts";
import type { ServiceKey } from "../model/ids.ts";
import type { View } from "../model/view.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Metrics } from "../runtime/metrics.ts";

/** What counts are read from, and where they go. */
export interface KernelCountsParts {
  readonly metrics: Pick<Metrics, "kernelConnections">;
  readonly view: () => View;
  /** Packets by the name of the counter. */
  readonly read: () => Promise<ReadonlyMap<string, number>>;
}

/** The counts of one daemon. */
export class KernelCounts {
  readonly #parts: KernelCountsParts;
  #countByName: ReadonlyMap<string, number> = new Map();
  #seen: ReadonlyMap<ServiceKey, number> = new Map();
  #readAtMs = -Infinity;
  #reading: Promise<void> | null = null;

  constructor(parts: KernelCountsParts) {
    this.#parts = parts;
  }

  /** How many of each service were led on while this daemon read its counter. */
  get seen(): ReadonlyMap<ServiceKey, number> {
    return this.#seen;
  }

  /** Brings the metric up to date, unless it is no older than that. Never rejects: without nft the rest goes on. */
  async refresh(maxAgeMs: number): Promise<void> {
    if (nowMs() - this.#readAtMs < maxAgeMs) return;
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    await this.#reading;
  }

  async #read(): Promise<void> {
    try {
      this.#take(await this.#parts.read());
    } catch {
      // The data plane tells of an nft that does not work; whoever looks at traffic asks again.
    }
    this.#readAtMs = nowMs();
  }

  #take(counts: ReadonlyMap<string, number>): void {
    const { metrics, view } = this.#parts;
    const taken = new Map<string, number>();
    const seen = new Map<ServiceKey, number>();
    for (const { key } of view().services) {
      const name = counterOf(key);
      const count = counts.get(name ?? "");
      if (name === null || count === undefined) continue;
      const before = this.#countByName.get(name);
      const by = count >= (before ?? 0) ? count - (before ?? 0) : count;
      if (by > 0) metrics.kernelConnections.inc({ service: key }, by);
      seen.set(key, (this.#seen.get(key) ?? 0) + (before === undefined ? 0 : by));
      taken.set(name, count);
    }
    this.#countByName = taken;
    this.#seen = seen;
  }
}

/** Null for a service that has no rules, as its name cannot be written in them. */
function counterOf(service: ServiceKey): string | null {
  try {
    return counterWord(service);
  } catch (thrown) {
    if (thrown instanceof Failure) return null;
    throw thrown;
  }
}
