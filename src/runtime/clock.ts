/**
 * Clock: the one place that reads the time.
 *
 * The core takes `nowMs` as an argument. This clock reads like Unix time, so events and records make sense to people,
 * but never jumps: it is the start of the process plus the monotonic timer, so an NTP step or a suspended laptop
 * cannot run a deadline backwards.
 *
 * Certificates are judged by another one: what all hosts agree on is the time of day as it is now, and a host that
 * booted with a wrong one, or slept for a week, must not be wrong until its daemon is started again.
 *
 * Touches: the system's monotonic timer, and its time of day.
 */

/** Unix time in milliseconds that never goes back within a process. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * Unix time in milliseconds as the system has it at this moment; may jump either way when that is set. Only for what
 * was dated by another host or will be read by one: certificates. Never for deadlines.
 */
export function wallMs(): number {
  return Date.now();
}
