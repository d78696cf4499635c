/**
 * Habits: what code must not contain, judged by its tokens so that a word in a string is only a word.
 *
 * A swallowed error may be right, but then somebody had a reason: a comment inside the empty block is the reason; for
 * `.catch(() => {})` one beside or right above the line will do. A timer in a test is a sleep when all it does is to
 * resolve a promise; a timer that rejects is a deadline, and welcome.
 *
 * Pure.
 */

import { closingIndex, type Token } from "./lexer.ts";
import type { Source, Violation } from "./source.ts";

/** The one file in which tests let time pass. */
const WAIT = "test/support/wait.ts";

const TIMER_NAMES = new Set(["setTimeout", "setInterval", "scheduler", "default", "*"]);

/** Rules `as-any`, `empty-catch`, `only-test`, `wordless-skip` and `sleep`, over one file. */
export function habitViolations(source: Source): readonly Violation[] {
  const { code, path } = source;
  const inTest = path.startsWith("test/");
  const found = code.flatMap((token, at) => {
    if (token.kind !== "word") return [];
    const rule = habitAt(source, at) ?? (inTest ? testHabitAt(source, at) : null);
    return rule === null ? [] : [{ rule, file: path, line: token.line, text: lineText(source, token) }];
  });
  return inTest && path !== WAIT ? [...found, ...importedSleeps(source)] : found;
}

function lineText(source: Source, token: Token): string {
  return source.lines[token.line - 1]?.trim() ?? token.text;
}

function habitAt(source: Source, at: number): string | null {
  const { code } = source;
  if (code[at]?.text === "as" && code[at + 1]?.text === "any" && code[at - 1]?.text !== ".") return "as-any";
  if (code[at]?.text === "catch" && swallows(source, at)) return "empty-catch";
  return null;
}

function swallows(source: Source, at: number): boolean {
  const { code } = source;
  const token = code[at];
  const isMethod = code[at - 1]?.text === "." || code[at - 1]?.text === "?.";
  if (token === undefined) return false;
  if (isMethod) return passesEmptyFunction(code, at) && !commented(source, token.line - 1, token.line);
  const open = code[at + 1]?.text === "(" ? closingIndex(code, at + 1) + 1 : at + 1;
  const close = code[open + 1];
  if (code[open]?.text !== "{" || close?.text !== "}") return false;
  return !commented(source, code[open].line, close.line);
}

/** `.catch(() => {})`, `.catch((error) => {})`, `.catch(() => undefined)`. */
function passesEmptyFunction(code: readonly Token[], at: number): boolean {
  const end = closingIndex(code, at + 1);
  const text = code
    .slice(at + 1, end + 1)
    .map((token) => token.text)
    .join(" ");
  return /^\( (?:async )?(?:\( \S* ?\)|\w+) => (?:\{ \}|undefined|void 0) ,? ?\)$/.test(text);
}

/** Whether a comment other than the header stands on these lines. */
function commented(source: Source, firstLine: number, lastLine: number): boolean {
  return source.tokens.some(
    (token, at) => at > 0 && token.kind === "comment" && token.endLine >= firstLine && token.line <= lastLine,
  );
}

function testHabitAt(source: Source, at: number): string | null {
  const { code, path } = source;
  const before = code[at - 1]?.text;
  const [word, next, value, after] = [0, 1, 2, 3].map((step) => code[at + step]?.text);
  if (word === "only" && ((before === "." && next === "(") || (next === ":" && value === "true")))
    return "only-test";
  if (word === "skip" && next === ":" && value === "true") return "wordless-skip";
  if (word === "skip" && before === "." && next === "(" && !saysWhy(code, at, value)) return "wordless-skip";
  if (path === WAIT) return null;
  if (word === "await" && next === "setTimeout" && value === "(") return "sleep";
  if (word === "Atomics" && value === "wait" && after === "(") return "sleep";
  return word === "setTimeout" && next === "(" && resolvesPromise(code, at) ? "sleep" : null;
}

/** `t.skip("why")` inside a test says why; `test.skip("name", ...)` does not, and neither does `t.skip()`. */
function saysWhy(code: readonly Token[], at: number, argument: string | undefined): boolean {
  const owner = code[at - 2]?.text ?? "";
  return argument !== ")" && !["test", "it", "describe", "suite"].includes(owner);
}

/** `new Promise((done) => setTimeout(done, 50))`, and the same with a body or with `() => done()`. */
function resolvesPromise(code: readonly Token[], at: number): boolean {
  const start = code.findLastIndex(
    (token, index) => index < at && token.text === "Promise" && isNew(code, index),
  );
  if (start === -1) return false;
  const open = code.findIndex((token, index) => index > start && token.text === "(");
  if (open === -1 || closingIndex(code, open) < at) return false;
  const resolve = code.slice(open + 1, open + 4).find((token) => token.kind === "word")?.text;
  const end = closingIndex(code, at + 1);
  const action = code.slice(at + 2, end).map((token) => token.text);
  return action[0] === resolve || action.slice(0, 4).join(" ") === `( ) => ${resolve}`;
}

function isNew(code: readonly Token[], index: number): boolean {
  return code[index - 1]?.text === "new";
}

function importedSleeps(source: Source): readonly Violation[] {
  return source.imports
    .filter((one) => one.specifier !== null && /^(?:node:)?timers\/promises$/.test(one.specifier))
    .filter((one) => one.names.some((name) => TIMER_NAMES.has(name)))
    .map((one) => {
      const text = `timers belong in ${WAIT}; wait for a condition instead`;
      return { rule: "sleep", file: source.path, line: one.line, text };
    });
}
