/**
 * Faults: what goes wrong with hosts, processes, disks and networks.
 *
 * Each is one that real clusters have. A fault only begins or ends here; scenarios say when.
 */

import { NOTHING_KEPT } from "../../src/model/kept.ts";
import type { Farewell } from "../../src/step.ts";

import type { Simulation } from "./engine.ts";
import { idOf, type Host } from "./host.ts";
import type { AfterCut } from "./network.ts";
import type { StartOptions } from "./settings.ts";

/** What a host finds on its disk when it comes back. */
export type DiskFound = "kept" | "lost" | "old";

/** SIGSTOP. */
export function pause(sim: Simulation, host: Host): void {
  if (!host.isRunning || host.isPaused) return;
  sim.tell(`${host.name} is stopped`);
  host.isPaused = true;
  host.pausedAtMs = sim.nowMs;
}

/** SIGSTOP, and SIGCONT some time later. */
export function pauseFor(
  sim: Simulation,
  host: Host,
  options: { ms: number; lateTick: "first" | "last" },
): void {
  pause(sim, host);
  const { life } = host;
  sim.after(options.ms, () => {
    if (host.life === life) sim.resume(host, options.lateTick);
  });
}

/** The host is cut off from all others without a word. */
export function isolate(sim: Simulation, host: Host): void {
  sim.tell(`${host.name} is cut off`);
  host.isDark = true;
}

/** The host is back on the network. */
export function reconnect(sim: Simulation, host: Host, afterCut: AfterCut): void {
  sim.tell(`${host.name} is back on the network`);
  host.isDark = false;
  sim.network.release(afterCut);
}

/** No packet passes between two hosts, either way. */
export function cutBoth(sim: Simulation, one: Host, other: Host): void {
  sim.network.cut(one, other);
  sim.network.cut(other, one);
}

/**
 * Parts the hosts: those of `group` are on one side, all others on the other.
 *
 * @param way  which packets are lost: `both`, or only those that leave the group, or only those that enter it
 */
export function partition(
  sim: Simulation,
  group: readonly Host[],
  way: "both" | "leaving" | "entering" = "both",
): void {
  sim.tell(`partition of ${group.map(({ name }) => name).join()}, ${way}`);
  const inside = new Set(group);
  for (const host of sim.hosts) host.side = inside.has(host) ? 1 : 0;
  if (way !== "entering") sim.network.cutSides(1, 0);
  if (way !== "leaving") sim.network.cutSides(0, 1);
}

/** All packets pass between all hosts again. */
export function heal(sim: Simulation, afterCut: AfterCut = "resume"): void {
  sim.tell(`the network heals: ${afterCut}`);
  for (const host of sim.hosts) host.isDark = false;
  sim.network.mendAll(afterCut);
}

/** A middlebox resets the links between two hosts. */
export function resetLinks(sim: Simulation, one: Host, other: Host): void {
  for (const end of one.endByLink.values()) if (end.peer.host === other) sim.network.reset(end);
}

/** What leaves and enters a host gets through slowly; infinity for no more. Counts for the links it has now. */
export function clog(host: Host, bytesPerMs: number): void {
  for (const end of host.endByLink.values()) {
    end.bytesPerMs = bytesPerMs;
    end.peer.bytesPerMs = bytesPerMs;
  }
}

/** The host's clock jumps ahead. */
export function jumpClock(host: Host, ms: number): void {
  host.clockOffsetMs += ms;
}

/** Copies the disk, to be found by a later `start` with an old disk. */
export function backUp(host: Host): void {
  host.backup = host.disk;
}

/** Starts the daemon again, on the disk that it finds. A lost disk is a lost key, and so a new id. */
export function startAgain(sim: Simulation, host: Host, disk: DiskFound, options: StartOptions = {}): void {
  host.isOn = true;
  sim.network.release("resume");
  if (disk === "lost") {
    host.disk = NOTHING_KEPT;
    host.id = idOf(`${host.name} ${host.life}`);
    host.isRestored = false;
  }
  if (disk === "old") {
    host.disk = host.backup ?? NOTHING_KEPT;
    host.isRestored = true;
  }
  sim.start(host, options);
}

/** How long a clean stop waits for the others to have heard of it, as in src/daemon/departure.ts. */
const STOP_MS = 2000;

/** A clean stop: replicas drain, all hear of it or two seconds pass, goodbye. */
export function leave(sim: Simulation, host: Host, farewell: Farewell): void {
  if (!host.isRunning || host.isLeaving) return;
  sim.tell(`${host.name} leaves: ${farewell}`);
  host.isLeaving = true;
  const { life } = host;
  const deadlineMs = sim.nowMs + STOP_MS;
  sim.feed(host, { kind: "stop", farewell });
  const goOn = (): void => {
    if (host.life !== life || host.node === null) return;
    if (host.node.lagging.length > 0 && sim.nowMs < deadlineMs) return sim.after(10, goOn);
    sim.feed(host, { kind: "leave", farewell });
    // A paused process takes its input when it goes on, and exits then.
    const exit = (): void => {
      if (host.life !== life) return;
      if (host.isPaused) sim.after(10, exit);
      else sim.crash(host);
    };
    sim.after(0, exit);
  };
  goOn();
}
