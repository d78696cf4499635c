/**
 * File: the config file as plain values, each with its line.
 *
 * YAML can do more than a configuration needs, and each more is a trap: aliases unfold a few lines into gigabytes, tags
 * make other things of text, and a large file takes the parser minutes. So the file is small, has neither, and its
 * sections and keys are read from the document itself, not from an object on which `constructor` is always there.
 *
 * Touches: the config file.
 */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

import { isMap, isNode, isScalar, LineCounter, parseDocument, visit, type Document, type Pair } from "yaml";

import { Failure, fileFaultOf, systemCodeOf } from "../base/failure.ts";
import { LIMITS } from "../model/limits.ts";

import { withoutSecrets } from "./secrets.ts";

/** A parsed file. */
export interface ConfigFile {
  readonly path: string;
  /** Unix milliseconds. */
  readonly changedAtMs: number;
  /** The sections of the file, in its order. */
  readonly sections: readonly Section[];
  /** The line, from 1, of the deepest node of a path that the file has; null when it has none of it. */
  readonly lineOf: (path: readonly (string | number)[]) => number | null;
  /** What the file holds that no configuration may, each with its line. */
  readonly problems: readonly string[];
}

/** A key of the file's top level: its keys when its value is a map, else its value. */
export interface Section {
  readonly name: string;
  readonly keys: ReadonlyMap<string, unknown> | null;
  readonly value: unknown;
}

/**
 * Reads a config file.
 *
 * @returns null when there is no such file
 * @throws Failure `invalid` when it cannot be read or is no YAML map
 */
export function readConfigFile(path: string): ConfigFile | null {
  const found = textAt(path);
  if (found === null) return null;
  const { text, changedAtMs } = found;
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: true });
  const [error] = document.errors;
  if (error !== undefined) throw new Failure("invalid", `${path}: ${withoutSecrets(error.message)}`);
  const problems = document.warnings.map((warning) => `${path}: ${withoutSecrets(warning.message)}`);
  visit(document, {
    Alias(_key, { source, range }) {
      const line = lines.linePos(range?.[0] ?? 0).line;
      problems.push(`${path}:${line}: "*${source}" is an alias; expected the value itself`);
    },
  });
  const lineOf = (at: readonly (string | number)[]): number | null => lineAt(document, lines, at);
  const { contents } = document;
  // Nothing is made of a file with aliases: each would have to be followed.
  if (problems.length > 0 || contents === null || (isScalar(contents) && contents.value === null)) {
    return { path, changedAtMs, sections: [], lineOf, problems };
  }
  if (!isMap(contents)) throw new Failure("invalid", `${path}: expected sections such as "node:"`);
  const sections = contents.items.map((pair) => sectionOf(pair, document));
  return { path, changedAtMs, sections, lineOf, problems };
}

function textAt(path: string): { readonly text: string; readonly changedAtMs: number } | null {
  let file: number | null = null;
  try {
    file = openSync(path, "r");
    const { mtimeMs } = fstatSync(file);
    return { text: textIn(file, path), changedAtMs: mtimeMs };
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return null;
    if (thrown instanceof Failure) throw thrown;
    throw new Failure("invalid", `config ${path} cannot be read: ${fileFaultOf(thrown)}`, { cause: thrown });
  } finally {
    if (file !== null) closeSync(file);
  }
}

/** Read to the bound, whatever size the file is said to have: a device or a pipe has none. */
function textIn(file: number, path: string): string {
  const bytes = Buffer.alloc(LIMITS.configBytes + 1);
  let sizeBytes = 0;
  for (let read = -1; read !== 0 && sizeBytes < bytes.length; sizeBytes += read) {
    read = readSync(file, bytes, sizeBytes, bytes.length - sizeBytes, null);
  }
  if (sizeBytes <= LIMITS.configBytes) return bytes.toString("utf8", 0, sizeBytes);
  throw new Failure(
    "invalid",
    `config ${path} has more than ${LIMITS.configBytes} bytes; expected at most that`,
  );
}

function sectionOf(pair: Pair, document: Document): Section {
  const name = nameOf(pair);
  const value = plain(pair.value, document);
  if (!isMap(pair.value)) return { name, keys: null, value };
  const keys = new Map(pair.value.items.map((inner) => [nameOf(inner), plain(inner.value, document)]));
  return { name, keys, value };
}

function nameOf({ key }: Pair): string {
  return isScalar(key) ? String(key.value) : String(key);
}

function plain(node: unknown, document: Document): unknown {
  return isNode(node) ? node.toJS(document) : node;
}

function lineAt(document: Document, lines: LineCounter, path: readonly (string | number)[]): number | null {
  for (let length = path.length; length > 0; length -= 1) {
    const parent: unknown =
      length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find(({ key }) => isScalar(key) && key.value === last)
      : undefined;
    const node: unknown = pair === undefined ? document.getIn(path.slice(0, length), true) : pair.key;
    const range = typeof node === "object" && node !== null && "range" in node ? node.range : null;
    if (Array.isArray(range)) return lines.linePos(Number(range[0])).line;
  }
  return null;
}
