/**
 * Plan: whether Docker has to let pass what we forward.
 *
 * It has to wherever something may be led to a container or over an overlay network: without its word Docker drops
 * what comes from another host to a port that it did not publish itself. On a host on which nothing runs, and no
 * service is known, its rules are left as they are.
 *
 * Pure.
 */

import type { KernelGiven } from "../given.ts";

/** All of it. */
export interface AcceptPlan {
  readonly isWanted: boolean;
}

/** The plan of a moment. */
export function planAccept({ view, bridges }: Pick<KernelGiven, "view" | "bridges">): AcceptPlan {
  const isWanted = bridges.length > 0 || view.services.some(({ replicas }) => replicas.length > 0);
  return { isWanted };
}
