/**
 * Departure: how a replica, all of a host, or this whole daemon goes out of service without losing a request.
 *
 * All wait for facts and not for time: a drain for the acknowledgement in each replica's own record, the daemon for its
 * peers to have applied that everything here drains, and for open connections to end. Each wait has a cap, for a peer
 * that hangs must not hold up a stop.
 *
 * Touches: timers.
 */

import type { NodeDrainResult } from "../admin/contract-live.ts";
import type { DrainResult } from "../admin/contract.ts";
import { setTimeout as pause } from "node:timers/promises";

import { Failure } from "../base/failure.ts";
import type { Links } from "../mesh/links.ts";
import type { NodeId, ReplicaId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import type { Member } from "../model/member.ts";
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
/** For `skein drain --wait` and `skein node drain --wait`. */
const DRAIN_WAIT_MS = 10_000;
/** For an owner on another host to publish what it was asked. */
const DRAIN_STARTED_MS = 2000;
const POLL_MS = 10;

/** What a drain needs. */
export interface DrainParts {
  readonly node: Node;
  readonly driver: Driver;
  readonly view: () => View;
  /** Throws Failure `not-allowed` when this node may not drain what runs there; `what` it would be doing. */
  readonly expectRight: (where: Pick<Replica, "local" | "nodeName">, what: string) => void;
}

/**
 * Drains a replica of any host.
 *
 * @param waits  true to settle when every live member has applied it, or after ten seconds
 * @throws Failure `not-found`, `not-allowed`, or `unreachable` when its owner does not take the drain
 */
export async function drain(parts: DrainParts, id: ReplicaId, waits: boolean): Promise<DrainResult> {
  const find = (): Replica | undefined => replicaIn(parts.view(), id);
  parts.expectRight(expectReplica(find(), id), "draining a replica of another host");
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
  parts.expectRight(expectReplica(find(), id), "draining a replica of another host");
  parts.driver.feed({ kind: "drain", replica: id, draining: false });
  if (await holds(() => find()?.state !== "draining", DRAIN_STARTED_MS)) {
    return { replica: id, applied: true, pending: [] };
  }
  const { reason = "", node = "", nodeName = "" } = find() ?? {};
  const isOfNode = memberIn(parts.view(), node)?.draining === true;
  const step = isOfNode ? `; take that back with: skein node activate ${nodeName}` : "";
  throw new Failure("invalid", `replica ${id} still drains: ${reason}${step}`);
}

/**
 * Drains all that a member runs, now and later, or takes that back.
 *
 * @param how.waits  true to settle when every live member has applied it, or after ten seconds
 * @throws Failure `not-found`, `not-allowed`, `unreachable` when the member does not take the order, or `invalid` when
 *   somebody else has it do the opposite meanwhile
 */
export async function drainMember(
  { view, driver, expectRight }: DrainParts,
  id: NodeId,
  { draining, waits }: { readonly draining: boolean; readonly waits: boolean },
): Promise<NodeDrainResult> {
  const member = memberIn(view(), id);
  if (member === undefined) throw new Failure("not-found", `node is "${id}"; expected a member`);
  const { name, self, state } = member;
  expectRight({ local: self, nodeName: name }, `${draining ? "draining" : "activating"} another host`);
  if (state === "dead" || state === "left" || state === "away")
    throw new Failure("unreachable", `node ${name} is ${state}; expected one whose daemon runs`);
  driver.feed({ kind: "drainNode", node: id, draining });
  const isTaken = (): boolean => (memberIn(view(), id)?.draining === true) === draining;
  if (!(await holds(isTaken, DRAIN_STARTED_MS))) {
    const done = draining ? "drained" : "activated";
    throw new Failure(
      "unreachable",
      `node ${name} was not ${done}: its daemon did not take the order in time`,
    );
  }
  const replicas = (): readonly Replica[] => replicasOf(view(), id);
  const isApplied = (): boolean => !draining || replicas().every(({ drainApplied }) => drainApplied);
  if (waits) await holds(() => isApplied() || !isTaken(), DRAIN_WAIT_MS);
  if (!isTaken()) {
    const other = draining ? "activated" : "drained";
    throw new Failure("invalid", `node ${name} was ${other} meanwhile, by somebody else`);
  }
  const [applied, shown] = [isApplied(), replicas()];
  const told = [...new Set(shown.flatMap(({ drainPending }) => drainPending))].sort();
  // As for one replica: when its owner tells nothing, its word is what is missing.
  const missing = waits && told.length === 0 ? [name] : told.slice(0, LIMITS.drainPendingMax);
  return { node: name, id, draining, replicas: shown.length, applied, pending: applied ? [] : missing };
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

function memberIn({ members }: View, id: NodeId): Member | undefined {
  return members.find((member) => member.id === id);
}

function replicasOf({ services }: View, id: NodeId): readonly Replica[] {
  return services.flatMap(({ replicas }) => replicas.filter(({ node }) => node === id));
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
