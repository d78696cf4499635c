/**
 * Departure: how a replica, or this whole daemon, goes out of service without losing a request.
 *
 * Both wait for facts and not for time: a drain for the acknowledgement in the replica's own record, the daemon for its
 * peers to have applied that everything here drains, and for open connections to end. Each wait has a cap, for a peer
 * that hangs must not hold up a stop.
 *
 * Touches: timers.
 */

import type { DrainResult } from "../admin/contract.ts";
import { setTimeout as pause } from "node:timers/promises";

import { Failure } from "../base/failure.ts";
import type { Links } from "../mesh/links.ts";
import type { ReplicaId } from "../model/ids.ts";
import type { Replica, View } from "../model/view.ts";
import type { Node } from "../node.ts";
import type { Proxy } from "../proxy/proxy.ts";
import { nowMs } from "../runtime/clock.ts";
import type { Farewell } from "../step.ts";

import type { Driver } from "./driver.ts";

/** For peers to apply that this host's replicas drain. */
const DRAIN_HEARD_MS = 2000;
/** For open connections, and streams relayed for other hosts' clients, to end by themselves. */
const GRACE_MS = 4000;
/** For `skein drain --wait`. */
const DRAIN_WAIT_MS = 10_000;
/** For an owner on another host to publish what it was asked. */
const DRAIN_STARTED_MS = 2000;
const POLL_MS = 10;

/** What a drain needs. */
export interface DrainParts {
  readonly node: Node;
  readonly driver: Driver;
  readonly view: () => View;
  /** Throws Failure `not-allowed` when this node may not drain that replica. */
  readonly expectRight: (replica: Replica) => void;
}

/**
 * Drains a replica of any host.
 *
 * @param waits  true to settle when every live member has applied it, or after ten seconds
 * @throws Failure `not-found`, `not-allowed`, or `unreachable` when its owner does not take the drain
 */
export async function drain(parts: DrainParts, id: ReplicaId, waits: boolean): Promise<DrainResult> {
  const find = (): Replica | undefined => replicaIn(parts.view(), id);
  parts.expectRight(expectReplica(find(), id));
  parts.driver.feed({ kind: "drain", replica: id, draining: true });
  const isDraining = (): boolean => find() === undefined || find()?.state === "draining";
  if (!(await holds(isDraining, DRAIN_STARTED_MS))) {
    throw new Failure("unreachable", `replica ${id} was not drained by its node ${find()?.nodeName}`);
  }
  const isApplied = (): boolean => find() === undefined || find()?.drainApplied === true;
  if (waits) await holds(isApplied, DRAIN_WAIT_MS);
  if (isApplied()) return { replica: id, applied: true, pending: [] };
  const { drainPending = [], nodeName = "" } = find() ?? {};
  // Only the owner knows who has not applied it. When it has not even told that, its word is what is missing.
  return {
    replica: id,
    applied: false,
    pending: waits && drainPending.length === 0 ? [nodeName] : drainPending,
  };
}

/**
 * Takes the drain of a replica of any host back. One that drains for another reason as well goes on draining.
 *
 * @throws Failure `not-found`, or `invalid` with the reason for which it still drains
 */
export async function undrain(parts: DrainParts, id: ReplicaId): Promise<DrainResult> {
  const find = (): Replica | undefined => replicaIn(parts.view(), id);
  parts.expectRight(expectReplica(find(), id));
  parts.driver.feed({ kind: "drain", replica: id, draining: false });
  if (await holds(() => find()?.state !== "draining", DRAIN_STARTED_MS)) {
    return { replica: id, applied: true, pending: [] };
  }
  throw new Failure("invalid", `replica ${id} still drains: ${find()?.reason}`);
}

/**
 * A clean stop, up to the farewell.
 *
 * @returns the names of the members that had not heard by then that what ends here drains
 */
export async function leave(parts: {
  readonly farewell: Farewell;
  readonly node: Node;
  readonly driver: Driver;
  readonly proxy: Proxy;
  readonly links: Links;
  /** How many streams this daemon relays now. */
  readonly streamCount: () => number;
}): Promise<readonly string[]> {
  const { farewell, node, driver, proxy, links, streamCount } = parts;
  driver.feed({ kind: "stop", farewell });
  await holds(() => node.lagging.length === 0, DRAIN_HEARD_MS);
  const { lagging } = node;
  await Promise.all([proxy.close(GRACE_MS), holds(() => streamCount() === 0, GRACE_MS)]);
  driver.feed({ kind: "leave", farewell });
  links.closeAll("this daemon is stopping");
  return lagging;
}

function expectReplica(replica: Replica | undefined, id: ReplicaId): Replica {
  if (replica !== undefined) return replica;
  throw new Failure("not-found", `replica is "${id}"; expected one of the cluster`);
}

function replicaIn(view: View, id: ReplicaId): Replica | undefined {
  for (const { replicas } of view.services) {
    const replica = replicas.find((candidate) => candidate.id === id);
    if (replica !== undefined) return replica;
  }
  return undefined;
}

/** Waits until `condition` holds, at most `capMs`. @returns whether it does */
async function holds(condition: () => boolean, capMs: number): Promise<boolean> {
  const deadlineMs = nowMs() + capMs;
  while (!condition()) {
    if (nowMs() >= deadlineMs) return false;
    await pause(POLL_MS);
  }
  return true;
}
