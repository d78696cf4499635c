/**
 * Progress: one line that moves while a command waits.
 *
 * Whoever sits before a terminal and sees nothing for seconds takes a command for hung. So what may take more than a
 * moment tells on stderr what it waits for, how long already and, where that can be asked, who is missing. The line
 * comes late, so that what is quick never flickers, and is gone when the wait is over. Nothing of it is there when
 * stderr is no terminal, and with `--quiet`: a log is to hold what happened and no animation.
 *
 * Touches: stderr, as it is given; timers.
 */

import type { Session, Surroundings } from "./context.ts";
import { printable } from "./render.ts";

/** What is quicker than that needs no telling. */
const SHOWN_AFTER_MS = 400;
const FRAME_EVERY_MS = 120;
/** Between two questions after what is missing. */
const LOOK_EVERY_MS = 1000;
const BRAILLE = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const ASCII = ["-", "\\", "|", "/"] as const;
/** To the first column, and erases the line (ECMA-48 8.3.41). */
const ERASE = "\r\u001B[K";

/** What is drawn on, and whether at all. */
export interface Screen extends Pick<Session, "quiet"> {
  readonly surroundings: Pick<Surroundings, "stderr" | "stderrColumns" | "env" | "nowMs">;
}

/** A wait that is told of. */
export interface Wait<T> {
  /** What is waited for, as the line begins: `waiting for every member to apply it`. */
  readonly text: string;
  readonly work: Promise<T>;
  /** Asked each second: what is to stand in place of the text; null for nothing new. What it throws is ignored. */
  readonly look?: () => Promise<string | null>;
}

/** Waits, and shows that it does. @returns what the work gives; throws what it throws */
export async function progress<T>(screen: Screen, { text, work, look }: Wait<T>): Promise<T> {
  const { stderr, stderrColumns, env, nowMs } = screen.surroundings;
  if (stderrColumns === 0 || screen.quiet || env["TERM"] === "dumb") return await work;
  const sinceMs = nowMs();
  const frames = isUtf8(env) ? BRAILLE : ASCII;
  let [said, count, lookedAtMs, isLooking] = [text, 0, sinceMs, false];
  const ask = async (): Promise<void> => {
    isLooking = true;
    lookedAtMs = nowMs();
    said = (await look?.().catch(() => null)) ?? said;
    isLooking = false;
  };
  const draw = (): void => {
    if (look !== undefined && !isLooking && nowMs() - lookedAtMs >= LOOK_EVERY_MS) void ask();
    const seconds = Math.floor((nowMs() - sinceMs) / 1000);
    const line = `${frames[count % frames.length]} ${printable(said)}`;
    const passed = seconds === 0 ? "" : `  ${seconds}s`;
    // The last column stays free: writing there makes some terminals go to the next line.
    stderr.write(`${ERASE}${cut(line, stderrColumns - 1 - passed.length)}${passed}`);
    count += 1;
  };
  let ticker: NodeJS.Timeout | null = null;
  const begin = setTimeout(() => {
    draw();
    ticker = setInterval(draw, FRAME_EVERY_MS);
  }, SHOWN_AFTER_MS);
  try {
    return await work;
  } finally {
    clearTimeout(begin);
    if (ticker !== null) clearInterval(ticker);
    if (count > 0) stderr.write(ERASE);
  }
}

function cut(line: string, columnsMax: number): string {
  return line.length <= columnsMax ? line : `${line.slice(0, Math.max(0, columnsMax - 3))}...`;
}

/** Whether the locale says that the terminal knows more than ASCII (POSIX XBD 8.2). */
function isUtf8(env: Session["surroundings"]["env"]): boolean {
  const locale = [env["LC_ALL"], env["LC_CTYPE"], env["LANG"]].find((value) => (value ?? "") !== "");
  return /utf-?8/i.test(locale ?? "");
}
