/**
 * Load: file, environment and flags become one checked configuration.
 *
 * The raw tree is put together first (defaults, then file, environment, flags), each leaf with its origin, and checked
 * as a whole; so a mistake is reported the same way wherever it was made, with line, key, value and what was expected,
 * and all mistakes at once. Nothing starts on a broken config.
 *
 * Touches: the config file. The environment is handed in.
 */

import { homedir, hostname } from "node:os";
import { join } from "node:path";

import * as v from "valibot";
import { stringify } from "yaml";

import { Failure } from "../base/failure.ts";
import { nearest } from "../base/nearest.ts";
import { labelFrom } from "../model/ids.ts";

import { readConfigFile, type ConfigFile } from "./file.ts";
import { CONFIG_SCHEMA, defaults, type Ambience, type Config } from "./schema.ts";
import { givenTwice, isSecret, SECRET_KEYS, siblingOf, withoutSecrets } from "./secrets.ts";

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
  /** When that file was last changed, Unix milliseconds; 0 without one. */
  readonly changedAtMs: number;
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
  const standard = defaults(ambienceOf(surroundings)) as RawTree;
  const tree = structuredClone(standard);
  const file = openFile(sources);
  const problems = file === null ? [] : mergeFile(tree, file);
  const overrides = { standard, overrideByKey: new Map<string, string>() };
  problems.push(...mergeEnv(tree, surroundings.env, overrides));
  for (const [key, text] of Object.entries(flags)) {
    setOverride(tree, standard, { key, text });
    overrides.overrideByKey.set(key, `flag --${key}`);
  }
  const { overrideByKey } = overrides;
  const origins = { file: file?.path ?? null, lineOf: file?.lineOf ?? (() => null), overrideByKey };
  const result = v.safeParse(CONFIG_SCHEMA, tree);
  if (!result.success) problems.push(...result.issues.map((issue) => renderIssue(issue, origins)));
  if (problems.length > 0 || !result.success) throw new Failure("invalid", [...new Set(problems)].join("\n"));
  return { config: result.output, raw: tree, file: origins.file, changedAtMs: file?.changedAtMs ?? 0 };
}

/** Renders plain data as YAML. */
export function renderYaml(value: unknown): string {
  return stringify(value);
}

/** Every dotted key that a variable may set. */
export function configKeys(surroundings: Surroundings): string[] {
  return leafKeys(defaults(ambienceOf(surroundings)));
}

/** Every dotted key that a flag may set. No secrets: every user of a host can list the arguments of a process. */
export function flagKeys(surroundings: Surroundings): string[] {
  return configKeys(surroundings).filter((key) => !SECRET_KEYS.includes(key));
}

function ambienceOf({ env, isRoot }: Surroundings): Ambience {
  const state = env["XDG_STATE_HOME"] ?? join(env["HOME"] ?? homedir(), ".local", "state");
  return {
    hostName: labelFrom(hostname()) ?? "host",
    stateDir: isRoot ? "/var/lib/skein" : join(state, "skein"),
  };
}

function openFile({ file, surroundings }: ConfigSources): ConfigFile | null {
  const { env, isRoot } = surroundings;
  const home = env["XDG_CONFIG_HOME"] ?? join(env["HOME"] ?? homedir(), ".config");
  // An empty variable is one that was meant to be unset.
  const named = file ?? (env["SKEIN_CONFIG"] || null);
  const path = named ?? (isRoot ? "/etc/skein/skein.yaml" : join(home, "skein", "skein.yaml"));
  const found = readConfigFile(path);
  if (found === null && named !== null) throw new Failure("not-found", `config ${path} is not there`);
  return found;
}

/** Lays the file over the defaults. @returns what is wrong with its keys; those are left out */
function mergeFile(tree: RawTree, file: ConfigFile): string[] {
  const problems = [...file.problems];
  for (const { name, keys, value } of file.sections) {
    const known = Object.hasOwn(tree, name) ? tree[name] : undefined;
    if (known === undefined) problems.push(unknownKey(file, [name], Object.keys(tree)));
    else if (isTree(known) && keys !== null) problems.push(...mergeKeys(known, keys, { file, name }));
    else if (value !== null) tree[name] = value;
  }
  normaliseLists(tree);
  return problems;
}

function mergeKeys(
  known: RawTree,
  keys: ReadonlyMap<string, unknown>,
  { file, name }: { readonly file: ConfigFile; readonly name: string },
): string[] {
  const problems: string[] = [];
  for (const [key, value] of keys) {
    if (!Object.hasOwn(known, key)) problems.push(unknownKey(file, [name, key], Object.keys(known)));
    // A key without a value says nothing, as a section without keys does.
    else if (value !== null) known[key] = value;
  }
  const set = [...keys].flatMap(([key, value]) => (value === null || value === "" ? [] : [`${name}.${key}`]));
  const twice = givenTwice(new Set(set));
  return [...problems, ...twice.map((key) => `${file.path}:${file.lineOf(key.split("."))}: ${bothSet(key)}`)];
}

function bothSet(key: string): string {
  return `"${key}" and "${siblingOf(key)}" are both set; expected one of them`;
}

function unknownKey(file: ConfigFile, path: readonly string[], known: readonly string[]): string {
  const key = path.join(".");
  const where = `${file.path}:${file.lineOf(path)}`;
  return `${where}: "${key}" is unknown${hint(path.at(-1) ?? "", known)}`;
}

/** `upstream: auto` and `join: a:7650` are lists of one. */
function normaliseLists(tree: RawTree): void {
  for (const [section, key] of [
    ["dns", "upstream"],
    ["dns", "listen"],
    ["dns", "allow"],
    ["mesh", "join"],
    ["ingress", "trustedProxies"],
  ] as const) {
    const values = tree[section];
    if (isTree(values) && typeof values[key] === "string") values[key] = [values[key]];
  }
}

/** Names that start with the prefix and are not config keys. */
const OTHER_ENV = new Set(["SKEIN_CONFIG", "SKEIN_PASSPHRASE", "SKEIN_PASSPHRASE_FILE"]);

function mergeEnv(
  tree: RawTree,
  env: Surroundings["env"],
  { standard, overrideByKey }: { readonly standard: RawTree; readonly overrideByKey: Map<string, string> },
): string[] {
  const keyByName = new Map(leafKeys(standard).map((key) => [envNameOf(key), key]));
  const problems: string[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith("SKEIN_") || text === undefined || OTHER_ENV.has(name)) continue;
    const key = keyByName.get(name);
    // As compose hands on what is not set; it must not outrank the other way to give a secret.
    if (key !== undefined && siblingOf(key) !== null && text === "") continue;
    if (key !== undefined) {
      setOverride(tree, standard, { key, text });
      overrideByKey.set(key, `environment ${name}`);
    } else {
      problems.push(`environment ${name} is unknown${hint(name, [...keyByName.keys()])}`);
    }
  }
  const twice = givenTwice(new Set(overrideByKey.keys()));
  return [...problems, ...twice.map((key) => `environment ${envNameOf(key)}: ${bothSet(key)}`)];
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
function setOverride(
  tree: RawTree,
  standard: RawTree,
  given: { readonly key: string; readonly text: string },
): void {
  const [section = "", key = ""] = given.key.split(".");
  const values = tree[section];
  const usual = standard[section];
  if (!isTree(values) || !isTree(usual)) return;
  values[key] = typedAs(usual[key], given.text);
  const sibling = siblingOf(given.key)?.split(".")[1];
  if (sibling !== undefined) values[sibling] = "";
}

function typedAs(usual: unknown, text: string): unknown {
  if (Array.isArray(usual)) {
    const parts = text.split(",").map((part) => part.trim());
    return parts.filter((part) => part !== "");
  }
  if (typeof usual === "number" && /^\d+$/.test(text)) return Number(text);
  if (typeof usual === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

function renderIssue(issue: v.BaseIssue<unknown>, origins: Origins): string {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const steps = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`));
  const key = steps.join("").replace(/^\./, "");
  const override = origins.overrideByKey.get(path.slice(0, 2).join("."));
  const line = origins.lineOf(path);
  const where = override ?? (line === null ? (origins.file ?? "config") : `${origins.file}:${line}`);
  if (issue.type === "strict_object" && issue.expected === "never") {
    return `${where}: "${key}" is unknown${hint(String(path.at(-1)), siblingsOf(path))}`;
  }
  if (issue.type === "strict_object" && issue.received === "undefined")
    return `${where}: "${key}" is missing`;
  if (isSecret(path)) return `${where}: "${key}" is not told, being a secret; expected ${expectedBy(issue)}`;
  const value = issue.input === undefined ? "missing" : rendered(issue.input);
  return `${where}: "${key}" is ${value}; expected ${expectedBy(issue)}`;
}

/** A value longer than this is told by its beginning. */
const VALUE_CHARS = 200;

function rendered(value: unknown): string {
  return withoutSecrets(JSON.stringify(value) ?? String(value)).slice(0, VALUE_CHARS);
}

function expectedBy({ type, message }: v.BaseIssue<unknown>): string {
  return type === "strict_object" ? "a map of keys" : message;
}

/** The keys that could stand where an unknown one stands. */
function siblingsOf(path: readonly (string | number)[]): string[] {
  let schema: object = CONFIG_SCHEMA;
  for (const step of path.slice(0, -1)) {
    while ("wrapped" in schema) schema = schema.wrapped as object;
    const entries = "entries" in schema ? (schema.entries as Readonly<Record<string, object>>) : {};
    schema = "item" in schema ? (schema.item as object) : (entries[step] ?? {});
  }
  while ("wrapped" in schema) schema = schema.wrapped as object;
  return "entries" in schema ? Object.keys(schema.entries as object) : [];
}

function hint(word: string, known: readonly string[]): string {
  const guess = nearest(word, known);
  return guess === null ? `; expected one of ${known.join(", ")}` : `; did you mean "${guess}"?`;
}

function isTree(value: unknown): value is RawTree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
