/**
 * Screen: a terminal of which a command takes the whole for a while.
 *
 * It draws on the alternate screen, so what stood there before is there again when the command ends, however it ends:
 * also by a signal that nobody else listens to, and while the shell has stopped it (^Z).
 * A picture is drawn over the last one line by line and not after erasing all: that would flicker.
 *
 * Touches: the terminal that it is given; signals of job control.
 */

import type { Writable } from "node:stream";
import type { WriteStream } from "node:tty";

/** A terminal, as large as it is at the moment. */
export interface Terminal {
  /** Characters in a line, and lines. */
  readonly size: () => { readonly columns: number; readonly rows: number };
  /** Calls whenever its size has changed. @returns what ends that */
  readonly onResized: (resized: () => void) => () => void;
  /** Calls `left` before the terminal stops or ends this process, `back` when it goes on. @returns what ends that */
  readonly onLeft: (left: () => void, back: () => void) => () => void;
}

/** Private modes of xterm, which all others know by now: alternate screen, and whether the cursor is seen. */
const ENTER = "\u001B[?1049h\u001B[?25l";
const LEAVE = "\u001B[?25h\u001B[?1049l";
/** To the first place; erases the rest of a line, and all that is below (ECMA-48 8.3.21, 8.3.41, 8.3.39). */
const HOME = "\u001B[H";
const ERASE_LINE = "\u001B[K";
const ERASE_BELOW = "\u001B[J";

/** The terminal that a stream is. */
export function terminalOf(stream: WriteStream): Terminal {
  return {
    size: () => ({ columns: stream.columns || 80, rows: stream.rows || 24 }),
    onResized(resized) {
      stream.on("resize", resized);
      return () => stream.off("resize", resized);
    },
    onLeft(left, back) {
      const stop = (): void => {
        left();
        process.kill(process.pid, "SIGSTOP");
      };
      const end = (signal: NodeJS.Signals): void => {
        left();
        undo();
        // Nobody listens any more: it ends as by that signal.
        process.kill(process.pid, signal);
      };
      const undo = (): void => {
        process.off("SIGTSTP", stop).off("SIGCONT", back);
        for (const signal of ENDING) process.off(signal, end);
      };
      process.on("SIGTSTP", stop).on("SIGCONT", back);
      for (const signal of ENDING) process.on(signal, end);
      return undo;
    },
  };
}

/** What a terminal ends programs with, beside SIGINT, which is main.ts's. */
const ENDING = ["SIGHUP", "SIGQUIT"] as const;

/** Takes the whole of a terminal, and gives it back when `use` ends. */
export async function onScreen<T>(
  stdout: Writable,
  terminal: Terminal,
  use: (draw: (text: string) => void) => Promise<T>,
): Promise<T> {
  let last = "";
  const draw = (text: string): void => {
    last = text;
    // What the terminal has not taken yet is older than this: it is not to be added to.
    if (stdout.writableNeedDrain) return;
    const lines = text.split("\n").slice(0, Math.max(1, terminal.size().rows - 1));
    stdout.write(`${HOME}${lines.map((line) => `${line}${ERASE_LINE}`).join("\n")}\n${ERASE_BELOW}`);
  };
  const undo = terminal.onLeft(
    () => stdout.write(LEAVE),
    () => {
      stdout.write(ENTER);
      draw(last);
    },
  );
  stdout.write(ENTER);
  try {
    return await use(draw);
  } finally {
    undo();
    stdout.write(LEAVE);
  }
}
