/**
 * Folders: every file of `src` lies in a known folder and imports only what the folder table allows.
 *
 * Type-only imports count like any other: knowing a sibling's types is knowing the sibling, and what two siblings share
 * belongs in `model`. An import that leaves `src` is refused too, since the package ships `src` without `test`; only
 * the files that may import everything may read package.json.
 *
 * Pure. The table is in architecture.ts; node: modules are judged by purity.ts, npm packages by packages.ts.
 */

import { covers, folderOf, isShell, ruleOf, type FolderRule, type Layout } from "./layout.ts";
import type { Source, Violation } from "./source.ts";

/** Rules `unknown-folder`, `folder-import` and `stale-shell-entry`, over the files of `src`. */
export function folderViolations(
  sources: readonly Source[],
  paths: readonly string[],
  layout: Layout,
): readonly Violation[] {
  const inSrc = paths.filter((path) => path.startsWith("src/"));
  return [
    ...inSrc.flatMap((path) => unknownFolder(path, layout)),
    ...sources.flatMap((source) => refusedImports(source, layout)),
    ...staleShellEntries(inSrc, layout),
  ];
}

function unknownFolder(path: string, layout: Layout): readonly Violation[] {
  if (ruleOf(path, layout) !== null) return [];
  const text = `${path} lies in no folder of the table`;
  return [{ rule: "unknown-folder", file: path, line: 1, text }];
}

function refusedImports(source: Source, layout: Layout): readonly Violation[] {
  const rule = ruleOf(source.path, layout);
  if (rule === null) return [];
  return source.imports.flatMap((one) => {
    const reason = refusal(source.path, one.specifier, rule, layout);
    return reason === null
      ? []
      : [{ rule: "folder-import", file: source.path, line: one.line, text: reason }];
  });
}

/** Why a file may not import this, or null when it may. */
function refusal(path: string, specifier: string | null, rule: FolderRule, layout: Layout): string | null {
  if (rule.all.includes("*")) return null;
  if (specifier === null) return "a computed import cannot be checked";
  if (specifier.startsWith("#") || specifier.startsWith("/") || specifier.startsWith("file:")) {
    return `${specifier}; expected a relative path, a package or a node: module`;
  }
  if (!specifier.startsWith(".")) return null;
  const target = resolveSpecifier(path, specifier);
  if (!target.startsWith("src/")) return `${target} is outside src`;
  return targetRefusal(path, target, rule, layout);
}

function targetRefusal(path: string, target: string, rule: FolderRule, layout: Layout): string | null {
  const from = folderOf(path);
  const to = folderOf(target);
  if (from === to && from !== ".") return null;
  if (rule.all.includes(to) || rule.all.includes(target.slice("src/".length))) return null;
  if (rule.shell?.includes(to) === true) {
    return isShell(path, layout) ? null : `only shell files import ${to}, and ${path} is not listed as one`;
  }
  if (rule.pureOf?.includes(to) === true) {
    return isShell(target, layout)
      ? `${target} is a shell file; only pure files of ${to} are open here`
      : null;
  }
  return `${from === "." ? path : `${from}/`} may not import ${target}`;
}

function staleShellEntries(paths: readonly string[], layout: Layout): readonly Violation[] {
  const file = "test/house/architecture.ts";
  return layout.shellFiles
    .filter((entry) => !paths.some((path) => covers(entry, path)))
    .map((entry) => ({ rule: "stale-shell-entry", file, line: 1, text: `no file is listed by "${entry}"` }));
}

/** The path, relative to the project, that a relative specifier in a file means. */
export function resolveSpecifier(path: string, specifier: string): string {
  const parts = path.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}
