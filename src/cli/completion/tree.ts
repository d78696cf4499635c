/**
 * Tree: what can be typed at each place of the command line, read from the commands themselves.
 *
 * The scripts for the shells are made from this, so a new command or option is completed without anybody thinking of
 * it. What an argument stands for follows from the name that the help shows for it (`<replica>`, `<file>`): so the
 * help says the same as the completion.
 *
 * Pure.
 */

import type { Command, Option } from "commander";

/** What names are asked from the daemon. */
export const NAME_KINDS = ["service", "node", "replica", "network"] as const;

/** One of them. */
export type NameKind = (typeof NAME_KINDS)[number];

/** What may stand in a place: names that the daemon knows, files, these words, or anything. */
export type Value =
  | { readonly kind: "names"; readonly of: NameKind }
  | { readonly kind: "files" }
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "any" };

/** A word and what it means, in one line. */
export interface Offer {
  readonly word: string;
  readonly text: string;
}

/** An option; `value` is null where it takes none. */
export interface Flag {
  readonly flags: readonly string[];
  readonly text: string;
  readonly value: Value | null;
}

/** One command. */
export interface Place {
  /** Its words, by spaces: `node drain`; empty for the program itself. */
  readonly at: string;
  readonly commands: readonly Offer[];
  /** Those that every command takes stand behind its own. */
  readonly flags: readonly Flag[];
  readonly values: readonly Value[];
}

const ANY: Value = { kind: "any" };
const FILES: Value = { kind: "files" };

/** By what the help calls an argument or an option's value. */
const VALUE_BY_NAME: ReadonlyMap<string, Value> = new Map<string, Value>([
  ...NAME_KINDS.map((of): [string, Value] => [of, { kind: "names", of }]),
  ["container", { kind: "names", of: "replica" }],
  ["dns-name", { kind: "names", of: "service" }],
  ["type", { kind: "words", words: ["A", "AAAA", "SRV", "PTR", "TXT", "NS", "SOA", "CNAME", "MX"] }],
  ["file", FILES],
  ["path", FILES],
]);

/** Every place of a program, the program itself first. */
export function placesOf(program: Command): readonly Place[] {
  return placesBelow(program, "");
}

function placesBelow(command: Command, at: string): readonly Place[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  const own = help.visibleOptions(command).map(flagOf);
  const known = new Set(own.flatMap(({ flags }) => flags));
  const shared = help.visibleGlobalOptions(command).map(flagOf).filter(isShared);
  const place: Place = {
    at,
    commands: commands.map((one) => ({ word: one.name(), text: textOf(one.description()) })),
    flags: [...own, ...shared.filter(({ flags }) => !flags.some((flag) => known.has(flag)))],
    values: command.registeredArguments.map((argument) => {
      const { argChoices: words } = argument;
      return words === undefined ? valueOf(argument.name()) : { kind: "words", words };
    }),
  };
  const below = commands.flatMap((one) => {
    const path = at === "" ? one.name() : `${at} ${one.name()}`;
    return one.name() === "help" ? [helpAt(path, place)] : placesBelow(one, path);
  });
  return [place, ...below];
}

/** `skein help` takes the names of the commands beside it. */
function helpAt(at: string, { commands, flags }: Place): Place {
  const words = commands.map(({ word }) => word).filter((word) => word !== "help");
  return { at, commands: [], flags: flags.filter(isShared), values: [{ kind: "words", words }] };
}

/** Only the program itself tells its version. */
function isShared({ flags }: Flag): boolean {
  return !flags.includes("--version");
}

function flagOf(option: Option): Flag {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined);
  return { flags, text: textOf(option.description), value: takenBy(option) };
}

function takenBy({ required, optional, argChoices, flags }: Option): Value | null {
  if (!required && !optional) return null;
  if (argChoices !== undefined) return { kind: "words", words: argChoices };
  return valueOf(/[<[]([^>\]]+)[>\]]/.exec(flags)?.[1] ?? "");
}

function valueOf(name: string): Value {
  return VALUE_BY_NAME.get(name) ?? ANY;
}

/** In one line. */
function textOf(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
