/**
 * Clock: the one place that reads the time.
 *
 * The core takes `nowMs` as an argument. This clock reads like Unix time, so events and records make sense to people,
 * but never jumps: it is the start of the process plus the monotonic timer, so an NTP step or a suspended laptop
 * cannot run a deadline backwards.
 *
 * Touches: the system's monotonic timer.
 */

/** Unix time in milliseconds that never goes back within a process. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
