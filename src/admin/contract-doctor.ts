/**
 * Contract of doctor: what `GET /api/v1/doctor` and `skein doctor` say.
 *
 * As in contract.ts: fields may be added, and never change. A check's id is its stable name, for scripts, alerts and
 * the pages that explain it; texts are for people and may be worded better at any time.
 *
 * Pure.
 */

import { PROBLEM_AREAS } from "./contract.ts";

/**
 * What a check is about. Those of problems (ProblemLine) come first; then what runs (`daemon`, `listener`), what it
 * runs on (`rights`, `program`, `host`, `docker`, `config`), and what it does: `gateway` (of a bridge network: where
 * its containers ask for names), `vip`, `range` (addresses that somebody else may use), `container` (how it asks for
 * names), `mtu` (how large a packet gets to another host), `peer` (reached both ways), `clock`, `version`.
 */
export const DOCTOR_AREAS = [
  ...PROBLEM_AREAS,
  "daemon",
  "listener",
  "rights",
  "program",
  "host",
  "docker",
  "config",
  "gateway",
  "vip",
  "range",
  "container",
  "mtu",
  "peer",
  "clock",
  "version",
] as const;

/** One of them. */
export type DoctorArea = (typeof DOCTOR_AREAS)[number];

/** How a check came out: as it should be; it costs something; something that is there to work does not. */
export type CheckState = "ok" | "warn" | "fail";

/** One check. */
export interface DoctorCheck {
  readonly area: DoctorArea;
  readonly subject: string;
  readonly state: CheckState;
  readonly text: string;
  /** What to do about it, in words; null where there is nothing to do, or the text says it. */
  readonly remedy: string | null;
  /** Its stable name: `peer.back`. */
  readonly id: string;
  /** Why it matters, in words. */
  readonly why: string;
}

/** `doctor`: what works here and what does not. */
export interface DoctorReport {
  /** By area, what runs first. */
  readonly checks: readonly DoctorCheck[];
}
