/**
 * Comments: every file opens by saying what it decides, every exported function by saying what it gives.
 *
 * Only presence, size and the closing word can be judged here; whether the words are worth reading is for people. The
 * bounds are lenient by the two delimiters: a block of 4 lines may count them, one of 15 lines need not.
 *
 * Pure.
 */

import { isShell, type Layout } from "./layout.ts";
import { closingIndex, type Token } from "./lexer.ts";
import type { Source, Violation } from "./source.ts";

const HEADER_LINES_MIN = 4;
const HEADER_LINES_MAX = 15;
const HEADER_BEGINS_BY_LINE = 3;

/** Rules `header`, `header-kind`, `doc-comment` and `suppressed-type-error`, over one file. */
export function commentViolations(source: Source, layout: Layout): readonly Violation[] {
  return [...headerViolations(source, layout), ...missingDocs(source), ...suppressions(source)];
}

function headerViolations(source: Source, layout: Layout): readonly Violation[] {
  const { path, tokens, text } = source;
  const header = tokens[0];
  const beginsBy = HEADER_BEGINS_BY_LINE + (text.startsWith("#!") ? 1 : 0);
  const present = header?.kind === "comment" && header.line <= beginsBy;
  if (path.startsWith("test/")) {
    return present ? [] : [at(source, "header", 1, "expected a header comment")];
  }
  if (!present || !header.text.startsWith("/*")) {
    return [at(source, "header", 1, "expected a header of the form /** ... */")];
  }
  const size = header.text.split("\n").length;
  const sized = size >= HEADER_LINES_MIN && size - 2 <= HEADER_LINES_MAX;
  const expected = `expected ${HEADER_LINES_MIN} to ${HEADER_LINES_MAX}`;
  const found = sized ? [] : [at(source, "header", header.line, `a header of ${size} lines; ${expected}`)];
  const shell = isShell(path, layout);
  const says = shell ? header.text.includes("Touches:") : /\bPure[.:]/.test(header.text);
  if (!path.startsWith("src/") || says) return found;
  return [
    ...found,
    at(source, "header-kind", header.line, `expected "${shell ? "Touches:" : "Pure."}" in the header`),
  ];
}

function at({ path }: Source, rule: string, line: number, text: string): Violation {
  return { rule, file: path, line, text };
}

/** Exported functions, and constants that are functions, without a doc comment right above; an overload set has one. */
function missingDocs(source: Source): readonly Violation[] {
  if (!source.path.startsWith("src/")) return [];
  const documented = new Set<string>();
  return source.tokens.flatMap((token, index) => {
    const name = token.text === "export" ? exportedFunction(source.code, source.code.indexOf(token)) : null;
    if (name === null || documented.has(name)) return [];
    documented.add(name);
    // Not the header, even where nothing stands between it and the function.
    const above = index > 1 ? source.tokens[index - 1] : undefined;
    const isDoc =
      above?.kind === "comment" && above.text.startsWith("/**") && above.endLine >= token.line - 1;
    return isDoc ? [] : [at(source, "doc-comment", token.line, `${name} has no doc comment`)];
  });
}

/** The name of the function, or of the constant that is a function, whose export begins at `index`; else null. */
export function exportedFunction(code: readonly Token[], index: number): string | null {
  if (code[index]?.kind !== "word" || code[index].text !== "export") return null;
  const at = code[index + 1]?.text === "async" ? index + 2 : index + 1;
  if (code[at]?.text === "function") return code[code[at + 1]?.text === "*" ? at + 2 : at + 1]?.text ?? null;
  return code[at]?.text === "const" && beginsFunction(code, at) ? (code[at + 1]?.text ?? null) : null;
}

/** Whether the constant declared at a token is given a function: `function`, `(...) =>`, `x =>` or `<T>(...) =>`. */
function beginsFunction(code: readonly Token[], declared: number): boolean {
  const equals = code.findIndex((token, index) => index > declared && /^[=;]$/.test(token.text));
  const value = code[equals + 1]?.text === "async" ? equals + 2 : equals + 1;
  const first = code[value]?.text;
  if (first === "function" || first === "<" || code[value + 1]?.text === "=>") return true;
  const after = first === "(" ? code[closingIndex(code, value) + 1]?.text : "";
  return after === "=>" || after === ":";
}

function suppressions(source: Source): readonly Violation[] {
  return source.tokens.flatMap((token) => {
    const mark = token.kind === "comment" ? /@ts-(?:ignore|expect-error|nocheck)/.exec(token.text) : null;
    if (mark === null) return [];
    const line = token.line + token.text.slice(0, mark.index).split("\n").length - 1;
    return [at(source, "suppressed-type-error", line, mark[0])];
  });
}
