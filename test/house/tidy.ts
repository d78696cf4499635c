/**
 * Tidy: what written style would lose if nobody watched it, as rules over the project's files.
 *
 * Three readers, one list: text.ts judges every text file by its lines, comments.ts the headers and doc comments,
 * habits.ts what code must not contain. Here are the rules that look across files, and the tables of exceptions.
 *
 * Pure. The rules that need the folder table take it from architecture.ts, so that "pure" means the same in both tests.
 */

import { LAYOUT } from "./architecture.ts";
import { commentViolations, exportedFunction } from "./comments.ts";
import { documentViolations } from "./documents.ts";
import { habitViolations } from "./habits.ts";
import { isShell, type Layout } from "./layout.ts";
import { parseSources, refusedWord, type Source, type Texts, type Violation } from "./source.ts";
import { lineViolations, textViolations } from "./text.ts";

/** Pure files without a test of their own, and why that is right. */
export const WITHOUT_TEST: Readonly<Record<string, string>> = {};

export interface TidyOptions {
  readonly layout?: Layout;
  readonly withoutTest?: Readonly<Record<string, string>>;
}

/** Every violation of the written style in a tree; `texts` holds all files of the project by path. */
export function checkTidy(texts: Texts, options: TidyOptions = {}): readonly Violation[] {
  const { layout = LAYOUT, withoutTest = WITHOUT_TEST } = options;
  const sources = parseSources(texts, ["src", "test", "config", "build"]);
  return [
    ...textViolations(texts),
    ...documentViolations(texts),
    ...refusedNames(texts),
    ...missingTests(sources, texts, { layout, withoutTest }),
    ...sources.flatMap((source) => [
      ...lineViolations(source),
      ...commentViolations(source, layout),
      ...habitViolations(source),
    ]),
  ];
}

/** File names below test and config; those of src are judged by the architecture test. */
function refusedNames(texts: Texts): readonly Violation[] {
  return [...texts.keys()].flatMap((path) => {
    const word = /^(?:test|config|build)\//.test(path) ? refusedWord(path) : null;
    const text = `"${word}" says nothing about what is in it`;
    return word === null ? [] : [{ rule: "refused-file-name", file: path, line: 1, text }];
  });
}

/** Pure files of src that export code and have no test beside their mirror, and exemptions that no longer hold. */
function missingTests(
  sources: readonly Source[],
  texts: Texts,
  { layout, withoutTest }: Required<TidyOptions>,
): readonly Violation[] {
  const untested = sources
    .filter(
      (source) => source.path.startsWith("src/") && !isShell(source.path, layout) && exportsCode(source),
    )
    .filter((source) => !texts.has(testOf(source.path)))
    .map((source) => source.path);
  const stale = Object.keys(withoutTest).filter((path) => !untested.includes(path));
  return [
    ...untested
      .filter((path) => !Object.hasOwn(withoutTest, path))
      .map((file) => ({ rule: "missing-test", file, line: 1, text: `there is no ${testOf(file)}` })),
    ...stale.map((file) => {
      const text = "is exempt from having a test, but is gone, has one, or needs none";
      return { rule: "stale-exemption", file, line: 1, text };
    }),
  ];
}

function testOf(path: string): string {
  return path.replace(/^src\//, "test/").replace(/\.ts$/, ".test.ts");
}

/** Whether a file exports a function or a class; types and plain values need no test. */
function exportsCode({ code }: Source): boolean {
  return code.some((token, at) => {
    const next = token.text === "export" ? code[at + 1]?.text : "";
    return next === "class" || next === "abstract" || exportedFunction(code, at) !== null;
  });
}

/** Each rule as the sentence that its test is named by. */
export const TIDY_RULES: Readonly<Record<string, string>> = {
  "file-length": "no file is longer than 400 lines, no test longer than 600",
  "line-length": "no line is wider than 110 columns",
  tab: "no tab",
  "trailing-space": "no space at the end of a line",
  "final-newline": "every file ends with one newline",
  "control-character": "no control character, and none that cannot be seen",
  "unfinished-mark": "no mark of unfinished work",
  "registry-host": "no text names a package registry's host",
  "workplace-path": "no text names a path of the place where it was written",
  "workplace-talk": "no text speaks of how the work was handed round",
  header: "every file begins with a header comment of 4 to 15 lines, a test with at least one",
  "header-kind": 'a pure file says "Pure." in its header, a shell file "Touches:"',
  "doc-comment": "every exported function of src has a doc comment",
  "suppressed-type-error": "no comment silences the type checker",
  "as-any": "nothing is cast to any",
  "empty-catch": "no error is swallowed without saying why that is right",
  "only-test": "no test runs alone",
  "wordless-skip": "every skipped test says why",
  sleep: "no test sleeps",
  "broken-link": "every relative link in the documents leads to a file",
  "unknown-path": "every path named in the documents exists",
  "refused-file-name": "no file name says nothing",
  "missing-test": "every pure file that exports code has a test",
  "stale-exemption": "every exemption from having a test is needed",
};
