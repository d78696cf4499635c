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
import { fileURLToPath } from "node:url";

enableCompileCache();

const { runCli } = await import("./cli/cli.ts");
const { terminalOf } = await import("./cli/screen.ts");
const { readSecretFile } = await import("./config/secret-file.ts");
// The daemon is most of the program, and commands that only ask one do without.
const daemon = async () => await import("./daemon/command.ts");

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
// Beside the bundle as well as beside the sources.
const dashboardDir = fileURLToPath(new URL("../dist/dashboard/", import.meta.url));
const interrupted = new AbortController();
const argv = process.argv.slice(2);
// For commands that wait or follow; the daemon has its own idea of what a signal means, and listens itself.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
const ambience = { env: process.env, isRoot: process.getuid?.() === 0 };
// What reads configurations is a fifth of a command that does not, such as a health check.
const readsConfig = argv.some((word) => /^(?:run|config|completion)$|yaml/.test(word));
const { flagKeys, renderYaml } = readsConfig
  ? await import("./config/load.ts")
  : { flagKeys: () => [], renderYaml: JSON.stringify };

/** For the daemon, before it grows. */
const keepSmall = async (): Promise<void> => {
  const { setFlagsFromString } = await import("node:v8");
  setFlagsFromString("--heap-growing-percent=25");
  setFlagsFromString("--gc-memory-reducer-start-delay-ms=2000");
  setFlagsFromString("--memory-reducer-for-small-heaps");
};

/** What the system's first process is called, as seen from here; empty where that cannot be read. */
const firstProcess = (): string => {
  try {
    return readFileSync("/proc/1/comm", "utf8").trim();
  } catch {
    return "";
  }
};

process.exitCode = await runCli(argv, {
  stdout: process.stdout,
  stderr: process.stderr,
  ...ambience,
  isTty: process.stdout.isTTY,
  columns: process.stdout.columns ?? 0,
  stderrColumns: process.stderr.isTTY ? process.stderr.columns || 80 : 0,
  endsWithDaemon: () => ["tini", "docker-init"].includes(firstProcess()),
  terminal: process.stdout.isTTY ? terminalOf(process.stdout) : null,
  nowMs: () => Date.now(),
  version,
  runtime: process.version,
  interrupted: interrupted.signal,
  configKeys: flagKeys(ambience),
  renderYaml,
  readSecret: readSecretFile,
  initCluster: async (flags) => await (await daemon()).initCluster(flags, ambience),
  joinCluster: async (flags, request) => await (await daemon()).joinCluster(flags, ambience, request),
  forgetCluster: async (flags) => await (await daemon()).forgetCluster(flags, ambience),
  cleanHost: async (flags) => await (await daemon()).cleanHost(flags, ambience),
  async examineHost(flags, absence) {
    const { examineHost } = await import("./daemon/doctor-start.ts");
    return await examineHost(flags, ambience, absence);
  },
  async runDaemon(flags, how) {
    const exit = (status: number): never => process.exit(status);
    await keepSmall();
    const { runDaemon } = await daemon();
    // Told to stop while it was loading: from here on the daemon listens itself.
    if (interrupted.signal.aborted) return 0;
    return await runDaemon(flags, { ...ambience, version, dashboardDir, ...how, exit });
  },
  checkConfig: async (file) => (await daemon()).checkConfig(file, ambience),
  printConfig: async (flags) => (await daemon()).printConfig(flags, ambience),
});
