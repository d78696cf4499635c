/**
 * Imports: what one file loads, and by which form, read from its tokens.
 *
 * Every form counts: `import`, `import type`, `export ... from`, `import "x"`, `import(...)`, `import("x").T` in a
 * type, and `require(...)`. The rules ask three things of an import: from where, which names, and whether it is
 * erased before anything runs (`import type`). A name marked `type` inside braces is left out of `names`, but the
 * import itself is not erased: under `verbatimModuleSyntax` the module is still loaded.
 *
 * Pure. lexer.ts makes the tokens; folders.ts, packages.ts, purity.ts and shape.ts judge the imports.
 */

import { closingIndex, type Token } from "./lexer.ts";

export type ImportForm = "static" | "side-effect" | "re-export" | "dynamic" | "require";

/** One import; `specifier` is null where a dynamic import computes it. */
export interface Import {
  readonly form: ImportForm;
  readonly specifier: string | null;
  /** Exported names that are loaded as values; "default" and "*" stand for themselves. */
  readonly names: readonly string[];
  readonly typeOnly: boolean;
  readonly line: number;
  /** Indices of the first and last token of the statement or expression, in the code without comments. */
  readonly from: number;
  readonly to: number;
}

/** All imports of a file, in order. `code` holds its tokens without comments. */
export function importsOf(code: readonly Token[]): readonly Import[] {
  const found: Import[] = [];
  code.forEach((token, index) => {
    if (token.kind !== "word" || code[index - 1]?.text === ".") return;
    const one = importAt(code, index);
    if (one !== null) found.push(one);
  });
  return found;
}

function importAt(code: readonly Token[], index: number): Import | null {
  const next = code[index + 1];
  switch (code[index]?.text ?? "") {
    case "import":
      if (next?.text === "(") return call(code, index, "dynamic");
      if (next?.kind === "string") return sideEffect(code, index, next);
      return next?.text === "." ? null : declaration(code, index, "static");
    case "export": {
      const afterType = next?.text === "type" ? code[index + 2] : next;
      const mayHaveSource = afterType?.text === "{" || afterType?.text === "*";
      return mayHaveSource ? declaration(code, index, "re-export") : null;
    }
    case "require":
      return next?.text === "(" ? call(code, index, "require") : null;
    default:
      return null;
  }
}

function call(code: readonly Token[], index: number, form: ImportForm): Import {
  const argument = code[index + 2];
  const to = closingIndex(code, index + 1);
  const line = code[index]?.line ?? 0;
  return { form, specifier: unquoted(argument), names: ["*"], typeOnly: false, line, from: index, to };
}

function sideEffect(code: readonly Token[], index: number, specifier: Token): Import {
  const line = code[index]?.line ?? 0;
  const form = "side-effect";
  return {
    form,
    specifier: unquoted(specifier),
    names: [],
    typeOnly: false,
    line,
    from: index,
    to: index + 1,
  };
}

/** `import <clause> from "x"` or `export <clause> from "x"`; null for an export list without a source. */
function declaration(code: readonly Token[], index: number, form: ImportForm): Import | null {
  let at = index + 1;
  while (at < code.length && !endsClause(code, at))
    at = code[at]?.text === "{" ? closingIndex(code, at) + 1 : at + 1;
  const specifier = unquoted(code[at + 1]);
  if (specifier === null) return null;
  const clause = code.slice(index + 1, at);
  const typeOnly = clause[0]?.text === "type" && clause.length > 1 && clause[1]?.text !== ",";
  const names = typeOnly ? [] : namesOf(clause);
  return { form, specifier, names, typeOnly, line: code[index]?.line ?? 0, from: index, to: at + 1 };
}

function endsClause(code: readonly Token[], at: number): boolean {
  const text = code[at]?.text;
  return (
    (text === "from" && code[at + 1]?.kind === "string") ||
    text === ";" ||
    text === "export" ||
    text === "import"
  );
}

/** The value names of a clause: the default, the namespace, and those in braces that are not marked `type`. */
function namesOf(clause: readonly Token[]): readonly string[] {
  const brace = clause.findIndex((token) => token.text === "{");
  const outside = brace === -1 ? clause : clause.slice(0, brace);
  const names: string[] = outside.some((token) => token.text === "*") ? ["*"] : [];
  if (outside[0]?.kind === "word") names.unshift("default");
  if (brace === -1) return names;
  let element: string[] = [];
  for (const token of clause.slice(brace + 1)) {
    if (token.text !== "," && token.text !== "}") {
      element.push(token.text);
      continue;
    }
    const marked = element[0] === "type" && element.length > 1 && element[1] !== "as";
    if (element[0] !== undefined && !marked) names.push(element[0]);
    element = [];
  }
  return names;
}

function unquoted(token: Token | undefined): string | null {
  return token?.kind === "string" ? token.text.slice(1, -1) : null;
}
