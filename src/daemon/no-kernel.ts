/**
 * No kernel: the data plane of a host whose proxy carries all.
 *
 * What another life of the daemon left in the kernel would go on leading traffic to where things were then, whyever
 * this one does without: so it is taken away at the start, again and again until it is gone, and told until then. Not
 * Docker's networks: containers may be on them, and who mends the kernel mode finds them as they were.
 *
 * Touches: the kernel, through its parts; timers.
 */

import type { ProblemLine } from "../admin/contract.ts";
import { backoffMs, type BackoffRange } from "../base/backoff.ts";
import { Failure } from "../base/failure.ts";
import { removalsOf, type PlannedPart, type Removal } from "../kernel/planned.ts";

import type { Base } from "./base.ts";
import type { Kernel, KernelSources } from "./kernel-ground.ts";
import { takeAway } from "./purge.ts";

/** What a host stands on where the proxy carries all. */
export interface NoKernelGround {
  readonly reason: string;
  readonly parts: readonly PlannedPart[];
  /** False where another daemon of this network stack may have made what is there. */
  readonly mayTouch: boolean;
  readonly hasNetAdmin: () => Promise<boolean>;
  /** The names of our devices that are there. */
  readonly devices: () => Promise<ReadonlySet<string>>;
  /** For tests. */
  readonly again?: BackoffRange;
}

const AGAIN: BackoffRange = { firstMs: 1000, longestMs: 60_000 };
/** For all to go, once. */
const LEFTOVERS_MS = 60_000;
/** For what is under way to end, when the daemon does. */
const HOLD_MS = 2000;

/** Where the proxy carries all. */
export class NoKernel implements Kernel {
  readonly overlay = null;
  readonly isChosen = false;
  readonly isBehind = false;
  readonly #base: Base;
  readonly #ground: NoKernelGround;
  #sources: KernelSources | null = null;
  #left: readonly string[] = [];
  #cleaning: Promise<void> = Promise.resolve();
  #again: NodeJS.Timeout | null = null;
  #isHeld = false;

  constructor(base: Base, ground: NoKernelGround) {
    this.#base = base;
    this.#ground = ground;
    const { reason } = ground;
    base.metrics.kernelMode.set(0);
    base.report.dataPlane = () => ({ mode: "proxy", reason });
  }

  begin(sources: KernelSources): void {
    this.#sources = sources;
    const text = `not made on this host, whose data plane is the proxy (${this.#ground.reason})`;
    this.#base.report.kernelProblems = () => [
      ...sources.served().view.networks.map(({ name }): ProblemLine => {
        return { area: "network", subject: name, text };
      }),
      ...this.#left.map((left): ProblemLine => ({ area: "kernel", subject: "data plane", text: left })),
    ];
    // What another daemon of this network stack has made is its own.
    if (this.#ground.mayTouch) this.#cleaning = this.#clean(0);
  }

  async caughtUp(): Promise<void> {}
  async freeQuestions(): Promise<void> {}

  carriedIn(): ReadonlySet<string> {
    return new Set();
  }

  note(): void {}
  listens(): void {}

  async hold(): Promise<void> {
    this.#isHeld = true;
    if (this.#again !== null) clearTimeout(this.#again);
    const cleaning = { what: "a clean-up", remove: () => this.#cleaning.then(() => []) };
    await takeAway([cleaning], HOLD_MS);
  }

  get removals(): readonly Removal[] {
    if (!this.#ground.mayTouch) return [];
    const networks = async (): Promise<readonly string[]> =>
      (await this.#sources?.sources.networks?.remove()) ?? [];
    return [...this.#ofKernel(), { what: "Docker's networks", remove: networks }];
  }

  /** Takes away what it can. What is left is told, and tried again after longer and longer pauses. */
  async #clean(attempt: number): Promise<void> {
    const left = await takeAway(this.#ofKernel(), LEFTOVERS_MS);
    const told = left.map((text) => `left by an earlier life of the daemon, and still in force: ${text}`);
    for (const text of told) if (!this.#left.includes(text)) this.#base.options.log.warn(text);
    this.#left = told;
    if (left.length === 0 || this.#isHeld) return;
    const waitMs = backoffMs(this.#ground.again ?? AGAIN, attempt, this.#base.random);
    this.#again = setTimeout(() => {
      this.#cleaning = this.#clean(attempt + 1);
    }, waitMs);
  }

  #ofKernel(): readonly Removal[] {
    return removalsOf(this.#ground.parts).map(({ what, remove }) => ({
      what,
      remove: async () => ((await this.#ground.hasNetAdmin()) ? await this.#removed(remove) : this.#trace()),
    }));
  }

  /** What a program that is not installed has made can only be guessed: from devices, which the kernel itself tells. */
  async #removed(remove: Removal["remove"]): Promise<readonly string[]> {
    try {
      return await remove();
    } catch (thrown) {
      const isMissing = thrown instanceof Failure && thrown.code === "not-found";
      if (isMissing && (await this.#ground.devices()).size === 0) return [];
      throw thrown;
    }
  }

  /** Without the right to look at rules, devices are what tells that there was another life. */
  async #trace(): Promise<readonly string[]> {
    const devices = [...(await this.#ground.devices())];
    if (devices.length === 0) return [];
    return [`devices ${devices.join(", ")}; run skein doctor --clean with NET_ADMIN`];
  }
}
