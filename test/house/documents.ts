/**
 * Documents: every file that the documents name or link to exists.
 *
 * A page that sends its reader to a file that moved is worse than one that says nothing. Links count outside fenced
 * blocks; paths count where they stand in back ticks, alone or as a word of a command. `{a,b}` means each; a path
 * with a wildcard or a placeholder means no file in particular.
 *
 * Pure.
 */

import type { Texts, Violation } from "./source.ts";

const LINK = /\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g;
const CODE = /`([^`]+)`/g;
const OWN_PATH = /^(?:src|test|config)\/[\w./{},-]*$/;

/** Rules `broken-link` and `unknown-path`, over the Markdown files. */
export function documentViolations(texts: Texts): readonly Violation[] {
  const known = knownPaths(texts);
  return [...texts]
    .filter(([path]) => path.endsWith(".md"))
    .flatMap(([path, text]) => {
      let fenced = false;
      return text.split("\n").flatMap((line, at) => {
        if (/^\s*(?:```|~~~)/.test(line)) fenced = !fenced;
        return fenced ? [] : inLine(path, line, at, known);
      });
    });
}

/** All files, and all folders that hold one. */
function knownPaths(texts: Texts): ReadonlySet<string> {
  const known = new Set([""]);
  for (const path of texts.keys()) {
    known.add(path);
    for (let end = path.lastIndexOf("/"); end !== -1; end = path.lastIndexOf("/", end - 1)) {
      known.add(path.slice(0, end));
    }
  }
  return known;
}

function inLine(path: string, line: string, at: number, known: ReadonlySet<string>): readonly Violation[] {
  const folder = path.split("/").slice(0, -1).join("/");
  const links = [...line.replaceAll(CODE, "").matchAll(LINK)].map((match) => match[1] ?? "");
  const words = [...line.matchAll(CODE)].flatMap((match) => (match[1] ?? "").split(/\s+/));
  return [
    ...links
      .filter((link) => !/^(?:[a-z][a-z+.-]*:|#|\/\/)/i.test(link))
      .filter((link) => !known.has(target(folder, link)))
      .map((link) => ({ rule: "broken-link", file: path, line: at + 1, text: link })),
    ...words
      .map((word) => word.replace(/:\d+(?::\d+)?$/, "").replace(/[.,;:]$/, ""))
      .filter((word) => OWN_PATH.test(word))
      .flatMap(alternatives)
      .filter((word) => !known.has(word.replace(/\/$/, "")))
      .map((word) => ({ rule: "unknown-path", file: path, line: at + 1, text: word })),
  ];
}

function target(folder: string, link: string): string {
  const bare = decodeURI(link.replace(/[#?].*$/, ""));
  const parts = bare.startsWith("/") || folder === "" ? [] : folder.split("/");
  for (const part of bare.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  }
  return parts.join("/");
}

/** `a/{b,c}.ts` as `a/b.ts` and `a/c.ts`. */
function alternatives(word: string): readonly string[] {
  const match = /^(.*?)\{([^{}]*)\}(.*)$/.exec(word);
  if (match === null) return [word];
  const [, before = "", choices = "", after = ""] = match;
  return choices.split(",").flatMap((choice) => alternatives(`${before}${choice}${after}`));
}
