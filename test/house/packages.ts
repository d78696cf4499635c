/**
 * Packages: each npm package is imported in one folder, declared where it is used, and used where it is declared.
 *
 * What is shipped is one bundle that carries its packages with it, so all are development dependencies and the list
 * `shipped` of package.json tells those whose code is in the product. Only they may be imported in src.
 *
 * One folder a package keeps its faults behind one wall (dependencies.md lists them) and its replacement to one place.
 * Types count as use, since they spread a package's vocabulary as surely as its code. Tests and the demo may use
 * development dependencies too, and are free to import from anywhere.
 *
 * Pure. What pure files may take from a package is judged by purity.ts.
 */

import { isBuiltin } from "node:module";

import type { Import } from "./imports.ts";
import { folderOf } from "./layout.ts";
import type { Source, Violation } from "./source.ts";

/** The lists of package.json that matter here. */
export interface Manifest {
  readonly shipped?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Rules `package-folder`, `undeclared-package` and `unused-dependency`. */
export function packageViolations(sources: readonly Source[], manifest: Manifest): readonly Violation[] {
  const own = sources.filter((source) => source.path.startsWith("src/"));
  const used = new Set(own.flatMap((source) => source.imports.map(packageOf)));
  const { shipped = [] } = manifest;
  const declared = declaredIn(manifest);
  const inManifest = (rule: string, text: string): Violation => ({
    rule,
    file: "package.json",
    line: 1,
    text,
  });
  return [
    ...inOneFolder(own),
    ...sources.flatMap((source) => undeclared(source, manifest)),
    ...shipped
      .filter((name) => !used.has(name))
      .map((name) => inManifest("unused-dependency", `no file of src imports ${name}`)),
    ...shipped
      .filter((name) => !declared.has(name))
      .map((name) => inManifest("undeclared-package", `${name} is shipped and not in the devDependencies`)),
  ];
}

function declaredIn({ dependencies = {}, devDependencies = {} }: Manifest): ReadonlySet<string> {
  return new Set([...Object.keys(dependencies), ...Object.keys(devDependencies)]);
}

function inOneFolder(sources: readonly Source[]): readonly Violation[] {
  const homeByPackage = new Map<string, string>();
  return sources.flatMap((source) =>
    source.imports.flatMap((one) => {
      const name = packageOf(one);
      if (name === null) return [];
      const folder = folderOf(source.path);
      const home = homeByPackage.get(name) ?? folder;
      homeByPackage.set(name, home);
      const text = `${name} is imported in ${folder} and in ${home}`;
      return home === folder ? [] : [{ rule: "package-folder", file: source.path, line: one.line, text }];
    }),
  );
}

function undeclared(source: Source, manifest: Manifest): readonly Violation[] {
  const inSrc = source.path.startsWith("src/");
  const allowed = inSrc ? new Set(manifest.shipped) : declaredIn(manifest);
  return source.imports.flatMap((one) => {
    const name = packageOf(one);
    if (name === null || allowed.has(name)) return [];
    const text = `${name} is not in the list ${inSrc ? "shipped" : "devDependencies"} of package.json`;
    return [{ rule: "undeclared-package", file: source.path, line: one.line, text }];
  });
}

/** The npm package an import loads, without its subpath; null for node: modules, relative and computed imports. */
export function packageOf(one: Pick<Import, "specifier">): string | null {
  const { specifier } = one;
  if (specifier === null || /^[./#]|^[a-z]+:/.test(specifier) || isBuiltin(specifier)) return null;
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}
