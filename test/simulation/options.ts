/**
 * Options: what `npm run simulate` is asked to do, and the command that asks for it again.
 *
 * Flags are parsed here and nowhere else; a bad one is refused by name, with its value and what was expected.
 */

import { failed, success, type Result } from "../../src/base/failure.ts";

/** Each scenario and what it shows. */
export const SCENARIOS = {
  create: "a replica is added",
  update: "a replica changes",
  delete: "a replica is taken away",
  join: "a node joins",
  leave: "a node leaves",
  "write-after-join": "a node joins and offers a replica in the same breath",
  "join-populated": "a node joins a cluster that holds much",
  churn: "changes while everything else changes too",
  idle: "nothing: what it costs",
  change: "one change to all, one after the other",
  joiner: "a new node learns all there is",
  crash: "a daemon is killed",
  silent: "a host is cut off without a word, and comes back",
  partition: "two halves lose each other for 30 s",
  flap: "a host comes and goes",
  pause: "processes stop for a second",
  lossy: "5 % loss, 200 ms jitter, one-second pauses: who is given up though it lives",
  oneway: "packets pass one way only between two nodes",
  rolling: "every daemon restarts, one after the other",
  chaos: "all of it, at random",
} as const;

export type ScenarioName = keyof typeof SCENARIOS;

/** What is to be run. */
export interface Options {
  readonly nodes: number;
  readonly seed: number;
  readonly scenario: ScenarioName;
  readonly loss: number;
  readonly latencyMs: { readonly low: number; readonly high: number };
  /** Virtual seconds; null for the scenario's own length. */
  readonly seconds: number | null;
  readonly replicas: number;
  readonly raw: boolean;
  readonly drift: boolean;
  /** For `lossy`: nodes times hours. */
  readonly nodeHours: number | null;
}

/** How it is to be told, and how often it is to be run. */
export interface Request extends Options {
  /** True when a scenario was named; else tables are printed. */
  readonly isNamed: boolean;
  /** True when a number of nodes was named. */
  readonly isSized: boolean;
  readonly json: boolean;
  /** Runs the scenario with seeds 1 to this; null for the one seed. */
  readonly seeds: number | null;
  readonly trace: boolean;
}

export const DEFAULTS: Options = {
  nodes: 5,
  seed: 1,
  scenario: "chaos",
  loss: 0,
  latencyMs: { low: 1, high: 5 },
  seconds: null,
  replicas: 2,
  raw: false,
  drift: false,
  nodeHours: null,
};

const NODES_MAX = 5000;

/** The usage text. */
export const USAGE = `usage: npm run simulate -- [--nodes N] [--scenario NAME] [--seed N] [--loss P]
         [--latency LO..HIms] [--seconds S] [--replicas R] [--raw] [--drift]
         [--node-hours H] [--seeds K] [--json] [--trace]
without --scenario: tables of how fast news spreads, at 2, 3, 5, 10 and 25 nodes, or at --nodes
scenarios:
${Object.entries(SCENARIOS)
  .map(([name, what]) => `  ${name.padEnd(17)} ${what}`)
  .join("\n")}`;

type Fields = { -readonly [K in keyof Request]: Request[K] };

/** How each flag with a value is read. */
const READERS: Readonly<Record<string, (text: string, fields: Fields) => string | null>> = {
  "--nodes": (text, fields) => {
    fields.isSized = true;
    return whole(text, 1, NODES_MAX, (value) => (fields.nodes = value));
  },
  "--seed": (text, fields) => whole(text, 0, 2 ** 32 - 1, (value) => (fields.seed = value)),
  "--seeds": (text, fields) => whole(text, 1, 1_000_000, (value) => (fields.seeds = value)),
  "--replicas": (text, fields) => whole(text, 0, 1000, (value) => (fields.replicas = value)),
  "--loss": (text, fields) => {
    const value = Number(text);
    if (text === "" || !(value >= 0 && value <= 0.9)) return "a part from 0 to 0.9, such as 0.02";
    fields.loss = value;
    return null;
  },
  "--seconds": (text, fields) => {
    const value = Number(text);
    if (!(value > 0 && value <= 1e7)) return "virtual seconds above 0";
    fields.seconds = value;
    return null;
  },
  "--node-hours": (text, fields) => {
    const value = Number(text);
    if (!(value > 0 && value <= 1e5)) return "nodes times hours, above 0";
    fields.nodeHours = value;
    return null;
  },
  "--latency": (text, fields) => {
    const latencyMs = latencyFrom(text);
    if (latencyMs === null) return "a range such as 1..5ms";
    fields.latencyMs = latencyMs;
    return null;
  },
  "--scenario": (text, fields) => {
    if (!isScenario(text)) return `one of ${Object.keys(SCENARIOS).join(", ")}`;
    fields.scenario = text;
    fields.isNamed = true;
    return null;
  },
};

/** Flags without a value. */
const SWITCHES = { "--raw": "raw", "--drift": "drift", "--json": "json", "--trace": "trace" } as const;

/** True for the name of a scenario. */
export function isScenario(text: string): text is ScenarioName {
  return Object.hasOwn(SCENARIOS, text);
}

/** Parses the words behind `npm run simulate --`. */
export function parseRequest(words: readonly string[]): Result<Request> {
  const asked = { isNamed: false, isSized: false, json: false, seeds: null, trace: false };
  const fields: Fields = { ...DEFAULTS, ...asked };
  for (let at = 0; at < words.length; at += 1) {
    const [flag, joined] = splitOnce(words[at] ?? "");
    if (isSwitch(flag) && joined === undefined) {
      fields[SWITCHES[flag]] = true;
      continue;
    }
    const read = Object.hasOwn(READERS, flag) ? READERS[flag] : undefined;
    if (read === undefined) {
      const known = [...Object.keys(READERS), ...Object.keys(SWITCHES)].join(", ");
      return failed("invalid", `argument is "${words[at]}"; expected one of ${known}`);
    }
    if (joined === undefined) at += 1;
    const value = joined ?? words[at] ?? "";
    const expected = read(value, fields);
    if (expected !== null) return failed("invalid", `${flag} is "${value}"; expected ${expected}`);
  }
  const least = LEAST_NODES[fields.scenario] ?? 1;
  if (fields.isNamed && fields.nodes < least)
    return failed(
      "invalid",
      `--nodes is "${fields.nodes}"; expected at least ${least} for ${fields.scenario}`,
    );
  return success(fields);
}

/** The command that runs this again. */
export function commandOf(options: Options): string {
  const { nodes, seed, scenario, loss, latencyMs, seconds, replicas, raw, drift, nodeHours } = options;
  const words = [`--scenario ${scenario} --nodes ${nodes} --seed ${seed}`];
  if (loss !== DEFAULTS.loss) words.push(`--loss ${loss}`);
  const { low, high } = latencyMs;
  if (low !== DEFAULTS.latencyMs.low || high !== DEFAULTS.latencyMs.high)
    words.push(`--latency ${low}..${high}ms`);
  if (seconds !== null) words.push(`--seconds ${seconds}`);
  if (replicas !== DEFAULTS.replicas) words.push(`--replicas ${replicas}`);
  if (raw) words.push("--raw");
  if (drift) words.push("--drift");
  if (nodeHours !== null) words.push(`--node-hours ${nodeHours}`);
  return `npm run simulate -- ${words.join(" ")}`;
}

const LEAST_NODES: Partial<Record<ScenarioName, number>> = {
  crash: 2,
  silent: 2,
  partition: 2,
  flap: 2,
  oneway: 3,
  chaos: 2,
};

function isSwitch(flag: string): flag is keyof typeof SWITCHES {
  return Object.hasOwn(SWITCHES, flag);
}

function splitOnce(word: string): [string, string | undefined] {
  const at = word.indexOf("=");
  return at === -1 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

// oxlint-disable-next-line max-params -- a text, its bounds, and where it goes
function whole(text: string, least: number, most: number, set: (value: number) => void): string | null {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) return `a whole number, ${least} to ${most}`;
  set(value);
  return null;
}

/** `1..5ms`, `3ms`, `0.5..20`. */
function latencyFrom(text: string): { low: number; high: number } | null {
  const match = /^(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?(?:ms)?$/.exec(text);
  if (match === null) return null;
  const low = Number(match[1]);
  const high = match[2] === undefined ? low : Number(match[2]);
  return low <= high && high <= 60_000 ? { low, high } : null;
}
