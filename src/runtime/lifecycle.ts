/**
 * Lifecycle: how a daemon goes down, on purpose or not.
 *
 * What was opened is closed in reverse order, since what came later leans on what came before; each within a
 * deadline of its own and all within one, so that a part that hangs can delay the end but not prevent it, and
 * a part that throws does not keep the others open. A first SIGTERM or SIGINT asks for that; a second says
 * that somebody has lost patience. An exception nobody caught is our bug: the process says so and ends, for
 * state it no longer understands must not be gossiped. The supervisor starts it again.
 *
 * Touches: the process's signals and events, timers. What ends the process is handed in: only main.ts exits.
 */

import { textOf } from "../base/failure.ts";

import type { Log } from "./log.ts";

/** Something that was opened. */
export interface Part {
  /** For the log: `mesh listener`. */
  readonly name: string;
  /** Closes it. Called once. */
  readonly close: () => Promise<void> | void;
  /** How long closing may take; 2 s unless told. */
  readonly deadlineMs?: number;
  /**
   * What becomes of it while a successor takes over: it `ends` before that one opens, unless told; it `serves` on until
   * the rest is closed; or it `passes` to the successor, and is never closed here once that has happened.
   */
  readonly handover?: "ends" | "serves" | "passes";
}

/** The parts of a daemon that are open. */
export interface Lifecycle {
  /**
   * Adds a part. One that comes when everything is closed already (a dial that won the race) is closed at
   * once.
   */
  opened(part: Part): void;
  /**
   * Closes all parts, the last opened first. Never throws: what fails or takes too long is logged and left
   * behind.
   *
   * @returns the names of those parts, in that order; the same promise when called again
   */
  close(): Promise<readonly string[]>;
  /** Closes, in the same way, only what ends before a successor opens; `close` then closes the rest. Called once. */
  yieldParts(): Promise<readonly string[]>;
}

const PART_MS = 2000;

/**
 * Opens an empty lifecycle.
 *
 * @param options.totalMs  for closing all parts together
 */
export function openLifecycle(options: { readonly log: Log; readonly totalMs: number }): Lifecycle {
  const parts: Part[] = [];
  let closing: Promise<readonly string[]> | null = null;
  let closed = false;

  /** Closes what is in `ending`, from its end on, until it is empty. */
  const closeThese = async (ending: Part[]): Promise<readonly string[]> => {
    const left: string[] = [];
    const deadlineMs = performance.now() + options.totalMs;
    for (let part = ending.pop(); part !== undefined; part = ending.pop()) {
      const leftMs = Math.max(0, deadlineMs - performance.now());
      const problem = await closeOne(part, Math.min(part.deadlineMs ?? PART_MS, leftMs));
      if (problem === null) continue;
      left.push(part.name);
      options.log.warn(`closing ${part.name}: ${problem}`);
    }
    return left;
  };

  const closeAll = async (): Promise<readonly string[]> => {
    const left = await closeThese(parts);
    closed = true;
    return left;
  };

  return {
    opened(part) {
      parts.push(part);
      if (closed) void closeAll();
    },
    close() {
      closing ??= closeAll();
      return closing;
    },
    yieldParts() {
      const all = parts.splice(0);
      parts.push(...all.filter(({ handover }) => handover === "serves"));
      return closeThese(all.filter(({ handover = "ends" }) => handover === "ends"));
    },
  };
}

/** Closes one part; says what was wrong, null when nothing was. */
async function closeOne(part: Part, deadlineMs: number): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`not within ${Math.round(deadlineMs)} ms; left behind`), deadlineMs);
  });
  const closed = (async (): Promise<string | null> => {
    try {
      await part.close();
      return null;
    } catch (thrown) {
      return textOf(thrown);
    }
  })();
  try {
    return await Promise.race([closed, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What signals ask for. */
export interface SignalActions {
  /** The first SIGTERM or SIGINT. */
  readonly stop: (signal: "SIGTERM" | "SIGINT") => void;
  /** Every further one: end the process now. */
  readonly stopNow: () => void;
  /** SIGHUP. */
  readonly reload: () => void;
}

/** Listens to the process's signals until the returned function is called. */
export function watchSignals(actions: SignalActions): () => void {
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) {
      actions.stopNow();
      return;
    }
    stopping = true;
    actions.stop(signal === "SIGINT" ? "SIGINT" : "SIGTERM");
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("SIGHUP", actions.reload);
  return () => {
    process.off("SIGTERM", stop);
    process.off("SIGINT", stop);
    process.off("SIGHUP", actions.reload);
  };
}

/**
 * Turns an exception or rejection that nobody caught into last words and the end of the process, until the
 * returned function is called.
 *
 * @param die  ends the process with a non-zero status; called once, whatever it throws in turn
 */
export function watchCrashes(log: Log, die: () => void): () => void {
  let dying = false;
  const crash = (thrown: unknown): void => {
    if (dying) return;
    dying = true;
    try {
      const stack = thrown instanceof Error ? (thrown.stack ?? "") : "";
      log.error(`stopping after an error nobody caught: ${textOf(thrown)}`, { stack });
    } finally {
      die();
    }
  };
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
  return () => {
    process.off("uncaughtException", crash);
    process.off("unhandledRejection", crash);
  };
}
