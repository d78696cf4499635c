/**
 * Tree: the project's text files, read for the house rules.
 *
 * What git ignores is not ours to judge, so the patterns of .gitignore are honoured; the simple kinds we use are
 * enough. Not `git ls-files`: a new file must be judged before it is added, and a copy of the project without .git
 * must pass and fail alike. A file with a zero byte is no text: it is there, empty,
 * so that a document may show it.
 *
 * Touches: files, for reading only.
 */

import { readFileSync, readdirSync } from "node:fs";
import { matchesGlob, join } from "node:path";

import type { Texts } from "./source.ts";

const SKIPPED_FOLDERS = new Set(["node_modules", ".git"]);

/** All text files below `root`, by path relative to it. */
export function readTree(root: string): Texts {
  const ignored = readFileSync(join(root, ".gitignore"), "utf8").split("\n").filter(isPattern);
  const texts = new Map<string, string>();
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (SKIPPED_FOLDERS.has(entry.name) || isIgnored(path, entry.name, ignored)) continue;
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile()) addText(texts, root, path);
    }
  };
  visit("");
  return texts;
}

function isPattern(line: string): boolean {
  return line.trim() !== "" && !line.startsWith("#");
}

function isIgnored(path: string, name: string, patterns: readonly string[]): boolean {
  const last = patterns.findLast((pattern) => {
    const bare = pattern.replace(/^!/, "").replace(/\/$/, "").replace(/^\//, "");
    return matchesGlob(bare.includes("/") ? path : name, bare);
  });
  // The last that fits decides, as in git: one with an exclamation mark takes back what one before it said.
  return last !== undefined && !last.startsWith("!");
}

function addText(texts: Map<string, string>, root: string, path: string): void {
  const bytes = readFileSync(join(root, path));
  texts.set(path, bytes.includes(0) ? "" : bytes.toString("utf8"));
}
