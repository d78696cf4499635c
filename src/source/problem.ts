/**
 * Problem: what is wrong with one container or service, said once and briefly.
 *
 * A problem repeats what a stranger wrote (a label, a file), so its text is cut to a bound, and so is how many a
 * subject and a source may have: a container with ten thousand bad labels must not push the others off the page.
 *
 * Pure.
 */

import type { Problem } from "../model/endpoint.ts";
import { LIMITS } from "../model/limits.ts";

/** Makes a problem; subject and text are cut to their bound. */
export function problem(subject: string, text: string): Problem {
  return { subject: clip(subject), text: clip(text) };
}

/** The first `countMax` of many problems; the last of them says how many are not shown. */
export function boundProblems(problems: readonly Problem[], countMax: number): readonly Problem[] {
  if (problems.length <= countMax) return problems;
  const kept = problems.slice(0, countMax - 1);
  const subject = problems[countMax - 1]?.subject ?? "";
  return [...kept, problem(subject, `${problems.length - kept.length} more problems are not shown`)];
}

/** Cuts text to the bound of a problem's text. */
export function clip(text: string): string {
  return text.length <= LIMITS.problemTextBytes ? text : `${text.slice(0, LIMITS.problemTextBytes - 3)}...`;
}
