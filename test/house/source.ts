/**
 * Source: one file of the project as the house rules see it, and the violation they report.
 *
 * A file is cut into tokens once and then read by every rule, because cutting is most of the work. `code` is the tokens
 * without comments: most rules are about neighbours, and a comment between two tokens must not hide one from another.
 *
 * Pure.
 */

import { importsOf, type Import } from "./imports.ts";
import { tokenize, type Token } from "./lexer.ts";

/** A place where a rule is broken; `file` is relative to the project, `line` counts from 1. */
export interface Violation {
  readonly rule: string;
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** Paths, relative to the project and with forward slashes, to their text. */
export type Texts = ReadonlyMap<string, string>;

export interface Source {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  readonly tokens: readonly Token[];
  readonly code: readonly Token[];
  readonly imports: readonly Import[];
}

/** Reads one file. */
export function parseSource(path: string, text: string): Source {
  const tokens = tokenize(text, path.endsWith(".tsx") ? "tsx" : "ts");
  const code = tokens.filter((token) => token.kind !== "comment");
  return { path, text, lines: text.split("\n"), tokens, code, imports: importsOf(code) };
}

/** Reads the TypeScript files below some folders, in order of their paths. */
export function parseSources(texts: Texts, folders: readonly string[]): readonly Source[] {
  return [...texts]
    .filter(([path]) => /\.tsx?$/.test(path) && folders.some((folder) => path.startsWith(`${folder}/`)))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, text]) => parseSource(path, text));
}

/** Violations as lines a terminal makes clickable, empty when there are none. */
export function renderViolations(violations: readonly Violation[]): string {
  return violations.map(({ rule, file, line, text }) => `${file}:${line} ${rule}: ${text}`).join("\n");
}

const REFUSED_WORDS = new Set("manager managers helper helpers util utils common misc".split(" "));

/** The word in a path that says nothing about what the file is for, or null. */
export function refusedWord(path: string): string | null {
  const words = path
    .replace(/([a-z])([A-Z])/g, "$1-$2")
    .toLowerCase()
    .split(/[^a-z]+/);
  return words.find((word) => REFUSED_WORDS.has(word)) ?? null;
}
