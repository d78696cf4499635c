/**
 * Load: file, environment and flags become one checked configuration.
 *
 * The raw tree is put together first (defaults, then file, environment, flags), each leaf with its origin, and checked
 * as a whole; so a mistake is reported the same way wherever it was made, with line, key, value and what was expected,
 * and all mistakes at once. Nothing starts on a broken config.
 *
 * Touches: the config file. The environment is handed in.
 */

import { readFileSync, statSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { join } from "node:path";

import * as v from "valibot";
import { isMap, isScalar, LineCounter, parseDocument, stringify, type Document } from "yaml";

import { Failure, systemCodeOf, textOf } from "../base/failure.ts";
import { labelFrom } from "../model/ids.ts";
import { LIMITS } from "../model/limits.ts";
import { nearest } from "../base/nearest.ts";

import {
  CONFIG_SCHEMA,
  defaults,
  NOT_YET,
  STATIC_SERVICE_SCHEMA,
  type Ambience,
  type Config,
} from "./schema.ts";

/** The ambient facts that defaults depend on. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
}

/** Where values come from, strongest first: flags (dotted key to text), environment, file. */
export interface ConfigSources {
  readonly surroundings: Surroundings;
  /** The file named by the user; null for the default one, which may be missing. */
  readonly file: string | null;
  readonly flags: Readonly<Record<string, string>>;
}

/** The configuration, and its raw form to print. */
export interface LoadedConfig {
  readonly config: Config;
  readonly raw: RawTree;
  /** The file that was read; null when there was none. */
  readonly file: string | null;
}

type RawTree = Record<string, unknown>;

/** Where one raw value came from, to be named in an error. */
interface Origins {
  readonly file: string | null;
  readonly lineOf: (path: readonly (string | number)[]) => number | null;
  readonly overrideByKey: ReadonlyMap<string, string>;
}

/**
 * Loads and checks the configuration.
 *
 * @throws Failure `invalid` with one line a mistake; `not-found` when a named file is not there
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const { surroundings, flags } = sources;
  const tree = defaults(ambienceOf(surroundings)) as RawTree;
  const file = readConfigFile(sources);
  const problems = file === null ? [] : mergeFile(tree, file);
  const overrideByKey = new Map<string, string>();
  problems.push(...mergeEnv(tree, surroundings.env, overrideByKey));
  for (const [key, text] of Object.entries(flags)) {
    setOverride(tree, key, text);
    overrideByKey.set(key, `flag --${key}`);
  }
  const origins = {
    file: file?.path ?? null,
    lineOf: (path: readonly (string | number)[]) => lineOf(file, path),
    overrideByKey,
  };
  const result = v.safeParse(CONFIG_SCHEMA, tree);
  if (!result.success) problems.push(...result.issues.map((issue) => renderIssue(issue, origins)));
  if (problems.length > 0 || !result.success) throw new Failure("invalid", [...new Set(problems)].join("\n"));
  return { config: result.output, raw: tree, file: origins.file };
}

/** Renders plain data as YAML. */
export function renderYaml(value: unknown): string {
  return stringify(value);
}

/** Every dotted key that a flag or a variable may set. */
export function configKeys(surroundings: Surroundings): string[] {
  return leafKeys(defaults(ambienceOf(surroundings)));
}

function ambienceOf({ env, isRoot }: Surroundings): Ambience {
  const state = env["XDG_STATE_HOME"] ?? join(env["HOME"] ?? homedir(), ".local", "state");
  return {
    hostName: labelFrom(hostname()) ?? "host",
    stateDir: isRoot ? "/var/lib/skein" : join(state, "skein"),
  };
}

interface ParsedFile {
  readonly path: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

function readConfigFile({ file, surroundings }: ConfigSources): ParsedFile | null {
  const { env, isRoot } = surroundings;
  const home = env["XDG_CONFIG_HOME"] ?? join(env["HOME"] ?? homedir(), ".config");
  const path =
    file ?? env["SKEIN_CONFIG"] ?? (isRoot ? "/etc/skein/skein.yaml" : join(home, "skein", "skein.yaml"));
  const isNamed = file !== null || env["SKEIN_CONFIG"] !== undefined;
  try {
    const { size } = statSync(path);
    if (size > LIMITS.fileBytes)
      throw new Failure("invalid", `config ${path} has ${size} bytes; expected less`);
    const lines = new LineCounter();
    // maxAliasCount 0: a config needs no aliases, and a few lines of them can unfold to gigabytes.
    const document = parseDocument(readFileSync(path, "utf8"), { lineCounter: lines, prettyErrors: true });
    const [error] = document.errors;
    if (error !== undefined) throw new Failure("invalid", `${path}: ${error.message}`);
    return { path, document, lines };
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT" && !isNamed) return null;
    if (thrown instanceof Failure) throw thrown;
    const code = systemCodeOf(thrown) === "ENOENT" ? "not-found" : "invalid";
    throw new Failure(code, `config ${path} cannot be read: ${textOf(thrown)}`, { cause: thrown });
  }
}

function mergeFile(tree: RawTree, file: ParsedFile): string[] {
  const raw: unknown = file.document.toJS({ maxAliasCount: 0 });
  if (raw === null || raw === undefined) return [];
  if (typeof raw !== "object" || Array.isArray(raw))
    return [`${file.path}: expected sections such as "node:"`];
  const problems: string[] = [];
  for (const [section, value] of Object.entries(raw)) {
    const known = tree[section];
    const isSection = isTree(known) && isTree(value);
    if (isSection) tree[section] = { ...known, ...value };
    else if (value !== null) tree[section] = value;
  }
  normaliseLists(tree);
  return problems;
}

/** `upstream: auto` and `join: a:7650` are lists of one. */
function normaliseLists(tree: RawTree): void {
  for (const [section, key] of [
    ["dns", "upstream"],
    ["dns", "listen"],
    ["dns", "allow"],
    ["mesh", "join"],
  ] as const) {
    const values = tree[section];
    if (isTree(values) && typeof values[key] === "string") values[key] = [values[key]];
  }
}

/** Names that start with the prefix and are not config keys. */
const OTHER_ENV = new Set(["SKEIN_CONFIG"]);

function mergeEnv(tree: RawTree, env: Surroundings["env"], overrideByKey: Map<string, string>): string[] {
  const keyByName = new Map(leafKeys(tree).map((key) => [envNameOf(key), key]));
  const problems: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith("SKEIN_") || text === undefined || OTHER_ENV.has(name)) continue;
    const key = keyByName.get(name);
    const notYet = Object.keys(NOT_YET).find((candidate) => envNameOf(candidate) === name);
    if (key !== undefined) {
      setOverride(tree, key, text);
      overrideByKey.set(key, `environment ${name}`);
    } else if (notYet !== undefined) {
      problems.push(`environment ${name} is not supported by this version: ${NOT_YET[notYet]}`);
    } else {
      problems.push(`environment ${name} is unknown${hint(name, [...keyByName.keys()])}`);
    }
  }
  return problems;
}

/** `dns.exposeByDefault` as `SKEIN_DNS_EXPOSE_BY_DEFAULT`. */
export function envNameOf(key: string): string {
  return `SKEIN_${key
    .replaceAll(".", "_")
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toUpperCase()}`;
}

function leafKeys(tree: RawTree): string[] {
  return Object.entries(tree).flatMap(([section, values]) => {
    return isTree(values) ? Object.keys(values).map((key) => `${section}.${key}`) : [];
  });
}

/** Sets one leaf from text, in the type that its default has; text that does not fit stays text and is refused. */
function setOverride(tree: RawTree, dottedKey: string, text: string): void {
  const [section = "", key = ""] = dottedKey.split(".");
  const values = tree[section];
  if (!isTree(values)) return;
  const held = values[key];
  if (Array.isArray(held))
    values[key] = text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  else if (typeof held === "number" && /^\d+$/.test(text)) values[key] = Number(text);
  else if (typeof held === "boolean" && (text === "true" || text === "false")) values[key] = text === "true";
  else values[key] = text;
}

function renderIssue(issue: v.BaseIssue<unknown>, origins: Origins): string {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const key = path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
  const override = origins.overrideByKey.get(path.slice(0, 2).join("."));
  const line = origins.lineOf(path);
  const where = override ?? (line === null ? (origins.file ?? "config") : `${origins.file}:${line}`);
  const notYet = NOT_YET[path.join(".")] ?? NOT_YET[String(path[0])];
  if (issue.type === "strict_object" && issue.expected === "never") {
    if (notYet !== undefined) return `${where}: "${key}" is not supported by this version: ${notYet}`;
    return `${where}: "${key}" is unknown${hint(String(path.at(-1)), siblingsOf(path))}`;
  }
  if (issue.type === "strict_object" && issue.received === "undefined")
    return `${where}: "${key}" is missing`;
  const value = issue.input === undefined ? "missing" : JSON.stringify(issue.input);
  const expected = issue.message.startsWith("Invalid")
    ? `something else than ${issue.received}`
    : issue.message;
  return `${where}: "${key}" is ${value}; expected ${expected}`;
}

/** The keys that could stand where an unknown one stands. */
function siblingsOf(path: readonly (string | number)[]): string[] {
  if (path[0] === "services") return Object.keys(STATIC_SERVICE_SCHEMA.entries);
  if (path.length === 1) return Object.keys(CONFIG_SCHEMA.entries);
  const section = CONFIG_SCHEMA.entries[path[0] as keyof typeof CONFIG_SCHEMA.entries];
  return "entries" in section ? Object.keys(section.entries) : [];
}

function hint(word: string, known: readonly string[]): string {
  const guess = nearest(word, known);
  return guess === null ? `; expected one of ${known.join(", ")}` : `; did you mean "${guess}"?`;
}

/** The line, from 1, of the deepest node of the path that the file has; null when the file has none of it. */
function lineOf(file: ParsedFile | null, path: readonly (string | number)[]): number | null {
  if (file === null) return null;
  for (let length = path.length; length > 0; length -= 1) {
    const parent: unknown =
      length === 1 ? file.document.contents : file.document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find(({ key }) => isScalar(key) && key.value === last)
      : undefined;
    const node: unknown = pair === undefined ? file.document.getIn(path.slice(0, length), true) : pair.key;
    const range = typeof node === "object" && node !== null && "range" in node ? node.range : null;
    if (Array.isArray(range)) return file.lines.linePos(Number(range[0])).line;
  }
  return null;
}

function isTree(value: unknown): value is RawTree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
