/**
 * Purity: a pure file does not know the time, roll dice, wait, log, or reach for the world.
 *
 * Judged by name: an ambient name counts wherever it is used as a value, whether or not it is shadowed, since a reader
 * cannot see at a glance that `process` is a parameter. Names after a dot, property keys and declared methods are other
 * things and do not count. Modules are judged by the names taken from them; types are erased, so they are free.
 *
 * Pure. Which files are shells, and what the tables allow, is in architecture.ts.
 */

import { isBuiltin } from "node:module";

import type { Import } from "./imports.ts";
import { folderOf, isShell, type AllowedNames, type Layout } from "./layout.ts";
import { closingIndex, type Token } from "./lexer.ts";
import { packageOf } from "./packages.ts";
import type { Source, Violation } from "./source.ts";

/** Names that are ambient by themselves, by the rule that refuses them. */
const AMBIENT: Readonly<Record<string, readonly string[]>> = {
  "ambient-clock": ["performance", "Temporal"],
  "ambient-randomness": ["crypto"],
  "ambient-timer": ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"],
  "ambient-world": "process console fetch globalThis global require eval WebSocket EventSource Worker".split(
    " ",
  ),
};

const RULE_BY_NAME = new Map(
  Object.entries(AMBIENT).flatMap(([rule, names]) => names.map((name) => [name, rule] as const)),
);

/** Members that are ambient although their owner is not, as `Owner.member`. */
const RULE_BY_MEMBER: Readonly<Record<string, string>> = {
  "Date.now": "ambient-clock",
  "Math.random": "ambient-randomness",
  "AbortSignal.timeout": "ambient-timer",
  "Atomics.wait": "ambient-timer",
  "Atomics.waitAsync": "ambient-timer",
  "import.meta": "ambient-world",
};

/** Rules `impure-module` and `ambient-...`, over the pure files of `src`. */
export function purityViolations(sources: readonly Source[], layout: Layout): readonly Violation[] {
  const pure = sources.filter((source) => !isShell(source.path, layout));
  return pure.flatMap((source) => [...impureImports(source, layout), ...ambientUses(source)]);
}

function impureImports(source: Source, layout: Layout): readonly Violation[] {
  return source.imports.flatMap((one) => {
    const allowed = one.typeOnly ? "all" : allowedNames(source.path, one, layout);
    if (allowed === "all") return [];
    const refused = one.names.filter((name) => !allowed.includes(name));
    // Not only names: an import that takes none, such as `import "node:net"`, still runs the module.
    if (refused.length === 0 && one.names.length > 0) return [];
    const what = refused.length === 0 ? "" : ` { ${refused.join(", ")} }`;
    const text = `a pure file imports${what} from ${one.specifier}`;
    return [{ rule: "impure-module", file: source.path, line: one.line, text }];
  });
}

/** What a pure file may take from a module that lies outside `src`; "all" for a file of `src`. */
function allowedNames(path: string, one: Import, layout: Layout): AllowedNames {
  const { specifier } = one;
  if (specifier === null) return [];
  if (isBuiltin(specifier)) {
    const name = specifier.startsWith("node:") ? specifier : `node:${specifier}`;
    return Object.hasOwn(layout.pureModules, name) ? (layout.pureModules[name] ?? []) : [];
  }
  const name = packageOf(one);
  if (name === null) return "all";
  const entry = Object.hasOwn(layout.purePackages, name) ? layout.purePackages[name] : undefined;
  return entry?.folders.includes(folderOf(path)) === true ? entry.names : [];
}

function ambientUses(source: Source): readonly Violation[] {
  const { code, path } = source;
  // The names in an import are impure-module's to judge.
  const clauses = source.imports.filter((one) => one.form === "static");
  return code.flatMap((token, index) => {
    const found = token.kind === "word" ? ambientAt(code, index) : null;
    if (found === null || clauses.some((one) => one.from < index && index <= one.to)) return [];
    const text = `a pure file uses ${found.name}`;
    return [{ rule: found.rule, file: path, line: token.line, text }];
  });
}

function ambientAt(code: readonly Token[], index: number): { rule: string; name: string } | null {
  const word = code[index]?.text ?? "";
  const before = code[index - 1]?.text;
  if (before === "." || before === "?.") return null;
  if (word === "nextTick") return { rule: "ambient-timer", name: word };
  const next = code[index + 1]?.text;
  const member = next === "." || next === "?." ? `${word}.${code[index + 2]?.text}` : "";
  if (Object.hasOwn(RULE_BY_MEMBER, member)) return { rule: RULE_BY_MEMBER[member] ?? "", name: member };
  if (word === "Date" && readsClock(code, index)) return { rule: "ambient-clock", name: "new Date()" };
  const rule = RULE_BY_NAME.get(word);
  if (rule === undefined || isName(code, index)) return null;
  if (word === "process" && code[index + 2]?.text === "nextTick")
    return { rule: "ambient-timer", name: member };
  return { rule, name: word };
}

/** `new Date()`, `new Date` and `Date()` read the clock; `new Date(ms)` and the type `Date` do not. */
function readsClock(code: readonly Token[], index: number): boolean {
  const isNew = code[index - 1]?.text === "new";
  const called = code[index + 1]?.text === "(";
  return isNew ? !called || code[index + 2]?.text === ")" : called;
}

const BEFORE_DECLARATION = new Set(["{", ";", "}", ",", "async", "readonly", "get", "set", "static", "*"]);

/** Whether the word only names something: a property key, a declared method, or a member of a type. */
function isName(code: readonly Token[], index: number): boolean {
  const before = code[index - 1]?.text ?? "";
  const next = code[index + 1]?.text;
  if (next === ":") return before !== "?" && before !== "case";
  if (next === "?") return code[index + 2]?.text === ":";
  if (next !== "(" || !BEFORE_DECLARATION.has(before)) return false;
  const after = code[closingIndex(code, index + 1) + 1]?.text;
  return after === "{" || after === ":";
}
