/**
 * Kernel: whether the kernel carries this host's traffic, decided once, at the start.
 *
 * Where it cannot, or is not to, the proxy carries all (no-kernel.ts); else running-kernel.ts has it do what it can.
 *
 * Touches: the kernel, through its parts.
 */

import { Failure } from "../base/failure.ts";
import { detectKernel } from "../kernel/detect.ts";
import { observeForwarding } from "../kernel/forwarding.ts";
import { observeOwnDevices, observeOwnTables } from "../kernel/observe.ts";
import { openParts } from "../kernel/parts.ts";
import { hasNetAdmin } from "../kernel/rights.ts";
import { nowMs } from "../runtime/clock.ts";

import type { Base } from "./base.ts";
import { findWay, movedTo, openEncryption, type Kernel, type KernelGround } from "./kernel-ground.ts";
import { NoKernel } from "./no-kernel.ts";
import { RunningKernel, type Eyes } from "./running-kernel.ts";

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
  if (!detected.isPossible) {
    const { all } = await openParts({ nowMs, wireguard: null });
    const host = { mayTouch: config.vip.listen, hasNetAdmin, devices: observeOwnDevices };
    return new NoKernel(base, { reason, parts: all, ...host });
  }
  const eyes: Eyes = {
    devices: observeOwnDevices,
    tables: observeOwnTables,
    forwarding: () => observeForwarding(),
    underlay: () => findWay(ground.advertised),
    moved: () => movedTo(ground.advertised),
  };
  const encryption = await openEncryption(base);
  const parts = await openParts({ nowMs, wireguard: encryption.part });
  const way = await eyes.underlay();
  if (way.underlay === null) base.report.choose("overlay", "off", way.lack);
  const seen = { way, devices: await eyes.devices(), forwards: await eyes.forwarding() };
  return new RunningKernel(base, { ...ground, ...seen, reason, encryption, parts, eyes });
}
