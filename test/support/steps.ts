/**
 * Steps: how far a long run is, told on standard error while standard output stays for what it found.
 *
 * Before a terminal it is the line that commands of the product have, which moves and is gone at the end. In a pipe or
 * a file, and where nothing moves, it is plain lines, a few: a log of hours is to be read too.
 *
 * Touches: the stream it is given; timers, on a terminal.
 */

import { progress, type Screen } from "../../src/cli/progress.ts";

/** Told what comes next, in a few words: `round 2 of 5`. */
export type OnStep = (text: string) => void;

/** What is quicker than that needs no telling, and between two lines at least so much passes. */
const TOLD_EVERY_MS = 1000;

/** Tells nobody. */
export const untold: OnStep = () => undefined;

/** The nth round, from 0, as people count; with a warm-up that one comes before the first. */
export function roundOf(round: number, rounds: number, { warmsUp = false } = {}): string {
  if (warmsUp && round === 0) return "warming up";
  return `round ${warmsUp ? round : round + 1} of ${rounds}`;
}

/** Passes on what is told, not too often, and nothing within the first second. */
export function seldom(tell: OnStep, nowMs: () => number): OnStep {
  let toldAtMs = nowMs();
  return (text) => {
    if (nowMs() - toldAtMs < TOLD_EVERY_MS) return;
    toldAtMs = nowMs();
    tell(text);
  };
}

/** Runs something long, and tells that it began and how far it is. @returns what it gives; throws what it throws */
export async function withSteps<T>(
  screen: Screen,
  title: string,
  work: (onStep: OnStep) => Promise<T>,
): Promise<T> {
  const { stderr, stderrColumns, env, nowMs } = screen.surroundings;
  stderr.write(`${title} ...\n`);
  if (stderrColumns === 0 || env["TERM"] === "dumb") {
    return await work(seldom((text) => stderr.write(`  ${text}\n`), nowMs));
  }
  let said = title;
  const working = work((text) => (said = text));
  return await progress(screen, { text: said, work: working, look: () => Promise.resolve(said) });
}
