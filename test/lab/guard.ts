/**
 * Guard: removes a lab even when its test process ends without closing it.
 *
 * An exception nobody catches, process.exit() and an empty event loop all end in "exit". The signals do not: a
 * handler must be there, and must let the process die by that same signal afterwards, since a runner tells an
 * interrupted test by it. SIGKILL asks nobody: then the namespaces end themselves (see namespaces.ts), and the
 * folder waits for the next lab's sweep.
 *
 * Touches: the handlers of this process.
 */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Calls `remove` (synchronous) when the process is about to end; returns the function that calls it off. */
export function guardExit(remove: () => void): () => void {
  const onSignal = (signal: NodeJS.Signals): void => {
    callOff();
    remove();
    // With other handlers left (another open lab, the test's own) the last of them decides.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const callOff = (): void => {
    process.off("exit", remove);
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
  process.on("exit", remove);
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return callOff;
}
