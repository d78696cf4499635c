/**
 * Layout: to which folder a file of `src` belongs, and whether it is pure or a shell.
 *
 * The tables themselves are in architecture.ts; here is only how they are read, so that the tests can plant small
 * tables of their own. "." is the folder of the files directly in `src`; each of those has a row of its own in the
 * table, by its file name.
 *
 * Pure.
 */

/** What the files of one folder may import besides their own folder; "*" is everything. */
export interface FolderRule {
  /** Folders, or single files as `folder/file.ts`, open to every file. */
  readonly all: readonly string[];
  /** Folders open to shell files only. */
  readonly shell?: readonly string[];
  /** Folders of which only the pure files are open. */
  readonly pureOf?: readonly string[];
}

/** Which values a pure file may take from a module: the names, or all. */
export type AllowedNames = readonly string[] | "all";

export interface PurePackage {
  readonly names: AllowedNames;
  /** The folders that may use it in pure files. */
  readonly folders: readonly string[];
}

export interface Layout {
  /** By folder name, or by file name for the files directly in `src`. */
  readonly folders: Readonly<Record<string, FolderRule>>;
  /** Paths below `src` without `.ts` or `.tsx`; an entry that ends in "/" is a whole folder. */
  readonly shellFiles: readonly string[];
  readonly plannedShellFiles: readonly string[];
  readonly pureModules: Readonly<Record<string, AllowedNames>>;
  readonly purePackages: Readonly<Record<string, PurePackage>>;
}

/** The folder of a file in `src`: "dns" for `src/dns/zone.ts`, "." for `src/main.ts`. */
export function folderOf(path: string): string {
  const parts = path.split("/");
  return parts.length > 2 ? (parts[1] ?? ".") : ".";
}

/** The row of the folder table that governs a file, or null when there is none. */
export function ruleOf(path: string, layout: Layout): FolderRule | null {
  const folder = folderOf(path);
  const row = folder === "." ? path.slice("src/".length) : folder;
  return Object.hasOwn(layout.folders, row) ? (layout.folders[row] ?? null) : null;
}

/** Whether a file in `src` is listed, or planned, as one that touches the world. */
export function isShell(path: string, layout: Layout): boolean {
  return [...layout.shellFiles, ...layout.plannedShellFiles].some((entry) => covers(entry, path));
}

/** Whether an entry of a shell list names this file, or a folder it lies in. */
export function covers(entry: string, path: string): boolean {
  return entry.endsWith("/")
    ? path.startsWith(`src/${entry}`)
    : path === `src/${entry}.ts` || path === `src/${entry}.tsx`;
}
