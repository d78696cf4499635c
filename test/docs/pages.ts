/**
 * Pages: what README and docs tell a reader to type, as data.
 *
 * Each fenced block of shell or YAML says in a comment above it how it is tested, which a reader of the rendered page
 * does not see: `run:` it is typed on hosts of the lab, in order; `check:` its skein commands and options exist, or
 * the config in it is one; `shown:` it is not run, and why. A block without such a comment fails the test: what
 * nobody runs rots.
 *
 * Pure, but for reading the pages.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

/** How a block is tested. */
export type Way =
  | { readonly kind: "run"; readonly steps: Steps }
  | { readonly kind: "check"; readonly as: string }
  | { readonly kind: "shown"; readonly why: string }
  | { readonly kind: "unsaid" };

/** How a block is run. */
export interface Steps {
  /** Names of hosts, one after the other. */
  readonly on: readonly string[];
  /** Folder of the repository; its root when left out. */
  readonly in: string;
  /** What has to hold first: `3 alive`, `web ready 3`; empty for nothing. */
  readonly until: readonly string[];
  /** A host whose cable is out meanwhile. */
  readonly cut: string | null;
  /** A URL that is asked meanwhile, without a failure. */
  readonly load: string | null;
  /** What its output has to contain, on each host. */
  readonly says: readonly string[];
  /** What the dashboard of its first host shows then, or soon: `#/hosts shows host-3\s+dead`. */
  readonly page: readonly string[];
  /** Lines of its output that begin so, and how many different ones there have to be: `Hostname 3`. */
  readonly differ: string | null;
}

/** A fenced block. */
export interface Block {
  /** `docs/quickstart.md` */
  readonly page: string;
  /** Of the fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  readonly way: Way;
  /** The last heading above it. */
  readonly under: string;
}

/** README and every page below docs, by path. */
export function pages(): ReadonlyMap<string, string> {
  const inDocs = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`);
  const paths = ["README.md", ...inDocs.toSorted()];
  return new Map(paths.map((path) => [path, readFileSync(join(ROOT, path), "utf8")]));
}

/** The blocks of a page, in order. @throws Error for a comment that cannot be read */
export function blocksOf(page: string, markdown: string): readonly Block[] {
  const blocks: Block[] = [];
  const lines = markdown.split("\n");
  let under = "";
  for (let at = 0; at < lines.length; at += 1) {
    const heading = /^#+ (.*)$/.exec(lines[at] ?? "");
    if (heading !== null) under = heading[1] ?? "";
    const fence = /^```(\w*)$/.exec(lines[at] ?? "");
    if (fence === null) continue;
    const end = lines.indexOf("```", at + 1);
    if (end === -1) throw new Error(`${page}:${at + 1}: block does not end`);
    const way = wayOf(lines[at - 1] ?? "", `${page}:${at + 1}`);
    const text = lines.slice(at + 1, end).join("\n");
    blocks.push({ page, line: at + 1, language: fence[1] ?? "", text, way, under });
    at = end;
  }
  return blocks;
}

function wayOf(comment: string, place: string): Way {
  const said = /^<!-- (run|check|shown): (.+) -->$/.exec(comment);
  const [, kind = "", rest = ""] = said ?? [];
  switch (kind) {
    case "run":
      return { kind, steps: stepsOf(rest, place) };
    case "check":
      return { kind, as: rest };
    case "shown":
      return { kind, why: rest };
    default:
      return { kind: "unsaid" };
  }
}

function stepsOf(text: string, place: string): Steps {
  const valuesByWord = new Map<string, string[]>();
  for (const part of text.split(";")) {
    const [, word = "", value = ""] =
      /^\s*(on|in|until|cut|load|says|page|differ) (.+?)\s*$/.exec(part) ?? [];
    if (word === "")
      throw new Error(
        `${place}: "${part.trim()}" is no step; expected on, in, until, cut, load, says, page or differ`,
      );
    valuesByWord.set(word, [...(valuesByWord.get(word) ?? []), value]);
  }
  const first = (word: string): string | null => valuesByWord.get(word)?.[0] ?? null;
  const on = (first("on") ?? "").split(" ").filter((host) => host !== "");
  if (on.length === 0) throw new Error(`${place}: "${text}" names no host; expected "on host-1"`);
  return {
    on,
    in: first("in") ?? ".",
    until: valuesByWord.get("until") ?? [],
    cut: first("cut"),
    load: first("load"),
    says: valuesByWord.get("says") ?? [],
    page: valuesByWord.get("page") ?? [],
    differ: first("differ"),
  };
}

/** The anchors that a page has, as GitHub makes them of its headings. */
export function anchorsOf(markdown: string): ReadonlySet<string> {
  const headings = markdown.matchAll(/^#+ (.*)$/gm);
  return new Set(
    Array.from(headings, ([, text = ""]) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

/** The skein commands of a block, as lists of words, comments and prompts left out. */
export function commandsOf(text: string): readonly (readonly string[])[] {
  const whole = text.replaceAll("\\\n", " ").replace(/"?\$\([^)]*\)"?/g, "X");
  return whole.split(/\n|&&|\|/).flatMap((part) => {
    const command = /^\s*(?:docker exec (?:-it )?skein |npx )?skein\b([^#>]*)/.exec(part);
    return command === null
      ? []
      : [
          (command[1] ?? "")
            .trim()
            .split(/\s+/)
            .filter((word) => word !== ""),
        ];
  });
}
