/**
 * Verdict: is one endpoint ready for traffic, judged from its recent probes?
 *
 * One slow answer is noise, and flapping in and out of DNS hurts clients more than it does; so an endpoint changes
 * state only after `rise` passes or `fall` failures in a row. A refused connection is no noise: the kernel says that
 * nobody listens, so it counts at once, whatever `fall` is. A new endpoint starts unready and earns its first traffic
 * with `rise` passes.
 *
 * Pure. schedule.ts decides when to probe, probe.ts does it, the catalog publishes what comes of it.
 */

import { unreachable } from "../base/assert.ts";
import type { HealthSource, ProbePlan, Readiness } from "../model/endpoint.ts";

/** What became of one probe. */
export type ProbeOutcome =
  | { readonly kind: "passed" }
  /** `refused`: the connection was, so nobody listens. `reason` in words: `timeout`, `http status 503`. */
  | { readonly kind: "failed"; readonly reason: string; readonly refused: boolean };

/** The state of one endpoint between probes. */
export interface Verdict {
  readonly ready: boolean;
  /** Results in a row that disagree with `ready`. */
  readonly streak: number;
}

/** Results in a row needed to change state, each at least 1. */
export type Thresholds = Pick<ProbePlan, "rise" | "fall">;

/** The verdict on an endpoint never probed. */
export const UNPROVEN: Verdict = { ready: false, streak: 0 };

/** The verdict on an endpoint that passed all its probes lately. */
export const PROVEN: Verdict = { ready: true, streak: 0 };

/**
 * Folds one probe's outcome into a verdict.
 *
 * @returns the next verdict; the same object when nothing changed, so callers may compare by ===
 */
export function judge(verdict: Verdict, outcome: ProbeOutcome, thresholds: Thresholds): Verdict {
  const passed = outcome.kind === "passed";
  if (passed === verdict.ready) {
    // Invariant: `streak` counts only results that disagree; one that agrees clears it.
    return verdict.streak === 0 ? verdict : { ready: verdict.ready, streak: 0 };
  }
  const streak = verdict.streak + 1;
  const refused = outcome.kind === "failed" && outcome.refused;
  const needed = passed ? thresholds.rise : refused ? 1 : thresholds.fall;
  // Not ===: a reload may lower a threshold below a streak already counted.
  return streak >= needed ? { ready: passed, streak: 0 } : { ready: verdict.ready, streak };
}

/** What our own probes found of one endpoint. */
export interface Findings {
  readonly verdict: Verdict;
  /** True while it has never been ready, and for not longer than a start may take. */
  readonly starting: boolean;
  /** Why it is not ready, in words; null before the first failure. */
  readonly failure: string | null;
}

/**
 * Whether an endpoint is ready, by whoever has the say over it.
 *
 * The reasons are published, so they hold no counts and no times: each new text is a message to every host.
 *
 * @param findings  of our own probes; null when there are none yet
 */
export function readiness(health: HealthSource, findings: Findings | null): Readiness {
  switch (health.kind) {
    case "none":
      return { state: "ready", reason: "running; nothing to check" };
    case "reported":
      return REPORTED[health.status];
    case "probe":
      return probed(findings);
    default:
      return unreachable(health);
  }
}

const REPORTED = {
  starting: { state: "starting", reason: "docker: health check starting" },
  healthy: { state: "ready", reason: "docker: health check passing" },
  unhealthy: { state: "unready", reason: "docker: health check failing" },
} as const satisfies Record<string, Readiness>;

function probed(findings: Findings | null): Readiness {
  if (findings === null) return { state: "starting", reason: "probe: not run yet" };
  if (findings.verdict.ready) return { state: "ready", reason: "probe: passing" };
  const reason = findings.failure === null ? "probe: not passed yet" : `probe: ${findings.failure}`;
  return { state: findings.starting ? "starting" : "unready", reason };
}
