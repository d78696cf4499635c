/**
 * Signals: Linux signal names as the numbers that Docker's `kill` events carry.
 *
 * Docker names a container's stop signal as its image wrote it (`SIGTERM`, `QUIT`, `3`, `SIGRTMIN+3`), but its events
 * give numbers; to see that a container is being stopped the two must be compared. Numbers of Linux on x86-64 and
 * arm64 (signal(7)), not of this process's system, since the engine's kernel decides.
 *
 * Pure.
 */

/** In the order of their numbers, from 1. */
const NAMES = [
  ..."HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT".split(" "),
  ..."CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(" "),
];

const RTMIN = 34;
const RTMAX = 64;

/** The number of SIGKILL: whatever the stop signal is, this one ends the container. */
export const SIGKILL = 9;

/** The number of SIGTERM: the stop signal of a container that names none. */
export const SIGTERM = 15;

/** The number of a signal written as a name, with or without `SIG`, or as a number; null when there is no such one. */
export function signalNumber(text: string): number | null {
  const name = text.trim().toUpperCase().replace(/^SIG/, "");
  if (/^\d{1,2}$/.test(name)) return Number(name) >= 1 && Number(name) <= RTMAX ? Number(name) : null;
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realtime === null) return NAMES.includes(name) ? NAMES.indexOf(name) + 1 : null;
  const offset = Number(realtime[3] ?? 0) * (realtime[2] === "-" ? -1 : 1);
  const number = (realtime[1] === "MIN" ? RTMIN : RTMAX) + offset;
  return number >= RTMIN && number <= RTMAX ? number : null;
}
