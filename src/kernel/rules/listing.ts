/**
 * Listing: reads what `nft list table` prints of our table.
 *
 * Of a chain only the comments of its rules matter, which are our digests; a rule without one is somebody else's, and
 * its chain differs from every one of ours. Of a set its elements, of a counter its name, and what it counted only
 * where that is asked for. The rest differs between releases of nft.
 *
 * Pure.
 */

import type { TableState } from "./changes.ts";

const BLOCK = /^\t(chain|set|map|counter) (\S+) \{$/;
const COUNTED = /\bpackets (\d+)\b/;
const COMMENT = /comment "([^"]*)"$/;

/** Reads the text of one table. */
export function parseListing(text: string): TableState {
  const chains = new Map<string, readonly string[]>();
  const sets = new Map<string, ReadonlyMap<string, string>>();
  const counters = new Set<string>();
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    const [, kind, name = ""] = BLOCK.exec(lines[at] ?? "") ?? [];
    if (kind === undefined) continue;
    const end = lines.indexOf("\t}", at);
    const body = lines.slice(at + 1, end === -1 ? lines.length : end);
    if (kind === "counter") counters.add(name);
    else if (kind === "chain") chains.set(name, body.filter(isRule).map(digestIn));
    else sets.set(name, elementsIn(body.join(" ")));
    at += body.length;
  }
  return { chains, sets, counters };
}

/** Reads what `nft list counters` prints: packets by name. */
export function parseCounters(text: string): ReadonlyMap<string, number> {
  const lines = text.split("\n");
  return new Map(
    lines.flatMap((line, at) => {
      const [, kind, name = ""] = BLOCK.exec(line) ?? [];
      const packets = COUNTED.exec(lines[at + 1] ?? "")?.[1];
      return kind !== "counter" || packets === undefined ? [] : [[name, Number(packets)] as const];
    }),
  );
}

/** A line of a chain that is neither its hook nor its own comment. */
function isRule(line: string): boolean {
  const text = line.trim();
  return text !== "" && !/^(?:type \S+ hook |comment ")/.test(text);
}

function digestIn(line: string): string {
  return COMMENT.exec(line)?.[1] ?? "";
}

function elementsIn(body: string): ReadonlyMap<string, string> {
  const inner = /elements = \{(.*)\}/.exec(body)?.[1] ?? "";
  const elements = inner
    .split(",")
    .map((element) => element.trim().replaceAll(/\s+/g, " "))
    .filter((element) => element !== "");
  return new Map(
    elements.map((element) => {
      const at = element.indexOf(" : ");
      return at === -1 ? [element, ""] : [element.slice(0, at), element.slice(at + 3)];
    }),
  );
}
