/**
 * Drains: which replicas are being taken out of traffic, or are out by command, and who has not applied it.
 *
 * One list for the whole cluster, from the same view as all else: a drain is a state of a replica that its owner
 * tells, and so is how far it has come.
 *
 * Pure.
 */

import type { Replica, Service, View } from "../model/view.ts";

import type { DrainLine } from "./contract-live.ts";

/** `GET drains`, in the view's order: by service, then replica. */
export function drainsOf({ services }: View): readonly DrainLine[] {
  return services.flatMap((service) => {
    return service.replicas.filter(({ state }) => state === "draining").map((one) => lineOf(service, one));
  });
}

function lineOf({ key }: Service, replica: Replica): DrainLine {
  const { id, name, nodeName, reason, sinceMs, drainApplied, drainPending } = replica;
  return {
    replica: id,
    name,
    service: key,
    node: nodeName,
    reason,
    sinceMs: Math.round(sinceMs),
    applied: drainApplied,
    pending: drainPending,
  };
}
