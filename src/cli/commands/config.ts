/**
 * Config: `skein config check` and `skein config print`.
 *
 * Both work without a daemon, for a broken file is what keeps one from starting. The effective configuration is
 * printed as YAML unless JSON is asked for: that is the form in which it can be put into a file again.
 *
 * Touches: nothing but what its surroundings read.
 */

import type { Command } from "commander";

import { Failure } from "../../base/failure.ts";
import { print, show, type Act, type Session } from "../context.ts";
import { printableLines } from "../render.ts";

import { addConfigFlags, configFlagsOf } from "./run.ts";

/** Adds the command and its subcommands. `configKeys`: dotted keys that are flags of `print`. */
export function addConfig(program: Command, act: Act, configKeys: readonly string[]): void {
  const config = program.command("config").description("check or print the configuration");
  config
    .command("check [file]")
    .description("tell every mistake in a config file: line, key, value, what was expected")
    .addHelpText("after", "\nExamples:\n  skein config check ./skein.yaml")
    .action(act((session, command) => check(session, command.args[0] ?? null)));
  const printed = config
    .command("print")
    .description("print the effective configuration (defaults, file, environment, flags), secrets redacted");
  addConfigFlags(printed, configKeys);
  printed.addHelpText("after", "\nExamples:\n  skein config print --config ./skein.yaml -o json");
  printed.action(
    act(async (session, command) => {
      const value = await session.surroundings.printConfig(configFlagsOf(command, configKeys));
      if (session.format === "json") await show(session, { value, table: () => "", names: [] });
      else await print(session, printableLines(session.surroundings.renderYaml(value)));
      return 0;
    }),
  );
}

/** One line a mistake, on stdout: the mistakes are what was asked for. */
async function check(session: Session, file: string | null): Promise<number> {
  const problems = await problemsOf(session, file);
  const name = file ?? "configuration";
  await show(session, {
    value: { file, ok: problems.length === 0, problems },
    table: () => (problems.length === 0 ? `${name}: ok\n` : problems.map((text) => `${text}\n`).join("")),
    names: problems,
  });
  return problems.length === 0 ? 0 : 1;
}

async function problemsOf(session: Session, file: string | null): Promise<readonly string[]> {
  try {
    await session.surroundings.checkConfig(file);
    return [];
  } catch (thrown) {
    // Any other failure is not about what the file says: it is missing, or may not be read.
    if (!(thrown instanceof Failure) || thrown.code !== "invalid") throw thrown;
    return printableLines(thrown.message).split("\n");
  }
}
