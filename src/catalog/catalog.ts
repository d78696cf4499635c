/**
 * Catalog: what this node offers now, as the replica records it publishes.
 *
 * Here the diamond closes: what sources discovered and what health says of it become one state per replica, with the
 * words that `skein explain` shows on every host: who says so, and why. Draining comes first, since a copy that is
 * about to close takes no new traffic however healthy it is; then a paused one, whose kernel still accepts connections
 * that nobody will serve, so that a TCP probe passes; then health.
 *
 * Two sources that name one id, and more replicas than a node may publish, are problems and not crashes. Which ones
 * are offered then must not change from one moment to the next: those published before keep their places.
 *
 * Pure. The same input in any order gives the same records, sorted by id; what did not change is the same object as
 * before.
 */

import type { Discovered, Discovery, Problem, Readiness } from "../model/endpoint.ts";
import type { ReplicaId } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { NOBODY, parseRecord, recordKey, renderRecord, type ReplicaRecord } from "../model/record.ts";

import type { Acknowledgements } from "./acknowledgement.ts";
import { drainReason, type Drains } from "./drain.ts";

/** Everything the offer rests on. */
export interface CatalogInput {
  readonly discoveries: readonly Discovery[];
  /** What health says; an endpoint not in it has not been checked yet. */
  readonly readinessById: ReadonlyMap<ReplicaId, Readiness>;
  readonly drains: Drains;
  /** True where others reach replicas on overlay networks without this daemon. */
  readonly carriesOverlays?: boolean;
  /** Who has heard that a replica drains. */
  readonly acknowledgements: Pick<Acknowledgements, "isApplied" | "pending">;
  /** The records planned before this, sorted by id or not. */
  readonly published: readonly ReplicaRecord[];
}

/** The offer, and what could not be offered. */
export interface Catalog {
  /** Sorted by id. */
  readonly records: readonly ReplicaRecord[];
  readonly problems: readonly Problem[];
}

/** Plans what this node offers. A replica of `published` that is not among the records is gone. */
export function planCatalog(input: CatalogInput): Catalog {
  const problems: Problem[] = [];
  const publishedById = new Map(input.published.map((record) => [record.id, record]));
  const distinct = distinctEndpoints(input.discoveries, problems);
  const offered = withinLimit(distinct, publishedById, problems);
  const records = offered.flatMap((endpoint) => {
    const record = recordOf(endpoint, input);
    const body = renderRecord(record);
    const before = publishedById.get(record.id);
    if (before !== undefined && renderRecord(before) === body) return [before];
    // What peers would refuse is refused here, where somebody reads it.
    const parsed = parseRecord(recordKey(record), body);
    if (parsed.ok) return [record];
    problems.push({ subject: subjectOf(endpoint), text: `peers would refuse it: ${parsed.failure.message}` });
    return [];
  });
  return { records, problems };
}

/** One endpoint per id, sorted by it; of two the one whose source comes first in the alphabet. */
function distinctEndpoints(discoveries: readonly Discovery[], problems: Problem[]): readonly Discovered[] {
  const byId = new Map<ReplicaId, { readonly endpoint: Discovered; readonly source: string }>();
  const all = discoveries
    .flatMap(({ source, endpoints }) => endpoints.map((endpoint) => ({ endpoint, source })))
    // By content last: equal ids of one source must not be told apart by the order in which they came.
    .toSorted(
      (one, other) =>
        compare(one.source, other.source) ||
        compare(one.endpoint.id, other.endpoint.id) ||
        compare(JSON.stringify(one.endpoint), JSON.stringify(other.endpoint)),
    );
  for (const { endpoint, source } of all) {
    const first = byId.get(endpoint.id);
    if (first === undefined) byId.set(endpoint.id, { endpoint, source });
    else {
      const holder = `replica ${first.endpoint.name} of ${first.source}`;
      const text = `id "${endpoint.id}" of ${source} is taken by ${holder}`;
      problems.push({ subject: subjectOf(endpoint), text });
    }
  }
  return [...byId.values()].map(({ endpoint }) => endpoint).sort((one, other) => compare(one.id, other.id));
}

function withinLimit(
  endpoints: readonly Discovered[],
  publishedById: ReadonlyMap<ReplicaId, ReplicaRecord>,
  problems: Problem[],
): readonly Discovered[] {
  const over = endpoints.length - LIMITS.replicasPerNode;
  if (over <= 0) return endpoints;
  const most = LIMITS.replicasPerNode;
  const text = `${endpoints.length} replicas run here; expected at most ${most}: ${over} are not offered`;
  problems.push({ subject: "node", text });
  const isPublished = (endpoint: Discovered): number => (publishedById.has(endpoint.id) ? 0 : 1);
  return endpoints
    .toSorted((one, other) => isPublished(one) - isPublished(other) || compare(one.id, other.id))
    .slice(0, most)
    .sort((one, other) => compare(one.id, other.id));
}

function recordOf(endpoint: Discovered, input: CatalogInput): ReplicaRecord {
  const { id, name, slot, network, service, stack, address, address6, reach } = endpoint;
  const { declaration, weight, delivery, declaredAtMs } = endpoint;
  const { state, reason } = stateOf(endpoint, input);
  const isDraining = state === "draining";
  const { acknowledgements } = input;
  const drainApplied = isDraining && acknowledgements.isApplied(id);
  const drainPending = isDraining ? acknowledgements.pending(id) : NOBODY;
  const at = address6 === undefined ? { address } : { address, address6 };
  const where = { id, name, slot, network, service, stack, ...at, reach };
  const said = { state, reason, drainApplied, drainPending };
  return { kind: "replica", ...where, declaration, weight, delivery, startedAtMs: declaredAtMs, ...said };
}

function stateOf(endpoint: Discovered, input: CatalogInput): Pick<ReplicaRecord, "state" | "reason"> {
  const isRelayed = endpoint.reach === "overlay" && input.carriesOverlays !== true;
  const draining = drainReason(input.drains, isRelayed ? { ...endpoint, reach: "stream" } : endpoint);
  if (draining !== null) return { state: "draining", reason: draining };
  if (endpoint.lifecycle === "paused") return { state: "unready", reason: "docker: paused" };
  return input.readinessById.get(endpoint.id) ?? { state: "starting", reason: "not checked yet" };
}

function subjectOf(endpoint: Discovered): string {
  return `replica ${endpoint.name}`;
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
