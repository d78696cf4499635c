/**
 * Drain: what is being taken out of service on this node, and whether everyone has heard.
 *
 * There are four ways into a drain: a stop signal (the source sees that), `skein drain`, node drain, a clean stop of
 * the daemon. The last three are held here as one small immutable value. `skein drain` means one run of a copy: when
 * its container is started again it is back, as a rolling restart wants it; no other command would bring it back.
 *
 * Pure.
 */

import type { Discovered } from "../model/endpoint.ts";
import type { ReplicaId } from "../model/ids.ts";

/** Everything that was asked to be drained. */
export interface Drains {
  /** By `skein drain`: the start of the run that is meant, in Unix milliseconds. */
  readonly startedAtMsById: ReadonlyMap<ReplicaId, number>;
  /** By `skein node drain`: all of this host, whatever starts there, until `skein node activate`. */
  readonly host: boolean;
  /**
   * The daemon stops: for good, then nothing of this host is offered any more; or for a while, then only what it
   * relays for others has to go, and what is reached without it stays in service.
   */
  readonly daemon: "runs" | "stopsForAWhile" | "stops";
}

/** Nothing is drained. */
export const NO_DRAINS: Drains = { startedAtMsById: new Map(), host: false, daemon: "runs" };

/** A run of a copy: what `skein drain` is about. */
export type Run = Pick<Discovered, "id" | "startedAtMs">;

/** Drains one replica until it is started again. */
export function drainReplica(drains: Drains, run: Run): Drains {
  if (drains.startedAtMsById.get(run.id) === run.startedAtMs) return drains;
  return { ...drains, startedAtMsById: new Map([...drains.startedAtMsById, [run.id, run.startedAtMs]]) };
}

/** Takes a replica's drain back; nothing changes when it had none. */
export function activateReplica(drains: Drains, id: ReplicaId): Drains {
  if (!drains.startedAtMsById.has(id)) return drains;
  return {
    ...drains,
    startedAtMsById: new Map([...drains.startedAtMsById].filter(([other]) => other !== id)),
  };
}

/** Drains all of this host until further notice, or takes that back; what was drained by itself stays so. */
export function drainHost(drains: Drains, draining: boolean): Drains {
  return drains.host === draining ? drains : { ...drains, host: draining };
}

/** Drains what ends with the daemon, since it stops. There is no way back. */
export function drainDaemon(drains: Drains, daemon: "stopsForAWhile" | "stops"): Drains {
  return drains.daemon === daemon ? drains : { ...drains, daemon };
}

/**
 * Forgets drains of runs that are over, so that the value cannot grow with time.
 *
 * @param runs  all that runs now; not to be called with the set of a source that is stale
 */
export function forgetEnded(drains: Drains, runs: readonly Run[]): Drains {
  const startById = new Map(runs.map((run) => [run.id, run.startedAtMs]));
  const kept = [...drains.startedAtMsById].filter(([id, startedAtMs]) => startById.get(id) === startedAtMs);
  return kept.length === drains.startedAtMsById.size ? drains : { ...drains, startedAtMsById: new Map(kept) };
}

/** Why an endpoint is draining, in words; null when it is not. The most lasting reason wins. */
export function drainReason(
  drains: Drains,
  endpoint: Run & Pick<Discovered, "lifecycle" | "reach">,
): string | null {
  if (endpoint.lifecycle === "stopping") return "docker: stop signal sent";
  if (drains.daemon === "stops") return "its daemon is stopping";
  if (drains.daemon === "stopsForAWhile" && endpoint.reach === "stream") return "its daemon is restarting";
  if (drains.host) return "its node is drained by command";
  const drained = drains.startedAtMsById.get(endpoint.id) === endpoint.startedAtMs;
  return drained ? "drained by command" : null;
}
