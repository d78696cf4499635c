/**
 * Kernel: whether the kernel carries this host's traffic, decided once, at the start.
 *
 * Where it cannot, or is not to, the proxy carries all, and what another life of the daemon left in the kernel goes.
 * A stop, a crash and a handover leave all as it is; only a purge takes it away.
 *
 * Touches: the kernel, through its parts.
 */

import { Failure } from "../base/failure.ts";
import { detectKernel } from "../kernel/detect.ts";
import { openLinks } from "../kernel/links/links.ts";
import { observeOwnDevices } from "../kernel/observe.ts";
import { hasNetAdmin } from "../kernel/rights.ts";
import { openRules } from "../kernel/rules/rules.ts";

import type { Base } from "./base.ts";
import {
  openEncryption,
  underlayOf,
  type Kernel,
  type KernelGround,
  type KernelSources,
} from "./kernel-ground.ts";
import { RunningKernel } from "./running-kernel.ts";

/**
 * Decides and prepares; nothing is touched yet.
 *
 * @throws Failure `not-allowed` when the kernel is asked for by the configuration and cannot be had
 */
export async function openKernel(base: Base, ground: KernelGround): Promise<Kernel> {
  const { config } = base.options;
  const { mode } = config.dataplane;
  const detected =
    mode === "proxy"
      ? { isPossible: false, reason: "configured" }
      : await detectKernel({ pool: ground.pool, listensOnVips: config.vip.listen });
  if (mode === "kernel" && !detected.isPossible) {
    const remedy = "mend that, or set dataplane.mode to auto";
    throw new Failure(
      "not-allowed",
      `dataplane.mode is kernel, but it cannot be: ${detected.reason}; ${remedy}`,
    );
  }
  const chosen = detected.isPossible ? "kernel" : "proxy";
  if (mode === "auto") base.report.choose("dataplane.mode", chosen, detected.reason);
  const reason = mode === "kernel" ? "configured" : detected.reason;
  if (!detected.isPossible) return new NoKernel(base, reason);
  const [encryption, devices] = [await openEncryption(base), await observeOwnDevices()];
  const way = await underlayOf(base, ground);
  return new RunningKernel(base, { ...ground, ...way, reason, encryption, devices });
}

/** Where the proxy carries all. */
class NoKernel implements Kernel {
  readonly overlay = null;
  readonly isChosen = false;
  readonly #base: Base;
  readonly #reason: string;

  constructor(base: Base, reason: string) {
    this.#base = base;
    this.#reason = reason;
    base.metrics.kernelMode.set(0);
    base.report.dataPlane = () => ({ mode: "proxy", reason });
  }

  begin({ served }: KernelSources): void {
    const text = `not made on this host, whose data plane is the proxy (${this.#reason})`;
    this.#base.report.kernelProblems = () =>
      served().view.networks.map(({ name }) => ({ area: "network", subject: name, text }));
    // What a life in the other mode left would go on leading traffic to where things were then. Where the kernel cannot
    // be used there is nothing that it could be taken away with.
    if (this.#base.options.config.dataplane.mode === "proxy") void this.remove();
  }

  carriedIn(): ReadonlySet<string> {
    return new Set();
  }

  note(): void {}
  listens(): void {}
  async hold(): Promise<void> {}

  async remove(): Promise<readonly string[]> {
    // What another daemon of this network stack has made is its own.
    if (!this.#base.options.config.vip.listen || !(await hasNetAdmin())) return [];
    const parts = [openRules(), openLinks()];
    const left: string[] = [];
    for (const part of parts) {
      // Without the programs nothing was made with them, or nothing can be done about it.
      const removed = await part.remove().catch(() => null);
      left.push(...(removed?.problems ?? []));
    }
    return left;
  }
}
