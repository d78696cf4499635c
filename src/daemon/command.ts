/**
 * Command: `skein run` as a process: configuration, log, signals, and the status it ends with.
 *
 * SIGTERM and SIGINT stop it cleanly, a second one at once; SIGHUP takes services, health and log level from the
 * configuration again, and keeps the running ones when that is broken. A signal cannot tell why it was sent, and mostly
 * it is a restart or an upgrade: so the others are told that this host is away. `skein leave` says that it is for good.
 *
 * Touches: signals, the config file, standard error.
 */

import { defaultSocketPath } from "../admin/contract.ts";
import { Failure, textOf } from "../base/failure.ts";
import { loadConfig, type LoadedConfig, type Surroundings } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { watchCrashes, watchSignals } from "../runtime/lifecycle.ts";
import { openLog } from "../runtime/log.ts";
import type { Farewell } from "../step.ts";

import { openDaemon } from "./daemon.ts";

/** What was given on the command line in place of configuration. */
export interface Flags {
  readonly file: string | null;
  readonly values: Readonly<Record<string, string>>;
}

/** The process around a daemon. */
export interface Process extends Surroundings {
  readonly version: string;
  readonly exit: (status: number) => void;
}

/** Runs a daemon until a signal ends it. @returns the exit status @throws Failure when it cannot start */
export async function runDaemon(flags: Flags, process_: Process): Promise<number> {
  const load = (): LoadedConfig =>
    loadConfig({ surroundings: process_, file: flags.file, flags: flags.values });
  const { config, changedAtMs: configChangedAtMs } = load();
  const log = openLog(config.log);
  watchCrashes(log, () => process_.exit(1));
  const stopped = Promise.withResolvers<{ readonly why: string; readonly farewell: Farewell }>();
  // Signals that come while the daemon opens are kept: it closes as soon as it is open.
  let reload = (): void => undefined;
  watchSignals({
    stop: (why) => stopped.resolve({ why, farewell: "away" }),
    stopNow: () => process_.exit(1),
    reload: () => reload(),
  });
  const { env, version } = process_;
  const socket = socketOf(config, process_);
  const onLeave = (): void => stopped.resolve({ why: "skein leave", farewell: "left" });
  const daemon = await openDaemon({ config, configChangedAtMs, env, version, socket, log, onLeave });
  reload = () => {
    try {
      daemon.reload(load().config);
      log.info("configuration reloaded: services, health and log level");
    } catch (thrown) {
      log.error(`configuration not reloaded, the running one stays: ${textOf(thrown)}`);
    }
  };
  const { why, farewell } = await stopped.promise;
  log.info(`${why}: draining, then stopping`);
  await daemon.close(farewell);
  log.info("stopped");
  // A probe that waits for its answer must not hold up the end: all that matters is closed.
  process_.exit(0);
  return 0;
}

/** Checks a config file. @throws Failure with a line for each mistake */
export function checkConfig(file: string | null, surroundings: Surroundings): void {
  loadConfig({ surroundings, file, flags: {} });
}

/** The effective configuration as plain data. It holds no secrets in this version. */
export function printConfig(flags: Flags, surroundings: Surroundings): unknown {
  return loadConfig({ surroundings, file: flags.file, flags: flags.values }).raw;
}

function socketOf(config: Config, { env, isRoot }: Surroundings): string | null {
  const { socket } = config.admin;
  if (socket === "off") return null;
  if (socket !== "auto") return socket;
  const runtimeDir = env["XDG_RUNTIME_DIR"] ?? null;
  const path = defaultSocketPath({ root: isRoot, runtimeDir, dataDir: config.node.dataDir });
  // The system's bound (unix(7)): a longer one would be cut without a word.
  if (path.length < 108) return path;
  throw new Failure(
    "invalid",
    `admin socket is "${path}"; expected at most 107 characters: set admin.socket`,
  );
}
