#!/usr/bin/env -S node --max-semi-space-size=2
/**
 * Main: from arguments to a command, and from its status to the end of the process.
 *
 * The only place that exits. Node keeps what it compiled for the next start, which then takes a fraction of the time;
 * everything heavy is imported after that is switched on. A daemon on every host should be small: the collector is told
 * to run before the heap has doubled, and soon after a burst. That costs some processor time while the cluster changes,
 * and nothing while it does not.
 *
 * Touches: the process: arguments, environment, standard streams, signals, exit.
 */

import { readFileSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";

enableCompileCache();
setFlagsFromString("--heap-growing-percent=25");
setFlagsFromString("--gc-memory-reducer-start-delay-ms=2000");
setFlagsFromString("--memory-reducer-for-small-heaps");

const { runCli } = await import("./cli/cli.ts");
const { flagKeys, renderYaml } = await import("./config/load.ts");
const { readSecretFile } = await import("./config/secret-file.ts");
const { runDaemon, checkConfig, printConfig, initCluster, joinCluster, forgetCluster, cleanHost } =
  await import("./daemon/command.ts");

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const interrupted = new AbortController();
const argv = process.argv.slice(2);
// For commands that wait or follow; the daemon has its own idea of what a signal means, and listens itself.
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
  configKeys: flagKeys(ambience),
  renderYaml,
  readSecret: readSecretFile,
  initCluster: (flags) => initCluster(flags, ambience),
  joinCluster: (flags, request) => joinCluster(flags, ambience, request),
  forgetCluster: (flags) => forgetCluster(flags, ambience),
  cleanHost: (flags) => cleanHost(flags, ambience),
  runDaemon: (flags, how) =>
    runDaemon(flags, { ...ambience, version, ...how, exit: (status) => process.exit(status) }),
  checkConfig: (file) => checkConfig(file, ambience),
  printConfig: (flags) => printConfig(flags, ambience),
});
