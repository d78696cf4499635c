#!/usr/bin/env node
/**
 * Main: from arguments to a command, and from its status to the end of the process.
 *
 * The only place that exits. Node keeps what it compiled beside the data of the user, so that the next start takes a
 * fraction of the time; everything heavy is imported after that is switched on.
 *
 * Touches: the process: arguments, environment, standard streams, signals, exit.
 */

import { readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";

enableCompileCache();

const { runCli } = await import("./cli/cli.ts");
const { configKeys, renderYaml } = await import("./config/load.ts");
const { runDaemon, checkConfig, printConfig } = await import("./daemon/command.ts");

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const interrupted = new AbortController();
const argv = process.argv.slice(2);
// The daemon has its own idea of what a signal means.
if (!argv.includes("run"))
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
const ambience = { env: process.env, isRoot: process.getuid?.() === 0 };

process.exitCode = await runCli(argv, {
  stdout: process.stdout,
  stderr: process.stderr,
  ...ambience,
  isTty: process.stdout.isTTY,
  columns: process.stdout.columns ?? 0,
  nowMs: () => Date.now(),
  version,
  runtime: process.version,
  interrupted: interrupted.signal,
  configKeys: configKeys(ambience),
  renderYaml,
  runDaemon: (flags) => runDaemon(flags, { ...ambience, version, exit: (status) => process.exit(status) }),
  checkConfig: (file) => checkConfig(file, ambience),
  printConfig: (flags) => printConfig(flags, ambience),
});
