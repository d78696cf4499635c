/**
 * Label reader: takes one label at a time, and turns what cannot be read into a problem and a default.
 *
 * The rule that a bad value harms nothing but itself is written here once, so that no label can forget it: a list
 * loses its bad elements only, a value loses to its default, and every loss is reported within a bound.
 *
 * Pure.
 */

import type { Result } from "../../base/failure.ts";
import { LIMITS } from "../../model/limits.ts";

/** A container's labels. A Map, not an object: a label may be called `__proto__`. */
export type Labels = ReadonlyMap<string, string>;

/** Checks the text of one label; `thing` names it in a failure. */
export type LabelParser<T> = (thing: string, text: string) => Result<T>;

/** Reads the labels of one container and remembers what was wrong with them. */
export interface LabelReader {
  readonly labels: Labels;
  /** The label's value; `fallback` when it is absent, or bad and reported. */
  read<T, F>(name: string, parse: LabelParser<T>, fallback: F): T | F;
  /** The good elements of a list by comma, at most `countMax`; empty when absent. */
  readList<T>(name: string, parse: LabelParser<T>, countMax: number): readonly T[];
  /** Adds a problem that no single value shows. */
  report(text: string): void;
  /** All problems so far, without repeats, at most LIMITS.problemsPerSubject. */
  problems(): readonly string[];
}

/** Makes a reader over the labels of one container. */
export function openReader(labels: Labels): LabelReader {
  const problems = new Set<string>();
  const report = (text: string): void => {
    if (problems.size < LIMITS.problemsPerSubject) problems.add(text);
  };
  /** The text of a label; null when it is absent, or too long to be looked at. */
  const textOf = (name: string): string | null => {
    const text = labels.get(name);
    if (text === undefined) return null;
    if (text.length <= LIMITS.labelValueBytes) return text;
    report(`label "${name}" has ${text.length} characters; expected at most ${LIMITS.labelValueBytes}`);
    return null;
  };

  return {
    labels,
    report,
    problems: () => [...problems],
    read(name, parse, fallback) {
      const text = textOf(name);
      if (text === null) return fallback;
      const parsed = parse(`label "${name}"`, text.trim());
      if (parsed.ok) return parsed.value;
      report(parsed.failure.message);
      return fallback;
    },
    readList(name, parse, countMax) {
      const parts = (textOf(name) ?? "").split(",").map((part) => part.trim());
      const values = parts
        .filter((part) => part !== "")
        .map((part) => parse(`label "${name}"`, part))
        .flatMap((parsed) => {
          if (parsed.ok) return [parsed.value];
          report(parsed.failure.message);
          return [];
        });
      if (values.length > countMax)
        report(`label "${name}" lists ${values.length}; expected at most ${countMax}`);
      return values.slice(0, countMax);
    },
  };
}
