/**
 * Text: rules about lines and words, blind to what the text means.
 *
 * The words refused in every file are about where and by whom the work was done: a reader of the project can use none
 * of it, and a registry's host in a lock file ties an installation to one mirror. The patterns below are written so
 * that they do not match themselves, since this file is judged too.
 *
 * Pure.
 */

import type { Source, Texts, Violation } from "./source.ts";

const LINES_MAX = 400;
const TEST_LINES_MAX = 600;
const COLUMNS_MAX = 110;
/**
 * Prose may be wider: comments are left as they are written, and the formatter, which sets code to 110, cannot break a
 * test's name, a message or a pattern.
 */
const PROSE_COLUMNS_MAX = 120;
/** From this length on a literal counts as prose. */
const PROSE_LENGTH_MIN = 40;

interface Refused {
  readonly rule: string;
  readonly pattern: RegExp;
}

/** Refused in every text file. */
const EVERYWHERE: readonly Refused[] = [
  { rule: "registry-host", pattern: /registry\.npmjs|deb\.debian\.org|https?:\/\/[^/\s]*registry/i },
  { rule: "workplace-path", pattern: /\/work\/|\/tmp\/bash_jobs/ },
  { rule: "workplace-talk", pattern: /\bissue #\d|\bhelper[ ]session|\bC[E]O\b/i },
];

/** Refused in code, wherever in the line. */
const IN_CODE: readonly Refused[] = [
  { rule: "tab", pattern: /\t/ },
  { rule: "trailing-space", pattern: /[^\S\n]$/ },
  { rule: "unfinished-mark", pattern: /\b(?:TO[D]O|FIX[M]E|X[X]X)\b/ },
  // C0 without tab and newline, C1, the soft hyphen, zero-width and direction marks, separators, the byte order mark.
  {
    rule: "control-character",
    // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
    pattern: /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/,
  },
];

/** Rules `registry-host`, `workplace-path`, `workplace-talk`, over every text file. */
export function textViolations(texts: Texts): readonly Violation[] {
  return [...texts].flatMap(([path, text]) => {
    // Nearly all files are clean; looking at the whole text first spares splitting the large ones.
    const suspected = EVERYWHERE.filter(({ pattern }) => pattern.test(text));
    const resolved = path === "package-lock.json" ? resolvedKeys(path, text) : [];
    if (suspected.length === 0) return resolved;
    return [...resolved, ...text.split("\n").flatMap((line, at) => inLine(path, line, at, suspected))];
  });
}

function resolvedKeys(path: string, text: string): readonly Violation[] {
  if (!text.includes('"resolved"')) return [];
  const line = text.slice(0, text.indexOf('"resolved"')).split("\n").length;
  return [{ rule: "registry-host", file: path, line, text: 'the lock file has "resolved" keys' }];
}

/** Rules about length, width and characters, over one file of code. */
export function lineViolations(source: Source): readonly Violation[] {
  const { path, lines, text } = source;
  const ofCode = linesOfCode(source);
  const found = lines.flatMap((line, at) => [
    ...inLine(path, line, at, IN_CODE),
    ...wide(path, line, at, ofCode.has(at + 1) ? COLUMNS_MAX : PROSE_COLUMNS_MAX),
  ]);
  const linesMax = path.startsWith("test/") ? TEST_LINES_MAX : LINES_MAX;
  const count = text.endsWith("\n") ? lines.length - 1 : lines.length;
  if (count > linesMax) {
    found.push({
      rule: "file-length",
      file: path,
      line: linesMax,
      text: `${count} lines; at most ${linesMax}`,
    });
  }
  if (!text.endsWith("\n") || text.endsWith("\n\n")) {
    found.push({ rule: "final-newline", file: path, line: count, text: "expected one newline at the end" });
  }
  return found;
}

/** The lines that hold code and no long literal. */
function linesOfCode(source: Source): ReadonlySet<number> {
  const found = new Set<number>();
  const prose = new Set<number>();
  for (const { kind, text, line, endLine } of source.code) {
    const isProse = /^(?:string|template|regex)$/.test(kind) && text.length >= PROSE_LENGTH_MIN;
    for (let at = line; at <= endLine; at += 1) (isProse ? prose : found).add(at);
  }
  for (const at of prose) found.delete(at);
  return found;
}

function wide(path: string, line: string, at: number, columnsMax: number): Violation[] {
  // Not line.length alone: it counts a character outside the basic plane twice.
  const columns = line.length > columnsMax ? Array.from(line).length : line.length;
  const text = `${columns} columns; at most ${columnsMax}`;
  return columns > columnsMax ? [{ rule: "line-length", file: path, line: at + 1, text }] : [];
}

function inLine(path: string, line: string, at: number, refused: readonly Refused[]): Violation[] {
  return refused.flatMap(({ rule, pattern }) => {
    const match = pattern.exec(line)?.[0];
    return match === undefined ? [] : [{ rule, file: path, line: at + 1, text: JSON.stringify(match) }];
  });
}
