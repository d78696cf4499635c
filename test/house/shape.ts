/**
 * Shape: no cycles, no barrels, and no construct that hides what a file does when it is loaded.
 *
 * TypeScript forbids none of this and famous code has all of it. A cycle makes the order of loading matter; a barrel
 * makes cycles invisible and loads a folder to use one name; an enum emits code; a default export gets a new name in
 * every file; a side-effect import and mutable state at module level act before anybody called anything.
 *
 * A type-only import counts in a cycle: two files that need each other's types are one file, or miss a noun.
 *
 * Pure.
 */

import { resolveSpecifier } from "./folders.ts";
import { depthChange, type Token } from "./lexer.ts";
import { refusedWord, type Source, type Violation } from "./source.ts";

/**
 * Rules `import-cycle`, `barrel`, `enum`, `default-export`, `side-effect-import`, `module-state`, `refused-name` and
 * `unresolved-import`, over the files of `src`.
 */
export function shapeViolations(sources: readonly Source[]): readonly Violation[] {
  return [
    ...cycles(sources),
    ...sources.flatMap((source) => [
      ...barrel(source),
      ...constructs(source),
      ...sideEffectImports(source),
      ...moduleState(source),
      ...refusedName(source),
    ]),
  ];
}

function report(rule: string, source: Source, line: number, text: string): Violation {
  return { rule, file: source.path, line, text };
}

/** Each cycle once, reported at the import that closes it, with the whole path round. */
function cycles(sources: readonly Source[]): readonly Violation[] {
  const sourceByPath = new Map(sources.map((source) => [source.path, source]));
  const done = new Set<string>();
  const found: Violation[] = [];
  const visit = (source: Source, trail: readonly string[]): void => {
    for (const one of source.imports) {
      if (one.specifier?.startsWith(".") !== true) continue;
      const target = resolveSpecifier(source.path, one.specifier);
      const back = trail.indexOf(target);
      const next = sourceByPath.get(target);
      if (back !== -1) {
        found.push(report("import-cycle", source, one.line, [...trail.slice(back), target].join(" -> ")));
      } else if (next !== undefined && !done.has(target)) {
        visit(next, [...trail, target]);
      } else if (next === undefined && target.startsWith("src/")) {
        found.push(report("unresolved-import", source, one.line, `${one.specifier}; there is no ${target}`));
      }
    }
    done.add(source.path);
  };
  for (const source of sources) if (!done.has(source.path)) visit(source, [source.path]);
  return found;
}

/** A file of nothing but imports and re-exports, or one that has the name of a barrel. */
function barrel(source: Source): readonly Violation[] {
  if (source.path.endsWith("/index.ts")) return [report("barrel", source, 1, "index.ts is a barrel's name")];
  const { code, imports } = source;
  const covered = new Set<number>();
  for (const one of imports) for (let at = one.from; at <= one.to; at += 1) covered.add(at);
  const rest = code.filter((token, at) => !covered.has(at) && token.text !== ";");
  const exportsSomething = imports.some((one) => one.form === "re-export") || rest[0]?.text === "export";
  if (code.length === 0 || !exportsSomething || !onlyExportList(rest)) return [];
  return [report("barrel", source, 1, "the file only passes on what others export")];
}

/** Nothing, or lists `export { a, b }` of what was imported. */
function onlyExportList(rest: readonly Token[]): boolean {
  const text = rest.map((token) => token.text).join(" ");
  return /^(?:export (?:type )?\{[^{}]*\} ?)*$/.test(text);
}

function constructs(source: Source): readonly Violation[] {
  const { code } = source;
  return code.flatMap((token, at) => {
    if (token.kind !== "word" || code[at - 1]?.text === ".") return [];
    if (token.text === "enum" && code[at + 1]?.kind === "word" && code[at + 2]?.text === "{") {
      return [report("enum", source, token.line, `enum ${code[at + 1]?.text}; expected a union of strings`)];
    }
    const isDefault =
      (token.text === "export" && code[at + 1]?.text === "default") ||
      (token.text === "as" && code[at + 1]?.text === "default" && code[at + 2]?.text !== "as");
    if (!isDefault || isImportClause(source, at)) return [];
    return [report("default-export", source, token.line, "export it by a name")];
  });
}

/** Whether a token belongs to an `import` statement, where `x as default` would be no export. */
function isImportClause(source: Source, at: number): boolean {
  return source.imports.some((one) => one.form === "static" && one.from <= at && at <= one.to);
}

function sideEffectImports(source: Source): readonly Violation[] {
  return source.imports
    .filter((one) => one.form === "side-effect")
    .map((one) => report("side-effect-import", source, one.line, `import "${one.specifier}" takes no name`));
}

/** `let` and `var` at module level, and a `const` that holds an empty Map or Set which is not typed as read only. */
function moduleState(source: Source): readonly Violation[] {
  const found: Violation[] = [];
  let depth = 0;
  source.code.forEach((token, at) => {
    const before = source.code[at - 1]?.text;
    const begins = token.kind === "word" && depth === 0 && before !== "." && before !== ",";
    if (begins && (token.text === "let" || token.text === "var")) {
      found.push(report("module-state", source, token.line, `${token.text} ${source.code[at + 1]?.text}`));
    } else if (begins && token.text === "const" && holdsEmptyCollection(source.code, at)) {
      const text = `const ${source.code[at + 1]?.text} is a collection to be filled`;
      found.push(report("module-state", source, token.line, text));
    }
    depth += depthChange(token);
  });
  return found;
}

function holdsEmptyCollection(code: readonly Token[], at: number): boolean {
  const end = code.findIndex((token, index) => index > at && token.text === ";");
  const statement = code.slice(at, end === -1 ? undefined : end).map((token) => token.text);
  const text = statement.join(" ");
  return (
    !text.includes("Readonly") &&
    /^const \S+ (?:: [^=]+)?= new (?:Weak)?(?:Map|Set)(?: < .+ >)? \( \)$/.test(text)
  );
}

function refusedName(source: Source): readonly Violation[] {
  const word = refusedWord(source.path);
  return word === null
    ? []
    : [report("refused-name", source, 1, `"${word}" says nothing about what is in it`)];
}
