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

A flag outranks its variable (--mesh.join: SKEIN_MESH_JOIN), which outranks the file.`;

/** Adds the command. `configKeys`: dotted keys that are flags. */
export function addRun(program: Command, act: Act, configKeys: readonly string[]): void {
  const command = program.command("run").summary("start the daemon").description("Start the daemon.");
  addConfigFlags(command, configKeys);
  command
    .addHelpText("after", EXAMPLES)
    .action(act(({ surroundings }, { optsWithGlobals }) => surroundings.runDaemon(configFlagsOf(optsWithGlobals))));
}

/** Gives a command the flags that stand for configuration. */
export function addConfigFlags(command: Command, configKeys: readonly string[]): void {
  command
    .option("--config <file>", "config file; default /etc/skein/skein.yaml, without root ~/.config/skein/skein.yaml")
    .option("--data-dir <path>", "where state is kept (node.dataDir)");
  command.optionsGroup("Configuration:");
  for (const key of configKeys) command.option(`--${key} <value>`);
}
