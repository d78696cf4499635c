/**
 * Run: `skein run`, the daemon itself.
 *
 * Only its flags are read here: every key of the configuration is one, by its dotted name, so that what the file can
 * say a flag can say too. What a value means is checked where the file's values are, with the same words.
 *
 * Touches: nothing but what its surroundings run.
 */

import type { Command } from "commander";

import type { Act, ConfigFlags } from "../context.ts";

const EXAMPLES = `
Examples:
  skein run
  skein run --config ./skein.yaml --data-dir ./state
  skein run --mesh.join 192.0.2.1:7650,192.0.2.2:7650 --log.level debug
  skein run --replace                take over from the daemon that runs here, without a gap
  skein run --purge                  leave the host as it was when it stops

A flag outranks its variable (--mesh.join: SKEIN_MESH_JOIN), which outranks the file.`;

/** Adds the command. `configKeys`: dotted keys that are flags. */
export function addRun(program: Command, act: Act, configKeys: readonly string[]): void {
  const command = program.command("run").description("start the daemon");
  command.option(
    "--replace",
    "take over from the daemon that runs here: it goes on serving until this one does, then ends",
  );
  command.option(
    "--purge",
    "take rules, links and routes out of the kernel when it stops; otherwise connections go on without it",
  );
  addConfigFlags(command, configKeys);
  command.addHelpText("after", EXAMPLES);
  command.action(
    act(({ surroundings }, asked) => {
      const { replace = false, purge = false } = asked.opts<{ replace?: true; purge?: true }>();
      return surroundings.runDaemon(configFlagsOf(asked, configKeys), { replaces: replace, purges: purge });
    }),
  );
}

/** Gives a command the flags that stand for configuration. */
export function addConfigFlags(command: Command, configKeys: readonly string[]): void {
  command
    .option("--config <file>", "config file; /etc/skein/skein.yaml or ~/.config/skein/skein.yaml by default")
    .option("--data-dir <path>", "folder of the daemon's state (node.dataDir)")
    .optionsGroup("Configuration:");
  for (const key of configKeys) command.option(`--${key} <value>`);
}

/** What was given of those flags. */
export function configFlagsOf(command: Command, configKeys: readonly string[]): ConfigFlags {
  const options = command.optsWithGlobals<Readonly<Record<string, unknown>>>();
  const given = [
    ...configKeys.map((key) => [key, options[key]] as const),
    ["node.dataDir", options["dataDir"]] as const,
    // The socket that other commands ask is the one that this daemon opens.
    ["admin.socket", options["socket"]] as const,
  ];
  const values = given.filter((pair): pair is readonly [string, string] => typeof pair[1] === "string");
  const file = options["config"];
  return { file: typeof file === "string" ? file : null, values: Object.fromEntries(values) };
}
